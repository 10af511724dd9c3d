"""One fit at a time in a process, however many threads it has; in one thread they may be nested."""

import copy
import os
import threading

import pyro
import pyro.distributions as dist
import pytest
import torch

import ppl_gen
from ppl_gen import gradients, zoo

QUIET = {"staged": False, "progress": False}
X = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(0)).round()

pytestmark = pytest.mark.usefixtures("fresh_store")


def build(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return zoo.vae((1, 4, 4), 2, hidden=8)


def in_thread(function):
    """What a function returns or raises in a thread of its own."""
    found = []

    def run():
        try:
            found.append(function())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run, name="second")
    thread.start()
    thread.join()
    return found[0]


def train(model, **options):
    return ppl_gen.fit(model, X, epochs=3, batch_size=8, **(QUIET | options))


def same(a, b):
    return all(torch.equal(a[key], b[key]) for key in a)


def test_every_fit_of_several_threads_ends_as_alone_or_is_refused():
    alone = [build(seed) for seed in range(4)]
    for model in alone:
        train(model)
    together, outcomes = [build(seed) for seed in range(4)], {}
    start = threading.Barrier(4)

    def run(i):
        start.wait()
        try:
            outcomes[i] = train(together[i])
        except ValueError as error:
            outcomes[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trained = [i for i, outcome in outcomes.items() if not isinstance(outcome, ValueError)]
    assert trained
    for i, outcome in outcomes.items():
        if i in trained:
            assert same(together[i].state_dict(), alone[i].state_dict())
        else:
            assert "expected no other training in this process" in str(outcome)
            assert same(together[i].state_dict(), build(i).state_dict())


def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def guide(x):
    loc = pyro.param("loc", torch.zeros(()))
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(loc.expand(len(x)), 1.0))


def compare():
    return gradients.compare(gradients.bernoulli_quadratic(), ["score"], draws=10)


OTHERS = {
    "fit": lambda: train(build(1)),
    "compare": compare,
    "a draw": lambda: build(1).sample(2),
    "an evaluation": lambda: ppl_gen.metrics.elbo_terms(build(1), X),
    "embed": lambda: ppl_gen.embed(build(1), X),
    "a step": lambda: ppl_gen.stage(model, guide, ppl_gen.ELBO(), staged=False)(torch.zeros(3)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_shares_its_state_is_refused_by_name_while_a_fit_runs_in_another_thread(name):
    outcomes = []

    def callback(metrics):
        if metrics["step"] == 2:
            outcomes.append(in_thread(OTHERS[name]))

    expected, found = build(), build()
    train(expected)
    train(found, callbacks=[callback])
    assert isinstance(outcomes[0], ValueError)
    match = f"got {name} while another thread runs fit \\(MainThread\\): threads share Pyro's"
    with pytest.raises(ValueError, match=match):
        raise outcomes[0]
    assert same(found.state_dict(), expected.state_dict())


@pytest.mark.parametrize("name", OTHERS)
def test_it_runs_in_another_thread_once_the_fit_is_over_however_that_ended(name):
    def fail(metrics):
        raise RuntimeError("over")

    with pytest.raises(RuntimeError, match="over"):
        train(build(), callbacks=[fail])
    assert not isinstance(in_thread(OTHERS[name]), Exception)


def test_what_only_draws_waits_for_its_turn():
    model, results = build(), []

    def evaluate():
        terms = ppl_gen.metrics.elbo_terms(model, X)
        return model.sample(4, seed=3), ppl_gen.embed(model, X), terms

    def run():
        results.extend(evaluate() for _ in range(10))

    images, codes, terms = evaluate()
    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 40
    for result in results:
        assert torch.equal(result[0], images)
        assert (result[1] == codes).all()
        assert result[2] == terms


def test_a_fit_in_a_thread_is_the_same_as_one_outside():
    inside, outside = build(), build()
    in_thread(lambda: train(inside))
    train(outside)
    assert same(inside.state_dict(), outside.state_dict())


def test_a_callback_may_train_something_else_and_changes_nothing():
    outer, inner, expected = build(), build(1), [build(), build(1)]
    for each in expected:
        train(each)

    def callback(metrics):
        if metrics["step"] == 4:
            train(inner)

    train(outer, callbacks=[callback])
    assert same(outer.state_dict(), expected[0].state_dict())
    assert same(inner.state_dict(), expected[1].state_dict())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked on Unix only")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_is_not_kept_waiting_for_a_thread_that_it_lacks():
    model, status = build(), []

    def fork():
        child = os.fork()
        if not child:
            try:
                train(copy.deepcopy(model))
            except BaseException:
                os._exit(1)
            os._exit(0)
        status.append(os.waitpid(child, 0)[1])

    def callback(metrics):
        if metrics["step"] == 2:
            in_thread(fork)

    train(build(1), callbacks=[callback])
    assert status == [0]
