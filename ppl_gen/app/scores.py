"""What the command line reports of a model on held-out data."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from ppl_gen import metrics
from ppl_gen.models.base import GenerativeModel
from ppl_gen.models.cycles import Cycle
from ppl_gen.models.diffusion import Diffusion
from ppl_gen.models.vae import VAE

# What is reported of neighbours, and of how many images there must be more.
AMONG, FEWEST = ("precision", "recall", "density", "coverage"), 5
DRAWS = 20  # of times, for the bound of a diffusion


def of_density(
    model: VAE, images: Tensor, labels: Tensor | None, num_samples: int
) -> dict[str, Any]:
    """Bounds on the evidence; the importance weighted one where the posterior has a density."""
    terms = metrics.elbo_terms(model, images, labels)
    found: dict[str, Any] = {
        "elbo": terms.elbo,
        "reconstruction": terms.reconstruction,
        "kl": terms.kl,
        "active_units": metrics.active_units(model, images, labels),
        "images": terms.num_images,
    }
    if terms.kl < math.inf:
        values = metrics.log_likelihood(model, images, num_samples, labels)
        found["log_likelihood"] = values.mean().item()
        found["num_samples"] = num_samples
    return found


def of_diffusion(
    model: Diffusion, images: Tensor, labels: Tensor | None, train: Tensor
) -> dict[str, Any]:
    """A bound on the evidence, from a few times for each datum; of images, distances too.

    Args:
        model: the diffusion.
        images: held-out data.
        labels: of these.
        train: the data it was trained on.
    """
    y = labels if model.num_classes else None
    bound = model.bound(images, y, draws=min(model.steps, DRAWS))
    found: dict[str, Any] = {"bound": bound.mean().item()}
    if model.levels is not None:
        found["bits_per_dim"] = model.bits_per_dim(bound).mean().item()
    if len(model.data_shape) == 3:
        found |= of_samples(model, images, labels, train)
    return found | {"images": len(images)}


def of_samples(
    model: GenerativeModel, images: Tensor, labels: Tensor | None, train: Tensor
) -> dict[str, Any]:
    """How as many draws as there are data compare with them, for a model without a density.

    Args:
        model: draws them.
        images: held-out data.
        labels: of these.
        train: the data it was trained on.
    """
    drawn = model.sample(len(images), labels if model.condition.size else None, seed=0)
    if len(model.data_shape) != 3:
        return {
            "sliced_wasserstein": metrics.sliced_wasserstein(images, drawn),
            "energy_distance": metrics.energy_distance(images, drawn),
            "rows": len(images),
        }
    extractor = "digits" if model.data_shape == (1, 28, 28) else "pixels"
    fid, kid = (f(images, drawn, extractor) for f in (metrics.fid, metrics.kid))
    found: dict[str, Any] = {"fid": fid.value, "kid": kid.value}
    if len(images) > FEWEST:
        among = metrics.neighbours(images, drawn, extractor)
        found |= {name: getattr(among, name) for name in AMONG}
    if extractor == "digits":
        classes = metrics.digit_classes(images, drawn)
        found |= {"class_kl": classes.kl, "confident": classes.confident}
    near = metrics.nearest(train, images, drawn, "pixels")
    found |= {
        "nearest_train": near.train.median().item(),
        "nearest_test": near.test.median().item(),
    }
    return found | {"extractor": fid.extractor, "images": len(images)}


def of_translations(model: Cycle, x: Tensor, y: Tensor, inverted: bool) -> dict[str, Any]:
    """How far data are from what comes back of them, and translations from data of their kind.

    Args:
        model: a cycle.
        x: held-out data of one kind.
        y: of the other.
        inverted: whether y are of the kind of 1 - x, so that every true translation is known.
    """
    there, back = model.translate(x, "y"), model.translate(y, "x")
    found: dict[str, Any] = {
        "cycle": (model.translate(there, "x") - x).abs().mean().item(),
        "cycle_y": (model.translate(back, "y") - y).abs().mean().item(),
    }
    if inverted:
        found["truth"] = (there - (1 - x)).abs().mean().item()
        found["truth_x"] = (back - (1 - y)).abs().mean().item()
    if len(model.data_shape) == 3 and min(len(x), len(y)) > 1:
        extractor = "digits" if model.data_shape == (1, 28, 28) else "pixels"
        near = metrics.fid(y, there, extractor)
        found |= {"fid": near.value, "fid_x": metrics.fid(x, back, extractor).value}
        found["extractor"] = near.extractor
    return found | {"images": len(x), "images_y": len(y)}
