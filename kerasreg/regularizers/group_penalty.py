"""What all penalties on groups of weights share: what a group is, and how strong it is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from keras import ops

from kerasreg._backends import runs_in_place
from kerasreg._checks import check_bool
from kerasreg._tensors import (
    Tensor,
    accurate_sum,
    cast_like,
    slice_axes,
    slice_norms,
    to_accumulator,
)
from kerasreg.regularizers.axes import Axis, axes_in, axes_on_layer, check_axes
from kerasreg.regularizers.base import Penalty
from kerasreg.regularizers.prox import soft_threshold
from kerasreg.regularizers.structures import Slices, Structure, Tiles

G = TypeVar("G", bound="GroupPenalty")


class GroupPenalty(Penalty):
    """A function of the norms of groups: `sum_g phi(||w_g||)`, a group one slice along `axis`.

    A subclass is a frozen dataclass with the fields `strength`, `axis` and `size_scaling`, whose
    `_of_norms` is the function `phi` and whose `_slope` is its derivative; at zero that is the
    strength of the group.

    What `axis` may be, `GroupLasso` says.
    """

    strength: float
    axis: Axis
    size_scaling: bool

    def __post_init__(self) -> None:
        """Validates the arguments."""
        self._check_strengths("strength")
        object.__setattr__(self, "axis", check_axes(self.axis))
        check_bool("size_scaling", self.size_scaling)

    def check_weight(self, variable: Any) -> None:
        """Raises if the weight has no axis `axis`."""
        self._axes_of(variable, f" of {type(self).__name__} on weight `{variable.path}`")

    def on_layer(self: G, layer: Any, variable: Any) -> G:
        """The same with the axes that a word like `"output"` means in a layer's weight."""
        if not isinstance(self.axis, str):
            return self
        where = f" of {type(self).__name__} on weight `{variable.path}`"
        axes: Any = {"axis": axes_on_layer(self.axis, layer, variable, where)}
        return dataclasses.replace(self, **axes)

    def group_norms(self, w: Tensor) -> Tensor:
        """Euclidean norm of each group, in the order of `axis`: a vector."""
        wide = to_accumulator(w)
        return ops.reshape(slice_norms(wide, self._axes_of(wide)), (-1,))

    def structure(self, shapes: Sequence[Sequence[int]], paths: Sequence[str]) -> Structure:
        """The slices along `axis`."""
        return Tiles("slices", [Slices(axes_in(self.axis, shape)) for shape in shapes], shapes)

    def divisible_axes(self, w: Tensor) -> tuple[int, ...]:
        """The axes that number the groups."""
        return self._axes_of(w)

    def _axes_of(self, w: Any, where: str = "") -> tuple[int, ...]:
        return axes_in(self.axis, w.shape, where)

    def _group_strength(self, w: Tensor, axes: Sequence[int]) -> Tensor:
        if not self.size_scaling:
            return ops.cast(self.strength, w.dtype)
        sizes = [ops.shape(w)[other] for other in slice_axes(len(w.shape), axes)]
        if all(isinstance(size, int) for size in sizes):
            return ops.cast(self.strength * math.sqrt(math.prod(sizes)), w.dtype)
        return self.strength * ops.sqrt(ops.cast(ops.prod(ops.stack(sizes)), w.dtype))

    def _of_norms(self, norms: Tensor, strength: Tensor) -> Tensor:
        """`phi` of each group's norm, for groups of that strength."""
        raise NotImplementedError(f"{type(self).__name__} does not implement `_of_norms`.")

    def _slope(self, norms: Tensor, strength: Tensor) -> Tensor:
        """Its derivative."""
        raise NotImplementedError(f"{type(self).__name__} does not implement `_slope`.")

    def _value(self, w: Tensor) -> Tensor:
        terms = self._of_norms(self.group_norms(w), self._group_strength(w, self._axes_of(w)))
        # In two stages: many groups beyond a knee are many equal terms, whose sum would drift.
        return ops.sum(accurate_sum(terms, 0))

    def _residual(self, w: Tensor, grad: Tensor) -> Tensor:
        axes = self._axes_of(w)
        strength = self._group_strength(w, axes)
        norms = slice_norms(w, axes)
        moving = grad + self._slope(norms, strength) * w / ops.where(norms > 0, norms, 1.0)
        return ops.where(norms > 0, moving, beyond_ball(grad, strength, axes))

    def resting(
        self,
        zeros: Sequence[Tensor],
        grads: Sequence[Tensor],
        strength_scale: Tensor,
        paths: Sequence[str] = (),
    ) -> Iterator[Tensor]:
        """Where zeros are optimal, by the norm of each group: as many entries as groups."""
        for zero, grad in zip(zeros, grads, strict=True):
            axes = self._axes_of(grad)
            within = slice_axes(len(grad.shape), axes)
            squares = ops.square(grad)
            if within:
                squares = ops.sum(squares, axis=within, keepdims=True)
                zero = _all(zero, within)
            radius = self._group_strength(grad, axes) * cast_like(strength_scale, grad)
            yield ops.logical_and(zero, squares <= ops.square(radius))

    def _dual_norm(self, grad: Tensor) -> Tensor:
        axes = self._axes_of(grad)
        return ops.max(slice_norms(grad, axes)) / self._group_strength(grad, axes)


def _all(mask: Tensor, within: tuple[int, ...]) -> Tensor:
    """Whether all entries of each slice are true; the axes within it are kept as 1."""
    if runs_in_place(mask):
        from kerasreg.regularizers.torch_prox import all_true

        return all_true(mask, within)
    return ops.all(mask, axis=within, keepdims=True)


def beyond_ball(grad: Tensor, radius: Tensor, axes: Sequence[int]) -> Tensor:
    """The shortest vector from each slice along `axes` to the ball of that radius, up to the sign.

    The ball is the subdifferential at a group of zeros.
    """
    norms = slice_norms(grad, axes)
    return grad * (soft_threshold(norms, radius) / ops.where(norms > 0, norms, 1.0))
