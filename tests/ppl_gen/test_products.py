"""Products of matrices in compiled graphs: right for any layout, with a bias added for nothing."""

import pytest
import torch
from torch._inductor import config
from torch.profiler import ProfilerActivity, profile
from torch.testing import assert_close

from ppl_gen.staging import backends
from ppl_gen.staging.recording import record


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


def test_products_agree_with_eager_ones_for_every_layout():
    torch.manual_seed(0)
    x, w, y, bias = (torch.randn(s) for s in ((48, 32), (40, 32), (48, 40), (40,)))
    inputs = [x, w, y, bias]
    with config.patch({"cpp.enable_kernel_profile": True}):
        run = backends.compiled(record(every, inputs).module, inputs)
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU]) as observed:
        found = run(*inputs)
    assert_close(list(found), every(*inputs), rtol=1e-4, atol=1e-4)
    names = [event.name for event in observed.events()]
    assert names.count("aoti_torch_cpu_mm_out") == len(found)
    assert "aoti_torch_cpu_addmm_out" not in names  # which would copy the bias first


@pytest.mark.parametrize("scale", [{"beta": 2}, {"alpha": 2}])
def test_scaled_sums_are_left_to_torch(scale):
    bias, a, b = torch.randn(3), torch.randn(2, 4), torch.randn(4, 3)
    assert backends._addmm(bias, a, b, **scale) is NotImplemented
    assert torch.equal(backends._addmm(bias, a, b), bias + a @ b)
