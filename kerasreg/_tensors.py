"""The few tensor helpers that penalties, proximal operators and layers share."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

Tensor: TypeAlias = Any
"""A tensor of the active backend, a NumPy array or a `keras.Variable`."""


LONG_AXIS = 1024


def to_accumulator(x: Tensor) -> Tensor:
    """Casts to the precision that sums are taken in: float32, or float64 if `x` has it.

    A sum over a float16 weight overflows at 65504 and one over bfloat16 keeps three digits.
    """
    x = ops.convert_to_tensor(x)
    wide = keras.backend.standardize_dtype(x.dtype) in ("float32", "float64")
    return x if wide else ops.cast(x, "float32")


def to_numpy(x: Tensor) -> npt.NDArray[Any]:
    """The present value of a tensor or variable, without a copy where the backend allows it."""
    # Not the variable itself: NumPy warns of it, and it may be spread over replicas.
    x = ops.convert_to_tensor(x)
    if hasattr(x, "detach"):  # PyTorch; NumPy has no bfloat16 of its own.
        x = x.detach().cpu()
        return np.asarray((x.float() if "bfloat16" in str(x.dtype) else x).numpy())
    return np.asarray(ops.convert_to_numpy(x))


def to_float(x: Tensor) -> float:
    """The present value of a scalar tensor or variable."""
    x = ops.convert_to_tensor(x)
    if keras.backend.standardize_dtype(x.dtype) == "bfloat16":
        x = ops.cast(x, "float32")  # TensorFlow has no NumPy scalar for it.
    return float(to_numpy(x))


def to_number(value: Any) -> float | None:
    """A real number, or a scalar tensor, array or variable that has a value now; else `None`."""
    # TensorFlow and NumPy would read these as numbers.
    if value is None or isinstance(value, (str, bytes, bool)):
        return None
    try:
        if isinstance(value, numbers.Real):
            return float(value)
        if "bfloat16" in str(getattr(value, "dtype", "")):  # which NumPy does not count as real
            value = ops.cast(value, "float32")
        array = to_numpy(value)
    except Exception:  # Each backend has errors of its own for what is no tensor.
        return None
    is_real = array.ndim == 0 and array.dtype.kind in "iuf"
    return float(array) if is_real else None


def cast_like(x: Tensor, reference: Tensor) -> Tensor:
    """Casts `x` to the dtype of `reference`."""
    is_torch = keras.backend.backend() == "torch"
    if is_torch and ops.is_tensor(x) and x.dtype == reference.dtype:
        return x  # as `cast` does after ten times as long
    return ops.cast(x, keras.backend.standardize_dtype(reference.dtype))


def magnitude(x: Tensor) -> Tensor:
    """`|x|` with the gradient `sign(x)`, which is 0 at 0; that of JAX's `abs` is 1 there."""
    return x * ops.stop_gradient(ops.sign(x))


def slice_axes(rank: int, axes: Sequence[int]) -> tuple[int, ...]:
    """The axes within one slice along `axes`: all the others."""
    return tuple(other for other in range(rank) if other not in axes)


def slice_norms(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Euclidean norm of each slice along `axes`, the axes within it kept as 1.

    Scaled by the largest entry, so that neither tiny nor huge weights leave float32's range in
    the square, and with the gradient `x / norm`, which is 0 and not NaN in a zero slice.
    """
    within = slice_axes(len(x.shape), axes)
    if 0 in x.shape:
        shape = [1 if axis in within else size for axis, size in enumerate(x.shape)]
        return ops.zeros(shape, dtype=x.dtype)
    largest = ops.max(ops.abs(x), axis=within, keepdims=True) if within else ops.abs(x)
    usable = ops.logical_and(largest > 0, largest < float("inf"))
    # The scale is a constant of the formula: its own gradient cancels.
    scale = ops.stop_gradient(ops.where(usable, largest, ops.ones_like(largest)))
    squares = ops.square(x / scale)
    for axis in within:
        squares = accurate_sum(squares, axis)
    zero = squares == 0
    return ops.where(zero, ops.zeros_like(squares), ops.sqrt(ops.where(zero, 1.0, squares))) * scale


def accurate_sum(x: Tensor, axis: int) -> Tensor:
    """Sum along an axis, which is kept as 1, in two stages where it is long.

    TensorFlow adds up a million rows one after the other, which costs four digits of float32.
    """
    size = x.shape[axis]
    if size is None or size <= LONG_AXIS:
        return ops.sum(x, axis=axis, keepdims=True)
    height = math.isqrt(size)
    whole = size // height * height
    blocks, rest = ops.split(x, [whole], axis=axis)
    shape = [*x.shape[:axis], size // height, height, *x.shape[axis + 1 :]]
    if any(other is None for other in shape):
        return ops.sum(x, axis=axis, keepdims=True)
    partial = ops.sum(ops.reshape(blocks, shape), axis=axis + 1)
    return ops.sum(ops.concatenate([partial, rest], axis=axis), axis=axis, keepdims=True)
