"""The time of diffusions: a training step beside torch by hand, a sample beside diffusers.

    OMP_NUM_THREADS=1 python tests/benchmarks/diffusion_speed.py train
    OMP_NUM_THREADS=1 python tests/benchmarks/diffusion_speed.py sample   # pip install diffusers
    OMP_NUM_THREADS=1 python tests/benchmarks/diffusion_speed.py train --steps 3 --only eager

``train``: seconds to the first step, and milliseconds of a step as the median over the rest, for
the residual MLP on 20 dimensions (batch 256) and the U-Net on 28 × 28 (batch 64). By hand is the
simple loss with the same network, fused Adam and one index a datum into tables of scales; it
reports no bound. Ours is :func:`ppl_gen.fit` with a bound beside each loss. Both are measured
eagerly and compiled, one after the other in rounds; ratios are of the medians in this run.

``sample``: the same weights in DDIM of both libraries, whose answers are compared first.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

import ppl_gen
from ppl_gen import samplers
from ppl_gen.denoisers import Denoiser
from ppl_gen.models.diffusion import Diffusion
from ppl_gen.networks import ResidualMLP, UNet
from ppl_gen.noise import Cosine, Trailing
from ppl_gen.noise import uniform as even
from ppl_gen.training import adam

T = 1000
CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "MLP 256×3, 20 dimensions, batch 256": (lambda: ResidualMLP((20,), 256, 3), (20,), 256),
    "U-Net 32-64, 28 × 28, batch 64": (lambda: UNet((1, 28, 28)), (1, 28, 28), 64),
}
Times = tuple[float, float]  # seconds to the first step, milliseconds of one


def by_hand(network: nn.Module, x: Tensor, steps: int, compiled: bool) -> Times:
    """The simple loss as one would write it."""
    table = even(Cosine(), T)
    alpha, sigma = table.alpha.float(), table.sigma.float()
    optimizer = adam(list(network.parameters()), 1e-3)

    def loss(batch: Tensor) -> Tensor:
        t = torch.randint(1, T + 1, (len(batch),))
        noise = torch.randn_like(batch)
        shape = (-1, *[1] * (batch.dim() - 1))
        noisy = alpha[t].reshape(shape) * batch + sigma[t].reshape(shape) * noise
        return (network(noisy, t / T) - noise).square().sum()

    run = torch.compile(loss) if compiled else loss

    def step() -> None:
        optimizer.zero_grad()
        run(x).backward()
        optimizer.step()

    return timed(step, steps)


def timed(step: Callable[[], None], steps: int) -> Times:
    started = time.perf_counter()
    step()
    first, each = time.perf_counter() - started, []
    for _ in range(steps):
        started = time.perf_counter()
        step()
        each.append(1e3 * (time.perf_counter() - started))
    return first, statistics.median(each)


def ours(network: nn.Module, x: Tensor, steps: int, compiled: bool) -> Times:
    """:func:`ppl_gen.fit` on as many copies of the batch; several steps a call where compiled."""
    model = Diffusion(Denoiser(network, Cosine()), tuple(x.shape[1:]), steps=T)
    data, size = x.repeat(steps, *[1] * (x.dim() - 1)), len(x)

    def fit(rows: Tensor) -> float:
        started = time.perf_counter()
        ppl_gen.fit(model, rows, epochs=1, batch_size=size, staged=compiled, progress=False)
        return time.perf_counter() - started

    first = fit(x)
    whole, short = fit(data), fit(x)
    return first, 1e3 * (whole - short) / max(1, steps - 1)


WAYS = {
    "by hand, eager": (by_hand, False),
    "ours, eager": (ours, False),
    "by hand, torch.compile": (by_hand, True),
    "ours, compiled": (ours, True),
}


def train(steps: int, rounds: int, only: str) -> None:
    print("| case | way | first, s | step, ms | of by hand |\n| --- | --- | --- | --- | --- |")
    for case, (build, shape, size) in CASES.items():
        torch.manual_seed(0)
        x, found = torch.randn(size, *shape), {}
        for _ in range(rounds):
            for way, (measure, compiled) in WAYS.items():
                if only in way:
                    found.setdefault(way, []).append(measure(build(), x, steps, compiled))
        medians = {way: statistics.median(ms for _, ms in pairs) for way, pairs in found.items()}
        for way, pairs in found.items():
            peer = medians.get("by hand, torch.compile" if "compile" in way else "by hand, eager")
            ratio = f"{medians[way] / peer:.2f}" if peer and way.startswith("ours") else ""
            print(f"| {case} | {way} | {pairs[0][0]:.1f} | {medians[way]:.2f} | {ratio} |")


class Unit(nn.Module):
    """Times as diffusers has them, indices from 0, for a network that takes them in (0, 1]."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        return self.network(x, ((index + 1) / T).to(x))


def sample(steps: int, rounds: int, images: int) -> None:
    try:
        from diffusers import DDIMScheduler
    except ImportError:
        print("diffusers is not installed: nothing to compare with")
        return
    torch.manual_seed(0)
    network = UNet((1, 28, 28)).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.02)
    model = Diffusion(Denoiser(network, Cosine()), (1, 28, 28), steps=T)
    table = even(Cosine(), T)
    kept = (table.alpha[1:] / table.alpha[:-1]) ** 2
    scheduler = DDIMScheduler(
        T, trained_betas=(1 - kept).numpy(), clip_sample=False, timestep_spacing="trailing"
    )
    start, peer = torch.randn(images, 1, 28, 28), Unit(network)

    @torch.no_grad()
    def theirs() -> Tensor:
        scheduler.set_timesteps(steps)
        x = start
        for index in scheduler.timesteps:
            x = scheduler.step(peer(x, index.expand(images)), index, x).prev_sample
        return x

    def own() -> Tensor:
        ddim = samplers.DDIM(grid=Trailing(T))
        return ddim.sample(model.denoiser, images, steps=steps, start=start, shape=(1, 28, 28))

    print(f"largest difference of answers: {(theirs() - own()).abs().max().item():.1e}")
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, run in (("diffusers", theirs), ("ours", own)):
            started = time.perf_counter()
            run()
            seconds.setdefault(name, []).append(time.perf_counter() - started)
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    for name, found in medians.items():
        print(f"{name}: {1e3 * found / images:.2f} ms an image, {steps} steps")
    print(f"ratio {medians['ours'] / medians['diffusers']:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("what", choices=["train", "sample"])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--only", default="", help="ways whose name holds this word")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.what == "train":
        train(options.steps, options.rounds, options.only)
    else:
        sample(options.steps, options.rounds, options.images)


if __name__ == "__main__":
    main()
