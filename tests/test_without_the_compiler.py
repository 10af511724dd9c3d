"""What is short does not wait for torch's compiler, whose import takes two seconds."""

import subprocess
import sys

import pytest

TRAINING = """
vae = ppl_gen.zoo.beta_vae((4,), 2, hidden=8)
data = (torch.rand(64, 4) < 0.5).float()
ppl_gen.fit(vae, data, validation=data, epochs=50, progress=False, checkpoint=sys.argv[1])
vae.sample(3), ppl_gen.metrics.log_likelihood(vae, data, 2), ppl_gen.save(vae, sys.argv[2])
ppl_gen.load(sys.argv[2]).reconstruct(data)
game = ppl_gen.zoo.wgan((4,), 2, hidden=8)
history = ppl_gen.fit(game, data, batch_size=1, epochs=9, progress=False)
assert "saves" in str(history.staging), history.staging
"""
STEPS = """
vae, data = ppl_gen.zoo.vae((4,), 2, hidden=8), torch.zeros(6, 4)
step = ppl_gen.stage(vae.model, vae.guide, ppl_gen.ELBO(), staged=True, backend="eager")
step(data), step(data)
"""
READING = """
def model(x):
    w = pyro.sample("w", dist.Normal(0, 1))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(w, 1), obs=x)

assert list(graphs.from_pyro(model, torch.zeros(3)).edges) == [("w", "x")]
"""
IMPORTS = "import sys, torch, pyro, graphs, ppl_gen, pyro.distributions as dist"


COMPILED = """
net = torch.compile(torch.nn.Linear(2, 2), backend="eager")

def model(x):
    w = pyro.sample("w", dist.Normal(torch.zeros(2), 1).to_event(1))
    pyro.sample("x", dist.Normal(net(w), 1).to_event(1), obs=x)

def guide(x):
    pyro.sample("w", dist.Normal(pyro.param("m", torch.zeros(2)), 1).to_event(1))

for _ in range(10):
    assert list(graphs.from_pyro(model, torch.zeros(2)).edges) == [("w", "x")]
    step = ppl_gen.stage(model, guide, ppl_gen.ELBO(), staged=False)
    assert step(torch.zeros(2)).isfinite()
    net(torch.zeros(2))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A process that runs the programs one after the other, the compiled one last."""
    ending = 'print([name for name in sys.modules if name in ("torch._dynamo", "sympy")])'
    places = [str(tmp_path_factory.mktemp("short") / name) for name in ("run.ckpt", "vae.pt")]
    lines = "\n".join((IMPORTS, READING, ending, STEPS, ending, TRAINING, ending, COMPILED, ending))
    command = [sys.executable, "-W", "ignore", "-c", lines, *places]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return found


def test_short_programs_do_not_import_it(found):
    *short, compiled = found.stdout.splitlines()
    imported = dict(zip(("from_pyro", "stage", "fit"), short, strict=True))
    assert imported == {"from_pyro": "[]", "stage": "[]", "fit": "[]"}
    assert "torch._dynamo" in compiled


def test_compiled_parts_of_a_program_leave_our_own_methods_alone(found):
    assert "recompile_limit" not in found.stderr
    assert "_dispatch__" not in found.stderr
