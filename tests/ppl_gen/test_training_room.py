"""The training loop knows no model by name: it imports neither the zoo nor gradient estimators."""

import subprocess
import sys


def test_the_loop_imports_neither_the_zoo_nor_estimators():
    code = (
        "import sys, ppl_gen.training.loop; "
        "print(*sorted(m for m in sys.modules if m.startswith(('ppl_gen.zoo', 'ppl_gen.grad'))))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
