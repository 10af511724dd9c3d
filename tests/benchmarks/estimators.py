"""Gradient estimators: closed forms, speed, and what each of them trains to.

    OMP_NUM_THREADS=1 python tests/benchmarks/estimators.py table [--draws 1000000]
    OMP_NUM_THREADS=1 python tests/benchmarks/estimators.py speed
    OMP_NUM_THREADS=1 python tests/benchmarks/estimators.py train [--minutes 10] [--out run]
    OMP_NUM_THREADS=1 python tests/benchmarks/estimators.py gaussian [--minutes 10] [--out run]

``table`` measures the mean and variance of single estimates beside their exact values by quadrature
and enumeration, with standard errors. ``speed`` times vectorised draws of encoder gradients of a
784-200-784 Bernoulli VAE against a loop over eager Pyro steps. ``train`` trains that VAE, linear
and with a hidden layer, for equal steps with each estimator and several seeds, and reports the ELBO
of the discrete model, its importance-sampled bound, the variance of the encoder gradient along the
way, and the time. ``gaussian`` does the same for a Gaussian VAE by score function and by
reparameterisation.

Training resumes: each finished run is a line of ``OUT/estimators.jsonl`` and is not repeated; one
that ran out of time starts over. The summary at the end is over all finished runs. Images are
MNIST, binarised at one half.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.optim import SGD
from torch import Tensor

import ppl_gen
from ppl_gen import data, gradients, metrics, zoo
from ppl_gen.vae import unregistered

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from gradient_oracles import bernoulli_moments, normal_moments

DISCRETE = (
    "score", "score_constant", "score_running", "leave_one_out", "nvil", "vimco",
    "gumbel_softmax", "straight_through", "rebar", "relax", "arm", "disarm",
)  # fmt: skip
COINS = ("score", "score_constant", "leave_one_out", "arm", "disarm", "enumerate")
NORMAL = ("score", "score_constant", "leave_one_out", "reparameterized", "measure_valued")
COSTS = (("square", 3), ("square", -3), ("exp", 0.1), ("exp", 10), ("cos", 0.5), ("cos", 5))
LAYERS: dict[str, tuple[int, ...]] = {"linear": (), "hidden": (200,)}


# --- Closed forms -----------------------------------------------------------------------------


def table(draws: int) -> None:
    """Print every closed-form variance beside its measurement."""
    print(f"{'problem':42}{'estimator':32}{'exact':>11}{'measured':>11}{'± s.e.':>10}{'mean z':>9}")
    for target, p in ((0.45, 0.05), (0.45, 0.5), (0.499, 0.5)):
        rows = gradients.compare(gradients.bernoulli_quadratic(target, p), COINS, draws).rows
        name = f"bernoulli t={target} p={p}"
        show(rows, name, partial(bernoulli_moments, target=target, p=p))
    uncoupled = gradients.MeasureValued(coupled=False)
    for wrt, (cost, k) in product(("loc", "scale"), COSTS):
        comparison = gradients.compare(
            gradients.normal_cost(cost, k, wrt), [*NORMAL, uncoupled], draws
        )
        show(comparison.rows, comparison.problem, partial(normal_moments, cost=cost, k=k, wrt=wrt))


def show(
    rows: Sequence[gradients.Row], problem: str, exact: Callable[[str], tuple[float, float]]
) -> None:
    for row in rows:
        variance = max(0.0, exact(row.estimator)[1])
        z = row.bias / row.stderr if row.stderr > 1e-12 else 0.0
        print(
            f"{problem:42}{row.estimator:32}{variance:11.4g}{row.variance:11.4g}"
            f"{row.variance_stderr:10.2g}{z:10.2f}"
        )


# --- Speed ------------------------------------------------------------------------------------


def speed(draws: int, batch: int, loops: int) -> None:
    """Time vectorised draws against eager steps, in processor time."""
    torch.manual_seed(0)
    vae = zoo.bernoulli_vae(estimator="score")
    x = (torch.rand(batch, 1, 28, 28) < 0.3).float()
    problem = gradients.bernoulli_vae(vae, x)
    parameters = list(vae.latents[0].encoder.parameters())

    def eager(count: int) -> tuple[Tensor, Tensor]:
        """Sum of squared norms and sum of gradients."""
        squares, total = torch.tensor(0.0).double(), torch.tensor(0.0)
        with unregistered():
            for _ in range(count):
                loss = Trace_ELBO().differentiable_loss(vae.model, vae.guide, x)
                found = torch.autograd.grad(loss, parameters)
                g = torch.cat([part.flatten() for part in found])
                squares, total = squares + g.double().square().sum(), total + g
        return squares, total

    gradients.compare(problem, "score", 50)
    eager(20)
    seconds, row = cpu_time(lambda: gradients.compare(problem, "score", draws)["score"])
    ours = seconds / draws
    seconds, (squares, total) = cpu_time(lambda: eager(loops))
    theirs = seconds / loops
    variance = (squares - total.double().square().sum() / loops).item() / (loops - 1)
    svi = SVI(vae.model, vae.guide, SGD({"lr": 0.0}), Trace_ELBO())
    seconds, _ = cpu_time(lambda: [svi.step(x) for _ in range(loops)])
    print(f"{batch} images, processor time per draw of the encoder gradient")
    print(f"vectorised draws   {1e3 * ours:7.2f} ms   total variance {row.variance:.5g}")
    print(f"eager gradient     {1e3 * theirs:7.2f} ms   {theirs / ours:.1f} ×   {variance:.5g}")
    print(f"eager SVI step     {1e3 * seconds / loops:7.2f} ms   {seconds / loops / ours:.1f} ×")


def cpu_time(function: Callable[[], Any], repeats: int = 4) -> tuple[float, Any]:
    """The least processor time of repeated calls, and what the last returned."""
    seconds = []
    for _ in range(repeats):
        started = time.process_time()
        result = function()
        seconds.append(time.process_time() - started)
    return min(seconds), result


# --- Training ---------------------------------------------------------------------------------


class OutOfTime(Exception):
    """The time allowed has passed."""


def build(study: str, layers: str, estimator: str) -> ppl_gen.VAE:
    if study == "gaussian":
        objective = gradients.EstimatedELBO(estimator)
        return zoo.vae(latent_dim=10, hidden=200, objective=objective)
    return zoo.bernoulli_vae(latent_dim=200, hidden=LAYERS[layers], estimator=estimator)


def run(
    study: str, layers: str, estimator: str, seed: int, options: argparse.Namespace, deadline: float
) -> dict[str, Any]:
    """Train and measure one model; raises OutOfTime at the deadline."""
    images = data.mnist(options.data) if options.data else data.mnist()
    train, test = ((split.images > 0.5).float() for split in (images.train, images.test))
    torch.manual_seed(seed)
    vae = build(study, layers, estimator)
    problem = gradients.gaussian_vae if study == "gaussian" else gradients.bernoulli_vae
    per_epoch = math.ceil(len(train) / options.batch)
    epochs = max(1, options.steps // per_epoch)
    variances: dict[int, float] = {}
    began, steps, measuring = time.perf_counter(), 0, 0.0

    def watch(_: Any) -> None:
        nonlocal steps, measuring
        steps += 1
        if time.perf_counter() > deadline:
            raise OutOfTime
        if steps % (per_epoch * max(1, epochs // 4)) == 0:
            started = time.perf_counter()
            chosen = vae.objective.estimators[0]
            row = gradients.compare(problem(vae, train[:50]), chosen, 100, seed).rows[0]
            variances[steps] = row.variance
            measuring += time.perf_counter() - started

    history = ppl_gen.fit(
        vae,
        train,
        epochs=epochs,
        batch_size=options.batch,
        lr=options.lr,
        seed=seed,
        staged="auto" if options.staged else False,
        progress=False,
        callbacks=[watch],
    )
    seconds = time.perf_counter() - began - measuring
    curve = torch.as_tensor(history["elbo"]).reshape(epochs, -1).mean(1).tolist()
    return {
        "study": study,
        "layers": layers,
        "estimator": estimator,
        "seed": seed,
        "steps": epochs * per_epoch,
        "train_elbo": metrics.elbo_terms(vae, train[:1000]).elbo,
        "test_elbo": metrics.elbo_terms(vae, test).elbo,
        "test_bound": metrics.log_likelihood(vae, test[:200], options.samples).mean().item(),
        "ms_per_step": 1e3 * seconds / steps,
        "variance": variances,
        "curve": curve,
    }


def missing(study: str, options: argparse.Namespace, done: list[dict[str, Any]]) -> Iterator[tuple]:
    """The runs still to be made, seed by seed."""
    layers = ["linear"] if study == "gaussian" else options.layers
    names = ("reparameterized", "score") if study == "gaussian" else options.estimators
    finished = {tuple(r[k] for k in ("study", "layers", "estimator", "seed")) for r in done}
    for seed, layer, name in product(range(options.seeds), layers, names):
        if (study, layer, name, seed) not in finished:
            yield study, layer, name, seed


def training(study: str, options: argparse.Namespace) -> None:
    """Make the runs that are missing until time is out, then summarise what there is."""
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "estimators.jsonl"
    done = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    deadline = time.perf_counter() + 60 * options.minutes
    try:
        for job in missing(study, options, done):
            done.append(run(*job, options, deadline))
            with path.open("a") as file:
                file.write(json.dumps(done[-1]) + "\n")
            print(f"{' '.join(map(str, job))}: test ELBO {done[-1]['test_elbo']:.2f}", flush=True)
    except OutOfTime:
        print("out of time; run again to continue")
    summarise([r for r in done if r["study"] == study])


def summarise(runs: list[dict[str, Any]]) -> None:
    """Means over seeds, with standard errors, the best test ELBO first."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for r in runs:
        groups.setdefault((r["layers"], r["estimator"]), []).append(r)
    columns = ("train_elbo", "test_elbo", "test_bound", "ms_per_step")
    print(f"\n{'layers':8}{'estimator':18}{'seeds':>6}{'steps':>7}", end="")
    print("".join(f"{c:>18}" for c in columns) + f"{'last variance':>15}")
    order = sorted(groups, key=lambda g: (g[0], -mean_of(groups[g], "test_elbo")[0]))
    for layers, estimator in order:
        group = groups[layers, estimator]
        cells = [mean_of(group, column) for column in columns]
        last = [list(r["variance"].values())[-1] for r in group if r["variance"]]
        print(f"{layers:8}{estimator:18}{len(group):6}{group[0]['steps']:7}", end="")
        print("".join(f"{mean:10.2f} ± {error:5.2f}" for mean, error in cells), end="")
        print(f"{statistics.mean(last) if last else math.nan:15.3g}")


def mean_of(group: list[dict[str, Any]], column: str) -> tuple[float, float]:
    values = [r[column] for r in group]
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return statistics.mean(values), error


# --- Command line -----------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description="Gradient estimators, measured.")
    commands = parser.add_subparsers(dest="command", required=True)
    closed = commands.add_parser("table", help="closed-form variances and their measurement")
    closed.add_argument("--draws", type=int, default=1_000_000)
    timing = commands.add_parser("speed", help="vectorised draws against eager Pyro")
    timing.add_argument("--draws", type=int, default=1000)
    timing.add_argument("--batch", type=int, default=100)
    timing.add_argument("--loops", type=int, default=300)
    for name in ("train", "gaussian"):
        command = commands.add_parser(name, help="train with each estimator")
        command.add_argument("--steps", type=int, default=2000)
        command.add_argument("--seeds", type=int, default=3)
        command.add_argument("--batch", type=int, default=100)
        command.add_argument("--lr", type=float, default=1e-3)
        command.add_argument("--samples", type=int, default=200, help="of the bound, per image")
        command.add_argument("--minutes", type=float, default=60.0)
        command.add_argument("--layers", nargs="+", choices=LAYERS, default=list(LAYERS))
        command.add_argument("--estimators", nargs="+", default=DISCRETE)
        command.add_argument("--data", type=Path, help="a folder with the full set; else embedded")
        command.add_argument("--staged", action="store_true", help="compile the steps")
        command.add_argument("--out", type=Path, default=Path("run/estimators"))
    options = parser.parse_args()
    if options.command == "table":
        table(options.draws)
    elif options.command == "speed":
        speed(options.draws, options.batch, options.loops)
    else:
        training(options.command, options)


if __name__ == "__main__":
    main()
