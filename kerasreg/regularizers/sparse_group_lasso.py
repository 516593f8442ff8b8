"""The sparse group lasso."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from keras import ops

from kerasreg._checks import check_fraction
from kerasreg._tensors import Tensor, accurate_sum, magnitude, slice_axes, slice_norms
from kerasreg.regularizers.base import register_penalty
from kerasreg.regularizers.group_penalty import GroupPenalty, beyond_ball
from kerasreg.regularizers.prox import group_soft_threshold, soft_threshold
from kerasreg.regularizers.structures import Entries, Structure, Tiles

NEWTON_ITERATIONS = 40


@register_penalty
@dataclass(frozen=True, repr=False)
class SparseGroupLasso(GroupPenalty):
    """The lasso and the group lasso: zeros within groups, and whole groups of zeros.

    `strength * (l1_ratio * sum |w| + (1 - l1_ratio) * sum_g sqrt(|g|) * ||w_g||)`, where a group
    is one slice of the weight along `axis`, and `|g|` its number of weights.

    Source: Simon, Friedman, Hastie & Tibshirani, A Sparse-Group Lasso, 2013.

    Args:
        strength: Non-negative strength of both parts.
        l1_ratio: Share of the lasso, in [0, 1]: 0 is the group lasso, 1 the lasso.
        axis: As for `GroupLasso`: an integer, or a tuple of integers, or `"output"`, `"input"` or
            `"heads"`.
        size_scaling: Whether to weight each group by the square root of its size.

    Raises:
        ValueError: If an argument is invalid, or later if a weight has no such axis, or a word
            was not resolved.

    Example:
    >>> penalty = kerasreg.SparseGroupLasso(1e-3, l1_ratio=0.2, axis=0)
    >>> optimizer = kerasreg.Proximal(keras.optimizers.Adam(), penalty)
    """

    formula: ClassVar[str] = "strength (l1_ratio sum |w| + (1 - l1_ratio) sum_g sqrt(|g|) ||w_g||)"

    strength: float = 0.01
    l1_ratio: float = 0.5
    axis: int | tuple[int, ...] | str = -1
    size_scaling: bool = True

    def __post_init__(self) -> None:
        """Validates the arguments."""
        super().__post_init__()
        object.__setattr__(self, "l1_ratio", check_fraction("l1_ratio", self.l1_ratio))

    def structure(self, shapes: Sequence[Sequence[int]], paths: Sequence[str]) -> Structure:
        """Single weights, unless it is the group lasso."""
        if self.l1_ratio == 0:
            return super().structure(shapes, paths)
        return Tiles("weights", [Entries()] * len(shapes), shapes)

    @property
    def _l1(self) -> float:
        return self.strength * self.l1_ratio

    def _of_norms(self, norms: Tensor, strength: Tensor) -> Tensor:
        return (1.0 - self.l1_ratio) * strength * norms

    def _value(self, w: Tensor) -> Tensor:
        entries = ops.sum(accurate_sum(ops.reshape(magnitude(w), (-1,)), 0))
        return self._l1 * entries + super()._value(w)

    def _prox(self, w: Tensor, step: Tensor) -> Tensor:
        # In this order it is exact in a diagonal metric as well; in the other it is not.
        axes = self._axes_of(w)
        of_group = (1.0 - self.l1_ratio) * self._group_strength(w, axes)
        return group_soft_threshold(soft_threshold(w, step * self._l1), step * of_group, axes)

    def _residual(self, w: Tensor, grad: Tensor) -> Tensor:
        axes = self._axes_of(w)
        of_group = (1.0 - self.l1_ratio) * self._group_strength(w, axes)
        norms = slice_norms(w, axes)
        beyond = soft_threshold(grad, self._l1)
        slope = self._l1 * ops.sign(w) + of_group * w / ops.where(norms > 0, norms, 1.0)
        moving = ops.where(w == 0, beyond, grad + slope)
        return ops.where(norms > 0, moving, beyond_ball(beyond, of_group, axes))

    def _dual_norm(self, grad: Tensor) -> Tensor:
        if self.strength == 0:
            return ops.full((), float("inf"), grad.dtype)
        axes = self._axes_of(grad)
        of_group = (1.0 - self.l1_ratio) * self._group_strength(grad, axes)
        return ops.max(_smallest_factors(grad, self._l1, of_group, axes))


def _smallest_factors(grad: Tensor, l1: float, of_group: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Solves `||soft(grad_g, c * l1)|| = c * of_group` for `c` in each group.

    The difference of the two sides is convex in `c` and falls, so that Newton's method from 0
    climbs to the root and never passes it.
    """

    def is_moving(factor: Tensor, change: Tensor) -> Tensor:
        return ops.any(change > 1e-7 * factor)

    def iterate(factor: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
        beyond = soft_threshold(grad, factor * l1)
        norms = slice_norms(beyond, axes)
        unit = beyond / ops.where(norms > 0, norms, 1.0)
        fall = l1 * _total(ops.abs(unit), axes) + of_group
        step = (norms - factor * of_group) / ops.where(fall > 0, fall, 1.0)
        closer = factor + ops.relu(step)
        return closer, closer - factor

    zeros = ops.zeros_like(slice_norms(grad, axes))
    start = (zeros, ops.full_like(zeros, float("inf")))
    factor, _ = ops.while_loop(is_moving, iterate, start, maximum_iterations=NEWTON_ITERATIONS)
    return factor


def _total(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    within = slice_axes(len(x.shape), axes)
    return ops.sum(x, axis=within, keepdims=True) if within else x
