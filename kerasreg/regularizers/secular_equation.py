"""The norm of a group after its proximal operator in a diagonal metric.

For a group w with thresholds t_i it is the root s of the secular equation

    f(s) = sum_i w_i^2 / (s + t_i)^2 = 1

and 0 where there is none. `1 / sqrt(f)` is increasing and concave in s, so that a step of Newton's
method ends below the root wherever it starts, and from there climbs to it and never passes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
from keras import ops

from kerasreg._backends import runs_in_place
from kerasreg._tensors import Tensor, slice_axes, slice_norms

# A step leaves at most 3/2 of the square of its own relative length.
TOLERANCE = 3e-4
# Near a group that vanishes the root itself is within the rounding of f.
ROUNDING = 5e-7
# What slows Newton's method down is a metric that spans many orders of magnitude in one group; so
# many iterations reach float32's last digit for thresholds between 1e-8 and 1e4.
MAX_ITERATIONS = 24
# On a GPU PyTorch would wait for the answer whether it may stop.
FIXED_ITERATIONS = 8

Sums: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]


def shrunken_norm(w: Tensor, threshold: Tensor, axes: Sequence[int]) -> Tensor:
    """Solves the secular equation of each slice along `axes`; the axes within it are kept as 1.

    Args:
        w: Tensor of rank 1 or more, with an entry at least.
        threshold: Non-negative tensor of the same shape.
        axes: Axes that number the groups.

    Returns:
        The root of each group, 0 where the group vanishes.
    """
    within = slice_axes(len(w.shape), axes)
    if runs_in_place(w, threshold):
        from kerasreg.regularizers import torch_prox

        start = torch_prox.norms(w, within) if within else None
        start = slice_norms(w, axes) if start is None else start
        limits = TOLERANCE, ROUNDING, MAX_ITERATIONS
        return torch_prox.shrunken_norm(w, threshold, within, start, *limits)
    sums = _sums(w, threshold, within)

    def largest_term() -> Tensor:
        bound = ops.maximum(ops.abs(w) - threshold, 0.0)
        return ops.max(bound, axis=within, keepdims=True) if within else bound

    def iterate(norm: Tensor, _: Any = None) -> tuple[Tensor, Tensor]:
        f, slope = sums(norm)
        root = ops.sqrt(f)
        step = f * (root - 1.0) / ops.where(slope > 0, slope, 1.0)
        closer = ops.maximum(norm + step, 0.0)
        is_far = ops.abs(closer - norm) > TOLERANCE * norm
        return closer, ops.logical_and(is_far, ops.abs(root - 1.0) > ROUNDING)

    # Most groups are shortened by little, so that their own norm is next to the root. Of one that
    # loses much the step may end far below: but no single term of f may exceed 1.
    start = _norms(w, axes, within)
    norm, is_moving = iterate(start)
    if _waits_for_answers(w):
        norm = ops.maximum(norm, largest_term())
        for _ in range(FIXED_ITERATIONS):
            norm, _ = iterate(norm)
        return norm
    falls = ops.any(norm < 0.5 * start)
    norm = ops.maximum(norm, ops.cond(falls, largest_term, lambda: ops.zeros_like(start)))
    norm, _ = ops.while_loop(
        lambda _, is_moving: ops.any(is_moving),
        iterate,
        (norm, is_moving),
        maximum_iterations=MAX_ITERATIONS,
    )
    return norm


def _sums(w: Tensor, threshold: Tensor, within: tuple[int, ...]) -> Sums:
    """`f(s)` and `sum_i w_i^2 / (s + t_i)^3`, half of its slope downwards, of each group."""

    def total(x: Tensor) -> Tensor:
        return ops.sum(x, axis=within, keepdims=True) if within else x

    def sums(norm: Tensor) -> tuple[Tensor, Tensor]:
        denominator = norm + threshold
        inverse = 1.0 / ops.where(denominator > 0, denominator, float("inf"))
        squares = ops.square(w * inverse)
        return total(squares), total(squares * inverse)

    return sums


def _norms(w: Tensor, axes: Sequence[int], within: tuple[int, ...]) -> Tensor:
    """The norm of each group; in one pass, unless squares leave the range of float32."""
    if not within or _waits_for_answers(w):
        return slice_norms(w, axes)
    squares = ops.sum(ops.square(w), axis=within, keepdims=True)
    is_in_range = ops.all(ops.logical_and(squares > 1e-30, squares < 1e30))
    return ops.cond(is_in_range, lambda: ops.sqrt(squares), lambda: slice_norms(w, axes))


def _waits_for_answers(x: Tensor) -> bool:
    """Whether a branch by a tensor's value would make the host wait for the device."""
    return keras.backend.backend() == "torch" and bool(x.device.type != "cpu")
