"""PyTorch measures without waiting for the host, in few operations and little memory."""

import numpy as np
import pytest
from helpers.backends import BACKEND

from kerasreg.statistics.device.columns import LENGTH_WITH_BUCKETS
from kerasreg.statistics.device.pieces import PIECE_SIZE

if BACKEND != "torch":
    pytest.skip("PyTorch only", allow_module_level=True)

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from kerasreg.statistics.device.torch_reduction import TorchReduction

# What waits for a GPU: it reads a value, or makes a tensor as long as a value says.
WAITING = ("_local_scalar_dense", "nonzero", "bincount", "masked_select", "unique", "equal")


class Operations(TorchDispatchMode):
    """Counts operations, and takes note of their names and of the largest result."""

    def __init__(self):
        super().__init__()
        self.names, self.largest = [], 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.names.append(function.__name__.split(".")[0])
        if isinstance(result, torch.Tensor) and result.device.type == "cpu":
            memory = result.untyped_storage()
            if not any(memory.data_ptr() == _memory(argument) for argument in args):
                self.largest = max(self.largest, memory.nbytes())
        return result


def _memory(argument):
    return argument.untyped_storage().data_ptr() if isinstance(argument, torch.Tensor) else None


def reduce(shapes, unit_axes, device="cpu"):
    values = [torch.randn(shape, device=device) for shape in shapes]
    reduction = TorchReduction(values, unit_axes, 0.1, True)
    with Operations() as operations:
        vector = reduction(values, [], [])
    return vector, operations


def test_nothing_waits_for_the_device():
    """On the meta device there is no value to wait for."""
    shapes, axes = [(64,)] * 20 + [(300, 301)], [None] * 20 + [(1,)]
    vector, operations = reduce(shapes, axes, "meta")
    assert vector.shape == (21 * LENGTH_WITH_BUCKETS,)
    assert not set(WAITING) & set(operations.names)
    assert not [name for name in reduce(shapes, axes)[1].names if name in WAITING]


def test_many_small_weights_cost_no_operations_of_their_own():
    few = reduce([(64,), (3, 3, 4, 8)], [None, (3,)])[1]
    many = reduce([(64,), (3, 3, 4, 8)] * 160, [None, (3,)] * 160)[1]
    views = ("view", "_unsafe_view", "detach", "reshape", "alias")
    counts = [sum(name not in views for name in o.names) for o in (few, many)]
    assert counts[0] == counts[1]


def test_large_weights_are_taken_in_pieces():
    shape = (3 * PIECE_SIZE // 1024 + 5, 1024)
    vector, operations = reduce([shape], [(1,)])
    assert operations.largest <= 4 * PIECE_SIZE + 4096 <= 64 * 2**20
    buckets = vector[-64:].reshape(-1, 2).numpy() @ np.array([2**15, 1])
    assert buckets.sum() == np.prod(shape)


@pytest.mark.parametrize("warn_only", [False, True])
def test_deterministic_mode_is_left_as_it_was(warn_only):
    torch.use_deterministic_algorithms(True, warn_only=warn_only)
    try:
        reduce([(300, 301)], [(1,)])
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled() == warn_only
    finally:
        torch.use_deterministic_algorithms(False)
