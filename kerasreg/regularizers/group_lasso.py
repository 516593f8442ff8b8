"""The group lasso."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keras import ops

from kerasreg._checks import check_axis, check_bool, check_integer, invalid_value
from kerasreg._tensors import Tensor, accurate_sum, slice_axes, slice_norms, to_accumulator
from kerasreg.regularizers.base import Penalty, register_penalty
from kerasreg.regularizers.prox import group_soft_threshold, soft_threshold
from kerasreg.regularizers.unit_axes import UnitAxes, unit_axes

# The words for axes, and what `unit_axes` calls them.
_FIELDS = {"output": "outputs", "input": "inputs", "heads": "heads"}
_NO_AXES = UnitAxes((), ())


@register_penalty
@dataclass(frozen=True)
class GroupLasso(Penalty):
    """The group lasso: `strength * sum_g sqrt(|g|) * ||w_g||`, whole groups become zero together.

    A group is one slice of the weight along `axis`, and `|g|` its number of weights.

    | `axis` | what becomes zero together |
    |---|---|
    | `"output"` | all that leads to one output unit, channel or filter, on any layer; in a \
      recurrent layer to a unit of one gate |
    | `"input"` | all that comes from one input feature or channel, on any layer |
    | `"heads"` | one head, in a kernel of an attention layer |
    | `-1` | an output unit or filter of `Dense`, `Conv`, `Embedding`; a unit of one gate of a \
      recurrent layer; an *input* channel of `Conv2DTranspose`; of `DepthwiseConv2D` the filters \
      of all channels with the same number; an entry of every head of `MultiHeadAttention` |
    | `0` | an input feature of `Dense`, a row of `Embedding` |
    | `-2` | an input channel of `Conv`, an output channel of `Conv2DTranspose` |

    Source: Yuan & Lin, Model Selection and Estimation in Regression with Grouped Variables, 2006.

    Args:
        strength: Non-negative strength.
        axis: Integer, or a tuple of integers that number the groups together; or `"output"`,
            `"input"` or `"heads"`. A weight does not know its layer, so words have to be resolved
            where the model is at hand: by `attach_regularizers(model, ...)`, by
            `Proximal(..., model=model)`, or by `max_strength` and `regularization_path`. They are
            saved as integers.
        size_scaling: Whether to weight each group by the square root of its size, so that the
            same strength means the same for narrow and wide layers. scikit-learn's
            `MultiTaskLasso` does not.

    Raises:
        ValueError: If an argument is invalid, or later if a weight has no such axis, or a word
            was not resolved.

    Example:
    >>> layer = keras.layers.Dense(10, kernel_regularizer=kerasreg.GroupLasso(1e-3, axis=0))
    >>> kerasreg.attach_regularizers(model, kerasreg.GroupLasso(1e-3, axis="output"))
    """

    strength: float = 0.01
    axis: int | tuple[int, ...] | str = -1
    size_scaling: bool = True

    def __post_init__(self) -> None:
        """Validates the arguments."""
        self._check_strengths("strength")
        object.__setattr__(self, "axis", _checked(self.axis))
        check_bool("size_scaling", self.size_scaling)

    def check_weight(self, variable: Any) -> None:
        """Raises if the weight has no axis `axis`."""
        self._axes_of(variable, f" of {type(self).__name__} on weight `{variable.path}`")

    def on_layer(self, layer: Any, variable: Any) -> GroupLasso:
        """The same with the axes that `"output"`, `"input"` or `"heads"` are in a layer's weight.

        They are counted from the back, so that they are the same for kernels of all ranks.
        """
        if not isinstance(self.axis, str):
            return self
        axes = getattr(unit_axes(layer, variable) or _NO_AXES, _FIELDS[self.axis])
        if not axes:
            where = f" of {type(self).__name__} on weight `{variable.path}`"
            expected = (
                "an axis that a weight of this layer has; leave the weight out with a pattern, or "
                "give integers"
            )
            raise invalid_value("axis", expected, self.axis, where)
        from_the_back = tuple(axis - len(variable.shape) for axis in axes)
        return dataclasses.replace(self, axis=from_the_back)

    def group_norms(self, w: Tensor) -> Tensor:
        """Euclidean norm of each group, in the order of `axis`: a vector."""
        wide = to_accumulator(w)
        return ops.reshape(slice_norms(wide, self._axes_of(wide)), (-1,))

    def divisible_axes(self, w: Tensor) -> tuple[int, ...]:
        """The axes that number the groups."""
        return self._axes_of(w)

    def _axes_of(self, w: Any, where: str = "") -> tuple[int, ...]:
        if isinstance(self.axis, str):
            expected = (
                "an integer or a tuple of integers here; this word has a meaning in "
                "`attach_regularizers(model, ...)` and `Proximal(..., model=model)`"
            )
            raise invalid_value("axis", expected, self.axis, where)
        given = self.axis if isinstance(self.axis, tuple) else (self.axis,)
        axes = [check_axis("axis", axis, w.shape, where) for axis in given]
        if len(set(axes)) < len(axes):
            expected = f"each axis of shape {tuple(w.shape)} once"
            raise invalid_value("axis", expected, self.axis, where)
        return tuple(sorted(axes))

    def _group_strength(self, w: Tensor, axes: Sequence[int]) -> Tensor:
        if not self.size_scaling:
            return ops.cast(self.strength, w.dtype)
        sizes = [ops.shape(w)[other] for other in slice_axes(len(w.shape), axes)]
        if all(isinstance(size, int) for size in sizes):
            return ops.cast(self.strength * math.sqrt(math.prod(sizes)), w.dtype)
        return self.strength * ops.sqrt(ops.cast(ops.prod(ops.stack(sizes)), w.dtype))

    def _value(self, w: Tensor) -> Tensor:
        axes = self._axes_of(w)
        return self._group_strength(w, axes) * ops.sum(accurate_sum(self.group_norms(w), 0))

    def _prox(self, w: Tensor, step: Tensor) -> Tensor:
        axes = self._axes_of(w)
        return group_soft_threshold(w, step * self._group_strength(w, axes), axes)

    def _residual(self, w: Tensor, grad: Tensor) -> Tensor:
        axes = self._axes_of(w)
        strength = self._group_strength(w, axes)
        norms = slice_norms(w, axes)
        moving = grad + strength * w / ops.where(norms > 0, norms, 1.0)
        # At a zero group the subdifferential is the ball of radius `strength`; the distance to
        # it is that of the group's norm, spread here over the group in the gradient's direction.
        grad_norms = slice_norms(grad, axes)
        excess = soft_threshold(grad_norms, strength)
        resting = grad * (excess / ops.where(grad_norms > 0, grad_norms, 1.0))
        return ops.where(norms > 0, moving, resting)

    def _dual_norm(self, grad: Tensor) -> Tensor:
        axes = self._axes_of(grad)
        return ops.max(slice_norms(grad, axes)) / self._group_strength(grad, axes)


def _checked(axis: Any) -> int | tuple[int, ...] | str:
    """The axis as an integer, a tuple of several, or a word; raises unless it is one."""
    if isinstance(axis, str) and axis in _FIELDS:
        return axis
    expected = f"an integer, a tuple of integers, or one of {', '.join(map(repr, _FIELDS))}"
    if not isinstance(axis, (tuple, list)):
        return check_integer("axis", axis, expected)
    if not axis:
        raise invalid_value("axis", expected, axis)
    axes = tuple(check_integer("axis", each, expected) for each in axis)
    return axes if len(axes) > 1 else axes[0]
