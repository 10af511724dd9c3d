"""Gradient estimators: closed forms, speed, and what each of them trains to.

    OMP_NUM_THREADS=1 python tests/benchmarks/estimators.py --closed-forms [--draws 1000000]
    OMP_NUM_THREADS=1 python tests/benchmarks/estimators.py --speed [--batch 100]
    OMP_NUM_THREADS=1 python tests/benchmarks/estimators.py --train linear two_layer gaussian \\
        [--steps 3200] [--seeds 3] [--data FOLDER] [--minutes 60] [--out FOLDER]
    python tests/benchmarks/estimators.py --table [--out FOLDER]

``--closed-forms`` measures the mean and variance of single estimates beside their exact values by
quadrature and enumeration, with standard errors. ``--speed`` times vectorised draws of encoder
gradients of a 784-200-784 Bernoulli VAE against loops over eager Pyro steps. ``--train`` trains
Bernoulli VAEs of one and of two layers of 200 units for equal steps with each estimator and several
seeds, and a Gaussian VAE by score function and by reparameterisation. It notes the ELBO of the
discrete model on test images, its importance-sampled bound, the variance of what a step gives the
encoders along the way, and the processor time per step. ``--table`` makes a table and a figure of
all finished runs.

Training resumes: each finished run is noted in ``FOLDER/runs.json`` and is not repeated; one that
ran out of time starts over. Images are MNIST, binarised at one half.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.optim import SGD
from torch import Tensor

import ppl_gen
from ppl_gen import data, gradients, metrics, zoo
from ppl_gen._store import unregistered
from ppl_gen.data import Split
from ppl_gen.gradients import Estimator, GumbelSoftmax, MeasureValued, Rebar

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from gradient_oracles import bernoulli_moments, normal_moments

COINS = (
    "score", "score_constant", "leave_one_out", "vimco", "muprop", "measure_valued", "arm",
    "disarm", "enumerate",
)  # fmt: skip
NORMAL = ("score", "score_constant", "leave_one_out", "reparameterized", "measure_valued")
COSTS = (("square", 3), ("square", -3), ("exp", 0.1), ("exp", 10), ("cos", 0.5), ("cos", 5))
DISCRETE = (
    "score", "nvil", "disarm", "rebar", "gumbel_softmax", "muprop", "relax", "leave_one_out",
    "score_running", "vimco", "arm", "straight_through", "score_constant",
)  # fmt: skip
RESULTS = Path(__file__).parent / "results" / "estimators"
RECORD = "runs.json"
VERSIONED = ("torch", "pyro-ppl", "ppl-gen")


# --- Closed forms -----------------------------------------------------------------------------


def closed_forms(draws: int) -> None:
    """Print the exact variance of one estimate, its measurement, and the error of the mean."""
    print(", ".join(f"{name} {value}" for name, value in versions().items()))
    print(f"{draws:,} draws; z: bias in standard errors; × cost: variance times evaluations")
    relaxed = [GumbelSoftmax(t) for t in (5.0, 2.0, 1.0, 0.5, 0.2, 0.1)]
    coins: list[str | Estimator] = [
        *COINS,
        *relaxed,
        "straight_through",
        Rebar(learn=False),
        "rebar",
        "relax",
    ]
    for target, p in ((0.45, 0.05), (0.45, 0.5), (0.499, 0.5)):
        comparison = gradients.compare(gradients.bernoulli_quadratic(target, p), coins, draws)
        show(comparison, partial(moments_of_coin, target=target, p=p))
    for wrt, (cost, k) in product(("loc", "scale"), COSTS):
        problem = gradients.normal_cost(cost, k, wrt)
        comparison = gradients.compare(problem, [*NORMAL, MeasureValued(coupled=False)], draws)
        show(comparison, partial(normal_moments, cost=cost, k=k, wrt=wrt))


def moments_of_coin(label: str, target: float, p: float) -> tuple[float, float]:
    """The exact moments of a labelled estimator; not known where it was adapted to the problem."""
    if label in ("rebar", "relax"):
        return math.nan, math.nan
    name, _, settings = label.partition("(")
    temperature = settings.rpartition("temperature=")[2].rstrip(")") if "temp" in settings else 0.5
    return bernoulli_moments(name, target, p, float(temperature))


def show(comparison: gradients.Comparison, exact: Callable[[str], tuple[float, float]]) -> None:
    """One line per estimator."""
    print(f"\n{comparison.problem}")
    print(f"{'':34}{'exact':>11}{'measured':>11}{'± s.e.':>10}{'× cost':>11}{'bias':>11}{'z':>8}")
    for row in comparison.rows:
        variance = exact(row.estimator)[1]
        variance = 0.0 if variance < 0 else variance  # by rounding
        z = row.bias / row.stderr if row.stderr > 1e-12 else 0.0
        print(
            f"{row.estimator:34}{variance:11.4g}{row.variance:11.4g}{row.variance_stderr:10.2g}"
            f"{row.variance * row.cost:11.4g}{row.bias:11.2g}{z:8.1f}  {row.note}"
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
    print(f"784-200-784, {batch} images, {draws:,} draws; processor time per draw")
    print(f"vectorised draws   {1e3 * ours:7.2f} ms          total variance {row.variance:.5g}")
    print(
        f"eager gradient     {1e3 * theirs:7.2f} ms   {theirs / ours:.1f} ×   total variance "
        f"{variance:.5g}, {100 * (variance / row.variance - 1):+.1f} %"
    )
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


@dataclass(frozen=True)
class Study:
    """A model, and the estimators it is trained with."""

    title: str
    build: Callable[[str], ppl_gen.VAE]
    estimators: tuple[str, ...]


STUDIES = {
    "linear": Study(
        "784-200 linear Bernoulli VAE",
        lambda name: zoo.bernoulli_vae(latent_dim=200, estimator=name),
        DISCRETE,
    ),
    "two_layer": Study(
        "784-200-200 linear Bernoulli VAE",
        lambda name: zoo.bernoulli_vae(latent_dim=200, top_dim=200, estimator=name),
        DISCRETE,
    ),
    "gaussian": Study(
        "784-200-10 Gaussian VAE",
        lambda name: zoo.vae(latent_dim=10, hidden=200, objective=gradients.EstimatedELBO(name)),
        ("reparameterized", "score"),
    ),
}


def run(
    study: str,
    estimator: str,
    seed: int,
    split: Split,
    settings: dict[str, Any],
    deadline: float,
) -> dict[str, Any]:
    """Train and measure one model; raises OutOfTime at the deadline."""
    train, test = split.train.images, split.test.images
    torch.manual_seed(seed)
    vae = STUDIES[study].build(estimator)
    steps, batch = settings["steps"], settings["batch"]
    epochs = max(1, round(steps * batch / len(train)))
    last = epochs * math.ceil(len(train) / batch)
    watched = {last >> k for k in range(7)} - {0}
    along: dict[str, list[float]] = {"step": [], "test_elbo": [], "variance": []}
    step, left, times = 0, time.process_time(), []

    def watch(_: Any) -> None:
        nonlocal step, left
        times.append(time.process_time() - left)
        step += 1
        if time.perf_counter() > deadline:
            raise OutOfTime
        if step in watched:
            along["step"].append(step)
            along["test_elbo"].append(metrics.elbo_terms(vae, test).elbo)
            along["variance"].append(gradient_variance(vae, train[:batch]))
        left = time.process_time()

    history = ppl_gen.fit(
        vae,
        train,
        epochs=epochs,
        batch_size=batch,
        lr=settings["lr"],
        seed=seed,
        progress=False,
        callbacks=[watch],
    )
    return {
        "study": study,
        "estimator": estimator,
        "seed": seed,
        "train_elbo": metrics.elbo_terms(vae, train).elbo,
        "test_elbo": along["test_elbo"][-1],
        "test_bound": metrics.log_likelihood(vae, test[:300], settings["samples"]).mean().item(),
        "variance": along["variance"][-1],
        "ms_per_step": 1e3 * statistics.median(times),
        "curve": torch.as_tensor(history["elbo"]).reshape(epochs, -1).mean(1).tolist(),
        "along": along,
    }


def gradient_variance(vae: ppl_gen.VAE, x: Tensor, draws: int = 20) -> float:
    """Variance of what a training step gives the encoders, summed over their parameters."""
    parameters = [p for latent in vae.latents for p in latent.encoder.parameters()]
    square, total = 0.0, torch.tensor(0.0)
    with torch.random.fork_rng(), unregistered():
        torch.manual_seed(0)
        for _ in range(draws):
            loss = vae.objective.differentiable_loss(vae.model, vae.guide, x)
            found = torch.autograd.grad(loss, parameters)
            flat = torch.cat([g.flatten() for g in found]).double()
            square, total = square + flat.square().sum().item(), total + flat
    return (square - total.square().sum().item() / draws) / (draws - 1)


def training(studies: Sequence[str], options: argparse.Namespace) -> None:
    """Make the runs that are missing until time is out, seed by seed."""
    split = data.mnist(options.data or "embedded", binarize="threshold")
    settings = {name: getattr(options, name) for name in ("steps", "batch", "lr", "samples")} | {
        "images": split.train.name,
        "train": len(split.train),
        "test": len(split.test),
    }
    record = read(options.out)
    known = record["settings"]
    if known and {name: known.get(name) for name in settings} != settings:
        raise SystemExit(f"expected the settings of {options.out}, {known}, got {settings}")
    deadline = time.perf_counter() + 60 * options.minutes
    done = {(r["study"], r["estimator"], r["seed"]) for r in record["runs"]}
    try:
        for seed, study in product(range(options.seeds), studies):
            for name in STUDIES[study].estimators:
                chosen = options.estimators is None or name in options.estimators
                if (study, name, seed) in done or not chosen:
                    continue
                found = run(study, name, seed, split, settings, deadline)
                record["runs"].append(rounded(found))
                record["settings"] = settings | versions()
                write(options.out, record)
                print(f"{study} {name} {seed}: test ELBO {found['test_elbo']:.2f}", flush=True)
    except OutOfTime:
        print("out of time; run again to continue")


def read(out: Path) -> dict[str, Any]:
    path = out / RECORD
    return json.loads(path.read_text()) if path.exists() else {"settings": {}, "runs": []}


def write(out: Path, record: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    runs = ",\n".join(json.dumps(r) for r in record["runs"])
    settings = json.dumps(record["settings"], indent=1)
    temporary = out / (RECORD + ".part")
    temporary.write_text(f'{{"settings": {settings},\n"runs": [\n{runs}\n]}}\n')
    temporary.replace(out / RECORD)


def rounded(value: Any) -> Any:
    """The same, its numbers to five digits."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def versions() -> dict[str, str]:
    return {"date": f"{datetime.now(UTC):%Y-%m-%d}"} | {name: version(name) for name in VERSIONED}


# --- Tables and figures -----------------------------------------------------------------------

COLUMNS = {
    "train_elbo": "train ELBO",
    "test_elbo": "test ELBO",
    "test_bound": "test bound",
    "variance": "gradient variance",
    "ms_per_step": "ms per step",
}
ORDER = (
    ("score", "nvil"),
    ("score", "score_running"),
    ("nvil", "muprop"),
    ("nvil", "disarm"),
    ("nvil", "rebar"),
    ("nvil", "relax"),
    ("disarm", "rebar"),
    ("rebar", "gumbel_softmax"),
)


def tabulate(out: Path) -> None:
    """Write ``README.md`` and ``training.png`` beside the record, and print the former."""
    record = read(out)
    settings, runs = record["settings"], record["runs"]
    if not runs:
        raise SystemExit(f"expected finished runs in {out / RECORD}, got none")
    lines = [
        "# Training with each gradient estimator",
        "",
        f"{settings['date']}; " + ", ".join(f"{n} {settings[n]}" for n in VERSIONED) + ".",
        f"{settings['train']:,} training and {settings['test']:,} test images of "
        f"{settings['images']}, binarised at one half; {settings['steps']:,} steps of Adam at "
        f"{settings['lr']:g}, batches of {settings['batch']}, steps compiled, one core.",
        "",
        "Means over seeds ± standard errors. ELBOs are those of the discrete model in nats per "
        f"image; the bound takes {settings['samples']} importance samples for each of 300 test "
        "images. The variance is that of one training step's gradient in the encoders' parameters, "
        "summed over a batch, at the end. Milliseconds are processor time. Steps are equal, costs "
        "are not: with two layers an estimator of k evaluations makes k². Lines in the figure are "
        "means, bands the range of the seeds.",
        "",
        "The literature's order is score << NVIL < MuProp, DisARM, REBAR, RELAX, with "
        "Gumbel-Softmax competitive but biased. The last two differences of each table are ours. "
        "A claim is resolved where the 95 % interval of differences between runs of one seed "
        "(Student's t) leaves out zero. The constant of score_constant is the mean cost of the "
        "first step, soon out of date; VIMCO trains the bound of two draws.",
        "",
        "![ELBO and gradient variance against steps](training.png)",
    ]
    for name, study in STUDIES.items():
        groups = grouped([r for r in runs if r["study"] == name])
        if groups:
            lines += ["", f"## {study.title}", "", *rows_of(groups)]
            if name != "gaussian":
                lines += ["", *order_of(groups)]
    text = "\n".join(lines) + "\n"
    (out / "README.md").write_text(text)
    print(text)
    draw(runs).savefig(out / "training.png", dpi=90)


def grouped(runs: list[dict[str, Any]]) -> dict[str, dict[int, dict[str, Any]]]:
    """Runs by estimator and seed, the best test ELBO first."""
    groups: dict[str, dict[int, dict[str, Any]]] = {}
    for r in runs:
        groups.setdefault(r["estimator"], {})[r["seed"]] = r
    return dict(sorted(groups.items(), key=lambda g: -mean_of(g[1].values(), "test_elbo")[0]))


def rows_of(groups: dict[str, dict[int, dict[str, Any]]]) -> list[str]:
    lines = [f"| estimator | seeds | {' | '.join(COLUMNS.values())} |"]
    lines.append("| --- " * (2 + len(COLUMNS)) + "|")
    for estimator, group in groups.items():
        cells = []
        for column in COLUMNS:
            mean, error = mean_of(group.values(), column)
            form = ".2g" if column == "variance" else ".2f"
            cells.append(f"{mean:{form}}" + ("" if math.isnan(error) else f" ± {error:{form}}"))
        lines.append(f"| {estimator} | {len(group)} | {' | '.join(cells)} |")
    return lines


def order_of(groups: dict[str, dict[int, dict[str, Any]]]) -> list[str]:
    """The order of the estimators, by the differences of runs of the same seed."""
    from scipy.stats import t

    lines = ["| claim | difference in test ELBO, 95 % | verdict |", "| --- | --- | --- |"]
    for worse, better in ORDER:
        seeds = sorted(set(groups.get(worse, {})) & set(groups.get(better, {})))
        gaps = [groups[better][s]["test_elbo"] - groups[worse][s]["test_elbo"] for s in seeds]
        if len(gaps) < 2:
            continue
        mean, error = statistics.mean(gaps), statistics.stdev(gaps) / math.sqrt(len(gaps))
        half = error * t.ppf(0.975, len(gaps) - 1)
        verdict = "not resolved" if abs(mean) <= half else "confirmed" if mean > 0 else "refuted"
        lines.append(f"| {worse} < {better} | {mean:+.2f} ± {half:.2f} | {verdict} |")
    return lines


def mean_of(group: Iterable[dict[str, Any]], column: str) -> tuple[float, float]:
    """Mean and standard error over seeds."""
    values = [r[column] for r in group]
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return statistics.mean(values), error


def draw(runs: list[dict[str, Any]]) -> Any:
    """Test ELBO and gradient variance against steps, one line per estimator, the seeds' range."""
    from matplotlib.figure import Figure

    studies = [name for name in STUDIES if any(r["study"] == name for r in runs)]
    figure = Figure(figsize=(13, 4.2 * len(studies)), layout="constrained")
    axes = figure.subplots(len(studies), 2, squeeze=False)
    for (left, right), study in zip(axes, studies, strict=True):
        groups = grouped([r for r in runs if r["study"] == study])
        for estimator, group in groups.items():
            i = STUDIES[study].estimators.index(estimator)
            steps = next(iter(group.values()))["along"]["step"]
            style = {"color": f"C{i % 10}", "ls": "-" if i < 10 else "--", "marker": ".", "lw": 1.2}
            for ax, kind in ((left, "test_elbo"), (right, "variance")):
                values = torch.tensor([r["along"][kind] for r in group.values()])
                ax.plot(steps, values.mean(0), label=estimator, **style)
                low, high = values.amin(0), values.amax(0)
                ax.fill_between(steps, low, high, color=style["color"], alpha=0.15, lw=0)
        left.set(xscale="log", ylabel="test ELBO, nats per image", title=STUDIES[study].title)
        right.set(xscale="log", yscale="log", ylabel="variance of the encoder gradient")
        right.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    for ax in axes[-1]:
        ax.set_xlabel("step")
    return figure


# --- Command line -----------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description="Gradient estimators, measured.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--closed-forms", action="store_true", help="exact and measured variances")
    what.add_argument("--speed", action="store_true", help="vectorised draws against eager Pyro")
    what.add_argument("--train", nargs="+", choices=STUDIES, help="the runs that are missing")
    what.add_argument("--table", action="store_true", help="table and figure of finished runs")
    parser.add_argument("--draws", type=int, help="1,000,000 of closed forms, 1,000 of speed")
    parser.add_argument("--batch", type=int, default=100, help="images per step")
    parser.add_argument("--loops", type=int, default=300, help="eager steps timed")
    parser.add_argument("--estimators", nargs="+", choices=DISCRETE, help="some of them only")
    parser.add_argument("--steps", type=int, default=3200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--samples", type=int, default=200, help="of the bound, per image")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--data", type=Path, help="a folder with IDX files; else embedded")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.closed_forms:
        closed_forms(options.draws or 1_000_000)
    elif options.speed:
        speed(options.draws or 1000, options.batch, options.loops)
    elif options.train:
        training(options.train, options)
    else:
        tabulate(options.out)


if __name__ == "__main__":
    main()
