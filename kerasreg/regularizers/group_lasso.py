"""The group lasso."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from keras import ops

from kerasreg._checks import check_bool, invalid_value
from kerasreg._tensors import Tensor, cast_like, to_accumulator
from kerasreg.regularizers.base import Penalty, later, register_penalty
from kerasreg.regularizers.group_penalty import GroupPenalty
from kerasreg.regularizers.groups import Groups, OnGroups, checked_groups
from kerasreg.regularizers.joint_group_lasso import JointGroupLasso
from kerasreg.regularizers.prox import group_soft_threshold
from kerasreg.regularizers.structures import JointGroups, Structure
from kerasreg.regularizers.update import Update


@register_penalty
@dataclass(frozen=True, repr=False)
class GroupLasso(OnGroups, GroupPenalty):
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
        positive: Whether `Proximal` also keeps weights from being negative. In a loss there can be
            no such constraint: there a negative weight has its penalty, and that is all.
        groups: `Groups` of one's own instead of slices along `axis`, which may have parts in
            several weights. They name their weights themselves, biases too, and act by `Proximal`
            only: a regularizer sees one weight.

    Raises:
        ValueError: If an argument is invalid, or later if a weight has no such axis, or a word
            was not resolved.

    Example:
    >>> layer = keras.layers.Dense(10, kernel_regularizer=kerasreg.GroupLasso(1e-3, axis=0))
    >>> kerasreg.attach_regularizers(model, kerasreg.GroupLasso(1e-3, axis="output"))
    """

    formula: ClassVar[str] = "strength sum_g sqrt(|g|) ||w_g||"

    strength: float = 0.01
    axis: int | tuple[int, ...] | str = -1
    size_scaling: bool = True
    positive: bool = later(False)
    groups: Groups | None = later(None)

    def __post_init__(self) -> None:
        """Validates the arguments."""
        super().__post_init__()
        check_bool("positive", self.positive)
        object.__setattr__(self, "groups", checked_groups(self.groups))
        if self.groups is not None and self.axis != -1:
            raise invalid_value("axis", "no axis beside `groups`, which have theirs", self.axis)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, as plain numbers; of groups their configuration."""
        groups = {} if self.groups is None else {"groups": self.groups.get_config()}
        return {**self.arguments, **groups}

    def structure(self, shapes: Sequence[Sequence[int]], paths: Sequence[str]) -> Structure:
        """The slices along `axis`, or the groups."""
        if self.groups is None:
            return super().structure(shapes, paths)
        return JointGroups(self.groups, shapes, paths)

    def check_weight(self, variable: Any) -> None:
        """Raises if the weight has no axis `axis`, or not all the slices that `groups` name."""
        if self.groups is None:
            super().check_weight(variable)
        else:
            where = f" of {type(self).__name__} on weight `{variable.path}`"
            self.groups.labels_of(variable.path, variable.shape, where)

    def divisible_axes(self, w: Tensor) -> tuple[int, ...]:
        """The axes that number the groups; none where they span weights."""
        return self._axes_of(w) if self.groups is None else ()

    def update(
        self, updates: Iterable[Update], count: Tensor, strength_scale: Tensor
    ) -> Iterable[Tensor]:
        """Shrinks the groups, those of several weights together."""
        if self.groups is None:
            return super().update(updates, count, strength_scale)
        updates = list(updates)
        if self.strength == 0:
            return [u.w for u in updates]
        ws = [to_accumulator(u.w) for u in updates]
        steps = [
            cast_like(ops.convert_to_tensor(u.step(strength_scale)), w)
            for u, w in zip(updates, ws, strict=True)
        ]
        zs = self._of(self.groups, ws, [u.path for u in updates]).prox(ws, steps)
        return [cast_like(z, u.w) for z, u in zip(zs, updates, strict=True)]

    def shares(self, ws: Sequence[Tensor], paths: Sequence[str]) -> list[Tensor]:
        """What each weight adds to the value: of a group its share of the squares in it."""
        if self.groups is None:
            return super().shares(ws, paths)
        wide = [to_accumulator(w) for w in ws]
        return self._of(self.groups, wide, paths).shares(wide)

    def residuals(
        self, ws: Sequence[Tensor], grads: Sequence[Tensor], paths: Sequence[str] = ()
    ) -> Iterable[Tensor]:
        """The shortest vector from `-grad` to the subdifferential, up to signs."""
        if self.groups is None:
            return super().residuals(ws, grads, paths)
        wide = [to_accumulator(w) for w in ws]
        slopes = [cast_like(ops.convert_to_tensor(g), w) for g, w in zip(grads, wide, strict=True)]
        return self._of(self.groups, wide, paths).residuals(wide, slopes)

    def resting(
        self,
        zeros: Sequence[Tensor],
        grads: Sequence[Tensor],
        strength_scale: Tensor,
        paths: Sequence[str] = (),
    ) -> Iterator[Tensor]:
        """Where zeros are optimal; by the residuals, unless a group is one slice of any sign."""
        by_norms = self.groups is None and not self.positive
        cls = GroupPenalty if by_norms else Penalty
        return cls.resting(self, zeros, grads, strength_scale, paths)

    def dual_norms(self, grads: Sequence[Tensor], paths: Sequence[str]) -> list[Tensor]:
        """For each weight that of the groups with a part in it."""
        if self.groups is None:
            return super().dual_norms(grads, paths)
        wide = [to_accumulator(grad) for grad in grads]
        return self._of(self.groups, wide, paths).dual_norms(wide)

    def _of(self, groups: Groups, ws: Sequence[Tensor], paths: Sequence[str]) -> JointGroupLasso:
        return JointGroupLasso(groups, self.strength, self.size_scaling, self.positive, ws, paths)

    def _axes_of(self, w: Any, where: str = "") -> tuple[int, ...]:
        self._check_alone(where)
        return super()._axes_of(w, where)

    def allowed(self, w: Tensor) -> Tensor:
        """The nearest weight that is not negative, with `positive`; else the weight itself.

        With `groups` it is returned as it is, as its other entries may be negative.
        """
        return ops.relu(w) if self.positive and self.groups is None else w

    def _of_norms(self, norms: Tensor, strength: Tensor) -> Tensor:
        return strength * norms

    def _slope(self, norms: Tensor, strength: Tensor) -> Tensor:
        return strength

    def _prox(self, w: Tensor, step: Tensor) -> Tensor:
        axes = self._axes_of(w)
        return group_soft_threshold(self.allowed(w), step * self._group_strength(w, axes), axes)

    def _residual(self, w: Tensor, grad: Tensor) -> Tensor:
        if not self.positive:
            return super()._residual(w, grad)
        # A zero may be pressed against the bound.
        return super()._residual(w, ops.where(w == 0, -ops.relu(-grad), grad))

    def _dual_norm(self, grad: Tensor) -> Tensor:
        return super()._dual_norm(ops.relu(-grad) if self.positive else grad)
