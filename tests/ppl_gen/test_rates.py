"""Learning rates that fall over a run, by a model's own defaults or when asked to."""

import pytest
import torch
from torch import nn, optim

import ppl_gen
from ppl_gen import zoo
from ppl_gen.staging import backends, torch_internals

X = torch.rand(23, 3, generator=torch.Generator().manual_seed(0))
QUIET = {"staged": False, "progress": False}


class Stopped(Exception):
    pass


class Line(nn.Module):
    """The mean of the data, with whatever defaults."""

    def __init__(self, **defaults):
        super().__init__()
        self.mean, self.fit_defaults = nn.Parameter(torch.zeros(3)), defaults
        self.players = {"mean": [self.mean]}

    def loss(self, x):
        return (x - self.mean).square().sum(), {}


class Several(Line):
    """The turns of a player come one after the other, their number unknown beforehand."""

    loss = None

    def losses(self, x):
        yield "mean", super().loss, (x,)


class Kept:
    """Makes optimisers, and remembers the rate of every step they take."""

    def __init__(self, kind=optim.SGD):
        self.kind, self.rates = kind, []

    def __call__(self, parameters, lr):
        made = self.kind(parameters, lr=lr)
        made.register_step_pre_hook(
            lambda optimizer, *_: self.rates.append(optimizer.param_groups[0]["lr"])
        )
        return made


def rates_of(model, data=X, epochs=3, lr=0.1, **options):
    kept = Kept()
    how = {"batch_size": 5, "optimizer": kept, "epochs": epochs, "lr": lr, **QUIET, **options}
    ppl_gen.fit(model, data, **how)
    return kept.rates


def test_a_rate_falls_to_nothing_over_the_steps_of_all_epochs():
    steps = 15
    expected = [0.1 * (1 - step / steps) for step in range(steps)]
    assert rates_of(Line(), scheduler="falling") == pytest.approx(expected)
    assert rates_of(Line(scheduler="falling")) == pytest.approx(expected)
    for model in (Line(), Line(scheduler="falling")):
        assert set(rates_of(model, scheduler="constant")) == {0.1}
    assert set(rates_of(Line())) == {0.1}


@pytest.mark.parametrize("critic_steps", [1, 3])
def test_a_rate_falls_with_the_turns_of_its_own_player(critic_steps):
    """Five batches make a cycle of three turns and one of two."""
    torch.manual_seed(0)
    game = zoo.wgan((3,), 2, hidden=4, critic_steps=critic_steps)
    critic, generator = Kept(optim.RMSprop), Kept(optim.RMSprop)
    how = {"optimizer": {"critic": critic, "generator": generator}, "lr": 0.1, "batch_size": 5}
    ppl_gen.fit(game, X, epochs=2, scheduler="falling", **how, **QUIET)
    cycles = 2 * -(-5 // critic_steps)
    for kept, taken in ((critic, 10), (generator, cycles)):
        assert kept.rates == pytest.approx([0.1 * (1 - i / taken) for i in range(taken)])


def test_the_rate_of_one_player_falls(tmp_path):
    """Beside one that is constant and one by a scheduler of torch; not to be resumed otherwise."""
    halving = {"denoiser": "falling", "autoencoder": lambda o: optim.lr_scheduler.StepLR(o, 1, 0.5)}
    for mixed, factor in ((None, 1.0), (halving, 0.5)):
        torch.manual_seed(0)
        kept = {"autoencoder": Kept(optim.Adam), "denoiser": Kept(optim.Adam)}
        model = zoo.latent_diffusion((3,), 2, hidden=4, width=4)
        how = {
            "checkpoint": tmp_path / f"{factor}.pt",
            "resume": True,
            "optimizer": kept,
            "batch_size": 5,
            "epochs": 2,
        }
        ppl_gen.fit(model, X, scheduler=mixed, lr=0.01, **how, **QUIET)
        assert kept["denoiser"].rates == pytest.approx([0.01 * (1 - i / 10) for i in range(10)])
        assert kept["autoencoder"].rates == pytest.approx([0.01 * factor**i for i in range(10)])
        with pytest.raises(ValueError, match="scheduler"):
            ppl_gen.fit(model, X, scheduler="falling", lr=0.01, **how, **QUIET)


@pytest.mark.parametrize("wrong", [{"denoiser": "falling"}, {"mean": "falling", "b": "constant"}])
def test_a_rate_for_other_players_is_refused(wrong):
    with pytest.raises(ValueError, match="expected scheduler for each of the players mean, got"):
        rates_of(Line(), scheduler=wrong)
    with pytest.raises(ValueError, match="'falling' or a function or class"):
        rates_of(Line(), scheduler={"mean": "linear"})


def test_several_steps_a_call_have_the_same_rates(monkeypatch):
    monkeypatch.setattr(torch_internals, "why_not_compiled", lambda devices: None)
    monkeypatch.setattr(backends, "compiled", lambda module, _: lambda *values: module(*values))
    found = []
    for several in (1, 4):
        torch.manual_seed(0)
        model, how = zoo.ddpm((3,), hidden=4, steps=9), {"progress": False, "staged": True}
        ppl_gen.fit(model, X, epochs=4, batch_size=5, lr=0.05, steps_per_call=several, **how)
        found.append(model.state_dict())
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def interrupted(path, epochs=4, stop=None, resume=True):
    """A diffusion and the rates of its steps, up to a stop at some step."""

    def end(metrics):
        if metrics["step"] == stop:
            raise Stopped

    torch.manual_seed(0)
    model, kept = zoo.ddpm((3,), hidden=4, steps=9), Kept(optim.Adam)
    how = {"checkpoint": path, "resume": resume, "checkpoint_every": 1, "optimizer": kept}
    try:
        ppl_gen.fit(model, X, epochs=epochs, batch_size=5, callbacks=[end], **how, **QUIET)
    except Stopped:
        assert stop is not None
    return model, kept.rates


def test_a_run_that_was_interrupted_goes_on_at_its_rate_bit_for_bit(tmp_path):
    whole, rates = interrupted(tmp_path / "whole.pt")
    _, first = interrupted(tmp_path / "parts.pt", stop=8)
    again, second = interrupted(tmp_path / "parts.pt")
    assert first[:7] + second == rates  # the eighth step is taken again
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in whole.state_dict().items())


def test_more_epochs_go_on_at_the_rate_of_the_longer_run(tmp_path):
    interrupted(tmp_path / "run.pt", epochs=2)
    _, rates = interrupted(tmp_path / "run.pt", epochs=5)
    assert rates == pytest.approx([1e-3 * (1 - step / 25) for step in range(10, 25)])


def test_a_rate_cannot_fall_over_what_is_unknown():
    class Rows(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(X)

    loader = torch.utils.data.DataLoader(Rows(), batch_size=5)
    for model, data in ((Line, loader), (Several, X)):
        with pytest.raises(ValueError, match=r"to be known for a rate that falls, got 'falling'"):
            rates_of(model(), data, scheduler="falling")
        assert set(rates_of(model(scheduler="falling"), data)) == {0.1}


@pytest.mark.parametrize("word", ["cosine", 3, ""])
def test_other_words_are_refused(word):
    with pytest.raises(ValueError, match="expected 'constant', 'falling' or a function or class"):
        rates_of(Line(), scheduler=word)
