"""A network file as ours and as pyAgrum reads it, table by table, and why the two differ."""

import gzip
import re
import warnings

import numpy as np

SAME = 1e-9
WAYS = (
    ({}, ""),
    ({"tolerance": 1e-6}, "tolerance="),
    ({"normalize": True}, "normalize=True"),
    ({"tables": False}, "tables=False"),
)
XML_NAMES = {".xmlbif": ".bifxml", ".xml": ".bifxml"}


def ours(path):
    """Our reading, the option that it takes, and why the file is refused without one.

    An option counts only where the refusal names it.
    """
    import graphs

    message = ""
    for options, named in WAYS:
        if named not in message:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return graphs.load(path, **options), named, message
        except ValueError as error:
            message = message or str(error)
    return None, "", message


def theirs(path, copy):
    """pyAgrum's network, from a copy with an extension that it knows."""
    import pyagrum

    data = path.read_bytes()
    suffix = path.suffix.lower()
    if suffix == ".gz":
        data, suffix = gzip.decompress(data), path.with_suffix("").suffix.lower()
    copy = copy.with_suffix(XML_NAMES.get(suffix, suffix))
    copy.write_bytes(data)
    read = pyagrum.loadMRF if b"MARKOV" in data[:256] else pyagrum.loadBN
    return read(str(copy))


def names_in(model, other):
    """pyAgrum's names of the nodes, which are other ones in UAI files and some of GeNIe's."""
    if set(model.nodes) == set(other.names()):
        return {v: v for v in model.nodes}
    numbered = all(re.fullmatch(r"var_\d+", v) for v in model.nodes)
    numbers = {v: int(v[4:]) if numbered else i for i, v in enumerate(model.nodes)}
    return {v: other.variable(i).name() for v, i in numbers.items()}


def normalized(rows):
    """Rows along the last axis, noise below zero taken off, divided by their sums or uniform."""
    rows = np.where((rows < 0) & (rows > -1e-6), 0, rows)
    sums = rows.sum(-1, keepdims=True)
    return np.where(sums > 0, rows / np.where(sums > 0, sums, 1), 1 / rows.shape[-1])


def tables(model, other, name):
    """Scopes with our table, pyAgrum's by names of nodes and states, and its numbers as they lie.

    The child comes last.
    """
    back = {v: k for k, v in name.items()}
    theirs = [other.factor(f) for f in other.factors()] if markov(other) else ()
    scopes = {frozenset(back[v] for v in table.names): table for table in theirs}
    for part in model.get_factors() if markov(other) else model.get_cpds():
        scope = list(part.variables) if markov(other) else [*part.variables[1:], part.variables[0]]
        table = scopes[frozenset(scope)] if markov(other) else other.cpt(name[scope[-1]])
        axes = [table.names[::-1].index(name[v]) for v in scope]
        labels = {v: list(other.variable(name[v]).labels()) for v in scope}
        order = [[labels[v].index(str(s)) for s in part.state_names[v]] for v in scope]
        mine = part.values.transpose([part.variables.index(v) for v in scope])
        array = table.toarray()
        yield scope, mine, array.transpose(axes)[np.ix_(*order)], array


def markov(other):
    """Whether pyAgrum's network is undirected."""
    return hasattr(other, "factors")


def reversed_parents(table):
    """The table of the same numbers, if they were read with the first parent's states fastest."""
    parents = len(table.shape) - 1
    return table.transpose(*range(parents)[::-1], parents).reshape(table.shape)


def cause(found, rescaled):
    """Why pyAgrum's tables are not ours, in words."""
    for word, turned in (
        ("", [(a, b) for _, a, b, _ in found]),
        ("parents reversed by pyAgrum, ", [(a, reversed_parents(b)) for _, a, b, _ in found]),
        (
            "variables in another order of pyAgrum, ",
            [(a.ravel(), c.ravel()) for _, a, _, c in found],
        ),
    ):
        if (why := rescaling(turned) if rescaled else precision(turned)) is not None:
            return word + why
    return "unexplained"


def precision(pairs):
    """How equal tables are to the last bit."""
    if differ(pairs) <= SAME:
        return "same tables"
    single = all(np.array_equal(a.astype(np.float32), b) for a, b in pairs)
    return "single precision of pyAgrum" if single else None


def rescaling(pairs):
    """How equal tables are whose rows we rescale and pyAgrum does not."""
    pairs = [(normalized(a), normalized(b)) for a, b in pairs]
    if differ(pairs) <= SAME:
        return "rows rescaled"
    # a sum of rounded numbers is off by as many roundings as there are numbers
    single = all(np.abs(a - b).max() <= 2**-24 * (1 + a.shape[-1]) for a, b in pairs)
    return "rows rescaled, single precision of pyAgrum" if single else None


def differ(pairs):
    """The largest difference of two entries."""
    return max(float(np.abs(a - b).max()) for a, b in pairs)


def posteriors(model, other, name):
    """The largest difference of a marginal of ours and of pyAgrum's for its own tables."""
    import pyagrum

    import graphs

    method = pyagrum.ShaferShenoyMRFInference if markov(other) else pyagrum.LazyPropagation
    inference = method(other)
    inference.makeInference()
    worst = 0.0
    for v, marginal in graphs.JunctionTree(model).marginals().items():
        labels = list(other.variable(name[v]).labels())
        array = inference.posterior(name[v]).toarray()
        order = [labels.index(str(s)) for s in model.states[v]]
        worst = max(worst, float(np.abs(array[order] - marginal.numpy()).max()))
    return worst


def refitted(model, other, name, rescaled):
    """Our model with pyAgrum's tables, and pyAgrum's with rows rescaled where ours are."""
    import graphs

    found = list(tables(model, other, name))
    if markov(other):
        return graphs.markov_network([(s, b) for s, _, b, _ in found], states=model.states), other
    if rescaled:
        for v in other.names():
            other.cpt(v)[:] = normalized(other.cpt(v).toarray())
    entries = [(s[-1], s[:-1], normalized(b) if rescaled else b) for s, _, b, _ in found]
    return graphs.bayesian_network(entries, states=model.states), other
