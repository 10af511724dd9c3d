"""The tour: one question to a graph, one false claim, one fit, two models and two estimators.

:func:`run` does each on real data and leaves a page ``index.html`` with the pictures and numbers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import graphs
import ppl_gen
from ppl_gen import data, gradients, metrics, plot, zoo
from ppl_gen._random import seeded
from ppl_gen.app.page import Section, to_html, to_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUERIES = (
    "F _||_ D",
    "S _||_ D | I",
    "M _||_ F",
    "M _||_ F | D",
    "M _||_ T | D",
    "M _||_ S | I",
    "M _||_ F | T",
)
WRONG_CLAIM = "1/Z phi(C) phi(O,S) phi(B,S) phi(O,T,A) phi(A,T,M) phi(B,T,M)"
DATA_POINTS = (0.1, 0.5, 1.0, 2.0, 5.0, 20.0, 100.0)


def run(out: Path, *, smoke: bool = False, progress: bool = True) -> dict[str, float]:
    """Do the tour and write its page.

    Args:
        out: the folder for ``index.html`` and the pictures; created when missing.
        smoke: the smallest run of every step, for checking that it works.
        progress: whether to print the sections and show progress bars.

    Returns:
        The numbers on the page by name.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    models = _Models(smoke, progress)
    stops: tuple[Callable[[], tuple[Section, Figure]], ...] = (
        _ask,
        _refute,
        lambda: _fit_gamma(smoke, progress),
        models.train,
        models.compare_gradients,
    )
    sections = []
    for number, stop in enumerate(stops, start=1):
        section, figure = stop()
        section.picture = f"{number}.png"
        figure.savefig(out / section.picture, dpi=120)
        _close(figure)
        sections.append(section)
        if progress:
            print("\n" + to_text(number, section))
    page = out / "index.html"
    more = (
        _study(out),
        "The first network, to step through; graphs.page(model) makes one to ask on.",
    )
    title = f"Tour of ppl-gen {ppl_gen.__version__}"
    page.write_text(to_html(title, sections, more), encoding="utf-8")
    if progress:
        seconds = time.perf_counter() - start
        print(f"\nThe pictures and numbers are in {page.resolve()} ({seconds:.0f} s).")
    return {name: value for section in sections for name, value in section.numbers.items()}


def _study(out: Path) -> str:
    """A page on which the collider of the first network opens and T closes the path again."""
    study = graphs.page(graphs.textbook.diagnosis(), query="M _||_ F")
    for node in ("D", "T"):
        study.handle({"type": "observe", "node": node})
    study.save(out / "study.html")
    return "study.html"


# --- Stops --------------------------------------------------------------------------------------


def _ask() -> tuple[Section, Figure]:
    model = graphs.textbook.diagnosis()
    answers = [graphs.query(model, text) for text in QUERIES]
    figure, axes = _axes(1, 2, 9.5, 3.8)
    for ax, text in zip(axes, ("M _||_ F | D", "M _||_ F | T"), strict=True):
        graphs.query(model, text).draw(ax)
    section = Section(
        "What is independent of what, and why",
        f"The network {model}. Left: observing D opens the path from M to F. Right: T closes it.",
        [("query", "answer"), *((str(r), "yes" if r else "no") for r in answers)],
        graphs.query(model, "M _||_ F | D").explain(),
        numbers={f"A1 {text}": float(bool(r)) for text, r in zip(QUERIES, answers, strict=True)},
    )
    return section, figure


def _refute() -> tuple[Section, Figure]:
    model = graphs.textbook.campus()
    verdict = graphs.check(model, WRONG_CLAIM)
    figure, (left, right) = _axes(1, 2, 9.5, 3.8)
    moral = graphs.moralize(model)
    claimed = graphs.parse(WRONG_CLAIM).graph
    lost = [(u, v) for u, v in moral.edges if not claimed.has_edge(u, v)]
    graphs.draw(moral, left, title="the moral graph; dashed: parents that were married")
    graphs.draw(moral, right, dashed=lost, title="the claim has no factor for the dashed edge")
    section = Section(
        "A homework claim, refuted",
        f"Does the network {model} factorize as {graphs.parse(WRONG_CLAIM)}?",
        [("claim", "holds"), ("the factorization above", "yes" if verdict else "no")],
        verdict.explain(),
        numbers={"claim holds": float(bool(verdict))},
    )
    return section, figure


def _fit_gamma(smoke: bool, progress: bool) -> tuple[Section, Figure]:
    points = DATA_POINTS[::3] if smoke else DATA_POINTS
    fits = [graphs.gamma.fit(x, progress=progress) for x in points]
    figure, axes = _axes(1, 1, 5.6, 4.0)
    graphs.gamma.plot(fits, ax=axes)
    worst = max(abs(fit.theta / fit.optimum - 1) for fit in fits)
    section = Section(
        "Variational inference that lands on its closed form",
        "Z ~ Exponential(1), X | Z ~ Exponential(Z), guide Gamma(2, θ), fitted by Pyro's SVI: the "
        "optimum is θ = x + 1, where the loss is 2 log(1 + x) for every sample.",
        [
            ("x", "fitted θ", "x + 1", "final loss", "2 log(1 + x)"),
            *(
                (
                    f"{fit.x:g}",
                    f"{fit.theta:.5f}",
                    f"{fit.optimum:g}",
                    f"{fit.losses[-1]:.5f}",
                    f"{-graphs.gamma.log_evidence(fit.x):.5f}",
                )
                for fit in fits
            ),
        ],
        numbers={"gamma error": worst},
    )
    return section, figure


class _Models:
    """A VAE and an autoencoder of the same networks on the same digits."""

    def __init__(self, smoke: bool, progress: bool):
        self.smoke, self.progress = smoke, progress
        self.digits = data.mnist()
        with seeded(0):
            self.vae, self.autoencoder = zoo.vae(), zoo.autoencoder()

    def train(self) -> tuple[Section, Figure]:
        images, test = self.digits.train.images, self.digits.test.images
        if self.smoke:
            images, test = images[:512], test[:100]
        rows: list[tuple[str, ...]] = [
            ("model", "reconstruction", "KL", "test ELBO", "log p(x), importance sampled")
        ]
        numbers: dict[str, float] = {}
        for name, model in (("vae", self.vae), ("autoencoder", self.autoencoder)):
            self._say(f"training the {name}")
            ppl_gen.fit(
                model,
                images,
                epochs=2 if self.smoke else 60,
                progress=self.progress,
                staged=False if self.smoke else "auto",
            )
            found = metrics.elbo_terms(model, test)
            numbers |= {
                f"{name} reconstruction": found.reconstruction,
                f"{name} kl": found.kl,
                f"{name} elbo": found.elbo,
            }
            bound = "not defined: a point posterior"
            if model is self.vae:
                count = 10 if self.smoke else 500
                values = metrics.log_likelihood(model, test, count)
                numbers["vae log likelihood"] = values.mean().item()
                bound = f"{values.mean():.2f} ({count} samples)"
            parts = (found.reconstruction, found.kl, found.elbo)
            rows.append((name, *(f"{part:.2f}" for part in parts), bound))
        figure, axes = _axes(2, 2, 8.4, 5.9, height_ratios=(3.6, 1))
        for column, (title, model) in enumerate(
            (("VAE", self.vae), ("autoencoder", self.autoencoder))
        ):
            plot.samples(model, 49, axes[0, column])
            axes[0, column].set_title(f"{title}: decoded draws from N(0, I)", fontsize=10)
            plot.reconstructions(model, test[:8], ax=axes[1, column])
            axes[1, column].set_title("test digits and reconstructions", fontsize=10)
        section = Section(
            "Why an autoencoder cannot be sampled",
            f"Both models have the same networks and {len(images):,} real digits to train on; the "
            "numbers are means in nats per image over "
            f"{len(test):,} test digits ({metrics.binarization(test)}). The autoencoder "
            "reconstructs better, but nothing ties its codes to the prior, so draws from the prior "
            "decode to no digit.",
            rows,
            numbers=numbers,
        )
        return section, figure

    def compare_gradients(self) -> tuple[Section, Figure]:
        self._say("comparing gradient estimators")
        problem = gradients.gaussian_vae(self.vae, self.digits.test.images[:16])
        draws = 50 if self.smoke else 500
        comparison = gradients.compare(problem, ["score", "reparameterized"], draws=draws)
        table: dict[str, Any] = {
            str(row["estimator"]): row for row in comparison.to_frame().to_dict("records")
        }
        ratio = table["score"]["variance"] / table["reparameterized"]["variance"]
        figure, axes = _axes(1, 1, 6.4, 3.4)
        comparison.plot(ax=axes)
        section = Section(
            "Two estimators of one gradient",
            "The gradient of the trained VAE's ELBO in the encoder's parameters, by the score "
            f"function and by reparameterisation, {draws} draws each on 16 digits: the score "
            f"function's variance is {ratio:,.0f} times larger.",
            [
                ("estimator", "total variance per draw", "signal-to-noise ratio"),
                *(
                    (name, f"{row['variance']:.4g}", f"{row['snr']:.3g}")
                    for name, row in table.items()
                ),
            ],
            numbers={"variance ratio": float(ratio)},
        )
        return section, figure

    def _say(self, text: str) -> None:
        if self.progress:
            print(f"\n… {text}", flush=True)


def _axes(rows: int, columns: int, width: float, height: float, **ratios: Any) -> Any:
    import matplotlib.pyplot as plt

    return plt.subplots(
        rows, columns, figsize=(width, height), layout="constrained", gridspec_kw=ratios or None
    )


def _close(figure: Figure) -> None:
    import matplotlib.pyplot as plt

    plt.close(figure)
