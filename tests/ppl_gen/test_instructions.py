"""Vector instructions are taken on trust for the first compilation, and tried if that fails."""

import pytest
from torch._inductor import config, cpu_vec_isa

from ppl_gen.staging import torch_internals


@pytest.fixture
def first(monkeypatch):
    """As if nothing had been compiled in this process, on a machine without a compiler to try."""
    tried = []

    def check_build(instructions, code):
        tried.append(code)
        return False

    forget()
    with monkeypatch.context() as patch:
        patch.setattr(cpu_vec_isa.VecISA, "check_build", check_build)
        yield tried
    forget()


def forget():
    cpu_vec_isa.valid_vec_isa_list.cache_clear()
    cpu_vec_isa.VecISA._VecISA__bool__impl.cache_clear()
    for instructions in cpu_vec_isa.supported_vec_isa_list:
        getattr(type(instructions).__bool__, "cache_clear", lambda: None)()


class Compiling:
    """What compiles, and fails where ``fails`` says so of how the instructions were found."""

    def __init__(self, fails, asks=True):
        self.fails, self.asks, self.trusted = fails, asks, []

    def __call__(self):
        if self.asks:
            cpu_vec_isa.pick_vec_isa()
        self.trusted.append(config.cpp.vec_isa_ok)
        if self.fails(self.trusted[-1]):
            raise RuntimeError("unknown instruction")
        return "made"


def test_the_first_compilation_tries_nothing_and_the_second_knows(first):
    compiling = Compiling(lambda trusted: False)
    for _ in range(2):
        assert torch_internals._trusting_the_processor(compiling) == "made"
    assert compiling.trusted == [True, None]
    assert config.cpp.vec_isa_ok is None
    assert cpu_vec_isa.VecISA._avx_code not in first


def test_instructions_are_tried_where_the_compiler_does_not_know_them(first):
    compiling = Compiling(bool)
    assert torch_internals._trusting_the_processor(compiling) == "made"
    assert compiling.trusted == [True, None]
    assert cpu_vec_isa.VecISA._avx_code in first or not cpu_vec_isa.x86_isa_checker()


@pytest.mark.parametrize(("asks", "times"), [(True, 2), (False, 1)])
def test_what_fails_for_another_reason_fails(first, asks, times):
    compiling = Compiling(lambda trusted: True, asks)
    with pytest.raises(RuntimeError, match="unknown instruction"):
        torch_internals._trusting_the_processor(compiling)
    assert len(compiling.trusted) == times


def test_the_word_of_a_user_is_kept(first):
    compiling = Compiling(lambda trusted: False)
    with config.patch({"cpp.vec_isa_ok": False}):
        torch_internals._trusting_the_processor(compiling)
    assert compiling.trusted == [False]
