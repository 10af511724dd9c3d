"""Diffusion in codes, guidance, diffusion priors and the parts of a U-Net, on MNIST.

    OMP_NUM_THREADS=1 python tests/benchmarks/latent_diffusion.py            # what is missing
    OMP_NUM_THREADS=1 python tests/benchmarks/latent_diffusion.py --rows together --seeds 1
    OMP_NUM_THREADS=1 python tests/benchmarks/latent_diffusion.py --scale 0.01 --limit 99 --out t
    OMP_NUM_THREADS=1 python tests/benchmarks/latent_diffusion.py --table    # of all there are

A finished run is ``OUT/ROW-SEED.json``, written whole or not at all, so that a study goes on where
it was stopped; the table goes to ``docs/results/latent_diffusion.md`` by ``--write``, with what is
said of it in ``OUT/remarks.md``. Runs of another scale or other images are refused: they need
another ``--out``.

Images: ``--data embedded`` or a folder of IDX files; of the 10,000 test images that are here, 8,000
train and 2,000 test. Everything runs on one core. Distances are those of as many samples as there
are test images; the digit classifier hardly sees blur, so that edges (the mean gradient of pixels
beside that of test images) and the distance to the nearest training and test images stand beside.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import ppl_gen
from ppl_gen import data, metrics, zoo
from ppl_gen.data import Split
from ppl_gen.denoisers import Denoiser
from ppl_gen.metrics.features import digit_classifier
from ppl_gen.models.diffusion import Diffusion
from ppl_gen.models.latent_diffusion import LatentDiffusion
from ppl_gen.networks import UNet
from ppl_gen.noise import Cosine
from ppl_gen.priors import DiffusionPrior

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "tests" / "benchmarks" / "results" / "latent_diffusion"
PAGE = ROOT / "docs" / "results" / "latent_diffusion.md"

LATENT, WIDE = 20, 40
FIRST, SECOND, LONG, BOTH, PIXELS = 60, 160, 320, 90, 12  # epochs of each kind of training
GUIDED = 140  # of a U-Net of pixels
LONGER = 170  # epochs of both in turns that take five minutes
EACH, FEW = 60, (3, 40, 80)  # epochs of each denoiser of few steps, and how many steps
WEIGHTS = (0.0, 1.0, 2.0, 3.0, 4.0)
SCORED, PARTICLES, LEVELS = 200, 50, 24  # images, importance samples and noise levels of log p(x)
MANY = 500  # importance samples of all images, where densities are cheap
SHOWN = 20
Numbers = dict[str, float]


class Work:
    """The images, and how long training takes beside what the table is for."""

    def __init__(self, digits: Split, scale: float, seed: int):
        self.digits, self.scale, self.seed = digits, scale, seed
        self.seconds = 0.0
        self.values: dict[str, list[float]] = {}  # of single images
        self.shown: dict[str, Tensor] = {}
        torch.manual_seed(seed)

    @property
    def real(self) -> Tensor:
        return grey(self.digits.test)

    def fit(self, model: Any, epochs: int, **how: Any) -> Any:
        """Train, with a rate that falls linearly to 0 unless told otherwise."""
        how = {"scheduler": "falling", **how, "epochs": max(1, round(self.scale * epochs))}
        started = time.process_time()
        ppl_gen.fit(model, self.digits.train, seed=self.seed, progress=False, **how)
        self.seconds += time.process_time() - started
        return model


def grey(images: data.ImageSet) -> Tensor:
    return images.images if images.intensities is None else images.intensities


# --- What is measured -------------------------------------------------------------------------


def edges(images: Tensor) -> float:
    down, right = images.diff(dim=2)[..., :-1], images.diff(dim=3)[:, :, :-1]
    return torch.hypot(down, right).mean().item()


def looks(work: Work, images: Tensor) -> Numbers:
    """How samples compare with test images, and with the nearest of either set."""
    real, train = work.real, grey(work.digits.train)[: len(work.real)]
    some = images[:500].flatten(1)
    return {
        "fid": metrics.fid(real, images).value,
        "kid": 1e3 * metrics.kid(real, images).value,
        "edges": edges(images) / edges(real),
        "nearest_train": torch.cdist(some, train.flatten(1)).amin(1).mean().item(),
        "nearest_test": torch.cdist(some, real.flatten(1)).amin(1).mean().item(),
    }


def distance(work: Work, images: Tensor) -> float:
    return metrics.fid(work.real, images).value


@torch.no_grad()
def accuracy(images: Tensor, labels: Tensor) -> float:
    return (digit_classifier().logits(images).argmax(1) == labels).float().mean().item()


def unconditional(work: Work, model: LatentDiffusion | Diffusion) -> Numbers:
    n, started = len(work.real), time.process_time()
    samples = model.sample(n, steps=50, sampler="ddim", seed=0)
    found = {"seconds": time.process_time() - started, **looks(work, samples)}
    work.shown["DDIM 50"] = samples[:SHOWN]
    for name, sampler, steps in (("ddim_5", "ddim", 5), ("ddim_20", "ddim", 20)):
        found[name] = distance(work, model.sample(n, steps=steps, sampler=sampler, seed=0))
    found["ancestral_40"] = distance(work, model.sample(n, steps=40, sampler="ancestral", seed=0))
    return found


# --- Rows -------------------------------------------------------------------------------------

AUTOENCODERS: dict[str, Callable[[], ppl_gen.VAE]] = {
    "autoencoder": lambda: zoo.autoencoder(latent_dim=LATENT),
    "beta_vae .1": lambda: zoo.beta_vae(latent_dim=LATENT, beta=0.1),
    "vae": lambda: zoo.vae(latent_dim=LATENT),
    "vq_vae": lambda: zoo.vq_vae(latent_dim=16),
}


def latent(kind: str, num_classes: int = 0, epochs: int = SECOND) -> Callable[[Work], Numbers]:
    """Two stages: an autoencoder, then the diffusion of its codes."""

    def run(work: Work) -> Numbers:
        vae = work.fit(AUTOENCODERS[kind](), FIRST, scheduler="constant")
        size = 16 if kind == "vq_vae" else LATENT
        model = zoo.latent_diffusion(latent_dim=size, autoencoder=vae, num_classes=num_classes)
        work.fit(model, epochs, batch_size=256)
        if num_classes:
            return guided(work, model)
        found = {
            "reconstructed": distance(work, vae.reconstruct(work.real)),
            "own_prior": distance(work, vae.sample(len(work.real), seed=0)),
        }
        return found | unconditional(work, model)

    return run


def together(epochs: int) -> Callable[[Work], Numbers]:
    """The defaults: a turn of the autoencoder, one of the denoiser."""

    def run(work: Work) -> Numbers:
        model = work.fit(zoo.latent_diffusion(), epochs, scheduler=None)
        return {
            "reconstructed": distance(work, model.autoencoder.reconstruct(work.real)),
            **unconditional(work, model),
        }

    return run


def few(work: Work) -> Numbers:
    """Few steps: by denoisers trained at so many times, and by one of a thousand, respaced."""
    vae = work.fit(AUTOENCODERS["autoencoder"](), FIRST, scheduler="constant")
    found = {}
    for kind, times in (("respaced", 1000), *(("trained", steps) for steps in FEW)):
        model = zoo.latent_diffusion(latent_dim=LATENT, autoencoder=vae, steps=times)
        work.fit(model, EACH, batch_size=256)
        for steps in FEW if kind == "respaced" else (times,):
            images = model.sample(len(work.real), steps=steps, sampler="ancestral", seed=0)
            work.shown[f"{kind} {steps}"] = images[:SHOWN]
            found[f"{kind}_{steps}"] = distance(work, images)
    return found


def guided(
    work: Work,
    model: LatentDiffusion | Diffusion,
    weights: tuple[float, ...] = WEIGHTS,
    steps: int = 50,
    **how: Any,
) -> Numbers:
    """FID and class accuracy by the weight of guidance."""
    labels, found = work.digits.test.labels, {}
    how = {"sampler": "ddim", **how, "steps": steps, "seed": 0}
    for weight in weights:
        images = model.sample(len(labels), labels, guidance=weight, **how)
        work.shown[f"w = {weight:g}"] = images[:SHOWN]
        found[f"fid_{weight:g}"] = distance(work, images)
        found[f"accuracy_{weight:g}"] = accuracy(images, labels)
    return found


def evidence(kind: str) -> Callable[[Work], Numbers]:
    """log p(x) of a VAE by its prior, on binary images."""

    def run(work: Work) -> Numbers:
        if kind == "vamp":
            vae = zoo.vamp_vae(latent_dim=WIDE, pseudo_inputs=work.digits.train.images[:100])
        else:
            vae = zoo.vae(latent_dim=WIDE)
        prior = DiffusionPrior(WIDE, likelihood_steps=LEVELS)
        if kind == "joint":
            work.fit(prior.on(vae, jointly=True), FIRST + SECOND // 2)
        else:
            work.fit(vae, 40, lr=2e-3, scheduler="constant")
        if kind == "two stages":
            work.fit(prior.on(vae), SECOND, batch_size=256)
        if kind in ("joint", "two stages"):
            vae.latents[0].prior = prior
        images = work.digits.test.images
        found = metrics.log_likelihood(vae, images[:SCORED], PARTICLES, seed=0)
        work.values["log_p"] = found.tolist()
        samples = vae.sample(len(work.real), seed=0)
        work.shown[kind] = samples[:SHOWN]
        numbers = {"log_p": found.mean().item(), "fid": distance(work, samples)}
        if kind in ("standard", "vamp"):  # of others a density costs too much
            numbers["log_p_all"] = metrics.log_likelihood(vae, images, MANY, seed=0).mean().item()
        return numbers

    return run


def guided_pixels(work: Work) -> Numbers:
    """A U-Net of pixels that is told labels, trained for half an hour."""
    model = work.fit(zoo.guided_ddpm(hidden=64), GUIDED, batch_size=64, lr=2e-3, clip_norm=1.0)
    how = {"sampler": "ancestral", "batch_size": 250, "staged": True}
    return guided(work, model, (1.0, 2.0), 40, **how)


ABLATIONS: dict[str, dict[str, Any]] = {
    "full": {},
    "no skips": {"skips": False},
    "no time": {"timed": False},
    "no attention": {"attend": False},
    "no normalisation": {"normalize": False},
    "one scale": {"widths": (40,), "blocks": 2},
}


def unet(name: str) -> Callable[[Work], Numbers]:
    """A U-Net of pixels, with a part left out at an equal number of parameters."""

    def run(work: Work) -> Numbers:
        network = UNet(**({"widths": (16, 32), "num_classes": 10} | ABLATIONS[name]))
        denoiser = Denoiser(network, Cosine())
        model = Diffusion(denoiser, (1, 28, 28), levels=256, num_classes=10, drop=0.15)
        work.fit(model, PIXELS, batch_size=64, lr=2e-3, clip_norm=1.0, ema=0.999)
        labels = work.digits.test.labels[:1000]
        images = model.sample(1000, labels, steps=40, sampler="ancestral", seed=0)
        work.shown["ancestral 40"] = images[:SHOWN]
        test = work.digits.test
        with torch.random.fork_rng():
            torch.manual_seed(0)
            held_out = model.evaluate(test.images[:1000], labels)
        return {
            "parameters": sum(p.numel() for p in network.parameters()),
            "error": held_out["error"].item(),
            "accuracy": accuracy(images, labels),
            **looks(work, images),
        }

    return run


ROWS: dict[str, tuple[str, Callable[[Work], Numbers]]] = {
    "together": ("latents", together(BOTH)),
    "together, longer": ("latents", together(LONGER)),
    **{name: ("latents", latent(name)) for name in AUTOENCODERS},
    "autoencoder, longer": ("latents", latent("autoencoder", epochs=LONG)),
    "guided": ("guidance", latent("autoencoder", 10)),
    "guided pixels": ("guidance", guided_pixels),
    "few steps": ("few", few),
    **{
        f"prior {name}": ("evidence", evidence(name))
        for name in ("standard", "vamp", "two stages", "joint")
    },
    **{f"unet {name}": ("unet", unet(name)) for name in ABLATIONS},
}
BINARY = ("evidence",)


# --- Runs and tables --------------------------------------------------------------------------


def stored(folder: Path, row: str, seed: int) -> Path:
    return folder / f"{row.replace(',', '').replace(' ', '_')}-{seed}.json"


def make(row: str, seed: int, settings: dict[str, Any], folder: Path) -> None:
    """Make a run unless it is there."""
    path, (kind, run) = stored(folder, row, seed), ROWS[row]
    if path.exists():
        found = json.loads(path.read_text())["settings"]
        if found != settings:
            raise SystemExit(f"expected a run of {settings} in {path}, got {found}: use --out")
        return
    digits = data.mnist(settings["data"], binarize="dynamic" if kind in BINARY else None)
    if (limit := settings["limit"]) is not None:
        digits = Split(*(part.subset(range(limit)) for part in digits))
    work = Work(digits, settings["scale"], seed)
    started = time.process_time()
    numbers = run(work)
    found = {
        "row": row,
        "seed": seed,
        "numbers": {**numbers, "training": work.seconds},
        "values": work.values,
        "seconds": time.process_time() - started,
        "settings": settings,
        "images": [len(digits.train), len(digits.test)],
        "date": str(datetime.date.today()),
        "torch": torch.__version__,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "samples").mkdir(exist_ok=True)
    titles = {what: row if what in row else f"{row}, {what}" for what in work.shown}
    shown = {titles[what]: (255 * x).round().byte() for what, x in work.shown.items()}
    torch.save(shown, folder / "samples" / f"{path.stem}.pt")
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(found, indent=1) + "\n")
    os.replace(partial, path)
    print(f"{row}, seed {seed}: {found['seconds']:.0f} s", flush=True)


def draw_samples(folder: Path, real: Tensor) -> None:
    """The first samples of every row of seed 0, under test images."""
    import matplotlib.pyplot as plt

    shown = {"test images": real[:SHOWN]}
    for row in ROWS:
        kept = folder / "samples" / f"{stored(folder, row, 0).stem}.pt"
        if kept.exists():
            shown |= {title: x / 255 for title, x in torch.load(kept).items()}
    figure, axes = plt.subplots(
        len(shown), 1, figsize=(9, 0.62 * len(shown)), layout="constrained", squeeze=False
    )
    for ax, (title, images) in zip(axes[:, 0], shown.items(), strict=True):
        ppl_gen.plot.images(images, ax, columns=SHOWN)
        ax.set_title(title, fontsize=8, loc="left", pad=2)
    figure.savefig(folder / "samples.png", dpi=110)
    plt.close(figure)


def cell(values: list[float]) -> str:
    mean = statistics.fmean(values)
    spread = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
    return f"{mean:.3g}{spread}" if abs(mean) < 1000 else f"{mean:,.0f}"


TITLES = {
    "latents": "Samples without labels: FID by sampler, DDIM 50 where no other is named",
    "guidance": "Guidance: FID and class accuracy by the weight w, DDIM 50, of pixels ancestral 40",
    "few": "Few steps, ancestral: FID of a denoiser trained at T times, and of one respaced",
    "evidence": f"log p(x) of {SCORED} binary test images, {PARTICLES} importance samples each; "
    f"log_p_all of all, {MANY} each",
    "unet": "A U-Net of pixels with a part left out, at equal parameters, class-conditional",
}


def tables(folder: Path) -> str:
    """All runs there are, a table for each kind."""
    runs = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    lines = []
    for kind, title in TITLES.items():
        mine = [run for run in runs if ROWS[run["row"]][0] == kind]
        if not mine:
            continue
        names = list(dict.fromkeys(key for run in mine for key in run["numbers"]))
        lines += [f"## {title}", "", f"| row | seeds | {' | '.join(names)} |"]
        lines.append("| --- |" + " --- |" * (len(names) + 1))
        for row in ROWS:
            own = [run["numbers"] for run in mine if run["row"] == row]
            if own:
                cells = [cell([r[n] for r in own]) if n in own[0] else "–" for n in names]
                lines.append(f"| {row} | {len(own)} | {' | '.join(cells)} |")
        lines += ["", *(differences(mine) if kind == "evidence" else ())]
    return "\n".join(lines)


def differences(runs: list[dict[str, Any]]) -> list[str]:
    """How log p(x) differs from that under the VampPrior, image by image."""
    found = {(run["row"], run["seed"]): torch.tensor(run["values"]["log_p"]) for run in runs}
    lines = []
    for row in dict.fromkeys(row for row, _ in found):
        own = [
            values - found["prior vamp", seed]
            for (name, seed), values in found.items()
            if name == row != "prior vamp" and ("prior vamp", seed) in found
        ]
        if own:
            mean = torch.stack(own).mean(0)  # over seeds
            error = mean.std().item() / len(mean) ** 0.5
            lines.append(
                f"- {row}: {mean.mean():+.2f} nats beside the VampPrior on the same images, with a "
                f"standard error over images of {error:.2f}; seeds: {len(own)}"
            )
    return [*lines, ""]


COLUMNS = """\
`reconstructed`, `own_prior`, `fid`, `ddim_5`, `ddim_20` and `ancestral_40` are FIDs, of test images
that were encoded and decoded, of samples by the autoencoder's own prior, by DDIM in 50 steps and by
the sampler and the number of steps of the name. `kid` is in thousandths; `edges` is the mean
gradient of pixels over that of test images, less than 1 where samples are blurred; `nearest_train`
and `nearest_test` are distances to the nearest image of either set. `training`, and `seconds` of
the sampling, are seconds of the processor.

"""


def page(folder: Path) -> str:
    """The page of results."""
    runs = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    dates, remarks = sorted({run["date"] for run in runs}), folder / "remarks.md"
    said = "\n" + remarks.read_text() if remarks.exists() else ""
    train, test = runs[0]["images"]
    own, usual = runs[0]["settings"], {"data": "tests/data", "scale": 1.0, "limit": None}
    shown = "".join(f" --{k} {v}" for k, v in own.items() if v != usual[k])
    return (
        "# Diffusion in codes\n\n"
        f"Measured {dates[-1]} with `OMP_NUM_THREADS=1 python "
        f"tests/benchmarks/latent_diffusion.py{shown}`, torch {runs[0]['torch']}, one core; "
        f"{train:,} images of MNIST for training, {test:,} for testing. Means over seeds ± their "
        "standard deviation; rows of the script that are not here have not been run.\n\n"
        + COLUMNS
        + tables(folder)
        + said
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="times the epochs of every row")
    parser.add_argument("--limit", type=int, help="use so many images of either set, for a trial")
    parser.add_argument("--data", default=str(ROOT / "tests" / "data"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="make no runs")
    parser.add_argument("--write", action="store_true", help="write the page of results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    embedded = arguments.data == "embedded"
    name = "embedded" if embedded else os.path.relpath(arguments.data, ROOT)
    settings = {"data": name, "scale": arguments.scale, "limit": arguments.limit}
    if not arguments.table:
        os.chdir(ROOT)
        for seed in range(arguments.seeds):
            for row in arguments.rows:
                make(row, seed, settings, arguments.out)
    text = page(arguments.out) if any(arguments.out.glob("*.json")) else "no runs yet"
    if arguments.write:
        PAGE.write_text(text)
        draw_samples(arguments.out, data.mnist(settings["data"]).test.images)
    print(text)


if __name__ == "__main__":
    main()
