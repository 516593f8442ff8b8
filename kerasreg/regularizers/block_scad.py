"""The smoothly clipped absolute deviation on groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from keras import ops

from kerasreg._checks import invalid_value
from kerasreg._tensors import Tensor
from kerasreg.regularizers.base import register_penalty
from kerasreg.regularizers.block_penalty import BlockPenalty


@register_penalty
@dataclass(frozen=True, repr=False)
class BlockSCAD(BlockPenalty):
    """The smoothly clipped absolute deviation of groups: zero as a whole, or large and unbiased.

    `sum_g phi(||w_g||)` with `phi(s) = c s` where `s <= c`, `(2 gamma c s - s^2 - c^2) /
    (2 (gamma - 1))` from there to `gamma * c`, and `(gamma + 1) c^2 / 2` beyond; with
    `c = strength * sqrt(|g|)`. A group is one slice of the weight along `axis`, and `|g|` its
    number of weights.

    Sources: Fan & Li, Variable Selection via Nonconcave Penalized Likelihood and its Oracle
    Properties, 2001; Breheny & Huang, Group Descent Algorithms for Nonconvex Penalized Linear and
    Logistic Regression Models with Grouped Predictors, 2015.

    Args:
        strength: Non-negative strength, the slope at zero.
        gamma: Larger than 2; the knee, from which on a group costs no more, is at a norm of
            `gamma * c`. As for `MCP` it has to lie at the scale of the weights.
        axis: As for `GroupLasso`: an integer, or a tuple of integers, or `"output"`, `"input"` or
            `"heads"`.
        size_scaling: Whether the slope at zero is proportional to the square root of a group's
            size. In skglm's `BlockSCAD` it is not.

    Raises:
        ValueError: If an argument is invalid, or later if a weight has no such axis, or a word
            was not resolved.

    Example:
    >>> penalty = kerasreg.BlockSCAD(3e-4, gamma=500.0, axis=0)
    >>> optimizer = kerasreg.Proximal(keras.optimizers.Adam(), penalty)
    """

    formula: ClassVar[str] = (
        "sum_g phi(||w_g||), phi(s) = c s where s <= c, (2 gamma c s - s^2 - c^2) / (2 (gamma "
        "- 1)) up to gamma c, (gamma + 1) c^2 / 2 beyond; c = strength sqrt(|g|)"
    )

    strength: float = 0.01
    gamma: float = 3.7
    axis: int | tuple[int, ...] | str = -1
    size_scaling: bool = True

    def __post_init__(self) -> None:
        """Validates the arguments."""
        super().__post_init__()
        if self.gamma <= 2:
            raise invalid_value("gamma", "a finite number larger than 2", self.gamma)

    def _of_norms(self, norms: Tensor, strength: Tensor) -> Tensor:
        # With the norm cut off at the knee one formula serves all parts, in value and gradient.
        s = ops.clip(norms, 0.0, self.gamma * strength)
        bent = ops.square(ops.relu(s - strength))
        return strength * s - bent / (2.0 * (self.gamma - 1.0))

    def _slope(self, norms: Tensor, strength: Tensor) -> Tensor:
        return ops.clip((self.gamma * strength - norms) / (self.gamma - 1.0), 0.0, strength)

    def _line(self, nu: Tensor, strength: Tensor) -> tuple[Tensor, Tensor]:
        # The norm is `strength` where `nu` is 1.
        slope = 1.0 / (self.gamma * strength)
        bent = ops.relu(nu - 1.0)
        return 1.0 / strength + slope * bent, ops.where(bent > 0, slope, 0.0)
