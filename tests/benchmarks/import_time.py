"""What importing costs beyond the libraries beneath: ``python tests/benchmarks/import_time.py``.

Each run is a fresh interpreter under ``-X importtime`` that imports the library first (networkx,
pyro) and then the package; the package's cumulative time is what it adds. The slowest modules are
those with the largest time of their own, medians over the runs, among the ones it adds.
"""

import argparse
import re
import statistics
import subprocess
import sys
from collections import defaultdict

LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|( +)(\S+)")
PAIRS = (("networkx", "graphs", 0.5), ("pyro", "ppl_gen", 0.3))
WATCHED = ("pgmpy", "torch", "matplotlib", "numba", "mlxtend", "pandas", "PIL", "sklearn")


def measure(library: str, package: str) -> tuple[float, dict[str, float], set[str]]:
    """Seconds the package adds, its modules' own seconds, and every module imported."""
    command = [sys.executable, "-X", "importtime", "-c", f"import {library}; import {package}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = LINE.findall(done.stderr)
    names = [name for *_, name in lines]
    start = names.index(library) + 1
    added = {name: int(own) / 1e6 for own, _, _, name in lines[start:]}
    total = next(int(cumulative) / 1e6 for _, cumulative, _, name in lines if name == package)
    return total, added, set(names[start:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    for library, package, allowed in PAIRS:
        totals, own, imported = [], defaultdict(list), set()
        for _ in range(runs):
            total, added, names = measure(library, package)
            totals.append(total)
            imported |= names
            for name, seconds in added.items():
                own[name].append(seconds)
        print(
            f"import {package} beyond {library}: median {statistics.median(totals) * 1e3:.1f} ms, "
            f"{min(totals) * 1e3:.1f} to {max(totals) * 1e3:.1f} ms in {runs} runs "
            f"(aim: {allowed * 1e3:.0f} ms)"
        )
        heavy = [name for name in WATCHED if name in imported]
        print(f"  it loads of {', '.join(WATCHED)}: {', '.join(heavy) or 'none'}")
        medians = {name: statistics.median(seconds) for name, seconds in own.items()}
        for name in sorted(medians, key=lambda name: -medians[name])[:10]:
            print(f"  {medians[name] * 1e3:8.2f} ms  {name}")


if __name__ == "__main__":
    main()
