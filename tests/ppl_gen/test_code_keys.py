"""Keys of compiled code: the same in every process, another one for whatever code depends on."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from ppl_gen.staging import backends, code_keys, cpp_loop, kept_code, stage_function
from ppl_gen.staging import torch_internals as internals
from ppl_gen.staging.recording import record

OPTIONS = {"cpp_wrapper": True, "size_asserts": False}
unable = pytest.mark.skipif(
    internals.why_not_compiled({torch.device("cpu")}) is not None or not hasattr(os, "geteuid"),
    reason="nothing is compiled and kept here",
)


def key(function, *inputs, options=OPTIONS):
    return code_keys.graph_key(record(function, inputs).module, inputs, options)


def graph(x, y):
    return [torch.where(x > 0.5, x, torch.tensor(2.0)).sum(), y.t() @ x]


def tensors():
    return torch.rand(4, 6), torch.rand(4, 6)


def test_the_key_is_that_of_the_graph_and_not_of_the_values():
    assert key(graph, *tensors()) == key(lambda a, b: graph(a, b), *tensors())


@pytest.mark.parametrize(
    "other",
    [
        lambda x, y: [torch.where(x > 0.25, x, torch.tensor(2.0)).sum(), y.t() @ x],  # a literal
        lambda x, y: [torch.where(x > 0.5, x, torch.tensor(3.0)).sum(), y.t() @ x],  # a constant
        lambda x, y: [torch.where(x >= 0.5, x, torch.tensor(2.0)).sum(), y.t() @ x],  # an operation
        lambda x, y: [torch.where(y > 0.5, x, torch.tensor(2.0)).sum(), y.t() @ x],  # an edge
        lambda x, y: graph(x, y)[::-1],  # an order
        lambda x, y: [*graph(x, y), None],  # an output
        lambda x, y: [graph(x, y)[0].double(), graph(x, y)[1]],  # a type
    ],
)
def test_graphs_that_differ_have_keys_that_differ(other):
    assert key(other, *tensors()) != key(graph, *tensors())


def test_numbers_that_print_alike_or_compare_equal_have_their_own_keys():
    numbers = [0.0, -0.0, 1, 1.0, True, 0.1 + 0.2, 0.3, float("nan"), float("inf"), 1e-45]
    keys = {key(lambda x, n=n: [torch.add(x, n)], torch.rand(3)) for n in numbers}
    assert len(keys) == len(numbers)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.bfloat16, torch.complex64])
def test_the_contents_of_constants_of_every_type_count(dtype):
    def with_constant(values):
        return key(lambda x: [x * torch.tensor(values, dtype=dtype).sum()], torch.rand(3))

    assert with_constant([1, 0]) == with_constant([1, 0])
    assert with_constant([1, 0]) != with_constant([0, 1])


def layouts():
    """Pairs of inputs, each of which is compiled for in its own way."""
    x, y = tensors()
    whole = torch.rand(48)
    yield x, y
    yield x.double(), y
    yield torch.rand(5, 6), torch.rand(5, 6)
    yield torch.rand(6, 4).t(), y
    yield x, torch.rand(6, 4).t()
    yield x, x
    yield whole[:24].view(4, 6), whole[24:].view(4, 6)
    yield whole[:24].view(4, 6), whole[12:36].view(4, 6)
    yield nn.Parameter(x), y


def test_inputs_that_differ_have_keys_that_differ():
    module = record(graph, tensors()).module
    keys = [code_keys.graph_key(module, inputs, OPTIONS) for inputs in layouts()]
    assert len(set(keys)) == len(keys)


def test_options_count():
    assert len({key(graph, *tensors(), options={**OPTIONS, "n": n}) for n in (1, 2)}) == 2


def changes(patch):
    """Each thing around a graph that code depends on, changed."""
    threads = torch.get_num_threads()
    yield lambda: patch.setattr(torch, "__version__", "2.99")
    yield lambda: patch.setattr(torch.version, "git_version", "0" * 40)
    yield lambda: patch.setattr(sys, "version", "3.99")
    yield lambda: patch.setattr(internals, "compiler_version", lambda: "g++ 99")
    yield lambda: patch.setattr(code_keys, "_processor", lambda: "flags: none")
    yield lambda: patch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    yield lambda: patch.setattr(torch, "get_num_threads", lambda: threads + 1)
    yield lambda: patch.setattr(torch, "get_default_dtype", lambda: torch.float64)
    yield lambda: patch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    yield lambda: patch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    yield lambda: patch.setattr(torch, "is_autocast_enabled", lambda device: True)
    yield lambda: patch.setattr(torch, "get_autocast_dtype", lambda device: torch.float16)
    yield lambda: patch.setattr(torch.backends.mkldnn, "is_available", lambda: None)
    yield lambda: patch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    yield lambda: patch.setenv("TORCHINDUCTOR_FREEZING", "1")
    yield lambda: patch.setenv("CXX", "g++-99")
    yield lambda: patch.setattr(internals, "changed_configuration", lambda: [("a", "b", "c")])
    yield lambda: patch.setattr(code_keys, "_sources", lambda: "other lines")


def test_what_is_around_a_graph_counts(monkeypatch):
    keys = [key(graph, *tensors())]
    with monkeypatch.context() as patch:
        for change in changes(patch):
            change()
            keys.append(key(graph, *tensors()))
    assert len(set(keys)) == len(keys)
    assert key(graph, *tensors()) == keys[0]


def test_the_configuration_of_the_code_generator_counts():
    from torch._inductor import config

    before, source = key(graph, *tensors()), code_keys.source_key("int main;")
    with config.patch({"cpp.enable_kernel_profile": True}):
        assert key(graph, *tensors()) != before
        assert code_keys.source_key("int main;") != source
    assert key(graph, *tensors()) == before
    assert code_keys.source_key("int main();") != source


def test_the_processor_and_the_compiler_are_known():
    assert code_keys._processor()
    assert internals.compiler_version() or internals.why_not_compiled({torch.device("cpu")})


def test_what_has_no_name_has_no_key(monkeypatch):
    @torch.library.custom_op("tests::doubled", mutates_args=())
    def doubled(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    assert key(lambda x: [doubled(x)], torch.rand(3)) is None
    monkeypatch.setattr(internals, "changed_configuration", lambda: None)
    assert key(graph, *tensors()) is None
    assert code_keys.source_key("int main;") is None


# --- Compiled in earnest ------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PPL_GEN_CACHE", str(tmp_path))
    monkeypatch.delenv("PPL_GEN_CODE_CACHE", raising=False)
    monkeypatch.setattr(backends, "_wrong", set())
    return tmp_path / "code"


FIT = """
import hashlib, sys
import torch
import ppl_gen
from ppl_gen.training.run import Run

torch.set_num_threads(1)
x = (torch.rand(96, 1, 6, 6, generator=torch.Generator().manual_seed(0)) > 0.5).float()
torch.manual_seed(1)
vae = ppl_gen.zoo.vae((1, 6, 6), 3, hidden=8)
history = ppl_gen.fit(vae, x, epochs=6, batch_size=32, seed=2, staged=True, progress=False)
digest = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in vae.parameters()))
print(digest.hexdigest(), torch.rand(()).item(), "torch._inductor.compile_fx" in sys.modules)
"""


@unable
def test_a_second_process_compiles_nothing_and_gives_the_same_bits(folder):
    def run():
        asked = [sys.executable, "-c", FIT]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()

    *first, compiled = run()
    *second, compiled_again = run()
    assert first == second
    assert (compiled, compiled_again) == ("True", "False")


def sine(x, weight):
    return (x * weight).sin().sum() + torch.randn_like(x).sum(), {}


def cosine(x, weight):
    return (x * weight).cos().sum() + torch.randn_like(x).sum(), {}


@unable
def test_code_that_gives_another_result_is_compiled_again(folder, recwarn):
    def staged(function):
        weight = nn.Parameter(torch.arange(1.0, 5.0))
        step = stage_function(lambda x: function(x, weight), [weight], staged=True)
        torch.manual_seed(3)
        return step, step(torch.linspace(0, 1, 4))[0], weight.grad

    def kept():
        return {path.name[:64]: path for path in folder.iterdir()}

    _, loss, gradient = staged(sine)
    (right,) = kept()
    contents = kept()[right].read_bytes()
    staged(cosine)
    (wrong,) = kept().keys() - {right}
    kept()[right].unlink()
    assert kept_code.keep(right, kept()[wrong])
    step, again, gradient_again = staged(sine)
    assert torch.equal(again, loss)
    assert torch.equal(gradient_again, gradient)
    (found,) = step._graphs.values()
    assert isinstance(found[0].run, cpp_loop.Kernel)
    assert not found[0].run.kept
    assert kept()[right].read_bytes() == contents
    assert not recwarn.list
