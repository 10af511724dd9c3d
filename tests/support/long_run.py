"""A training run as a program, to be killed, resumed and shared among processes.

``python long_run.py OUT [--autoencoder] [--epochs N] [--batch-size N] [--pause SECONDS]`` trains
with a checkpoint in OUT and leaves ``weights.pt`` and ``history.pt`` there.
"""

import argparse
import time
from pathlib import Path

import torch

import ppl_gen
from ppl_gen import processes, zoo
from ppl_gen.objectives import ELBO
from ppl_gen.schedules import WarmUp


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--autoencoder", action="store_true")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--fail-rank", type=int, default=-1)
    options = parser.parse_args()
    x = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    if options.autoencoder:
        model = zoo.autoencoder((1, 4, 4), 2, hidden=8).double()
        x = x.double()
    else:
        model = zoo.vae((1, 4, 4), 2, hidden=8, objective=ELBO(weight=WarmUp(30)))
    with processes.joined() as world:

        def callback(metrics: object) -> None:
            time.sleep(options.pause)
            if world.rank == options.fail_rank:
                raise RuntimeError("this worker dies")

        history = ppl_gen.fit(
            model,
            x,
            epochs=options.epochs,
            batch_size=options.batch_size,
            lr=1e-2,
            staged=False,
            progress=False,
            checkpoint=options.out / "run.pt",
            checkpoint_every=3,
            resume=True,
            ema=0.9,
            scheduler=lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 60),
            callbacks=[callback],
        )
    if world.writes:
        torch.save(model.state_dict(), options.out / "weights.pt")
        torch.save({k: torch.tensor(v) for k, v in history.items()}, options.out / "history.pt")


if __name__ == "__main__":
    main()
