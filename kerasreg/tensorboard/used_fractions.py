"""How much of a matrix is not zero, block by block, counted where the matrix is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from kerasreg._tensors import Tensor, host_view

# Pieces of this many elements stay in the cache.
PIECE_SIZE = 1 << 17


def used_fractions(matrix: Tensor, block: tuple[int, int]) -> npt.NDArray[np.float64]:
    """The fraction of each block of a matrix that is not exactly zero.

    Args:
        matrix: Tensor or variable of shape `(height, width)`, neither of them 0.
        block: Height and width of a block; the last ones may be smaller.

    Returns:
        An array of shape `(ceil(height / block[0]), ceil(width / block[1]))`.
    """
    matrix = ops.convert_to_tensor(matrix)
    count = count_on_host if _is_on_host(matrix) else count_on_device
    heights, widths = map(_lengths, matrix.shape, block)
    return count(matrix, block) / np.outer(heights, widths)


def count_on_host(matrix: Tensor, block: tuple[int, int]) -> npt.NDArray[Any]:
    """The numbers of non-zeros, from a matrix in the memory of a CPU, in one pass over it."""
    array = host_view(matrix)
    height, width = array.shape
    step = block[0] * max(1, PIECE_SIZE // (block[0] * width))
    edges = np.arange(0, width, block[1])
    # The narrowest type, as the sum over rows is what takes the time.
    dtype = np.min_scalar_type(block[0])
    rows = []
    for start in range(0, height, step):
        used = np.not_equal(array[start : start + step], 0)
        used = np.pad(used, ((0, -len(used) % block[0]), (0, 0))).view(np.uint8)
        by_row = used.reshape(-1, block[0], width).sum(axis=1, dtype=dtype)
        rows.append(np.add.reduceat(by_row, edges, axis=1, dtype=np.int64))
    return np.concatenate(rows)


def count_on_device(matrix: Tensor, block: tuple[int, int]) -> npt.NDArray[Any]:
    """The numbers of non-zeros, from a matrix on an accelerator; only they leave it."""
    return np.asarray(ops.convert_to_numpy(_compiled_count()(matrix, block)))


def _count(matrix: Tensor, block: tuple[int, int]) -> Tensor:
    """Both sides padded to whole blocks and split, then counted within each block."""
    padding = [(0, -side % length) for side, length in zip(matrix.shape, block, strict=True)]
    whole = ops.pad(matrix, padding)
    height, width = whole.shape
    blocks = ops.reshape(whole, (height // block[0], block[0], width // block[1], block[1]))
    # Not `ops.count_nonzero`, which returns the transpose on PyTorch.
    return ops.sum(ops.cast(ops.not_equal(blocks, 0), "int32"), axis=(1, 3))


@functools.cache
def _compiled_count() -> Callable[[Tensor, tuple[int, int]], Tensor]:
    if keras.backend.backend() != "jax":
        return _count
    import jax

    compiled: Callable[[Tensor, tuple[int, int]], Tensor] = jax.jit(_count, static_argnums=1)
    return compiled


def _is_on_host(matrix: Tensor) -> bool:
    """Whether this process has all of the matrix in the memory of a CPU."""
    if keras.backend.backend() == "jax":
        whole: bool = matrix.is_fully_replicated
        return whole and all(device.platform == "cpu" for device in matrix.devices())
    if isinstance(matrix, keras.Variable):  # which TensorFlow takes for a tensor
        matrix = matrix.value
    return "cpu" in str(matrix.device).lower()


def _lengths(side: int, length: int) -> npt.NDArray[np.int64]:
    """The lengths of the pieces of a side."""
    return np.minimum(length, side - np.arange(0, side, length))
