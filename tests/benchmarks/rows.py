"""Posteriors of one node of alarm for millions of rows of a Parquet file, read batch by batch.

    python tests/benchmarks/rows.py [--rows 10000000]

The rows are drawn from the network, seven of its nodes are observed, and P(HYPOVOLEMIA) of each row
goes to another Parquet file. The memory beyond what was there before the first batch is the largest
of the whole process, of which pages of the files are a part. Sizes not measured yet are measured
with ``--rows``, and kept.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from cells import FOLDER, Cell, Cells, cpu, table, write_page

ROOT = Path(__file__).resolve().parents[2]
OBSERVED = ("HRBP", "BP", "CVP", "EXPCO2", "PRESS", "SAO2", "HREKG")
BATCH, DRAWN = 1 << 14, 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", type=int, default=[])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(answered(Path(options.child))))
        return
    cells = Cells(FOLDER / "rows.json")
    for rows in options.rows:
        cells.measure(str(rows), lambda n=rows: measured(n))
    found = {int(name): cells.get(name) for name in json.loads(cells.path.read_text())}
    printed = table(
        ["rows", "CPU seconds", "microseconds a row", "file, MB", "memory beyond, MB"],
        [
            [f"{n:,}", f"{c['cpu']:.0f}", f"{c['cpu'] / n * 1e6:.1f}"]
            + [f"{c['file']:.0f}", f"{c['memory']:.0f}"]
            for n, c in sorted(found.items())
            if c
        ],
    )
    dates = sorted(c["date"] for c in found.values() if c)
    page = ROOT / "docs" / "results" / "rows.md"
    write_page(page, "Rows without end", __file__, str(__doc__), dates, printed)


def measured(rows: int) -> Cell:
    """Write a file of so many rows, and have a new process answer them."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch

    import graphs

    tree = graphs.JunctionTree(network())
    torch.manual_seed(0)
    drawn = tree.sample(DRAWN)
    names = {node: np.array(tree.states[node])[drawn[node].numpy()] for node in OBSERVED}
    chosen = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        with pq.ParquetWriter(path, pa.table(names).schema) as writer:
            for start in range(0, rows, DRAWN):
                order = chosen.integers(0, DRAWN, min(DRAWN, rows - start))
                writer.write_table(pa.table({node: names[node][order] for node in OBSERVED}))
        command = [sys.executable, __file__, "--child", str(path)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout) | {"file": path.stat().st_size / 1e6}


def answered(path: Path) -> Cell:
    """Answer every row of a file, with a bar that counts them."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from tqdm import tqdm

    import graphs

    tree = graphs.JunctionTree(network(), evidence_variables=OBSERVED)
    before, started = memory(), cpu()
    file = pq.ParquetFile(path)
    with (
        pq.ParquetWriter(path.with_name("answers.parquet"), schema(tree)) as writer,
        tqdm(total=file.metadata.num_rows, unit=" rows", unit_scale=True) as bar,
    ):
        for batch in file.iter_batches(BATCH, columns=list(OBSERVED)):
            found = tree.marginals(batch.to_pandas())["HYPOVOLEMIA"]
            columns = [pa.array(column.numpy()) for column in found.unbind(-1)]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema(tree)))
            bar.update(batch.num_rows)
    return {"cpu": cpu() - started, "memory": memory() - before}


def network() -> object:
    import graphs

    return graphs.load(ROOT / "tests" / "data" / "bif" / "alarm.bif.gz")


def schema(tree: object) -> object:
    import pyarrow as pa

    states = tree.states["HYPOVOLEMIA"]  # type: ignore[attr-defined]
    return pa.schema([(f"P(HYPOVOLEMIA = {state})", pa.float64()) for state in states])


def memory() -> float:
    """The most that this process has had, in MB; what Linux counts from its own start."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
