"""Penalties by way of the gradients, for optimizers that have no step size.

The penalty's slope is part of the gradient, and a weight that changes its sign stops at zero: there
the penalty has its kink, and the next gradient says whether the weight goes on.

Source: Andrew & Gao, Scalable Training of L1-Regularized Log-Linear Models, 2007 (OWL-QN).
"""

from __future__ import annotations

from keras import ops

from kerasreg._tensors import Tensor, cast_like, to_accumulator
from kerasreg.regularizers import Penalty


def pseudo_gradient(
    penalty: Penalty,
    w: Tensor,
    gradient: Tensor,
    scale: Tensor,
    rests: Tensor | None,
    non_negative: bool,
) -> Tensor:
    """The gradient of loss + penalty, and at a zero the part of it that the kink leaves.

    Args:
        penalty: A separable penalty.
        w: The weight before the update.
        gradient: That of the loss.
        scale: Scalar that multiplies the strength of the penalty.
        rests: Which zeros are to stay; `None` where only this gradient says so.
        non_negative: Whether no weight may become negative.
    """
    scale = cast_like(scale, gradient)
    inverse = 1.0 / ops.where(scale > 0, scale, 1.0)
    [residual] = penalty.residuals([w], [gradient * inverse])
    gradient = ops.where(scale > 0, residual * scale, gradient)
    if non_negative:
        at_bound = ops.logical_and(ops.equal(w, 0), gradient > 0)
        rests = at_bound if rests is None else ops.logical_or(rests, at_bound)
    return gradient if rests is None else ops.where(rests, ops.zeros_like(gradient), gradient)


def orthant(w: Tensor, gradient: Tensor) -> Tensor:
    """The sign that each weight may have after the update, 0 where it is to stay at zero."""
    w = to_accumulator(w)
    return ops.where(ops.equal(w, 0), -ops.sign(cast_like(gradient, w)), ops.sign(w))


def within_orthant(w: Tensor, sign: Tensor) -> Tensor:
    """The weight after the update, 0 where its sign is another."""
    return ops.where(to_accumulator(w) * sign > 0, w, ops.zeros_like(w))
