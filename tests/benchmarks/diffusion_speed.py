"""Milliseconds of a training step of diffusions beside PyTorch by hand, and of samples.

    OMP_NUM_THREADS=1 python tests/benchmarks/diffusion_speed.py          # what is missing
    OMP_NUM_THREADS=1 python tests/benchmarks/diffusion_speed.py --rows mlp sample
    python tests/benchmarks/diffusion_speed.py --page                     # only the page

A step is one of Adam on a batch of 256 codes in 20 dimensions, denoised by the residual MLP of
three blocks of 256, or of 64 images of 28 × 28, denoised by the U-Net of 32 and 64 channels. By
hand is the simple loss with the same network, its convolutions in the order of memory that layers
have unless told otherwise, fused Adam and one index a datum into tables of scales; compiled, the
same with ``torch.compile`` around the loss. ``fit`` trains the same model, with a bound beside each
loss, and takes several steps of the MLP in a call. Each contestant runs in a process of its own
with one thread and with nothing kept from before; times are those of the processor, medians over
steps or calls, the first call without the C++ compilers that it starts.

Samples are those of DDIM, 64 images of 28 × 28 in 50 steps of the U-Net with random weights, beside
the scheduler of ``diffusers`` with the same weights, likewise in the usual order, steps and
starting noise, whose images are compared; the least of three runs, which take turns. Compiled is
``sample(staged=True)``, its first call with nothing kept and without the C++ compilers. Where that
package is not installed, the row is left out.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from cells import FOLDER, Cell, Cells, table, write_page

PAGE = Path(__file__).parents[2] / "docs" / "results" / "diffusion_speed.md"
STORE = FOLDER / "diffusion_speed" / "cells.json"
T = 1000
# Shape of a datum, batch size, steps in a call, and calls.
ROWS = {"mlp": ((20,), 256, 32, 12), "unet": ((1, 28, 28), 64, 2, 30)}
CONTESTANTS = ("by hand", "compiled", "fit, eager", "fit")
TITLES = {"mlp": "MLP 256×3, 20 dimensions, batch 256", "unet": "U-Net 32-64, 28 × 28, batch 64"}
TARGETS = {"mlp": 0.6, "unet": 0.9, "sample": 0.8}
IMAGES, STEPS, ROUNDS = 64, 50, 3


def network(row: str) -> Any:
    """The denoiser's, from the same weights in every process."""
    import torch

    from ppl_gen.networks import ResidualMLP, UNet

    torch.manual_seed(0)
    return ResidualMLP((20,), 256, 3) if row == "mlp" else UNet((1, 28, 28))


def usual(net: Any) -> Any:
    """A copy of a network with its weights in the order of memory that PyTorch gives them."""
    import torch

    return copy.deepcopy(net).to(memory_format=torch.contiguous_format)


def by_hand(row: str, compiled: bool) -> Iterator[None]:
    """A loop of PyTorch as one would write it, which yields after each call's worth of steps."""
    import torch
    from torch import Tensor

    from ppl_gen.noise import Cosine, uniform
    from ppl_gen.training import adam

    shape, size, steps, calls = ROWS[row]
    net, scales = usual(network(row)), uniform(Cosine(), T)
    x, each = torch.randn(size * steps, *shape), (-1, *[1] * len(shape))
    alpha, sigma = scales.alpha.float(), scales.sigma.float()
    optimizer = adam(list(net.parameters()), 1e-3)

    def loss(batch: Tensor) -> Tensor:
        t, noise = torch.randint(1, T + 1, (len(batch),)), torch.randn_like(batch)
        noisy = alpha[t].reshape(each) * batch + sigma[t].reshape(each) * noise
        return (net(noisy, t / T) - noise).square().sum()

    run = torch.compile(loss) if compiled else loss
    for call in range(calls + 1):
        for i, part in enumerate(torch.randperm(len(x)).split(size)):
            found = run(x[part])
            optimizer.zero_grad()
            found.backward()
            optimizer.step()
            found.item()
            if i == 0 and call == 0:
                yield
        yield


def by_fit(row: str, staged: bool, mark: Callable[[], None]) -> None:
    import torch

    import ppl_gen
    from ppl_gen.denoisers import Denoiser
    from ppl_gen.models.diffusion import Diffusion
    from ppl_gen.noise import Cosine

    shape, size, steps, calls = ROWS[row]
    model = Diffusion(Denoiser(network(row), Cosine()), shape, steps=T)
    options: dict[str, Any] = {"batch_size": size, "progress": False, "steps_per_call": steps}
    callbacks = [lambda metrics: mark()]
    x = torch.randn(size * steps, *shape)
    ppl_gen.fit(model, x, epochs=calls + 1, staged=staged, callbacks=callbacks, **options)


def step(row: str, contestant: str) -> Cell:
    """What a child process finds: milliseconds of a step, and seconds to the end of the first."""
    import torch

    torch.set_num_threads(1)
    _, _, steps, _ = ROWS[row]
    started, marks = time.process_time(), []

    def mark() -> None:
        marks.append(time.process_time())

    if contestant.startswith("fit"):
        by_fit(row, contestant == "fit", mark)
        ends = marks[steps - 1 :: steps]
    else:
        for _ in by_hand(row, contestant == "compiled"):
            mark()
        ends = marks[1:]
    ms = statistics.median(1e3 * (b - a) / steps for a, b in pairwise(ends))
    return {"ms": ms, "first": marks[0] - started}


def sample(_: str, who: str) -> Cell:
    """Milliseconds of an image by both libraries, and how far their images are apart."""
    import torch
    from diffusers import DDIMScheduler  # type: ignore[import-not-found,unused-ignore]

    from ppl_gen import samplers
    from ppl_gen.denoisers import Denoiser, Staged
    from ppl_gen.noise import Cosine, Trailing, uniform

    torch.set_num_threads(1)
    net, shape = network("unet").eval(), (1, 28, 28)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    scales, denoiser, same = uniform(Cosine(), T), Denoiser(net, Cosine()), usual(net)
    betas = (1 - (scales.alpha[1:] / scales.alpha[:-1]) ** 2).numpy()
    options = {"clip_sample": False, "timestep_spacing": "trailing"}
    scheduler, start = DDIMScheduler(T, trained_betas=betas, **options), torch.randn(IMAGES, *shape)

    @torch.no_grad()
    def theirs() -> Any:
        scheduler.set_timesteps(STEPS)
        x = start
        for index in scheduler.timesteps:  # from 0, where ours are in (0, 1]
            u = ((index.expand(IMAGES) + 1) / T).to(x)
            x = scheduler.step(same(x, u), index, x).prev_sample
        return x

    def ours(asked: Any) -> Any:
        ddim = samplers.DDIM(grid=Trailing(T))
        return ddim.sample(asked, IMAGES, steps=STEPS, start=start, shape=shape)

    runs: dict[str, Callable[[], Any]] = {
        "diffusers": theirs,
        "ours": partial(ours, denoiser),
        "ours, compiled": partial(ours, Staged(denoiser)),
    }
    images, taken = {}, {name: list[float]() for name in runs}
    for _round in range(1 + ROUNDS):
        for name, run in runs.items():
            started = time.process_time()
            images[name] = run()
            taken[name].append(time.process_time() - started)
    apart = max((images[name] - images["diffusers"]).abs().max().item() for name in runs)
    found = {name: 1e3 * min(each[1:]) / IMAGES for name, each in taken.items()}
    size = images["diffusers"].abs().mean().item()
    return {"apart": apart, "size": size, "first": taken["ours, compiled"][0], **found}


def child(row: str, contestant: str) -> Cell:
    with tempfile.TemporaryDirectory() as empty:
        own = {"PPL_GEN_CACHE": empty, "TORCHINDUCTOR_CACHE_DIR": empty, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, __file__, "--child", row, contestant]
        done = subprocess.run(command, env={**os.environ, **own}, stdout=subprocess.PIPE)
    if done.returncode:
        raise RuntimeError(f"{row}, {contestant} ended with {done.returncode}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def page(cells: Cells) -> None:
    """The tables of what has been measured."""
    rows, dates = [], set()
    for row in ROWS:
        found = {name: cells.get(f"{row}, {name}") for name in CONTESTANTS}
        known = {name: cell for name, cell in found.items() if cell}
        if "by hand" not in known:
            continue
        dates |= {cell["date"] for cell in known.values()}
        for name, cell in known.items():
            ratio = f"{cell['ms'] / known['by hand']['ms']:.2f}" if name != "by hand" else ""
            aim = f"≤ {TARGETS[row]}" if name == "fit" else ""
            numbers = [f"{cell['ms']:.3g}", ratio, aim, f"{cell['first']:.1f}"]
            rows.append([TITLES[row], name, *numbers])
    parts = [table(["denoiser", "loop", "ms a step", "of by hand", "aim", "s to the first"], rows)]
    if made := cells.get("sample, both"):
        dates.add(made["date"])
        lines = []
        for name in ("diffusers", "ours", "ours, compiled"):
            ratio = f"{made[name] / made['diffusers']:.2f}" if name != "diffusers" else ""
            own = name == "ours, compiled"
            aim, first = (f"≤ {TARGETS['sample']}", f"{made['first']:.1f}") if own else ("", "")
            lines.append([name, f"{made[name]:.1f}", ratio, aim, first])
        heads = [f"DDIM, {STEPS} steps", "ms an image", "of diffusers", "aim", "s to the first"]
        apart = f"Images are at most {made['apart']:.0e} apart, of {made['size']:.1g} on average."
        parts += [table(heads, lines), apart]
    write_page(
        PAGE, "Speed of diffusions", __file__, __doc__ or "", sorted(dates), "\n\n".join(parts)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    names = [*ROWS, "sample"]
    parser.add_argument("--rows", nargs="+", choices=names, default=names)
    parser.add_argument("--page", action="store_true", help="measure nothing")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        row, contestant = options.child
        print(json.dumps((sample if row == "sample" else step)(row, contestant)))
        return
    cells = Cells(STORE)
    for row in () if options.page else options.rows:
        if row == "sample":
            try:
                import diffusers  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
            except ImportError:
                print("diffusers is not installed: nothing to compare samples with")
                continue
        for contestant in ("both",) if row == "sample" else CONTESTANTS:
            cells.measure(f"{row}, {contestant}", lambda r=row, c=contestant: child(r, c))
    page(cells)


if __name__ == "__main__":
    main()
