"""Every network file of a folder, by ours and by pyAgrum: do they agree on all marginals, and why?

    python tests/benchmarks/files_agree.py FOLDER [SECONDS]

Prints a line for each file: whether ours and pyAgrum read it, and with which option; the largest
difference of two entries of a table, of two marginals, and of two marginals when our engine gets
pyAgrum's tables; and the cause of what differs. pyAgrum keeps single precision from BIF, NET and
UAI: its tables are then ours rounded, bit for bit. Networks of large cliques are compared table by
table alone. The files are read in a process of their own, which is replaced where a file crashes it
or takes longer than SECONDS for one step.
"""

import multiprocessing
import os
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from queue import Empty

MOST_CELLS = 20_000_000  # of a junction tree
EXTENSIONS = (".bif", ".bifxml", ".xmlbif", ".xml", ".net", ".uai", ".xdsl", ".dsc")


def compare(path, folder, tell):
    """Tell what becomes of one file, step by step."""
    import network_readings as readings

    import graphs

    model, option, message = readings.ours(path)
    tell("ours", f"with {option}" if option else "refused" if model is None else "read")
    tell("message", message)
    try:
        other = readings.theirs(path, folder / "copy")
    except Exception as error:
        tell("theirs", "refused")
        tell("error", next((s for s in str(error).splitlines() if "error :" in s), str(error)))
        return
    tell("theirs", "read")
    if model is None or option == "tables=False":
        return
    name = readings.names_in(model, other)
    found = list(readings.tables(model, other, name))
    tell("cause", readings.cause(found, rescaled=option != ""))
    tell("tables", readings.differ((a, b) for _, a, b, _ in found))
    if graphs.JunctionTree(model).cost.cells > MOST_CELLS:
        return
    again, other = readings.refitted(model, other, name, rescaled=option != "")
    tell("engine", readings.posteriors(again, other, name))
    tell("marginals", readings.posteriors(model, other, name))


def work(paths, folder, queue):
    """Compare files one after the other, and tell a queue."""
    import network_readings as readings
    from pyagrum import fastBN

    import graphs

    warnings.simplefilter("ignore")
    readings.posteriors(graphs.bayesian_network([("a", (), [0.5, 0.5])]), fastBN("a"), {"a": "a"})
    for path in paths:
        queue.put((str(path), "begin", None))
        try:
            compare(path, folder, lambda kind, what, path=path: queue.put((str(path), kind, what)))
        except Exception as error:
            queue.put((str(path), "cause", f"unexplained: {type(error).__name__} {error}"))
    queue.put(None)


def judged(paths, folder, seconds):
    """What was found of every file; a worker that crashes or is late is replaced."""
    context = multiprocessing.get_context("spawn")
    found = {}
    while len(found) < len(paths):
        queue = context.Queue()
        process = context.Process(target=work, args=(paths[len(found) :], folder, queue))
        process.start()
        patience = 300 + seconds  # to import and compile everything
        while True:
            try:
                told = queue.get(timeout=patience)
            except Empty:
                break
            if told is None:
                break
            path, kind, what = told
            found.setdefault(path, {})[kind] = what
            patience = seconds
        process.kill()
        process.join()
    return found


def reason(found):
    """One cause for what became of a file."""
    if "ours" not in found:
        return "unexplained: not read in time"
    if found["ours"] == "refused":
        return f"no model: {found['message'].partition(', ')[2] or found['message']}"
    if found["ours"] == "with tables=False":
        return "decisions, utilities or other nodes without tables: structure alone"
    if found.get("theirs") == "refused":
        return f"refused by pyAgrum: {found['error'].partition('error : ')[2] or found['error']}"
    if "theirs" not in found:
        return "pyAgrum crashes or is late"
    worst = found.get("engine", 0)
    if worst >= 1e-9:
        return f"unexplained: engines differ by {worst:.1g}"
    return found.get("cause", "tables not compared in time") + (
        "" if "engine" in found else ", too large for marginals"
    )


def main(folder, seconds=60.0):
    """Print the table and the counts."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    files = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    known = (*EXTENSIONS, *(f"{e}.gz" for e in EXTENSIONS))
    paths = [path for path in files if path.name.lower().endswith(known)]
    counts = Counter()
    with tempfile.TemporaryDirectory() as copies:
        for path, found in judged(paths, Path(copies), float(seconds)).items():
            why = reason(found)
            counts[why.partition(":")[0]] += 1
            shown = [f"{found[k]:.1e}" if k in found else "-" for k in ("tables", "marginals")]
            shown.append(f"{found['engine']:.1e}" if "engine" in found else "-")
            sides = f"{found.get('ours', 'late'):<21} {found.get('theirs', 'late'):<8}"
            print(
                f"{Path(path).name[:36]:<36} {sides} {' '.join(s.rjust(7) for s in shown)}  {why}"
            )
    for word, count in counts.most_common():
        print(f"{count:>5}  {word}")


if __name__ == "__main__":
    main(*sys.argv[1:])
