"""Precision, recall, density and coverage beside those of the package prdc, on random clouds.

    pip install prdc
    python tests/benchmarks/neighbours_agree.py --cases 20

One row a case, and the largest difference in the end; prdc is no dependency.
"""

import argparse

import prdc
import torch

from ppl_gen import metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--cases", type=int, default=20)
    arguments = parser.parse_args()
    worst = 0.0
    for seed in range(arguments.cases):
        generator = torch.Generator().manual_seed(seed)
        n, m, dim = (int(torch.randint(*ends, (), generator=generator)) for ends in ENDS)
        x = torch.randn(n, dim, generator=generator, dtype=torch.float64)
        y = torch.randn(m, dim, generator=generator, dtype=torch.float64)
        y = y * (0.5 + torch.rand((), generator=generator)) + torch.rand((), generator=generator)
        images = (part.reshape(len(part), 1, 1, dim) for part in (x, y))
        ours = metrics.neighbours(*images, "pixels", k=4, wide_k=4)
        theirs = prdc.compute_prdc(x.numpy(), y.numpy(), nearest_k=4)
        pairs = [(getattr(ours, name), float(theirs[name])) for name in theirs]
        worst = max(worst, *(abs(a - b) for a, b in pairs))
        print(f"{n:5} {m:5} {dim:3}  " + "  ".join(f"{a:.4f} {b:.4f}" for a, b in pairs))
    print(f"largest difference {worst:.2g}")


ENDS = ((50, 400), (50, 400), (2, 20))

if __name__ == "__main__":
    main()
