"""PyTorch's own ways on a CPU, against its plain operations."""

import math

import numpy as np
import pytest
from helpers.backends import BACKEND

from kerasreg.regularizers import prox

torch = pytest.importorskip("torch")
if BACKEND != "torch":
    pytest.skip("they are PyTorch's", allow_module_level=True)

from kerasreg.regularizers import torch_prox  # noqa: E402

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
NUMBERS = [0.0, -0.0, 1e-30, -1e-30, 0.25, -0.25, 0.5, -0.5, math.inf, -math.inf, math.nan]


@pytest.mark.parametrize("dtype", DTYPES)
def test_comparisons(dtype):
    x = torch.tensor(NUMBERS, dtype=dtype)
    assert torch.equal(torch_prox.equals_zero(x), x == 0)
    for bound in (0.0, 0.25, 0.3):
        given = torch.tensor(bound, dtype=dtype)
        assert torch.equal(torch_prox.is_within(x, given), x.abs() <= given)


@pytest.mark.parametrize("shape", [(5, 7), (1, 7), (5, 1)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_zeros_are_set_whatever_was_there(dtype, shape):
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.choice(NUMBERS, size=(5, 7)), dtype=dtype)
    mask = torch.tensor(rng.random(shape) < 0.5)
    expected = x.masked_fill(mask, 0)
    z = torch_prox.set_zero(x, mask)
    assert z is x and torch.equal(torch.nan_to_num(z), torch.nan_to_num(expected))
    assert not torch.signbit(z[mask.expand_as(z)]).any()


def test_whether_any_or_all_are_true():
    for mask in (torch.zeros(0, 3), torch.zeros(4, 3), torch.eye(3), torch.ones(2, 3)):
        mask = mask.to(torch.bool)
        assert torch_prox.any_true(mask) == bool(mask.any())
        if mask.numel():
            assert torch.equal(torch_prox.all_true(mask, (0,)), mask.all(0, keepdim=True))


@pytest.mark.parametrize("largest_step", [0.1, 1.4])
def test_the_line_of_the_firm_threshold_ends_at_its_knee(largest_step, monkeypatch):
    rng = np.random.default_rng(0)
    w = torch.tensor(rng.normal(size=10_000), dtype=torch.float32)
    w[:4] = torch.tensor([1.5, -1.5, 1.4999999, 0.0])  # The knee is at gamma * l1.
    step = torch.tensor(rng.uniform(0.0, largest_step, w.shape), dtype=torch.float32)
    z = torch_prox.firm_threshold(w, step, 0.5, 3.0)
    monkeypatch.setattr(prox, "_is_flat", lambda *_: False)
    torch.testing.assert_close(z, prox.firm_threshold(w, step, 0.5, 3.0), rtol=2e-6, atol=1e-7)
    assert torch.equal(z[w.abs() >= 1.5], w[w.abs() >= 1.5])
