"""Pyro programs read as graphs: textbook models, hidden edges, what cannot be seen, bad input."""

import random
from typing import ClassVar

import networkx as nx
import numpy as np
import pyro
import pyro.distributions as dist
import pyro_programs as known
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.inspect import get_dependencies

import graphs
from graphs import from_pyro

NORMAL = dist.Normal(0.0, 1.0)
modest = settings(max_examples=15, deadline=None, derandomize=True)


@pytest.fixture(autouse=True)
def own_state():
    with pyro.get_param_store().scope(), torch.random.fork_rng(devices=[]):
        pyro.set_rng_seed(0)
        yield


@pytest.mark.parametrize("name", known.PROGRAMS)
def test_textbook_programs_read_right(name):
    program, args, edges, plates = known.PROGRAMS[name]
    graph = from_pyro(program, *args)
    assert type(graph) is nx.DiGraph
    assert set(graph.edges) == known.pairs(edges)
    assert dict(graph.nodes(data="plates")) == known.rows(plates)
    assert graph.graph["warnings"] == []
    assert set(graph.graph["plates"]) == {p for ps in known.rows(plates).values() for p in ps}


OTHERWISE = {  # (missed, invented) by Pyro's own tracing, and why
    "semi-supervised, labelled": ("y x", ""),  # it leaves observed parents out
    "autoregression, observed": ("x_0 x_1|x_1 x_2", ""),
    "mask and scale": ("switch a|switch c", ""),  # and the density's mask and scale
    "transformed": ("a d", ""),  # and Delta sites
    "written in place": ("x_1 x_2|x_2 x_3|x_1 y|x_2 y|x_3 y", ""),  # its labels stay behind
    "mapped and custom": ("a b", ""),
    "stacked": ("", "b x|a y"),  # its labels are one set for a whole tensor
}


def without_functions(graph):
    """The graph with the edges that lead through a function to what uses it joined."""
    graph = graph.copy()
    for v in [v for v, function in graph.nodes(data="deterministic") if function]:
        graph.add_edges_from((u, w) for u in graph.pred[v] for w in graph[v])
        graph.remove_node(v)
    return graph


@pytest.mark.parametrize("name", known.PROGRAMS)
def test_edges_are_those_of_pyros_own_tracing_where_it_is_right(name):
    program, args, _, _ = known.PROGRAMS[name]
    found = get_dependencies(program, args)["prior_dependencies"]
    theirs = {(u, v) for v, parents in found.items() for u in parents if u != v}
    ours = set(without_functions(from_pyro(program, *args, seeds=[0])).edges)
    missed, invented = OTHERWISE.get(name, ("", ""))
    assert ours - theirs == known.pairs(missed)
    assert theirs - ours == known.pairs(invented)


def test_attributes_say_what_a_site_is():
    graph = from_pyro(known.eight_schools, torch.ones(8), y=torch.zeros(8))
    assert graph.nodes["y"] == {"observed": True, "distribution": "Normal", "plates": ("schools",)}
    assert graph.nodes["tau"] == {"observed": False, "distribution": "HalfCauchy", "plates": ()}
    assert graph.graph["plates"] == {"schools": 8}
    assert graph.edges["mu", "theta"]["found"] == "traced"
    assert list(graph) == ["mu", "tau", "theta", "y"]
    graph = from_pyro(known.subsampled, torch.zeros(9))
    assert graph.graph["plates"] == {"data": 9}
    graph = from_pyro(known.transformed)
    assert dict(graph.nodes(data="distribution")) == {
        "a": "Normal", "b": "TransformedDistribution", "c": "TransformedDistribution", "d": "Delta",
    }  # fmt: skip
    graph = from_pyro(known.semi.model, torch.ones(4, 6))
    assert graph.nodes["x"]["distribution"] == "Bernoulli"


def test_conditioned_sites_are_observed_and_pass_their_value_on():
    sigma = torch.ones(8)
    conditioned = poutine.condition(known.eight_schools, {"theta": torch.zeros(8)})
    graph = from_pyro(conditioned, sigma)
    assert graph.nodes["theta"]["observed"]
    assert set(graph.edges) == {("mu", "theta"), ("tau", "theta"), ("theta", "y")}
    graph = from_pyro(poutine.do(known.eight_schools, {"theta": torch.zeros(8)}), sigma)
    assert set(graph.edges) == {("mu", "theta"), ("tau", "theta")}


def test_queries_and_blankets_work_on_the_graph():
    graph = from_pyro(known.hidden_markov, torch.zeros(4))
    transition, emission = {"transition"}, {"emission"}
    assert graphs.independent(graph, "x_0", "x_2", {"x_1"} | transition | emission)
    assert not graphs.independent(graph, "x_0", "x_2", {"x_1"})
    assert not graphs.independent(graph, "y_0", "y_2")
    explained = graphs.independent(graph, "transition", "emission", "y_1").explain()
    assert "y_1" in explained
    assert graphs.markov_blanket(graph, "x_1") == {"x_0", "x_2", "y_1", "transition", "emission"}


def test_a_factor_couples_when_it_is_conditioned_on():
    graph = from_pyro(known.potentials)
    assert graph.nodes["agree"]["observed"]
    assert graph.nodes["agree"]["distribution"] == "Unit"
    assert graphs.independent(graph, "a", "b")
    assert not graphs.independent(graph, "a", "b", "agree")


# --- Random programs: the graph is known because the program is made from it ----------------------


def mix_sum(values, rng):
    return sum(values) + 1.0


def mix_stack(values, rng):
    return torch.stack(values).exp().log().mean()


def mix_matrix(values, rng):
    return torch.linalg.vector_norm(torch.stack(values) @ torch.ones(len(values), 2))


def mix_buffer(values, rng):
    buffer = torch.zeros(len(values) + 1)
    for i, value in enumerate(values):
        buffer[i] = value
    return buffer.sum()


def mix_choice(values, rng):
    return torch.where(values[0] > 0, values[0], values[-1]) + sum(values)


def mix_number(values, rng):
    return float(sum(values).item())


def mix_array(values, rng):
    return float(np.sum([value.numpy() for value in values]))


TRACED = (mix_sum, mix_stack, mix_matrix, mix_buffer, mix_choice)
ESCAPING = (mix_number, mix_array)


def random_program(seed, mixes):
    rng = random.Random(seed)
    size = rng.randint(2, 7)
    dag = nx.DiGraph()
    dag.add_nodes_from(f"s{i}" for i in range(size))
    dag.add_edges_from(
        (f"s{i}", f"s{j}") for j in range(size) for i in range(j) if rng.random() < 0.4
    )
    how = {v: rng.choice(mixes) for v in dag}

    def program():
        values = {}
        for v in dag:
            parents = [values[u] for u in dag.predecessors(v)]
            loc = how[v](parents, rng) if parents else 0.0
            unused = torch.zeros_like(torch.stack(list(values.values()))) if values else 0.0
            loc = loc + (unused.sum() if values else 0.0)
            given = torch.tensor(0.5) if v == "s1" else None
            values[v] = pyro.sample(v, dist.Normal(loc, 1.0), obs=given)

    return dag, program


@modest
@given(seed=st.integers(0, 10**6))
def test_random_programs_give_their_graph(seed):
    dag, program = random_program(seed, TRACED)
    graph = from_pyro(program)
    assert nx.utils.graphs_equal(nx.DiGraph(dag.edges), nx.DiGraph(graph.edges()))
    assert list(graph) == list(dag)
    assert graph.graph["warnings"] == []


@modest
@given(seed=st.integers(0, 10**6))
def test_random_programs_through_python_numbers_give_their_graph(seed):
    dag, program = random_program(seed, TRACED + ESCAPING)
    graph = from_pyro(program, seeds=[0])
    assert set(graph.edges) == set(dag.edges)
    redrawn = {u for u, _, found in graph.edges(data="found") if found == "redrawn"}
    for u in redrawn:
        assert any(f"{u!r} leaves torch" in w for w in graph.graph["warnings"])


# --- What leaves torch ----------------------------------------------------------------------------


def test_a_cell_of_a_notebook_is_named_by_its_line():
    """Its file has the number of a digest, and lies in a folder of the kernel's."""
    source = "\ndef program():\n    z = pyro.sample('z', dist.Normal(0.0, 1.0))\n    float(z)\n"
    for name, place in {
        "/tmp/ipykernel_4711/2991662999.py": "at line 4 of a cell (__float__)",
        "/home/me/model.py": "at model.py:4 (__float__)",
    }.items():
        namespace = {"dist": dist, "pyro": pyro}
        exec(compile(source, name, "exec"), namespace)
        (warning,) = graphs.from_pyro(namespace["program"]).graph["warnings"]
        assert place in warning


def branching():
    z = pyro.sample("z", NORMAL)
    if z > 0:
        pyro.sample("x", dist.Normal(3.0, 1.0))
    else:
        pyro.sample("x", dist.Gamma(2.0, 1.0))
    pyro.sample("y", NORMAL)


def test_a_branch_is_reported_with_its_place_and_its_edge_found():
    graph = from_pyro(branching)
    assert dict(graph.edges) == {("z", "x"): {"found": "redrawn"}}
    (line,) = [w for w in graph.graph["warnings"] if "'z' leaves torch" in w]
    assert "test_programs.py:" in line
    assert "__bool__" in line
    assert "'x'" in line


def test_sites_that_come_and_go_are_reported():
    def program():
        if pyro.sample("coin", dist.Bernoulli(0.5)):
            extra = pyro.sample("extra", NORMAL)
            pyro.sample("x", dist.Normal(extra, 1.0))
        else:
            pyro.sample("x", NORMAL)

    graph = from_pyro(program, seeds=range(6))
    assert set(graph.edges) == {("coin", "extra"), ("coin", "x"), ("extra", "x")}
    warnings = "\n".join(graph.graph["warnings"])
    assert "'extra' is sampled under seed" in warnings
    assert list(graph)[-1] == "x"
    kinds = from_pyro(branching, seeds=range(6)).graph["warnings"]
    assert any(w.startswith("'x' varies with the seed in its distribution: Gamma") for w in kinds)


def test_the_size_of_a_plate_depends_on_what_was_sampled():
    def program():
        n = pyro.sample("n", dist.Poisson(5.0))
        with pyro.plate("data", int(n) + 1):
            pyro.sample("x", NORMAL)

    graph = from_pyro(program)
    assert set(graph.edges) == {("n", "x")}
    assert any("varies with the seed in its plates" in w for w in graph.graph["warnings"])


def test_a_loop_that_ends_at_random_is_followed_as_far_as_it_ran():
    def program():
        steps = 0
        while steps < 5 and pyro.sample(f"go_{steps}", dist.Bernoulli(0.5)).item():
            steps += 1
        pyro.sample("x", dist.Normal(float(steps), 1.0))

    graph = from_pyro(program, seeds=range(5))
    assert {("go_0", "go_1"), ("go_0", "x"), ("go_1", "x")} <= set(graph.edges)
    assert nx.is_directed_acyclic_graph(graph)


def test_a_rare_branch_is_missed_but_suspected_and_can_be_assumed():
    def program():
        z = pyro.sample("z", NORMAL)
        pyro.sample("x", dist.Normal(1.0 if z.item() > 30 else 0.0, 1.0))

    graph = from_pyro(program)
    assert not graph.edges
    assert any("'z' leaves torch" in w and "assume=" in w for w in graph.graph["warnings"])
    graph = from_pyro(program, assume=[("z", "x")])
    assert graph.edges["z", "x"] == {"found": "assumed"}


def test_formatting_and_library_checks_are_no_escape():
    def program():
        z = pyro.sample("z", dist.Categorical(torch.ones(3)))
        str(z), repr(z), f"{z}"
        one_hot = torch.nn.functional.one_hot(z, 3).float()
        pyro.sample("x", dist.Normal(one_hot, 1.0, validate_args=True).to_event(1))

    graph = from_pyro(program)
    assert set(graph.edges) == {("z", "x")}
    assert graph.graph["warnings"] == []


def test_autoregression_through_the_data_is_suspected_and_can_be_assumed():
    def program(data):
        for t in range(1, 4):
            pyro.sample(f"x_{t}", dist.Normal(data[t - 1], 1.0), obs=data[t])

    data = torch.randn(4)
    graph = from_pyro(program, data)
    assert not graph.edges
    assert len(graph.graph["warnings"]) == 2
    assert "'x_2' reads data that 'x_1' observed" in graph.graph["warnings"][0]
    assert "assume=[('x_1', 'x_2')]" in graph.graph["warnings"][0]
    chain = from_pyro(program, data, assume=[("x_1", "x_2"), ("x_2", "x_3")])
    assert graphs.independent(chain, "x_1", "x_3", "x_2")
    assert not graphs.independent(chain, "x_1", "x_3")


def test_columns_of_one_data_table_are_told_apart():
    def program(table):
        slope = pyro.sample("slope", NORMAL)
        for i in range(3):
            pyro.sample(f"y_{i}", dist.Normal(slope * table[i, 0], 1.0), obs=table[i, 1])

    graph = from_pyro(program, torch.randn(3, 2))
    assert set(graph.edges) == {("slope", f"y_{i}") for i in range(3)}
    assert graph.graph["warnings"] == []


def test_observed_numbers_are_followed():
    def program():
        a = pyro.sample("a", NORMAL, obs=0.5)
        pyro.sample("b", dist.Normal(2 * a, 1.0))

    assert set(from_pyro(program).edges) == {("a", "b")}


def test_values_that_are_no_tensors_are_reported():
    def program(draw):
        value = pyro.sample("a", draw)
        pyro.sample("b", dist.Normal(value["loc"], 1.0))

    graph = from_pyro(program, lambda: {"loc": torch.randn(())})
    assert set(graph.edges) == {("a", "b")}
    assert graph.graph["warnings"] == []
    graph = from_pyro(program, lambda: {"loc": np.float64(0.5)})
    assert graph.graph["warnings"] == [
        "the value of 'a' is no tensor, so what depends on it cannot be traced"
    ]


def test_an_observation_computed_from_a_site_depends_on_it():
    def program():
        z = pyro.sample("z", NORMAL)
        pyro.sample("x", NORMAL, obs=2 * z)

    assert set(from_pyro(program).edges) == {("z", "x")}


class Secretive(dist.TorchDistribution):
    """A distribution whose parameters only its density shows."""

    arg_constraints: ClassVar = {}
    support = dist.constraints.real

    def __init__(self, loc):
        super().__init__(validate_args=False)
        self.density = lambda x: -((x - loc) ** 2)

    def expand(self, batch_shape, _instance=None):
        return self

    def log_prob(self, x):
        return self.density(x)


def test_a_density_is_asked_where_parameters_do_not_show():
    def program():
        z = pyro.sample("z", NORMAL)
        pyro.sample("x", Secretive(z), obs=torch.tensor(0.0))

    assert set(from_pyro(program).edges) == {("z", "x")}


def test_hidden_sites_pass_dependence_on():
    def program():
        z = pyro.sample("z", NORMAL)
        with poutine.block():
            hidden = pyro.sample("hidden", dist.Normal(z, 1.0))
        pyro.sample("x", dist.Normal(hidden, 1.0))

    graph = from_pyro(program)
    assert set(graph.edges) == {("z", "x")}


def test_a_program_that_fails_only_when_redrawn_is_reported():
    def program():
        z = pyro.sample("z", dist.Bernoulli(0.5))
        if z.item() != first:
            raise RuntimeError("never seen")
        pyro.sample("x", NORMAL)

    with torch.random.fork_rng(devices=[]):
        pyro.set_rng_seed(0)
        first = dist.Bernoulli(0.5).sample().item()
    graph = from_pyro(program, seeds=[0])
    assert any("redrawing 'z' made the program fail" in w for w in graph.graph["warnings"])


# --- Unrolling and assuming -----------------------------------------------------------------------


def test_unrolling_joins_shared_plates_index_by_index():
    x = torch.ones(2, 3)
    graph = from_pyro(known.nested_regression, x, x, unroll=True)
    assert len(graph) == 2 + 2 + 6 + 6
    assert set(graph.predecessors("slope[1,2]")) == {"state[1]"}
    assert set(graph.predecessors("y[1,2]")) == {"slope[1,2]"}
    assert set(graph.successors("top")) == {"state[0]", "state[1]"}
    assert graph.nodes["y[1,2]"]["site"] == "y"
    assert graph.nodes["y[1,2]"]["index"] == (1, 2)
    assert graphs.independent(graph, "slope[0,0]", "slope[0,1]", "state[0]")


def test_unrolling_joins_other_plates_all_to_all():
    graph = from_pyro(known.mixture, torch.zeros(4), unroll=True)
    assert set(graph.predecessors("x[2]")) == {
        "assignment[2]", "scale", "locs[0]", "locs[1]", "locs[2]",
    }  # fmt: skip
    graph = from_pyro(known.sequential_plate, torch.ones(2), unroll=True)
    assert list(graph) == ["rate", "flip_0", "flip_1"]
    graph = from_pyro(known.subsampled, torch.zeros(9), unroll=True)
    assert list(graph) == ["mean", "x[0]", "x[1]", "x[2]"]


def test_assumed_edges_are_unrolled_or_name_unrolled_nodes():
    def program():
        with pyro.plate("p", 2):
            pyro.sample("a", NORMAL)
            pyro.sample("b", NORMAL)

    graph = from_pyro(program, assume=[("a", "b")], unroll=True)
    assert set(graph.edges) == {("a[0]", "b[0]"), ("a[1]", "b[1]")}
    graph = from_pyro(program, assume=[("a[0]", "a[1]")], unroll=True)
    assert set(graph.edges) == {("a[0]", "a[1]")}


def test_unrolling_is_bounded():
    def wide(size):
        with pyro.plate("p", size):
            pyro.sample("a", NORMAL)

    with pytest.raises(ValueError, match="at most 10000 nodes after unrolling, got 10001"):
        from_pyro(wide, 10_001, unroll=True)

    def dense():
        with pyro.plate("p", 600):
            a = pyro.sample("a", NORMAL)
        with pyro.plate("q", 600):
            pyro.sample("b", dist.Normal(a.sum(), 1.0))

    with pytest.raises(ValueError, match="at most 200000 edges after unrolling, got 360000"):
        from_pyro(dense, unroll=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"assume": [("mu", "thet")]}, "sample sites in assume, got 'thet' .did you mean 'theta'"),
        ({"assume": [("y", "mu")]}, "acyclic directed graph, got the cycle"),
        ({"assume": [("mu", "mu")]}, "acyclic directed graph, got the cycle mu -> mu"),
        ({"assume": ["muy"]}, "pairs .u, v. of sample sites, got 'muy'"),
        ({"assume": 3}, "pairs .u, v. of sample sites, got 3"),
        ({"seeds": []}, "at least one seed"),
        ({"seeds": [0.5]}, "at least one seed"),
        ({"seeds": [-1]}, "at least one seed"),
        ({"nonsense": 1}, "arguments that fit the program's signature"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        from_pyro(known.eight_schools, torch.ones(8), **options)


@pytest.mark.parametrize("program", [None, "model", nx.DiGraph()])
def test_what_is_no_program_is_refused(program):
    with pytest.raises(ValueError, match="expected a Pyro program to call, got"):
        from_pyro(program)


def test_missing_arguments_are_refused_and_the_programs_own_errors_pass():
    with pytest.raises(ValueError, match=r"signature \(sigma, y=None\), got missing"):
        from_pyro(known.eight_schools)

    def broken():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        from_pyro(broken)


def test_seeds_that_contradict_each_other_are_refused():
    def program():
        coin = dist.Bernoulli(0.5).sample()
        first, second = ("a", "b") if coin else ("b", "a")
        value = pyro.sample(first, NORMAL)
        pyro.sample(second, dist.Normal(value, 1.0))

    with pytest.raises(ValueError, match="acyclic directed graph, got the cycle"):
        from_pyro(program, seeds=range(8))


def test_a_program_without_sites_says_so():
    graph = from_pyro(lambda: None)
    assert len(graph) == 0
    assert graph.graph["warnings"] == ["the program has no sample site"]


# --- Nothing else changes -------------------------------------------------------------------------


def test_tracing_leaves_everything_as_it_was():
    module = torch.nn.BatchNorm1d(2)
    buffer = torch.zeros(2)
    calls = []

    def program(x):
        calls.append(1)
        pyro.module("norm", module)
        rate = pyro.param("rate", torch.tensor(1.0), constraint=dist.constraints.positive)
        pyro.param("fresh", torch.tensor(1.0))
        z = pyro.sample("z", dist.Normal(module(x), rate).to_event(1).mask(True))
        buffer.add_(z.sum(0))
        np.random.rand()  # noqa: NPY002
        random.random()

    kept = pyro.param("rate", torch.tensor(3.0), constraint=dist.constraints.positive)
    pyro.enable_validation(True)
    states = torch.get_rng_state(), random.getstate()
    expected = np.random.get_state()[1].copy()  # noqa: NPY002
    from_pyro(program, torch.randn(5, 2, generator=torch.Generator().manual_seed(1)))
    assert len(calls) == 3
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], expected)  # noqa: NPY002
    assert list(pyro.get_param_store().keys()) == ["rate"]
    assert torch.equal(pyro.param("rate"), kept)
    assert torch.equal(module.running_mean, torch.zeros(2))
    assert module.num_batches_tracked == 0
    assert torch.equal(buffer, torch.zeros(2))
    assert pyro.distributions.is_validation_enabled()


def test_trained_parameters_are_used_and_training_goes_on():
    def model(data):
        z = pyro.sample("z", NORMAL)
        pyro.sample("x", dist.Normal(z, 1.0), obs=data)

    def guide(data):
        loc = pyro.param("loc", torch.tensor(0.0))
        pyro.sample("z", dist.Normal(loc, 1.0))

    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.1}), Trace_ELBO())
    data = torch.tensor(2.0)
    svi.step(data)
    before = pyro.param("loc").item()
    from_pyro(guide, data)
    from_pyro(model, data)
    assert pyro.param("loc").item() == before
    svi.step(data)
    assert pyro.param("loc").item() != before


def test_priors_without_draws_are_read():
    def model(x):
        a = pyro.sample("a", dist.ImproperUniform(dist.constraints.positive, (), (2,)))
        with pyro.plate("n", 3):
            b = pyro.sample("b", dist.ImproperUniform(dist.constraints.real, (), ()))
            c = pyro.sample("c", dist.Bernoulli((b > 0).to(x)))
            pyro.sample("x", dist.Normal(a.log().sum() + c, 1.0), obs=x)

    graph = from_pyro(model, torch.zeros(3))
    assert set(graph.edges) == {("a", "x"), ("b", "c"), ("c", "x")}
    assert graph.nodes["a"]["distribution"] == "ImproperUniform"

    def branching():
        a = pyro.sample("a", dist.ImproperUniform(dist.constraints.real, (), ()))
        pyro.sample("b", dist.Normal(0.0, 2.0 if a.item() > 0 else 1.0))

    graph = from_pyro(branching)
    assert graph.edges["a", "b"]["found"] == "redrawn"


def test_where_a_parameter_starts_is_no_dependence():
    """Not even in a module that makes its parts, and draws them in place, when first called."""

    class Lazy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = None

        def forward(self):
            z = pyro.sample("z", NORMAL)
            if self.net is None:
                self.net = torch.nn.Linear(1, 1)
                torch.nn.init.constant_(self.net.bias, 7.0)
            loc = pyro.param("loc", lambda: 2 * z.detach())
            pyro.sample("x", dist.Normal(loc, 1.0))
            pyro.sample("y", dist.Normal(self.net(z[None]), 1.0))

    module = Lazy()
    assert list(from_pyro(module).edges) == [("z", "y")]
    assert module.net.bias.item() == 7.0
    assert abs(module.net.weight.item()) <= 1.0


def test_outer_handlers_see_nothing():
    with poutine.trace() as outer:
        from_pyro(known.stacked)
    assert not outer.trace.nodes


def test_every_model_of_the_zoo_reads_as_latents_that_make_the_image():
    import ppl_gen

    images = torch.rand(3, 1, 8, 8)
    for name, entry in ppl_gen.zoo.registry.items():
        if entry.family != "variational":
            continue
        vae = getattr(ppl_gen.zoo, name)(data_shape=(1, 8, 8))
        if not isinstance(vae, ppl_gen.VAE):
            continue
        labels = torch.tensor([0, 1, 0]) if vae.num_classes else None
        if vae.condition.partial:  # a label that is known is no latent that the image depends on
            labels = torch.full((3,), -1)
        graph = from_pyro(vae.model, images, labels)
        observed = [v for v, attributes in graph.nodes(data=True) if attributes["observed"]]
        assert "x" in observed, name
        latent = set(graph) - set(observed)
        assert latent, name
        assert nx.ancestors(graph, "x") >= latent, name
        assert graph.graph["warnings"] == [], name
