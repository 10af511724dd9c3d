"""The training loop knows no model by name: it imports neither the zoo nor gradient estimators."""

import math
import subprocess
import sys

import torch

import ppl_gen


def test_the_loop_imports_neither_the_zoo_nor_estimators():
    code = (
        "import sys, ppl_gen.training.loop; "
        "print(*sorted(m for m in sys.modules if m.startswith(('ppl_gen.zoo', 'ppl_gen.grad'))))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_the_bar_waits_for_the_first_step_and_shows_what_is_finite(capsys):
    class Slow:
        def __init__(self):
            self.weight = torch.ones((), requires_grad=True)

        @property
        def players(self):
            return {"one": [self.weight]}

        def loss(self, x):
            infinite = torch.tensor(-math.inf)
            return (self.weight * x).square().sum(), {"elbo": infinite, "kl": -infinite}

    options = {"epochs": 2, "batch_size": 4, "progress": True}
    ppl_gen.fit(Slow(), torch.ones(8), staged=True, **options)
    _, waiting, *rest = capsys.readouterr().err.replace("\n", "").strip("\r").split("\r")
    assert waiting.startswith("compiling the step for 4:")
    assert "?" in waiting
    assert "4/4" in rest[-1]
    assert "compiling" not in rest[-1]
    assert "loss=" in rest[-1]
    assert "inf" not in rest[-1]
    ppl_gen.fit(Slow(), torch.ones(8), staged=False, **options)
    assert "compiling" not in capsys.readouterr().err


def test_players_may_be_known_only_after_preparation():
    class Lazy:
        def __init__(self):
            self.players = {}

        def prepare(self, x):
            self.players["one"] = [torch.ones(x.shape[1:], requires_grad=True)]

        def losses(self, x):
            yield "one", lambda: ((self.players["one"][0] * x).square().sum(), {})

    assert ppl_gen.fit(Lazy(), torch.ones(8, 3), progress=False, epochs=1).steps == 1
