"""How many sprite images are drawn a second: ``python tests/benchmarks/sprites_rendering.py``.

Draws the same random rows of the factor grid several times and reports the median and the best
run for each number of threads and each image size.
"""

import argparse
import statistics
import time

import torch

from ppl_gen import data


def images_per_second(size: int, count: int, repeats: int) -> list[float]:
    """Rates of ``repeats`` runs after one that is not counted."""
    grid = data.sprites(size)
    rows = grid.factors(torch.randint(len(grid), (count,), generator=torch.Generator()))
    rates = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        grid.images(rows)
        rates.append(count / (time.perf_counter() - start))
    return rates[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64])
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {arguments.images:,} images a run")
    print(f"{'size':>5} {'threads':>8} {'median/s':>10} {'best/s':>10}")
    for size in arguments.sizes:
        for threads in arguments.threads:
            torch.set_num_threads(threads)
            rates = images_per_second(size, arguments.images, arguments.repeats)
            print(f"{size:5} {threads:8} {statistics.median(rates):10,.0f} {max(rates):10,.0f}")


if __name__ == "__main__":
    main()
