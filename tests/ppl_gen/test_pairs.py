"""Pairs are copied, pickled, saved and loaded, whether their programs have run yet or not."""

import copy
import math
import pickle
import sys

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoDelta, AutoDiagonalNormal, AutoNormal
from torch import nn
from torch.distributions import constraints

import ppl_gen
from ppl_gen import _files
from ppl_gen.training import parameter_store

QUIET = {"staged": False, "progress": False}
Y = torch.tensor([1.0, 2.0, 3.0])
NET = nn.Linear(1, 2)

pytestmark = pytest.mark.usefixtures("fresh_store")


def model(y):
    b = pyro.sample("b", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(y)):
        pyro.sample("y", dist.Normal(b, 1.0), obs=y)


def guide(y):
    loc = pyro.param("loc", torch.tensor(0.0))
    scale = pyro.param("scale", torch.tensor(1.0), constraint=constraints.interval(0.1, 3.0))
    pyro.sample("b", dist.Normal(loc, scale))


def of_network(network, y):
    loc, scale = network(y.mean().view(1))
    pyro.sample("b", dist.Normal(loc, scale.exp()))


class Amortized(nn.Module):
    def __init__(self, hidden=2):
        super().__init__()
        self.layer = nn.Linear(1, hidden)

    def guide(self, y):
        pyro.module("amortized", self)
        of_network(lambda x: self.layer(x)[:2], y)


def with_global_network(y):
    pyro.module("net", NET)
    of_network(NET, y)


PAIRS = {
    "functions": lambda: ppl_gen.Pair(model, guide),
    "stock objective": lambda: ppl_gen.Pair(model, guide, Trace_ELBO()),
    "AutoNormal": lambda: ppl_gen.Pair(model, AutoNormal(model)),
    "AutoDiagonalNormal": lambda: ppl_gen.Pair(model, AutoDiagonalNormal(model)),
    "module": lambda: ppl_gen.Pair(model, Amortized().guide),
    "global network": lambda: ppl_gen.Pair(model, with_global_network),
}


def fresh(name):
    """A pair as in a new process."""
    pyro.clear_param_store()
    torch.manual_seed(5)
    NET.reset_parameters()
    return PAIRS[name]()


def trained(name, **options):
    pair = fresh(name)
    ppl_gen.fit(pair, (Y,), epochs=5, lr=0.1, batch_size=3, **QUIET, **options)
    return pair


def drawn(pair):
    """Log-densities of the guide, whose own parameters these are."""
    with torch.no_grad(), pyro.poutine.block():
        pair.guide(Y)
        values = []
        for seed in range(3):
            torch.manual_seed(seed)
            trace = pyro.poutine.trace(pair.guide).get_trace(Y)
            values.append(torch.stack([trace.nodes["b"]["value"].sum(), trace.log_prob_sum()]))
    return torch.stack(values)


@pytest.mark.parametrize("run", [False, True], ids=["new", "run"])
@pytest.mark.parametrize("name", PAIRS)
def test_a_saved_pair_is_loaded_into_another(name, run, tmp_path):
    pair = trained(name)
    ppl_gen.save(pair, tmp_path / "pair.pt")
    expected = drawn(pair)
    other = fresh(name)
    if run:
        other.prepare(Y)
        assert not torch.equal(drawn(other), expected)
    assert ppl_gen.load(tmp_path / "pair.pt", into=other) is other
    assert torch.equal(drawn(other), expected)
    ppl_gen.fit(other, (Y,), epochs=1, batch_size=3, **QUIET)
    assert not torch.equal(drawn(other), expected)


@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("name", PAIRS)
def test_a_checkpoint_of_a_pair_holds_the_weights_it_ended_with(name, ema, tmp_path):
    expected = drawn(trained(name, checkpoint=tmp_path / "run.pt", ema=ema))
    found = ppl_gen.load(tmp_path / "run.pt", into=fresh(name))
    assert torch.equal(drawn(found), expected)


@pytest.mark.parametrize("name", PAIRS)
def test_a_copy_and_a_pickle_are_the_same_pair(name):
    pair = trained(name)
    expected = drawn(pair)
    assert torch.equal(drawn(copy.deepcopy(pair)), expected)
    content = pickle.dumps(pair)
    if name != "global network":
        pyro.clear_param_store()
    assert torch.equal(drawn(pickle.loads(content)), expected)


def test_a_pickle_does_not_change_what_the_store_holds_by_now():
    pair = trained("functions")
    content = pickle.dumps(pair)
    ppl_gen.fit(pair, (Y,), epochs=1, batch_size=3, **QUIET)
    with pytest.raises(ValueError, match=r"no other value of 'loc'.*clear_param_store\(\)"):
        pickle.loads(content)


def test_what_cannot_be_saved_or_loaded_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a pair that fit has trained, or that prepare"):
        ppl_gen.save(ppl_gen.Pair(model, guide), tmp_path / "pair.pt")
    ppl_gen.save(trained("functions"), tmp_path / "pair.pt")
    with pytest.raises(ValueError, match="the model yourself and pass it as into="):
        ppl_gen.load(tmp_path / "pair.pt")
    other = fresh("module")
    other.prepare(Y)
    with pytest.raises(ValueError, match=r"weights of this Pair.*parameters of this pair"):
        ppl_gen.load(tmp_path / "pair.pt", into=other)

    def unreachable(y):
        network = vars(sys.modules[__name__])["NET"]
        pyro.module("net", network)
        of_network(network, y)

    ppl_gen.save(trained("global network"), tmp_path / "pair.pt")
    pyro.clear_param_store()
    with pytest.raises(ValueError, match=r"'net.*' to exist.*prepare\(\*batch\) first"):
        ppl_gen.load(tmp_path / "pair.pt", into=ppl_gen.Pair(model, unreachable))
    assert not list(pyro.get_param_store().keys())
    ppl_gen.save(trained("module"), tmp_path / "pair.pt")
    wider = ppl_gen.Pair(model, Amortized(3).guide)
    with pytest.raises(ValueError, match=r"of shape \(3, 1\), got \(2, 1\)"):
        ppl_gen.load(tmp_path / "pair.pt", into=wider)


@pytest.mark.parametrize(
    "constraint",
    [
        constraints.real,
        constraints.positive,
        constraints.unit_interval,
        constraints.interval(-1.0, 2.5),
        constraints.greater_than(torch.tensor([0.5, 1.0])),
        constraints.simplex,
        constraints.lower_cholesky,
        constraints.corr_cholesky,
        dist.constraints.softplus_positive,
        dist.constraints.unit_lower_cholesky,
        dist.constraints.positive_ordered_vector,
        dist.constraints.ordered_vector,
        constraints.independent(constraints.positive, 1),
    ],
    ids=str,
)
def test_constraints_survive_as_plain_data(constraint, tmp_path):
    described = parameter_store._describe(constraint)
    _files.write(tmp_path / "c.pt", "model", {"constraint": described})
    found = parameter_store._constraint(_files.read(tmp_path / "c.pt", "model")["constraint"])
    size = 6 if constraint is constraints.corr_cholesky else 2
    shape = (2, 2) if "Cholesky" in str(constraint) and size == 2 else (size,)
    x = torch.randn(shape)
    a, b = (dist.transforms.transform_to(c)(x) for c in (constraint, found))
    assert torch.equal(a, b)


def test_entries_of_an_earlier_instance_are_named():
    trained("module")
    again = ppl_gen.Pair(model, Amortized().guide)
    match = r"earlier instance, amortized\$\$\$layer.weight, .*: call pyro.clear_param_store\(\)"
    with pytest.raises(ValueError, match=match):
        ppl_gen.fit(again, (Y,), epochs=1, **QUIET)
    wider = ppl_gen.Pair(model, Amortized(3).guide)
    with pytest.raises(ValueError, match=match):
        ppl_gen.fit(wider, (Y,), epochs=1, **QUIET)
    pyro.clear_param_store()
    ppl_gen.fit(again, (Y,), epochs=1, **QUIET)
    ppl_gen.fit(again, (Y,), epochs=1, **QUIET)


def test_a_failing_program_is_told_of_what_the_store_held_before():
    pyro.param("AutoDiagonalNormal.loc", torch.zeros(3))
    with pytest.raises(AssertionError) as caught:
        ppl_gen.fit(ppl_gen.Pair(model, AutoDiagonalNormal(model)), (Y,), epochs=1, **QUIET)
    assert "store held AutoDiagonalNormal.loc before" in caught.value.__notes__[0]


def subsampled(y):
    with pyro.plate("data", 12, subsample=torch.arange(len(y))):
        pyro.sample("y", dist.Normal(pyro.param("m", torch.tensor(0.5)), 1.0), obs=y)


def drawing_its_subsample(y):
    with pyro.plate("data", len(y), subsample_size=2) as rows:
        pyro.sample("y", dist.Normal(pyro.param("m", torch.tensor(0.5)), 1.0), obs=y[rows])


def nested(y):
    with pyro.plate("data", len(y), dim=-2), pyro.plate("words", 5, dim=-1):
        values = y.unsqueeze(-1).expand(-1, 5)
        pyro.sample("y", dist.Normal(pyro.param("m", torch.tensor(0.5)), 1.0), obs=values)


@pytest.mark.parametrize("program", [subsampled, drawing_its_subsample, nested])
def test_the_validation_loss_of_a_stock_objective_is_per_datum(program):
    y = torch.full((6,), 2.0)
    pair = ppl_gen.Pair(program, lambda y: None, Trace_ELBO())
    history = ppl_gen.fit(pair, (y,), epochs=1, batch_size=4, lr=1e-9, validation=(y,), **QUIET)
    each = -dist.Normal(0.5, 1.0).log_prob(torch.tensor(2.0)).item()
    expected = 5 * each if program is nested else each
    assert history["val_loss"][-1] == pytest.approx(expected, rel=1e-5)


def test_the_best_of_a_point_estimate_is_that_of_its_loss_with_the_prior():
    history = ppl_gen.fit(
        ppl_gen.Pair(model, AutoDelta(model, init_loc_fn=lambda site: torch.tensor(2.0))),
        (Y,),
        epochs=200,
        lr=0.02,
        batch_size=3,
        validation=(Y,),
        patience=3,
        **QUIET,
    )
    # the mode is at 1.5 and the best reconstruction at 2, where it starts
    assert history.steps > 20
    assert history["val_loss"][-1] < history["val_loss"][0]
    mode = -(dist.Normal(1.5, 1.0).log_prob(Y).sum() + dist.Normal(0.0, 1.0).log_prob(Y[:1] + 0.5))
    assert min(history["val_loss"]) == pytest.approx(mode.item() / 3, abs=1e-3)
    assert not math.isnan(history["val_loss"][-1])


def test_an_svi_object_is_told_about_pairs():
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.1}), Trace_ELBO())
    for thing in (svi, Trace_ELBO(), Trace_ELBO()(model, AutoNormal(model))):
        with pytest.raises(
            ValueError, match=r"Pair\(model, guide, objective\), .* and the optimiser"
        ):
            ppl_gen.fit(thing, (Y,), epochs=1, **QUIET)
