"""Proximal operators: pure functions on tensors, in a scalar or a diagonal metric.

The proximal operator of a penalty g with the step d (a scalar, or one positive number a weight) is

    prox(w, d) = argmin_z  sum_i (z_i - w_i)^2 / (2 d_i) + g(z)

Reference: Parikh & Boyd, Proximal Algorithms (2014); for the diagonal metric Deleu & Bengio,
Structured Sparsity Inducing Adaptive Optimizers for Deep Learning (2021).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from keras import ops

from kerasreg._backends import runs_in_place
from kerasreg._tensors import Tensor, slice_norms
from kerasreg.regularizers.secular_equation import shrunken_norm


def soft_threshold(w: Tensor, threshold: Tensor) -> Tensor:
    """Moves each weight towards zero by `threshold`, and stops at zero.

    `sign(w) * max(|w| - threshold, 0)`, the proximal operator of `sum |w|`.

    Args:
        w: Tensor of any shape.
        threshold: Non-negative scalar or tensor of the same shape.

    Returns:
        A tensor of the same shape; `soft_threshold(w, 0)` is `w`.
    """
    w = ops.convert_to_tensor(w)
    threshold = ops.convert_to_tensor(threshold, dtype=w.dtype)
    if runs_in_place(w, threshold):
        from kerasreg.regularizers import torch_prox

        return torch_prox.soft_threshold(w, threshold)
    # In this form a zero has no minus sign.
    return w - ops.clip(w, -threshold, threshold)


def is_within(x: Tensor, bound: Tensor) -> Tensor:
    """`abs(x) <= bound`, for a scalar bound."""
    if runs_in_place(x, bound):
        from kerasreg.regularizers import torch_prox

        return torch_prox.is_within(x, bound)
    return ops.abs(x) <= bound


def firm_threshold(w: Tensor, step: Tensor, l1: float, gamma: float) -> Tensor:
    """Soft-thresholds small weights and leaves large ones alone.

    The proximal operator of the minimax concave penalty: 0 up to `step * l1`, the weight itself
    from `gamma * l1`, a straight line in between. From a step of `gamma` on there is no such line:
    a weight is kept or dropped, at `sqrt(step * gamma) * l1`.

    Args:
        w: Tensor of any shape.
        step: Non-negative scalar or tensor of the same shape.
        l1: Non-negative strength.
        gamma: Positive.

    Returns:
        A tensor of the same shape.
    """
    w = ops.convert_to_tensor(w)
    step = ops.convert_to_tensor(step, dtype=w.dtype)
    if _is_flat(w, step, gamma):
        from kerasreg.regularizers import torch_prox

        return torch_prox.firm_threshold(w, step, l1, gamma)
    long = step >= gamma
    size = ops.abs(w)
    # Near a step of `gamma` the line is steep, and rounding must not carry it beyond the weight.
    slope = ops.maximum(1.0 - step / gamma, 1e-7)
    line = ops.clip(soft_threshold(w, step * l1) / slope, -size, size)
    knee = ops.where(long, ops.sqrt(step) * math.sqrt(gamma), gamma) * l1
    zero = ops.logical_or(long, size <= step * l1)
    return ops.where(size > knee, w, ops.where(zero, ops.zeros_like(w), line))


def scad_threshold(w: Tensor, step: Tensor, l1: float, gamma: float) -> Tensor:
    """Soft-thresholds small weights, leaves large ones alone, and leads from one to the other.

    The proximal operator of the smoothly clipped absolute deviation. Up to `(1 + step) * l1` it is
    `soft_threshold`, from `gamma * l1` on the weight itself, and a straight line in between. From a
    step of `gamma - 1` on there is no such line: the better of the two ends is taken, the soft
    threshold, which is at most `l1` then, or the weight itself.

    Args:
        w: Tensor of any shape.
        step: Non-negative scalar or tensor of the same shape.
        l1: Non-negative strength.
        gamma: Greater than 2.

    Returns:
        A tensor of the same shape.
    """
    w = ops.convert_to_tensor(w)
    step = ops.convert_to_tensor(step, dtype=w.dtype)
    size, knee = ops.abs(w), gamma * l1
    soft = ops.maximum(size - step * l1, 0.0)
    # Near a step of `gamma - 1` the line is steep, and rounding must not carry it beyond its ends.
    slope = ops.maximum(1.0 - step / (gamma - 1.0), 1e-7)
    line = ops.clip((size - step * (knee / (gamma - 1.0))) / slope, soft, size)
    bent = ops.where(size <= (1.0 + step) * l1, soft, ops.where(size <= knee, line, size))
    low = ops.minimum(soft, l1)
    gain = (0.5 * (gamma + 1.0) * l1 - low) * l1  # What the penalty of the weight itself is more.
    leap = ops.square(size - low) > 2.0 * step * gain
    ends = ops.where(ops.logical_and(leap, size >= knee), size, low)
    return ops.sign(w) * ops.where(step >= gamma - 1.0, ends, bent)


def half_threshold(w: Tensor, threshold: Tensor) -> Tensor:
    """The proximal operator of `sum sqrt(|w|)`: drops small weights, and shortens others.

    Source: Xu, Chang, Xu & Zhang, L1/2 Regularization: A Thresholding Representation Theory, 2012.

    Args:
        w: Tensor of any shape.
        threshold: Non-negative scalar or tensor of the same shape: step times strength.

    Returns:
        A tensor of the same shape. Zero is what is at most `3/2 * threshold^(2/3)`.
    """
    w = ops.convert_to_tensor(w)
    threshold = ops.convert_to_tensor(threshold, dtype=w.dtype)
    ratio, keeps = _part_of(1.5 * ops.power(threshold, 2.0 / 3.0), w)
    # z / |w| = 2/3 (1 + cos(pi/3 + angle)), written so that little is lost where z is nearly |w|.
    angle = ops.arcsin(math.sqrt(0.5) * ratio * ops.sqrt(ratio)) * (2.0 / 3.0)
    shrinkage = ops.sin(angle) / math.sqrt(3.0) + ops.square(ops.sin(0.5 * angle)) * (2.0 / 3.0)
    return ops.where(keeps, w - w * shrinkage, ops.zeros_like(w))


def two_thirds_threshold(w: Tensor, threshold: Tensor) -> Tensor:
    """The proximal operator of `sum |w|^(2/3)`: drops small weights, and shortens others.

    Source: Cao, Sun & Xu, Fast Image Deconvolution Using Closed-Form Thresholding Formulas of Lq
    (q = 1/2, 2/3) Regularization, 2013.

    Args:
        w: Tensor of any shape.
        threshold: Non-negative scalar or tensor of the same shape: step times strength.

    Returns:
        A tensor of the same shape. Zero is what is at most `2 * (2/3 * threshold)^(3/4)`.
    """
    w = ops.convert_to_tensor(w)
    threshold = ops.convert_to_tensor(threshold, dtype=w.dtype)
    root = ops.sqrt((2.0 / 3.0) * threshold)
    ratio, keeps = _part_of(2.0 * root * ops.sqrt(root), w)
    # With z = |w| (1 - e)^3 it is the root of a quartic, (1 - e)^4 - (1 - e) + q = 0. Its closed
    # form loses digits to differences; Newton's method, from one side, is at the last in four.
    q = ops.power(0.5 * ratio, 4.0 / 3.0)
    e = q / 3.0
    for _ in range(4):
        value = q - e * (3.0 - e * (6.0 - e * (4.0 - e)))
        e = e + value / (3.0 - e * (12.0 - e * (12.0 - 4.0 * e)))
    return ops.where(keeps, w - w * (e * (3.0 - e * (3.0 - e))), ops.zeros_like(w))


def _part_of(limit: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """`limit / |w|` where that is less than 1, else 0; and where that is."""
    size = ops.abs(w)
    keeps = size > limit
    return ops.where(keeps, limit / ops.where(keeps, size, 1.0), 0.0), keeps


def log_threshold(w: Tensor, threshold: Tensor, epsilon: float) -> Tensor:
    """The proximal operator of `sum log(1 + |w| / epsilon)`: drops small weights.

    The larger root of `(z - |w|) (z + epsilon) + threshold = 0`, or zero where that is better.

    Source: Prater-Bennette, Shen & Tripp, The Proximity Operator of the Log-Sum Penalty, 2021.

    Args:
        w: Tensor of any shape.
        threshold: Non-negative scalar or tensor of the same shape: step times strength.
        epsilon: Positive.

    Returns:
        A tensor of the same shape.
    """
    w = ops.convert_to_tensor(w)
    threshold = ops.convert_to_tensor(threshold, dtype=w.dtype)
    size = ops.abs(w)
    total = size + epsilon
    # As a product, whose factors have no overflow in the square.
    distance = 2.0 * ops.sqrt(threshold)
    root = ops.sqrt(ops.maximum(total - distance, 0.0)) * ops.sqrt(total + distance)
    z = size - 2.0 * threshold / (total + root)
    # Convex there, and then the root is the minimum wherever it is positive.
    is_convex = 2.0 * epsilon >= distance
    positive = ops.maximum(z, 0.0)
    better = threshold * ops.log1p(positive / epsilon) < positive * (size - 0.5 * positive)
    keeps = ops.logical_and(total >= distance, ops.logical_or(is_convex, better))
    return ops.where(keeps, ops.sign(w) * positive, ops.zeros_like(w))


def _is_flat(w: Tensor, step: Tensor, gamma: float) -> bool:
    """Whether PyTorch can see on a CPU that no line of the firm threshold is steep."""
    filled = 0 not in w.shape and w.shape == step.shape
    return filled and runs_in_place(w, step) and bool(step.max() <= 0.5 * gamma)


def group_soft_threshold(w: Tensor, threshold: Tensor, axis: int | Sequence[int]) -> Tensor:
    """Shortens each slice along `axis` by `threshold`, and stops at zero.

    The proximal operator of `sum_g ||w_g||`. With one threshold for all weights it is
    `w_g * max(0, 1 - threshold / ||w_g||)`. With a threshold t_i for each weight there is no
    closed form: `z_i = w_i s / (s + t_i)` with the norm `s = ||z_g||` from
    `sum_i w_i^2 / (s + t_i)^2 = 1`, and `z_g = 0` if `sum_i (w_i / t_i)^2 <= 1`.

    Args:
        w: Tensor of rank 1 or more.
        threshold: Non-negative scalar, or tensor of the shape of `w`.
        axis: Non-negative axis, or several; each slice along them is a group.

    Returns:
        A tensor of the same shape.
    """
    w = ops.convert_to_tensor(w)
    threshold = ops.convert_to_tensor(threshold, dtype=w.dtype)
    axes = (axis,) if isinstance(axis, int) else axis
    if 0 in w.shape:  # which has no largest entry
        return w
    if len(threshold.shape) == 0:
        norms = slice_norms(w, axes)
        safe_norms = ops.where(norms > 0, norms, 1.0)
        return w * ops.maximum(1.0 - threshold / safe_norms, 0.0)
    norm = shrunken_norm(w, threshold, axes)
    if runs_in_place(w, threshold):
        from kerasreg.regularizers import torch_prox

        return torch_prox.scale_groups(w, threshold, norm)
    denominator = norm + threshold
    shrunk = w * (norm / ops.where(denominator > 0, denominator, 1.0))
    return ops.where(threshold == 0, w, shrunk)
