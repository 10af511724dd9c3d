"""Every network file of a folder, by ours and by pyAgrum: do they agree on all marginals?

    python tests/benchmarks/files_agree.py FOLDER [SECONDS]

Prints a line for each file that one of them refuses or on which they differ by more than 1e-6
(pyAgrum keeps single precision from some formats), and the counts. Networks whose marginals take
longer than SECONDS to find are compared table by table alone. The files are read in a process of
their own, which is replaced where a file crashes it.
"""

import gzip
import multiprocessing
import os
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from queue import Empty

EXTENSIONS = (".bif", ".bifxml", ".xmlbif", ".xml", ".net", ".uai", ".xdsl", ".dsc", ".bif.gz")
CLOSE, EXACT = 1e-6, 1e-9


def theirs(path, copy):
    """pyAgrum's network, from a copy with an extension that it knows."""
    import pyagrum

    renamed = {".xmlbif": ".bifxml", ".xml": ".bifxml"}
    copy = copy.with_suffix(renamed.get(path.suffix, path.suffix))
    data = path.read_bytes()
    if path.suffix == ".gz":
        data, copy = gzip.decompress(data), copy.with_suffix(".bif")
    copy.write_bytes(data)
    return pyagrum.loadBN(str(copy))


def names_in(model, other):
    """pyAgrum's names of the nodes, which are other ones in UAI files and some of GeNIe's."""
    if set(model.nodes) == set(other.names()):
        return {v: v for v in model.nodes}
    return {v: other.variable(i).name() for i, v in enumerate(model.nodes)}


def tables_differ(model, other):
    """The largest difference of an entry, by names of nodes and states."""
    import numpy as np

    worst, name = 0.0, names_in(model, other)
    for cpd in model.get_cpds():
        table = other.cpt(name[cpd.variable])
        labels = {v: list(other.variable(name[v]).labels()) for v in cpd.variables}
        axes = [table.names[::-1].index(name[v]) for v in cpd.variables]
        array = table.toarray().transpose(axes)
        order = [[labels[v].index(str(s)) for s in cpd.state_names[v]] for v in cpd.variables]
        worst = max(worst, float(np.abs(array[np.ix_(*order)] - cpd.values).max()))
    return worst


def marginals_differ(model, other):
    import numpy as np
    import pyagrum

    import graphs

    inference = pyagrum.LazyPropagation(other)
    inference.makeInference()
    worst, name = 0.0, names_in(model, other)
    for v, ours in graphs.JunctionTree(model).marginals().items():
        labels = list(other.variable(name[v]).labels())
        array = np.array(inference.posterior(name[v]).tolist())
        order = [labels.index(str(s)) for s in model.states[v]]
        worst = max(worst, float(np.abs(array[order] - ours.numpy()).max()))
    return worst


def compare(path, folder, queue):
    """What became of one file, in a word and a sentence."""
    warnings.simplefilter("ignore")
    import graphs

    try:
        model, refusal = graphs.load(path), ""
    except ValueError as error:
        model, refusal = None, str(error)
    queue.put(("ours", "refused by ours" if model is None else "read by ours", refusal))
    try:
        other = theirs(path, folder / "copy")
    except Exception as error:
        queue.put(("theirs", "refused by pyAgrum", str(error).splitlines()[0]))
        return
    queue.put(("theirs", "read by pyAgrum", ""))
    if model is None or not hasattr(model, "get_cpds"):
        return
    try:
        queue.put(("tables", "", tables_differ(model, other)))
        queue.put(("marginals", "", marginals_differ(model, other)))
    except Exception as error:
        queue.put(("tables", f"not comparable: {type(error).__name__} {error}", 1.0))


def work(paths, folder, queue):
    for path in paths:
        queue.put(("begin", str(path), ""))
        compare(path, folder, queue)
    queue.put(("begin", "", ""))


def judged(paths, folder, seconds):
    """What was found of every file; a worker that crashes or is late is replaced."""
    context = multiprocessing.get_context("spawn")
    found = {}
    while len(found) < len(paths):
        queue = context.Queue()
        rest = paths[len(found) :]
        process = context.Process(target=work, args=(rest, folder, queue))
        process.start()
        current = None
        while True:
            try:
                kind, word, detail = queue.get(timeout=seconds if process.is_alive() else 1)
            except Empty:
                break
            if kind == "begin" and not word:
                break
            if kind == "begin":
                current = found.setdefault(word, {})
            else:
                current[kind] = word, detail
        process.kill()
        process.join()
    return found


def outcome(found):
    ours, refusal = found.get("ours", ("timed out by ours", ""))
    other, theirs_refusal = found.get("theirs", ("crashed pyAgrum", ""))
    if ours != "read by ours" or other != "read by pyAgrum":
        return f"{ours}, {other}", f"{refusal} | {theirs_refusal}"
    for kind in ("marginals", "tables"):
        if kind in found:
            word, worst = found[kind]
            close = "to 1e-9" if worst < EXACT else "to 1e-6" if worst < CLOSE else "no"
            agree = f"{kind} agree {close}" if worst < CLOSE else f"{kind} differ"
            return agree, f"{word} {worst:.2g}"
    return "not compared", ""


def main(folder, seconds=60.0):
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    files = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    paths = [path for path in files if path.name.lower().endswith(EXTENSIONS)]
    counts = Counter()
    with tempfile.TemporaryDirectory() as copies:
        for path, found in judged(paths, Path(copies), float(seconds)).items():
            word, detail = outcome(found)
            counts[word] += 1
            if "agree" not in word:
                print(f"{Path(path).name}: {word}: {detail}")
    for word, count in counts.most_common():
        print(f"{count:>5}  {word}")


if __name__ == "__main__":
    main(*sys.argv[1:])
