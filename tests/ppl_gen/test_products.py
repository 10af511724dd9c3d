"""Large matrix products in compiled graphs: oneDNN's, and right for any layout of the factors."""

import pytest
import torch
from torch._inductor import config
from torch.profiler import ProfilerActivity, profile
from torch.testing import assert_close

from ppl_gen.staging import backends, matmul
from ppl_gen.staging.recording import record


@pytest.fixture
def available():
    if not matmul._available():
        pytest.skip("torch lacks MKL or oneDNN")


def every(x, w, y, bias):
    """Products of factors in every layout that a training step comes up with, and in odd ones."""
    return [
        torch.addmm(bias, x, w.t()),  # forwards
        y @ w,  # back to the input
        y.t() @ x,  # back to the weight
        torch.relu(y).t() @ torch.relu(x),  # the same from tensors not in memory yet
        y.sum().expand(y.shape) @ w,  # factors that repeat one number or one row
        x @ x[:1].expand(48, 32).t(),
        torch.relu(x[:, ::2]) @ torch.relu(w)[:, ::2].t(),
        y.view(8, 6, 40).transpose(0, 1).reshape(48, 40) @ w,
    ]


@pytest.mark.usefixtures("available")
def test_products_agree_with_mkl_for_every_layout(monkeypatch):
    monkeypatch.setattr(matmul, "LARGE", 0)
    torch.manual_seed(0)
    x, w, y, bias = (torch.randn(s) for s in ((48, 32), (40, 32), (48, 40), (40,)))
    inputs = [x, w, y, bias]
    with config.patch({"cpp.enable_kernel_profile": True}):
        run = backends.compiled(record(every, inputs).module, inputs)
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU]) as observed:
        found = run(*inputs)
    assert_close(list(found), every(*inputs), rtol=1e-4, atol=1e-4)
    names = [event.name for event in observed.events()]
    assert names.count("aoti_torch_cpu__linear_pointwise") == len(found)
    assert "aoti_torch_cpu_mm_out" not in names


@pytest.mark.usefixtures("available")
@pytest.mark.parametrize(
    ("a", "b", "large"),
    [
        (torch.zeros(256, 256), torch.zeros(256, 256), True),
        (torch.zeros(256, 256), torch.zeros(256, 255), False),
        (torch.zeros(256, 256).double(), torch.zeros(256, 256).double(), False),
    ],
)
def test_only_large_products_in_single_precision(a, b, large):
    assert (matmul.mm(a, b) is not NotImplemented) == large


def test_scaled_sums_are_left_to_torch():
    bias, a, b = torch.randn(3), torch.randn(2, 4), torch.randn(4, 3)
    assert matmul.addmm(bias, a, b, beta=2) is NotImplemented
    assert matmul.addmm(bias, a, b, alpha=2) is NotImplemented
    assert torch.equal(matmul.addmm(bias, a, b), bias + a @ b)
