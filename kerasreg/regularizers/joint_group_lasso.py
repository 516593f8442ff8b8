"""The group lasso of groups with parts in several weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from keras import ops

from kerasreg._tensors import Tensor
from kerasreg.regularizers import shrinkage
from kerasreg.regularizers.group_sums import GroupSums
from kerasreg.regularizers.groups import Groups, labels_of_weights
from kerasreg.regularizers.prox import soft_threshold


class JointGroupLasso:
    """`sum_g strength_g ||w_g||` of several weights, which are wide enough to sum in.

    Args:
        groups: The groups.
        strength: Positive strength.
        size_scaling: Whether to weight each group by the square root of its size.
        positive: Whether weights in groups must not be negative.
        ws: The weights.
        paths: Their paths.
    """

    def __init__(
        self,
        groups: Groups,
        strength: float,
        size_scaling: bool,
        positive: bool,
        ws: Sequence[Tensor],
        paths: Sequence[str],
    ) -> None:
        shapes = [tuple(w.shape) for w in ws]
        self._labels = labels_of_weights(groups, tuple(zip(paths, shapes, strict=True)))
        self._sums = GroupSums(self._labels, shapes, len(groups))
        self._positive = positive
        strengths = strength * (np.sqrt(self._sums.sizes) if size_scaling else 1.0)
        # Of what is in no group 1, which divides without harm where it is not looked at.
        strengths = np.where(self._sums.is_group, strengths, 1.0).astype(np.float32)
        self._strengths = ops.convert_to_tensor(strengths)

    def prox(self, ws: Sequence[Tensor], steps: Sequence[Tensor]) -> list[Tensor]:
        """The proximal operator, all groups at once."""
        if self._positive:
            ws = [
                ops.where(labels >= 0, ops.relu(w), w)
                for w, labels in zip(ws, self._labels, strict=True)
            ]
        line = 1.0 / self._strengths, ops.zeros_like(self._strengths)
        nu = shrinkage.solve(ws, steps, self._sums, self._strengths, lambda _: line)
        nu = ops.where(self._sums.is_group, nu, float("inf"))
        each = zip(ws, steps, self._sums.spread(nu), strict=True)
        return [shrinkage.shrink(w, step, n) for w, step, n in each]

    def shares(self, ws: Sequence[Tensor]) -> list[Tensor]:
        """What each weight adds to the value: of a group its share of the squares in it."""
        norms = self._sums.norms(ws)
        inverse = self._sums.spread(1.0 / ops.where(norms > 0, norms, 1.0))
        shares = self._sums.of_each(
            [ops.square(w * each) for w, each in zip(ws, inverse, strict=True)]
        )
        values = ops.where(self._sums.is_group, self._strengths * norms, 0.0)
        return [ops.sum(values * share) for share in shares]

    def residuals(self, ws: Sequence[Tensor], grads: Sequence[Tensor]) -> list[Tensor]:
        """The shortest vectors from `-grad` to the subdifferential, up to the sign."""
        if self._positive:  # A zero may be pressed against the bound.
            grads = [
                ops.where(ops.logical_and(labels >= 0, w == 0), -ops.relu(-grad), grad)
                for w, grad, labels in zip(ws, grads, self._labels, strict=True)
            ]
        norms, grad_norms = self._sums.norms(ws), self._sums.norms(grads)
        strengths = ops.where(self._sums.is_group, self._strengths, 0.0)
        pull = self._sums.spread(strengths / ops.where(norms > 0, norms, 1.0))
        excess = soft_threshold(grad_norms, strengths)
        beyond = self._sums.spread(excess / ops.where(grad_norms > 0, grad_norms, 1.0))
        is_alive = self._sums.spread(norms > 0)
        return [
            ops.where(alive, grad + p * w, b * grad)
            for w, grad, p, b, alive in zip(ws, grads, pull, beyond, is_alive, strict=True)
        ]

    def dual_norms(self, grads: Sequence[Tensor]) -> list[Tensor]:
        """For each weight the largest `||grad_g|| / strength_g` of the groups with a part in it."""
        if self._positive:
            grads = [
                ops.where(labels < 0, grad, ops.relu(-grad))
                for grad, labels in zip(grads, self._labels, strict=True)
            ]
        norms = self._sums.norms(grads)
        ratios = ops.where(self._sums.is_group, norms / self._strengths, 0.0)
        return [ops.max(each) for each in self._sums.spread(ratios)]
