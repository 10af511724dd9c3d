"""Milliseconds of a cycle of a game, beside the same loop written by hand, and of its first call.

    OMP_NUM_THREADS=1 python tests/benchmarks/adversarial_speed.py            # all rows
    OMP_NUM_THREADS=1 python tests/benchmarks/adversarial_speed.py --rows mlp64 --kinds plain
    python tests/benchmarks/adversarial_speed.py --page        # the page of what there is

A cycle is one turn of the critic and one of the generator, with Adam, on the networks of
``zoo.gan``: two hidden layers of 64 on points in batches of 64, of 128 in batches of 256, and the
convolutional ones for 28 x 28 images in batches of 64; ``penalty`` has a gradient penalty. All
contestants train the same game from the same weights, each in a process of its own with one thread,
and times are those of the processor, without those of the C++ compilers that it starts. By hand is
eager PyTorch with fused Adam; compiled, the same with ``torch.compile`` around both losses, whose
gradients are compared with the eager ones first. ``fit`` takes several cycles in a call; the median
over calls counts, without those at which the graphs are compared with eager steps again. The first
call is from the start to the first cycle with nothing kept from before, and again with code that an
earlier process has kept.
Rows are kept in ``results/adversarial_speed`` and not measured again.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from cells import table, write_page

PAGE = Path(__file__).parents[2] / "docs" / "results" / "adversarial_speed.md"
FOLDER = Path(__file__).parent / "results" / "adversarial_speed"
# Batch size, cycles in a call, and calls.
ROWS = {"mlp64": (64, 64, 24), "mlp128": (256, 32, 16), "dcgan": (64, 2, 10)}
KINDS = ("plain", "penalty")
CONTESTANTS = ("by hand", "compiled", "fit, eager", "fit")
REFUSED = "no double backward"
TARGETS = {"mlp64": 0.6, "mlp128": 0.6, "dcgan": 0.9}


def game(row: str, kind: str) -> Any:
    """The game, from the same weights in every process."""
    import torch

    from ppl_gen import zoo
    from ppl_gen.regularizers import GradientPenalty

    torch.manual_seed(0)
    parts = {"regularizer": GradientPenalty(1.0)} if kind == "penalty" else {}
    if row == "dcgan":
        return zoo.gan((1, 28, 28), 64, **parts)
    return zoo.gan((2,), 16, hidden=(int(row[3:]),) * 2, **parts)


def data(row: str) -> Any:
    """As many data as the cycles of two calls take."""
    import torch

    batch, cycles, _ = ROWS[row]
    shape = (1, 28, 28) if row == "dcgan" else (2,)
    x = torch.rand(2 * batch * cycles, *shape, generator=torch.Generator().manual_seed(0))
    return x if row == "dcgan" else 2 * x - 1


# --- Contestants ----------------------------------------------------------------------------------


def losses(own: Any, kind: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The losses of critic and generator, as one would write them."""
    import torch
    from torch.nn.functional import softplus

    generator, critic = own.generator, own.critic

    def of_critic(x: Any, z: Any) -> Any:
        with torch.no_grad():
            fakes = generator(z)
        loss = softplus(-critic(x)).sum() + softplus(critic(fakes)).sum()
        if kind == "penalty":
            share = torch.rand(len(x), *[1] * (x.dim() - 1))
            between = (share * x + (1 - share) * fakes).requires_grad_()
            (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
            loss = loss + (slope.flatten(1).norm(dim=1) - 1).square().sum()
        return loss

    def of_generator(z: Any) -> Any:
        return softplus(-critic(generator(z))).sum()

    return of_critic, of_generator


def agreement(own: Any, kind: str, compiled: Callable[..., Any], x: Any, z: Any) -> str:
    """How the gradients of a compiled loss of the critic differ from the eager ones."""
    import torch

    weights = list(own.critic.parameters())
    found = []
    for loss in (losses(own, kind)[0], compiled):
        torch.manual_seed(1)
        try:
            found.append(torch.autograd.grad(loss(x, z), weights))
        except RuntimeError as error:
            if "double backward" not in str(error):
                raise
            return REFUSED
    size = max(g.abs().max() for g in found[0])
    off = max((a - b).abs().max() for a, b in zip(*found, strict=True)) / size
    return f"{off.item():.1g}"


def by_hand(row: str, kind: str, compile: bool) -> Iterator[Any]:
    """A loop of PyTorch, which yields after each call's worth of cycles."""
    import torch

    own, x = game(row, kind), data(row)
    batch, cycles, calls = ROWS[row]
    of_critic, of_generator = losses(own, kind)
    if compile:
        torch._inductor.config.fallback_random = True
        of_critic, of_generator = torch.compile(of_critic), torch.compile(of_generator)
        z = torch.randn(batch, own.prior().event_shape[0])
        found = agreement(own, kind, of_critic, x[:batch], z)
        yield {"agreement": found}
        if found == REFUSED:
            return
    optimizers = [
        torch.optim.Adam(part.parameters(), 2e-4, (0.5, 0.999), fused=True)
        for part in (own.critic, own.generator)
    ]
    width = own.prior().event_shape[0]
    for _ in range(calls // 2 + 1):
        rows = torch.randperm(len(x))
        for i, part in enumerate(rows.split(batch)):
            loss = of_critic(x[part], torch.randn(batch, width))
            optimizers[0].zero_grad()
            loss.backward(inputs=list(own.critic.parameters()))
            optimizers[0].step()
            other = of_generator(torch.randn(batch, width))
            optimizers[1].zero_grad()
            other.backward(inputs=list(own.generator.parameters()))
            optimizers[1].step()
            loss.item(), other.item()
            if i == 0 or (i + 1) % cycles == 0:
                yield i + 1


def by_fit(row: str, kind: str, staged: bool) -> dict[str, Any]:
    import ppl_gen

    batch, cycles, calls = ROWS[row]
    own, x, marks = game(row, kind), data(row), []

    def mark(found: dict[str, float]) -> None:
        marks.append((time.process_time(), time.perf_counter()))

    options = {"lr": 2e-4, "batch_size": batch, "progress": False, "callbacks": [mark]}
    ema = {"generator": None, "critic": None}
    started = time.process_time(), time.perf_counter()
    ppl_gen.fit(
        own, x, epochs=calls // 2 + 1, staged=staged, steps_per_call=cycles, ema=ema, **options
    )
    ends = [cpu for cpu, _ in marks[cycles - 1 :: cycles]]
    return {
        "ms": [1000 * (b - a) / cycles for a, b in pairwise(ends)],
        "first": [marks[0][i] - started[i] for i in (0, 1)],
    }


def measure(row: str, kind: str, contestant: str) -> dict[str, Any]:
    """What a child process finds: milliseconds of cycles, and seconds of the first call."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if contestant.startswith("fit"):
        return by_fit(row, kind, contestant == "fit")
    _, cycles, _ = ROWS[row]
    found: dict[str, Any] = {"ms": []}
    started = last = time.process_time(), time.perf_counter()
    for event in by_hand(row, kind, contestant == "compiled"):
        now = time.process_time(), time.perf_counter()
        if isinstance(event, dict):
            found |= event
        elif event == 1:
            found.setdefault("first", [now[i] - started[i] for i in (0, 1)])
        if event == cycles:
            found["ms"].append(1000 * (now[0] - last[0]) / (cycles - 1))
        elif isinstance(event, int) and event > cycles:
            found["ms"].append(1000 * (now[0] - last[0]) / cycles)
        last = now
    return found


# --- Rows -----------------------------------------------------------------------------------------


def child(row: str, kind: str, contestant: str, cold: Path | None = None) -> dict[str, Any]:
    own = {} if cold is None else {"PPL_GEN_CACHE": str(cold), "TORCHINDUCTOR_CACHE_DIR": str(cold)}
    command = [sys.executable, __file__, "--child", row, kind, contestant]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1", **own}, stdout=subprocess.PIPE
    )
    if done.returncode:
        raise RuntimeError(f"{row}, {kind}, {contestant} ended with {done.returncode}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def path_of(row: str, kind: str, contestant: str) -> Path:
    return FOLDER / f"{row} {kind} {contestant}.json".replace(" ", "_").replace(",", "")


def known(row: str, kind: str, contestant: str) -> dict[str, Any]:
    """The results of a row, measured unless they are there."""
    path = path_of(row, kind, contestant)
    if path.exists():
        return dict(json.loads(path.read_text()))
    print(f"{row}, {kind}: {contestant}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        found = child(row, kind, contestant, Path(folder))
        if contestant == "fit":
            found["again"] = child(row, kind, contestant, Path(folder))["first"]
    found["date"] = datetime.date.today().isoformat()
    FOLDER.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(found))
    draft.replace(path)
    return found


def median(found: dict[str, Any]) -> float:
    return statistics.median(found["ms"] or [math.nan])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--page", action="store_true", help="measure nothing")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(*arguments.child)))
        return
    rows, firsts, dates = [], [], set()
    for row in arguments.rows:
        for kind in arguments.kinds:
            if arguments.page and not all(path_of(row, kind, c).exists() for c in CONTESTANTS):
                continue
            found = {name: known(row, kind, name) for name in CONTESTANTS}
            ms = {name: median(each) for name, each in found.items()}
            cells = [f"{row}, {kind}", f"{ms['by hand']:.3g}", f"{ms['compiled']:.3g}"]
            cells += [found["compiled"]["agreement"], f"{ms['fit, eager']:.3g}", f"{ms['fit']:.3g}"]
            rows.append([*cells, f"{ms['fit'] / ms['by hand']:.2f}", f"≤ {TARGETS[row]}"])
            print(" | ".join(rows[-1]), flush=True)
            own = found["fit"]
            times = [own["first"], own["again"], found["compiled"].get("first", [math.nan])]
            firsts.append([f"{row}, {kind}", *(f"{cpu:.1f}" for cpu, *_ in times)])
            dates |= {each["date"] for each in found.values()}
    heads = ["game, ms a cycle", "by hand", "compiled", "gradient off by", "fit, eager", "fit"]
    kept = ["seconds of the first call", "fit, nothing kept", "fit, code kept", "compiled by hand"]
    rows, firsts = (
        [[c.replace("nan", "–") for c in row] for row in part] for part in (rows, firsts)
    )
    text = "\n\n".join([table([*heads, "of by hand", "aim"], rows), table(kept, firsts)])
    write_page(PAGE, "Cycles of games", __file__, __doc__ or "", sorted(dates), text)


if __name__ == "__main__":
    main()
