"""The group lasso."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from keras import ops

from kerasreg._checks import check_axis, check_bool, check_integer
from kerasreg._tensors import Tensor, accurate_sum, slice_axes, slice_norms, to_accumulator
from kerasreg.regularizers.base import Penalty, register_penalty
from kerasreg.regularizers.prox import group_soft_threshold, soft_threshold


@register_penalty
@dataclass(frozen=True)
class GroupLasso(Penalty):
    """The group lasso: `strength * sum_g sqrt(|g|) * ||w_g||`, whole groups become zero together.

    A group is one slice of the weight along `axis`, and `|g|` its number of weights.

    Source: Yuan & Lin, Model Selection and Estimation in Regression with Grouped Variables, 2006.

    Args:
        strength: Non-negative strength.
        axis: `-1` makes a group of each output unit or filter, `0` of each input feature of a
            `Dense` kernel, `-2` of each input channel of a convolution.
        size_scaling: Whether to weight each group by the square root of its size, so that the
            same strength means the same for narrow and wide layers. scikit-learn's
            `MultiTaskLasso` does not.

    Raises:
        ValueError: If an argument is invalid, or later if a weight has no such axis.

    Example:
    >>> layer = keras.layers.Dense(10, kernel_regularizer=kerasreg.GroupLasso(1e-3, axis=0))
    """

    strength: float = 0.01
    axis: int = -1
    size_scaling: bool = True

    def __post_init__(self) -> None:
        """Validates the arguments."""
        self._check_strengths("strength")
        object.__setattr__(self, "axis", check_integer("axis", self.axis))
        check_bool("size_scaling", self.size_scaling)

    def check_weight(self, variable: Any) -> None:
        """Raises if the weight has no axis `axis`."""
        where = f" of {type(self).__name__} on weight `{variable.path}`"
        check_axis("axis", self.axis, variable.shape, where)

    def group_norms(self, w: Tensor) -> Tensor:
        """Euclidean norm of each group: a vector as long as the weight's axis `axis`."""
        wide = to_accumulator(w)
        return ops.reshape(slice_norms(wide, self._axis_of(wide)), (-1,))

    def _axis_of(self, w: Tensor) -> int:
        return check_axis("axis", self.axis, w.shape)

    def _group_strength(self, w: Tensor, axis: int) -> Tensor:
        if not self.size_scaling:
            return ops.cast(self.strength, w.dtype)
        sizes = [ops.shape(w)[other] for other in slice_axes(len(w.shape), axis)]
        if all(isinstance(size, int) for size in sizes):
            return ops.cast(self.strength * math.sqrt(math.prod(sizes)), w.dtype)
        return self.strength * ops.sqrt(ops.cast(ops.prod(ops.stack(sizes)), w.dtype))

    def _value(self, w: Tensor) -> Tensor:
        axis = self._axis_of(w)
        return self._group_strength(w, axis) * ops.sum(accurate_sum(self.group_norms(w), 0))

    def _prox(self, w: Tensor, step: Tensor) -> Tensor:
        axis = self._axis_of(w)
        return group_soft_threshold(w, step * self._group_strength(w, axis), axis)

    def _residual(self, w: Tensor, grad: Tensor) -> Tensor:
        axis = self._axis_of(w)
        strength = self._group_strength(w, axis)
        norms = slice_norms(w, axis)
        moving = grad + strength * w / ops.where(norms > 0, norms, 1.0)
        # At a zero group the subdifferential is the ball of radius `strength`; the distance to
        # it is that of the group's norm, spread here over the group in the gradient's direction.
        grad_norms = slice_norms(grad, axis)
        excess = soft_threshold(grad_norms, strength)
        resting = grad * (excess / ops.where(grad_norms > 0, grad_norms, 1.0))
        return ops.where(norms > 0, moving, resting)

    def _dual_norm(self, grad: Tensor) -> Tensor:
        axis = self._axis_of(grad)
        return ops.max(slice_norms(grad, axis)) / self._group_strength(grad, axis)
