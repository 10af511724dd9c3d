"""What mean field cannot say about six models: verdicts beside what was reasoned by hand.

Run with ``python tests/benchmarks/guide_verdicts.py``; it takes seconds and writes
``docs/results/guide_verdicts.md``. It fails where a verdict is not the one by hand.

The programs and the reasons are in ``tests/support/guide_verdicts.py``.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from cells import table
from guide_verdicts import VERDICTS, mean_field

import graphs

PAGE = Path(__file__).resolve().parents[2] / "docs" / "results" / "guide_verdicts.md"
SHOWN = 3  # gaps of a model that the page quotes

ABOUT = """# What mean field cannot say

`graphs.guide_gaps` asks of every two latents whether a guide keeps them apart that the posterior
couples; plates count three members. *By hand* is what the model's graph says, reasoned without the
program; `tests/graphs/test_guide_verdicts.py` holds every line. Made by
`python tests/benchmarks/guide_verdicts.py`."""


def main() -> int:
    """Print and write every verdict; 1 where one is not that by hand."""
    rows, parts, wrong = [], [], 0
    for verdict in VERDICTS:
        gaps = graphs.guide_gaps(verdict.program, mean_field(verdict.program))
        latent = set(gaps.model) - gaps.observed
        agrees = (len(latent), len(gaps)) == (verdict.latents, verdict.gaps)
        wrong += not agrees
        pairs = len(latent) * (len(latent) - 1) // 2
        found = f"{len(gaps)} of {pairs} pairs" if pairs else "no pairs"
        says = "sufficient" if gaps.sufficient else "not sufficient"
        same = "yes" if agrees else "no"
        rows.append([verdict.name, str(len(latent)), says, found, str(verdict.gaps), same])
        told = gaps.explain().splitlines()
        more = [f"... and {len(gaps) - SHOWN} more"] * (len(gaps) > SHOWN)
        quoted = "\n".join([*told[: 2 * SHOWN], *more])
        title = verdict.name[0].upper() + verdict.name[1:]
        parts.append(f"## {title}\n\n{verdict.why}\n\n```text\n{quoted}\n```")
    heads = ["model", "latents", "mean field", "coupled", "by hand", "agrees?"]
    text = "\n\n".join([ABOUT, table(heads, rows), *parts]) + "\n"
    print(text)
    PAGE.write_text(text)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
