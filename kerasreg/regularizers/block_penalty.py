"""What the concave penalties on the norms of groups share."""

from __future__ import annotations

from keras import ops

from kerasreg._checks import check_positive
from kerasreg._tensors import Tensor, slice_norms
from kerasreg.regularizers import shrinkage
from kerasreg.regularizers.group_penalty import GroupPenalty


class BlockPenalty(GroupPenalty):
    """A concave function of the norms of groups, constant from `gamma` times their strength on.

    A subclass is a frozen dataclass with the fields `strength`, `gamma`, `axis` and
    `size_scaling`. Besides the value it knows the `_line` that `shrinkage.solve` asks for.
    """

    gamma: float

    def __post_init__(self) -> None:
        """Validates the arguments."""
        super().__post_init__()
        object.__setattr__(self, "gamma", check_positive("gamma", self.gamma))

    def _line(self, nu: Tensor, strength: Tensor) -> tuple[Tensor, Tensor]:
        """`nu / s` and its slope, where `nu = s / phi'(s)` at the norm `s` below the knee."""
        raise NotImplementedError(f"{type(self).__name__} does not implement `_line`.")

    def _prox(self, w: Tensor, step: Tensor) -> Tensor:
        if self.strength == 0 or 0 in w.shape:
            return w
        axes = self._axes_of(w)
        strength, norms = self._group_strength(w, axes), slice_norms(w, axes)
        # With one step for all a group moves as one weight of its norm.
        whole = len(step.shape) == 0
        sums = shrinkage.SliceSums(len(w.shape), range(len(w.shape)) if whole else axes)
        weights = [norms] if whole else [w]
        nu = shrinkage.solve(weights, [step], sums, strength, lambda nu: self._line(nu, strength))
        # A step so long that there are several minima: the other one is the group as it is.
        below = ops.where(nu < float("inf"), nu, 0.0)
        cost = shrinkage.distances(weights, [step], sums, below)
        cost = cost + self._of_norms(slice_norms(shrinkage.shrink(w, step, below), axes), strength)
        knee = self.gamma * strength
        stays = ops.logical_and(norms > knee, cost > self._of_norms(knee, strength))
        return shrinkage.shrink(w, step, ops.where(stays, float("inf"), nu))
