"""The minimax concave penalty on groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from keras import ops

from kerasreg._tensors import Tensor
from kerasreg.regularizers.base import register_penalty
from kerasreg.regularizers.block_penalty import BlockPenalty


@register_penalty
@dataclass(frozen=True, repr=False)
class BlockMCP(BlockPenalty):
    """`MCP` on the norms of groups: whole groups become zero, and large ones are not shrunk.

    `sum_g phi(||w_g||)` with `phi(s) = c s - s^2 / (2 gamma)` where `s <= gamma * c`, else
    `gamma * c^2 / 2`, and with `c = strength * sqrt(|g|)`. A group is one slice of the weight along
    `axis`, and `|g|` its number of weights.

    Source: Breheny & Huang, Group Descent Algorithms for Nonconvex Penalized Linear and Logistic
    Regression Models with Grouped Predictors, 2015.

    Args:
        strength: Non-negative strength, the slope at zero.
        gamma: Positive; the knee, from which on a group costs no more, is at a norm of `gamma * c`.
            As for `MCP` it has to lie at the scale of the weights.
        axis: As for `GroupLasso`: an integer, or a tuple of integers, or `"output"`, `"input"` or
            `"heads"`.
        size_scaling: Whether the slope at zero is proportional to the square root of a group's
            size. In skglm's `BlockMCPenalty` it is not.

    Raises:
        ValueError: If an argument is invalid, or later if a weight has no such axis, or a word
            was not resolved.

    Example:
    >>> penalty = kerasreg.BlockMCP(3e-4, gamma=500.0, axis=0)
    >>> optimizer = kerasreg.Proximal(keras.optimizers.Adam(), penalty)
    """

    formula: ClassVar[str] = (
        "sum_g phi(||w_g||), phi(s) = c s - s^2 / (2 gamma) where s <= gamma c, else gamma "
        "c^2 / 2; c = strength sqrt(|g|)"
    )

    strength: float = 0.01
    gamma: float = 3.0
    axis: int | tuple[int, ...] | str = -1
    size_scaling: bool = True

    def _of_norms(self, norms: Tensor, strength: Tensor) -> Tensor:
        # With the norm cut off at the knee one formula serves both parts, in value and gradient.
        s = ops.clip(norms, 0.0, self.gamma * strength)
        return strength * s - ops.square(s) / (2.0 * self.gamma)

    def _slope(self, norms: Tensor, strength: Tensor) -> Tensor:
        return ops.maximum(strength - norms / self.gamma, 0.0)

    def _line(self, nu: Tensor, strength: Tensor) -> tuple[Tensor, Tensor]:
        slope = 1.0 / (self.gamma * strength)
        return 1.0 / strength + slope * nu, slope
