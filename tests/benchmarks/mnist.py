"""What the models give on MNIST: four studies, and the time of a step beside pythae.

    OMP_NUM_THREADS=1 python tests/benchmarks/mnist.py control       # KL held at set points
    OMP_NUM_THREADS=1 python tests/benchmarks/mnist.py likelihood    # log p(x), beside pythae
    OMP_NUM_THREADS=1 python tests/benchmarks/mnist.py autoencoders  # reconstruction and samples
    OMP_NUM_THREADS=1 python tests/benchmarks/mnist.py vampprior     # active units and KL
    OMP_NUM_THREADS=1 python tests/benchmarks/mnist.py time          # of a step, beside pythae

A command makes the runs that are missing and prints the table of all there are. Each finished run
is a line of ``OUT/STUDY.jsonl``, pictures of the first seed are beside it, and a run that was
stopped starts over. ``--table`` trains nothing and only writes table and figure. Runs of other
settings do not mix: they need another ``--out``.

Images: IDX files in the folder ``--data``. Where only the 10,000 test images of MNIST are there,
8,000 of them, stratified by digit, are for training and 2,000 for testing. Every model has one
hidden layer of 400 in encoder and decoder and is trained by Adam on batches of 128, for 60 epochs
at 1e-3 under control and 40 at 2e-3 in the other studies; on one core all runs take about an hour.
``likelihood`` and ``time`` need pythae: ``pip install --no-deps pythae``, ``pip install pydantic``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mnist_results import BATCH, Budget, Column, Numbers, Run, Store, Study, draw, grey, table
from mnist_results import versions as installed
from torch import Tensor

import ppl_gen
from ppl_gen import VAE, data, metrics, zoo
from ppl_gen.data import Split
from ppl_gen.metrics.features import digit_classifier

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "tests" / "data"

HIDDEN, LATENT, WIDE, PARTICLES, COMPONENTS = 400, 20, 40, 5, 100
SAMPLES = 500
SCORED = 1_000  # test images whose log p(x) is estimated
LONG, SHORT = Budget(60, 1e-3), Budget(40, 2e-3)


def fitted(vae: VAE, digits: Split, seed: int, budget: Budget) -> Run:
    """Train with the settings that all models share."""
    weights: list[float] = []

    def watch(_: Mapping[str, float]) -> None:
        weights.append(float(getattr(vae.objective, "weight", vae.objective).value))

    history = ppl_gen.fit(
        vae,
        digits.train,
        batch_size=BATCH,
        seed=seed,
        progress=False,
        **budget._asdict(),
        callbacks=[watch] if hasattr(vae.objective, "weight") else [],
    )
    curves = {name: history[name] for name in ("elbo", "reconstruction", "kl")}
    return Run(vae, curves | ({"weight": weights} if weights else {}))


def trainer(build: Callable[[str, Split], VAE]) -> Callable[[str, Split, int, Budget], Run]:
    """How to train a row whose model is built from its name and the images."""

    def train(name: str, digits: Split, seed: int, budget: Budget) -> Run:
        torch.manual_seed(seed)
        return fitted(build(name, digits), digits, seed, budget)

    return train


# --- What is measured -------------------------------------------------------------------------


def distances(images: Tensor, digits: Split, suffix: str = "") -> Numbers:
    """How far generated images are from the test images, in the features of the classifier."""
    real = grey(digits.test)
    found = {"fid": metrics.fid(real, images).value, "kid": 1e3 * metrics.kid(real, images).value}
    return {name + suffix: value for name, value in found.items()}


def errors(vae: VAE, digits: Split) -> Numbers:
    """Squared error per pixel and image of reconstructed test images."""
    x = grey(digits.test)
    return {"squared_error": 1e3 * (vae.reconstruct(x) - x).square().mean().item()}


@torch.no_grad()
def from_codes(vae: VAE, digits: Split) -> Tensor:
    """Images of as many codes as there are test images, drawn from a normal fitted to codes."""
    codes = vae.code(grey(digits.train))
    covariance = torch.cov(codes.T) + 1e-6 * torch.eye(codes.shape[1])
    normal = torch.distributions.MultivariateNormal(codes.mean(0), covariance)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = normal.sample((len(digits.test),))
    return vae.likelihood.mean_image(vae.decode(drawn))


def log_p(vae: VAE, digits: Split, count: int) -> float:
    """The mean importance-sampled log-likelihood of the first test images."""
    return metrics.log_likelihood(vae, digits.test.images[:SCORED], count).mean().item()


def samples(vae: VAE, digits: Split) -> Tensor:
    return vae.sample(len(digits.test), seed=0)


# --- ControlVAE at set points -----------------------------------------------------------------


def measure_control(run: Run, digits: Split, count: int) -> Numbers:
    kl = np.array(run.curves["kl"])
    target = run.vae.objective.weight.target
    settled = float(kl[-len(kl) // 10 :].mean())
    terms = metrics.elbo_terms(run.vae, digits.test)
    return {
        "kl": settled,
        "off_by": 100 * abs(settled / target - 1),
        "beta": run.curves["weight"][-1],
        "test_kl": terms.kl,
        "distortion": -terms.reconstruction,
        **errors(run.vae, digits),
        **distances(samples(run.vae, digits), digits),
    }


CONTROL = Study(
    "ControlVAE: the KL at its set point, and what it buys",
    f"MLP 784-{HIDDEN}-{LATENT}; the rows are set points in nats per image.",
    "none",
    ("8", "14", "20", "26", "32"),
    trainer(lambda name, _: zoo.control_vae(latent_dim=LATENT, target_kl=float(name))),
    measure_control,
    {
        "kl": Column("KL, last 10 % of steps", ".2f"),
        "off_by": Column("off by, %", ".2f"),
        "beta": Column("β at the end", ".2f"),
        "distortion": Column("distortion, nats", ".1f"),
        "squared_error": Column("squared error, 10⁻³", ".1f"),
        "fid": Column("FID", ".1f"),
        "kid": Column("KID, 10⁻³", ".0f"),
    },
    ("kl", "weight", ("kl", "fid")),
    LONG,
)


# --- Likelihood beside pythae -----------------------------------------------------------------

OURS: dict[str, Callable[[], VAE]] = {
    "vae": lambda: zoo.vae(latent_dim=LATENT, hidden=HIDDEN),
    "iwae": lambda: zoo.iwae(latent_dim=LATENT, hidden=HIDDEN, num_particles=PARTICLES),
    "vamp_vae": lambda: zoo.vamp_vae(
        latent_dim=LATENT, hidden=HIDDEN, num_pseudo_inputs=COMPONENTS
    ),
    "hierarchical_vae": lambda: zoo.hierarchical_vae(
        latent_dim=LATENT, top_dim=LATENT // 2, hidden=HIDDEN
    ),
}
PEERS = {"pythae VAE": "vae", "pythae IWAE": "iwae", "pythae VAMP": "vamp_vae"}


def peer_of(name: str) -> Any:
    import mnist_pythae

    kind = name.removeprefix("pythae ")
    return mnist_pythae.build(kind, LATENT, HIDDEN, PARTICLES, COMPONENTS)


def train_either(name: str, digits: Split, seed: int, budget: Budget) -> Run:
    torch.manual_seed(seed)
    if name in OURS:
        return fitted(OURS[name](), digits, seed, budget)
    import mnist_pythae

    peer = peer_of(name)
    images = mnist_pythae.Dynamic(grey(digits.train), torch.zeros(len(digits.train)))
    mnist_pythae.train(peer, images, batch_size=BATCH, seed=seed, **budget._asdict())
    vae, few = mnist_pythae.as_vae(peer), digits.test.images[:50]
    theirs = mnist_pythae.own_estimate(peer, few, SAMPLES)
    ours = metrics.log_likelihood(vae, few, SAMPLES).mean().item()
    return Run(vae, extra={"own_minus_ours": theirs - ours})


def measure_likelihood(run: Run, digits: Split, count: int) -> Numbers:
    terms = metrics.elbo_terms(run.vae, digits.test)
    return {
        "log_p": log_p(run.vae, digits, count),
        "elbo": terms.elbo,
        "kl": terms.kl,
        **run.extra,
    }


LIKELIHOOD = Study(
    "Log-likelihood of test images, beside pythae",
    f"MLP 784-{HIDDEN}-{LATENT} ({LATENT // 2} above in the hierarchy), {PARTICLES} particles, "
    f"{COMPONENTS} pseudo-inputs; log p(x) of the first {SCORED:,} test images.",
    "dynamic",
    ("vae", "pythae VAE", "iwae", "pythae IWAE", "vamp_vae", "pythae VAMP", "hierarchical_vae"),
    train_either,
    measure_likelihood,
    {
        "log_p": Column(f"log p(x), {SAMPLES} samples", ".2f"),
        "elbo": Column("ELBO", ".2f"),
        "kl": Column("KL", ".2f"),
    },
    ("elbo", "kl", ("kl", "log_p")),
    SHORT,
)


# --- Autoencoders -----------------------------------------------------------------------------

AUTOENCODERS: dict[str, Callable[[], VAE]] = {
    "autoencoder": lambda: zoo.autoencoder(latent_dim=LATENT, hidden=HIDDEN),
    "vae": lambda: zoo.vae(latent_dim=LATENT, hidden=HIDDEN),
    "vq_vae": lambda: zoo.vq_vae(hidden=HIDDEN),
    "sc_vae": lambda: zoo.sc_vae(hidden=HIDDEN),
}


def measure_autoencoder(run: Run, digits: Split, count: int) -> Numbers:
    vae, test = run.vae, digits.test
    found = {
        "distortion": -metrics.elbo_terms(vae, test).reconstruction,
        **errors(vae, digits),
        **distances(samples(vae, digits), digits),
    }
    try:
        usage = metrics.codebook_usage(vae, test)
    except ValueError:
        found |= distances(from_codes(vae, digits), digits, "_fitted")
        found["sparsity"] = metrics.sparsity(vae, test)
        found["nonzero"] = (vae.code(test.images) != 0).float().sum(1).mean().item()
        found["active"] = metrics.active_units(vae, test)
    else:
        found |= {"used": 100 * usage.fraction, "perplexity": usage.perplexity}
    return found


AUTOENCODER = Study(
    "Autoencoders: reconstruction against samples",
    f"MLP 784-{HIDDEN}; {LATENT} dimensions for autoencoder and vae, 16 positions of 64 codes for "
    "vq_vae, 128 atoms over 32 features for sc_vae.",
    "none",
    tuple(AUTOENCODERS),
    trainer(lambda name, _: AUTOENCODERS[name]()),
    measure_autoencoder,
    {
        "squared_error": Column("squared error, 10⁻³", ".1f"),
        "distortion": Column("distortion, nats", ".1f"),
        "fid": Column("FID, own prior", ".1f"),
        "fid_fitted": Column("FID, normal fitted to codes", ".1f"),
        "kid": Column("KID, own prior, 10⁻³", ".0f"),
        "used": Column("codes used, %", ".0f"),
        "perplexity": Column("perplexity", ".1f"),
        "sparsity": Column("Hoyer sparsity", ".2f"),
        "nonzero": Column("non-zero entries", ".1f"),
        "active": Column("active units", ".0f"),
    },
    ("reconstruction", "kl", ("squared_error", "fid")),
    SHORT,
)


# --- VampPrior --------------------------------------------------------------------------------


def build_prior(name: str, digits: Split) -> VAE:
    if name == "standard normal":
        return zoo.vae(latent_dim=WIDE, hidden=HIDDEN)
    first = digits.train.images[:COMPONENTS]
    return zoo.vamp_vae(latent_dim=WIDE, hidden=HIDDEN, pseudo_inputs=first)


@torch.no_grad()
def informed(vae: VAE, images: Tensor) -> int:
    """Dimensions whose mean varies by more than a hundredth of the posterior's own variance.

    Under a standard normal prior these are the active units; a learned prior has no scale.
    """
    posterior = vae.encode(images)
    return int((posterior.mean.var(0) > 0.01 * posterior.variance.mean(0)).sum())


def measure_prior(run: Run, digits: Split, count: int) -> Numbers:
    found = metrics.rate_distortion(run.vae, digits.test)
    return {
        "active": found.active_units,
        "informed": informed(run.vae, digits.test.images),
        "kl": found.rate,
        "information": found.mutual_information,
        "marginal_kl": found.marginal_kl,
        "distortion": found.distortion,
        "log_p": log_p(run.vae, digits, count),
        **distances(samples(run.vae, digits), digits),
    }


VAMPPRIOR = Study(
    f"VampPrior of {COMPONENTS} components against the standard normal",
    f"MLP 784-{HIDDEN}-{WIDE}; log p(x) of the first {SCORED:,} test images.",
    "dynamic",
    ("standard normal", "VampPrior"),
    trainer(build_prior),
    measure_prior,
    {
        "active": Column(f"active units of {WIDE}", ".1f"),
        "informed": Column("relative to their noise", ".1f"),
        "kl": Column("KL", ".2f"),
        "information": Column("mutual information", ".2f"),
        "marginal_kl": Column("marginal KL", ".2f"),
        "distortion": Column("distortion, nats", ".2f"),
        "log_p": Column(f"log p(x), {SAMPLES} samples", ".2f"),
        "fid": Column("FID", ".1f"),
        "kid": Column("KID, 10⁻³", ".0f"),
    },
    ("elbo", "kl", ("marginal_kl", "fid")),
    SHORT,
)

STUDIES = {
    "control": CONTROL,
    "likelihood": LIKELIHOOD,
    "autoencoders": AUTOENCODER,
    "vampprior": VAMPPRIOR,
}


# --- The time of a step -----------------------------------------------------------------------


def intervals(train: Callable[[Callable[..., None]], Any]) -> tuple[float, float]:
    """Seconds besides the steps, and processor seconds of a step: the median of all.

    Whatever is compiled, at the first step and at the first short batch, is beside the steps.
    """
    wall, processor = [time.perf_counter()], [time.process_time()]

    def each(*_: Any) -> None:
        wall.append(time.perf_counter())
        processor.append(time.process_time())

    train(each)
    usual = float(np.median(np.diff(wall)))
    return wall[-1] - wall[0] - usual * (len(wall) - 1), float(np.median(np.diff(processor)))


def time_ours(name: str, images: Tensor, epochs: int) -> tuple[float, float]:
    vae = OURS[name]()
    settings = {"epochs": epochs, "batch_size": BATCH, "progress": False}
    return intervals(lambda each: ppl_gen.fit(vae, images, callbacks=[each], **settings))


def time_peer(name: str, images: Tensor, epochs: int) -> tuple[float, float]:
    import mnist_pythae

    peer, rows = peer_of(name), mnist_pythae.BaseDataset(images, torch.zeros(len(images)))
    settings = {"epochs": epochs, "batch_size": BATCH, "lr": 1e-3, "seed": 0}
    return intervals(lambda each: mnist_pythae.train(peer, rows, after_step=each, **settings))


def time_bare(name: str, images: Tensor, epochs: int) -> tuple[float, float]:
    """pythae's model and optimiser without its data loader and trainer."""
    peer = peer_of(name)
    optimiser = torch.optim.Adam(peer.parameters(), lr=1e-3)

    def train(each: Callable[..., None]) -> None:
        for _ in range(epochs):
            for rows in torch.randperm(len(images)).split(BATCH):
                loss = peer({"data": images[rows]}).loss
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                each()

    return intervals(train)


def measure_times(digits: Split, repeats: int, epochs: int = 2) -> dict[str, Any]:
    """Medians over interleaved repeats, of steps on the same fixed binary images.

    The first repeat compiles; the others find what it compiled on disk.
    """
    images = digits.train.images.round()
    jobs = [(name, time_ours) for name in OURS]
    jobs += [(name, time_peer) for name in PEERS] + [(name, time_bare) for name in PEERS]
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        for _, (name, job) in product(range(repeats), jobs):
            kind = "bare" if job is time_bare else "full"
            found.setdefault((name, kind), []).append(job(name, images, epochs))
    result: dict[str, Any] = {"date": str(datetime.date.today()), "versions": installed()}
    for (name, kind), pairs in found.items():
        first, *later = [start for start, _ in pairs]
        row = result.setdefault(name, {})
        row[f"{kind}_ms"] = 1e3 * statistics.median(step for _, step in pairs)
        row[f"{kind}_start"] = first, statistics.median(later or [first])
    return result


# --- Command line -----------------------------------------------------------------------------


def make_missing(study: Study, store: Store, digits: Split, options: argparse.Namespace) -> None:
    """Train and measure what is missing, seed by seed."""
    classifier = digit_classifier()
    right = classifier.logits(grey(digits.test)).argmax(1) == digits.test.labels
    some = grey(digits.train)[: len(digits.test)]
    about = {
        "extractor": classifier.name,
        "extractor_accuracy": right.double().mean().item(),
        "fid_of_training_images": metrics.fid(grey(digits.test), some).value,
    }
    budget = Budget(store.settings["epochs"], store.settings["lr"])
    for seed, model in store.missing(options.models or study.models, options.seeds):
        started = time.perf_counter()
        run = study.train(model, digits, seed, budget)
        seconds = time.perf_counter() - started
        numbers = study.measure(run, digits, options.samples)
        if seed == 0:
            store.keep_pictures(model, run.vae, digits)
        store.add(model, seed, run, numbers, about)
        shown = ", ".join(f"{key} {value:.4g}" for key, value in numbers.items())
        print(f"{model}, seed {seed}, {seconds:.0f} s: {shown}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Models on MNIST, measured.")
    parser.add_argument("study", choices=[*STUDIES, "time"])
    parser.add_argument("--data", type=Path, default=REFERENCE, help="a folder of IDX files")
    parser.add_argument("--out", type=Path, default=ROOT / "tests/benchmarks/results/mnist")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", nargs="+", help="rows to train; all by default")
    parser.add_argument("--epochs", type=int, help="other than the study's own")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="of log p(x), per image")
    parser.add_argument("--repeats", type=int, default=3, help="of each timing")
    parser.add_argument("--table", action="store_true", help="train nothing")
    options = parser.parse_args()
    times = options.out / "time.json"
    if options.study == "time":
        found = measure_times(data.mnist(options.data), options.repeats)
        times.parent.mkdir(parents=True, exist_ok=True)
        times.write_text(json.dumps(found, indent=1) + "\n")
        print(times.read_text())
        return
    study = STUDIES[options.study]
    unknown = set(options.models or ()) - set(study.models)
    if unknown:
        parser.error(f"expected models among {', '.join(study.models)}, got {', '.join(unknown)}")
    try:
        if options.table:
            store = Store(options.out, options.study, {})
        else:
            digits = data.mnist(options.data, binarize=study.binarize)
            settings = {
                "images": digits.train.name,
                "train": len(digits.train),
                "test": len(digits.test),
                "binarize": study.binarize,
                "epochs": options.epochs or study.budget.epochs,
                "lr": study.budget.lr,
                "samples": options.samples,
            }
            store = Store(options.out, options.study, settings)
            make_missing(study, store, digits, options)
    except ValueError as error:
        parser.error(str(error))
    if store.runs:
        draw(study, store)
    timed = study is LIKELIHOOD and times.exists()
    print(table(study, store, json.loads(times.read_text()) if timed else {}))


if __name__ == "__main__":
    main()
