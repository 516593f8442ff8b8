"""The few tensor helpers that penalties, proximal operators and layers share."""

from __future__ import annotations

from typing import Any, TypeAlias

import keras
from keras import ops

Tensor: TypeAlias = Any
"""A tensor of the active backend, a NumPy array or a `keras.Variable`."""


def to_accumulator(x: Tensor) -> Tensor:
    """Casts to the precision that sums are taken in: float32, or float64 if `x` has it.

    A sum over a float16 weight overflows at 65504 and one over bfloat16 keeps three digits.
    """
    x = ops.convert_to_tensor(x)
    wide = keras.backend.standardize_dtype(x.dtype) in ("float32", "float64")
    return x if wide else ops.cast(x, "float32")


def to_float(x: Tensor) -> float:
    """The present value of a scalar tensor or variable."""
    # NumPy warns of a `keras.Variable` that is converted as such.
    return float(keras.ops.convert_to_numpy(x.value if isinstance(x, keras.Variable) else x))


def cast_like(x: Tensor, reference: Tensor) -> Tensor:
    """Casts `x` to the dtype of `reference`."""
    return ops.cast(x, keras.backend.standardize_dtype(reference.dtype))


def magnitude(x: Tensor) -> Tensor:
    """`|x|` with the gradient `sign(x)`, which is 0 at 0; that of JAX's `abs` is 1 there."""
    return x * ops.stop_gradient(ops.sign(x))


def slice_axes(rank: int, axis: int) -> tuple[int, ...]:
    """The axes within one slice along `axis`: all the others."""
    return tuple(other for other in range(rank) if other != axis)


def slice_norms(x: Tensor, axis: int) -> Tensor:
    """Euclidean norm of each slice along `axis`, other axes kept as 1.

    Scaled by the largest entry, so that neither tiny nor huge weights leave float32's range in
    the square, and with the gradient `x / norm`, which is 0 and not NaN in a zero slice.
    """
    axes = slice_axes(len(x.shape), axis)
    largest = ops.max(ops.abs(x), axis=axes, keepdims=True) if axes else ops.abs(x)
    usable = ops.logical_and(largest > 0, largest < float("inf"))
    # The scale is a constant of the formula: its own gradient cancels.
    scale = ops.stop_gradient(ops.where(usable, largest, ops.ones_like(largest)))
    squares = ops.sum(ops.square(x / scale), axis=axes, keepdims=True)
    zero = squares == 0
    return ops.where(zero, ops.zeros_like(squares), ops.sqrt(ops.where(zero, 1.0, squares))) * scale
