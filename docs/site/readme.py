"""What the README shows and quotes, made anew: ``python docs/site/readme.py [--text]``.

Its pictures are those of a tour and a screenshot of the page; its answer is asked; its table of
models is the registry's; the numbers in its sentences, and in those of the site's page on other
tools, are read out of result files. ``--text`` leaves the pictures, and with them the time of the
tour, as they are.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import io
import json
import re
import resource
import shlex
import subprocess
import sys
import time
from pathlib import Path

from quotes import BESIDE_QUOTES, ROOT, TOUR, quoted

README, BESIDE = ROOT / "README.md", ROOT / "docs" / "site" / "beside.md"
PICTURES = {"1.png": "independence.png", "4.png": "samples.png"}  # of the tour, in the README


# --- Answer and table ----------------------------------------------------------------------------


def answered(text: str) -> str:
    """A README with the answer of the command that it shows."""
    from graphs.__main__ import main as ask

    def again(shown: re.Match[str]) -> str:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            ask(shlex.split(shown[1])[3:])
        return f"```\n$ {shown[1]}\n{printed.getvalue().strip()}\n```"

    return re.sub(r"```\n\$ (python -m graphs [^\n]*)\n.*?```", again, text, flags=re.DOTALL)


def listed(text: str) -> str:
    """A README with every model of the registry in its table; the order and tutorials stay."""
    from ppl_gen.zoo import registry

    head, rows = re.search(r"(\| model \| paper .*?\n\| --- .*?\n)((?:\|.*\n)+)", text).groups()
    known = dict(re.findall(r"^\| `(\w+)` \|.*\| *(\d*) *\|$", rows, re.MULTILINE))
    names = [*(n for n in known if n in registry), *(n for n in registry if n not in known)]
    fresh = "".join(
        f"| `{name}` | {registry[name].paper} | {registry[name].year} | {known.get(name, '')} |\n"
        for name in names
    )
    return text.replace(head + rows, head + fresh)


def regenerated(text: str) -> str:
    """A README whose answer, table and numbers are those of this tree."""
    return quoted(listed(answered(text)))


# --- Pictures ------------------------------------------------------------------------------------


def pictures(folder: Path) -> None:
    """Take the tour, and leave its pictures and the page's where the README shows them."""
    from PIL import Image

    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    python = [sys.executable, "-W", "ignore"]
    subprocess.run([*python, "-m", "ppl_gen", "tour", "--out", str(folder)], check=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    took = {
        "cpu_seconds": round(spent, 1),
        "seconds": round(time.perf_counter() - began, 1),
        "date": datetime.date.today().isoformat(),
    }
    TOUR.write_text(json.dumps(took) + "\n", encoding="utf-8")
    for made, shown in PICTURES.items():
        picture = Image.open(folder / made).convert("RGB")
        picture.quantize(64).save(ROOT / "tutorials" / "figures" / shown, optimize=True)
    page = ["tests/benchmarks/page.py", "--screenshots", str(ROOT / "docs" / "figures")]
    subprocess.run([*python, *page], check=True, cwd=ROOT)


def main() -> int:
    """Make what the README shows and quotes anew."""
    parser = argparse.ArgumentParser(description="Make the README's pictures and numbers anew.")
    parser.add_argument("--text", action="store_true", help="leave the pictures as they are")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if not options.text:
        pictures(ROOT / "build" / "tour")
    for path, made in ((README, regenerated), (BESIDE, lambda t: quoted(t, BESIDE_QUOTES))):
        before = path.read_text(encoding="utf-8")
        after = made(before)
        path.write_text(after, encoding="utf-8")
        print(f"{path.name} {'is as it was' if after == before else 'has changed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
