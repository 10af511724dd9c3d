"""Constructors refuse every number outside its range, and what they build says what it is."""

import math
from typing import get_args, get_type_hints

import pytest
import torch
from model_laws import VAES

from ppl_gen import zoo
from ppl_gen.codebook import Codebook
from ppl_gen.likelihoods import Categorical, DiscretizedLogistic, Gaussian, GaussianPerPixel
from ppl_gen.objectives import ELBO
from ppl_gen.objectives.total_correlation import TotalCorrelationELBO
from ppl_gen.posteriors import DiagonalNormal
from ppl_gen.priors import Laplace, StandardNormal
from ppl_gen.schedules import Constant, Cyclical, PIController, WarmUp

SHAPE = (1, 8, 8)
FLAT = torch.nn.Flatten()
ZEROS = {  # where zero has a meaning
    *(("vae", "num_classes"), ("bernoulli_vae", "top_dim"), ("beta_vae", "beta")),
    *(("tc_vae", "beta"), ("control_vae", "beta_min"), ("sc_vae", "iterations")),
    *(("vq_vae", "commitment"), ("ssvae", "alpha")),
    *(("ddpm", "num_classes"), ("ddpm", "drop"), ("guided_ddpm", "drop")),
    *(("edm", "num_classes"), ("edm", "drop")),
    *(("ssgan", "rotation"), ("ssgan", "generator_rotation"), ("noisy_gan", "noise")),
    *(("dag_gan", "generator_view_weight"), ("veegan", "reconstruction")),
    *(("adversarial_autoencoder", "reconstruction"), ("unrolled_gan", "steps")),
    *(("cycle_gan", "dag"), ("cycle_gan", "cycle_weight"), ("cycle_gan", "identity_weight")),
    *(("latent_diffusion", name) for name in ("num_classes", "tokens", "drop")),
}


NUMBERS = [
    (name, argument)
    for name, entry in zoo.registry.items()
    for argument, kind in get_type_hints(entry.build).items()
    if argument not in ("data_shape", "hidden") and {int, float} & {kind, *get_args(kind)}
]


@pytest.mark.parametrize(("name", "argument"), NUMBERS)
def test_numbers_out_of_range_are_refused(name, argument):
    build = zoo.registry[name].build
    for bad in (-1, -0.5, math.nan, math.inf, -math.inf, True, "a", [1]):
        with pytest.raises(ValueError, match=r"expected .* got .*"):
            build(SHAPE, **{argument: bad})
    if (name, argument) in ZEROS:
        build(SHAPE, **{argument: 0})
    else:
        with pytest.raises(ValueError, match=r"expected .* got .*\b0\b"):
            build(SHAPE, **{argument: 0})


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("vae", {"encoder": 3}, "Module or None for encoder, got 3"),
        ("vae", {"prior": "normal"}, "Module or None for prior, got 'normal'"),
        ("vae", {"posterior": torch.nn.Linear(1, 1)}, "Family or None for posterior"),
        ("vae", {"objective": "elbo"}, "Objective or None for objective"),
        ("vae", {"likelihood": 3}, "a name or a list or Likelihood for likelihood, got 3"),
        ("vae", {"hidden": True}, "hidden widths"),
        ("beta_vae", {"beta": math.nan}, "finite number or Schedule for beta, got nan"),
        ("gumbel_vae", {"straight_through": 1}, "True or False for straight_through, got 1"),
        ("vq_vae", {"codebook": "mean"}, "codebook 'ema' or 'gradient', got 'mean'"),
        ("tc_vae", {"beta": -1}, "weight of zero or more, got -1"),
        ("control_vae", {"beta_min": 3.0, "beta_max": 2.0}, "minimum < maximum, got 3.0 and 2.0"),
        ("vae", {"data_shape": (True, 8, 8)}, r"data shape \(C, H, W\)"),
        (
            "vamp_vae",
            {"pseudo_inputs": torch.rand(3, 1, 4, 4)},
            r"8, 8\), got \(3, 1, 4, 4\)",
        ),
        ("vamp_vae", {"num_classes": 10}, "no labels with pseudo-inputs"),
        ("sc_vae", {"num_classes": 10}, "no labels with sparse codes"),
        ("vae", {"encoder": FLAT}, r"an encoder from \(2, 1, 8, 8\) to \(2, 20\), got \(2, 64\)"),
        ("vae", {"encoder": torch.nn.Linear(3, 4)}, r"an encoder for inputs \(2, 1, 8, 8\)"),
        ("vae", {"decoder": FLAT}, r"a decoder from \(2, 10\) to \(2, 1, 8, 8\), got \(2, 10\)"),
        ("vae", {"prior": StandardNormal(4)}, r"a prior over \(10,\), got one over \(4,\)"),
        ("vamp_vae", {"pseudo_inputs": [1]}, r"Tensor or None for pseudo_inputs, got \[1\]"),
    ],
)
def test_parts_of_another_kind_are_refused(name, options, match):
    with pytest.raises(ValueError, match=match):
        zoo.registry[name].build(**{"data_shape": SHAPE} | options)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: TotalCorrelationELBO(-1.0), "weight of zero or more, got -1"),
        (lambda: TotalCorrelationELBO(information=-1.0), "weights of zero or more, got -1.0"),
        (lambda: TotalCorrelationELBO(dimensionwise=math.nan), "finite weights .* got nan"),
        (lambda: TotalCorrelationELBO(num_data=0), "at least one datum, got 0"),
        (lambda: ELBO(Constant(-1.0)), "weight of zero or more, got -1"),
        (lambda: ELBO(free_bits=math.inf), "free_bits >= 0, got inf"),
        (lambda: WarmUp(10, end=math.nan), "finite number, got nan"),
        (lambda: Cyclical(10, end=math.inf), "finite number, got inf"),
        (lambda: PIController("8"), "positive target, got 8"),
        (lambda: Cyclical(10, "a"), "ramp fraction"),
        (lambda: Gaussian("a"), "positive scale, got a"),
        (lambda: Gaussian(True), "positive scale, got True"),
        (lambda: GaussianPerPixel(None), "positive floor, got None"),
        (lambda: Categorical(2.5), "two grey levels, got 2.5"),
        (lambda: DiscretizedLogistic(math.nan), "two grey levels, got nan"),
        (lambda: DiagonalNormal("a"), "positive floor, got a"),
        (lambda: StandardNormal(2.0), "at least one dimension, got 2.0"),
        (lambda: Laplace(True, 1.0), "dimension and a rate above zero, got True"),
        (lambda: Codebook(2.0, 3), "at least one code and dimension, got 2.0"),
    ],
)
def test_parts_refuse_numbers_out_of_range(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize("name", VAES)
def test_a_model_says_what_it_is_in_one_line(name):
    model = zoo.registry[name].build(SHAPE, hidden=16)
    text = repr(model)
    count = sum(p.numel() for p in model.parameters())
    assert text.startswith(f"<{name}: images 1×8×8")
    assert f"Bernoulli likelihood, {type(model.objective).__name__}" in text
    assert text.endswith(f"{count:,} parameters>")
    assert "\n" not in text
    assert torch.nn.Module.__repr__(model).count("\n") > 10
