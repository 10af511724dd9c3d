"""What a run may change when it goes on, and what is left of one that was interrupted."""

import signal

import pytest
import torch
from torch import optim
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

import ppl_gen
from ppl_gen import zoo

QUIET = {"staged": False, "progress": False}
X = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(0)).round()


def build(**parts):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return zoo.vae((1, 4, 4), 2, hidden=8, **parts)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def go_on(path, **options):
    model = build()
    resumed = {"checkpoint": path, "resume": True, "batch_size": 6, **QUIET}
    history = ppl_gen.fit(model, X, **resumed | options)
    return model, history


SCHEDULERS = {
    "none": None,
    "exponential": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "function": lambda o: lr_scheduler.LambdaLR(o, lambda t: 1 / (1 + t)),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 30),
    "sequence": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, 0.1), lr_scheduler.ExponentialLR(o, 0.9)], [4]
    ),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_new_learning_rate_is_as_if_it_had_always_been(name, tmp_path):
    # plain descent from where the weights are depends on the rates to come alone
    taken = []

    def descent(parameters, lr):
        optimizer = optim.SGD(parameters, lr)
        optimizer.register_step_post_hook(lambda o, *_: taken.append(o.param_groups[0]["lr"]))
        return optimizer

    options = {"optimizer": descent, "scheduler": SCHEDULERS[name]}
    go_on(tmp_path / "other.pt", epochs=3, lr=2e-4, **options)
    expected = taken[:]
    taken.clear()
    go_on(tmp_path / "run.pt", epochs=1, lr=1e-3, **options)
    go_on(tmp_path / "run.pt", epochs=3, lr=2e-4, override="lr", **options)
    assert taken[4:] == pytest.approx(expected[4:], rel=1e-9)
    assert taken[:4] == pytest.approx([5 * rate for rate in expected[:4]], rel=1e-9)


@pytest.mark.parametrize("staged", [False, True], ids=["eager", "staged"])
def test_the_first_step_with_the_new_rate_has_it(staged, tmp_path, monkeypatch):
    monkeypatch.setattr("ppl_gen.staging.torch_internals.why_not_compiled", lambda devices: None)
    monkeypatch.setattr(
        "ppl_gen.staging.backends.compiled", lambda module, inputs: lambda *values: module(*values)
    )
    options = {"staged": staged, "batch_size": 24}
    before, _ = go_on(tmp_path / "run.pt", epochs=3, **options)
    content = (tmp_path / "run.pt").read_bytes()
    same, _ = go_on(tmp_path / "run.pt", epochs=4, **options)
    (tmp_path / "run.pt").write_bytes(content)
    other, _ = go_on(tmp_path / "run.pt", epochs=4, lr=1e-4, override=["lr"], **options)
    step, small = (weights(m).double() - weights(before).double() for m in (same, other))
    torch.testing.assert_close(small, step / 10, atol=1e-7, rtol=0)


def test_a_scheduler_with_rates_of_its_own_is_refused(tmp_path):
    scheduler = {"scheduler": lambda o: lr_scheduler.OneCycleLR(o, 1e-2, total_steps=30)}
    go_on(tmp_path / "run.pt", epochs=1, **scheduler)
    with pytest.raises(ValueError, match="starts from lr to override it, OneCycleLR has"):
        go_on(tmp_path / "run.pt", epochs=2, lr=1.0, override="lr", **scheduler)


class Stopped(Exception):
    pass


def stopping(step):
    def callback(metrics):
        if metrics["step"] == step:
            raise Stopped

    return callback


@pytest.mark.parametrize(("size", "rest"), [(3, 4), (4, 3), (12, 1), (5, 3), (24, 1)])
@pytest.mark.parametrize("kind", ["tensor", "Dataset", "DataLoader"])
def test_other_batches_within_an_epoch_leave_no_datum_out(kind, size, rest, tmp_path):
    rows = torch.arange(24.0)
    wrap = {
        "tensor": lambda size: rows,
        "Dataset": lambda size: TensorDataset(rows),
        "DataLoader": lambda size: DataLoader(
            TensorDataset(rows), size, shuffle=True, generator=torch.Generator().manual_seed(1)
        ),
    }[kind]

    class Recorder(ppl_gen.Trainable):
        def __init__(self):
            self.weight, self.seen = torch.zeros((), requires_grad=True), []

        @property
        def players(self):
            return {"one": [self.weight]}

        def losses(self, x):
            self.seen.append(x.tolist())
            yield "one", lambda: (self.weight * x.sum(), {})

    def run(size, **options):
        model = Recorder()
        shared = {"checkpoint": tmp_path / "run.pt", "batch_size": size, "epochs": 1, **QUIET}
        try:
            ppl_gen.fit(model, wrap(size), **shared | options)
        except Stopped:
            model.seen.pop()
        return model.seen

    first = run(6, callbacks=[stopping(3)], checkpoint_every=1)
    assert len(first) == 2
    with pytest.raises(ValueError, match=rf"batch_size was 6 and is {size}.*override=\['batch_s"):
        run(size, resume=True)
    second = run(size, resume=True, override=["batch_size"])
    assert len(second) == rest
    assert all(len(batch) <= size for batch in second)
    seen = sorted(row for batch in (*first, *second) for row in batch)
    assert set(seen) == set(rows.tolist())
    assert len(seen) - len(set(seen)) < size


def test_only_what_is_named_may_differ(tmp_path):
    go_on(tmp_path / "run.pt", epochs=1, clip_norm=1.0)
    go_on(tmp_path / "run.pt", epochs=2, clip_norm=None, override="clip_norm")
    with pytest.raises(ValueError, match=r"lr was 0.001 and is 0.1 .*override=\['lr'\]"):
        go_on(tmp_path / "run.pt", epochs=2, lr=0.1, override="batch_size")
    with pytest.raises(ValueError, match=r"seed was 0 and is 3 \(start over, or resume with the"):
        go_on(tmp_path / "run.pt", epochs=2, seed=3, override=["lr", "batch_size"])
    with pytest.raises(ValueError, match=r"num_data was 24 and is 12"):
        ppl_gen.fit(
            build(),
            X[:12],
            checkpoint=tmp_path / "run.pt",
            resume=True,
            batch_size=3,
            override="batch_size",
            **QUIET,
        )
    for wrong in ("seed", ["lr", "ema"], 3):
        with pytest.raises(ValueError, match="some of lr, batch_size, clip_norm, got"):
            go_on(tmp_path / "run.pt", epochs=2, override=wrong)


def interrupting(step):
    def callback(metrics):
        if metrics["step"] == step:
            signal.raise_signal(signal.SIGINT)

    return callback


@pytest.mark.parametrize("ema", [None, 0.8])
def test_an_interrupted_run_leaves_its_history_and_weights(ema, tmp_path):
    expected = build()
    shared = {"batch_size": 6, "ema": ema, **QUIET}
    history = ppl_gen.fit(expected, X, epochs=2, **shared)
    for checkpoint in (None, tmp_path / "run.pt"):
        model = build()
        with pytest.raises(KeyboardInterrupt) as caught:
            ppl_gen.fit(
                model, X, epochs=9, checkpoint=checkpoint, callbacks=[interrupting(8)], **shared
            )
        assert dict(caught.value.history) == dict(history)
        assert torch.equal(weights(model), weights(expected))
    for found in (ppl_gen.load(checkpoint), ppl_gen.load(checkpoint, into=build().eval())):
        assert torch.equal(weights(found), weights(expected))


def test_any_other_end_leaves_its_history_too():
    with pytest.raises(Stopped) as caught:
        ppl_gen.fit(build(), X, epochs=9, batch_size=6, callbacks=[stopping(3)], **QUIET)
    assert caught.value.history.steps == 3


def test_the_best_weights_and_a_missing_file_are_told(tmp_path):
    path = tmp_path / "run.pt"
    ppl_gen.fit(build(), X, epochs=1, checkpoint=path, validation=X, **QUIET)
    ppl_gen.load(f"{path}.best")
    for missing in (tmp_path / "model.pt", tmp_path):
        with pytest.raises(ValueError, match=r"no file at .*; there are .*run.pt, .*run.pt.best"):
            ppl_gen.load(missing)
