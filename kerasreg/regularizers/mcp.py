"""The minimax concave penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from keras import ops

from kerasreg._checks import check_positive
from kerasreg._tensors import Tensor, accurate_sum, magnitude
from kerasreg.regularizers.base import Penalty, register_penalty
from kerasreg.regularizers.prox import firm_threshold, soft_threshold


@register_penalty
@dataclass(frozen=True)
class MCP(Penalty):
    """The minimax concave penalty: like the lasso on small weights, a constant on large ones.

    `sum_i l1 |w_i| - w_i^2 / (2 gamma)` where `|w_i| <= gamma * l1`, else `gamma * l1^2 / 2`.
    Large weights are not shrunk, so that the ones that remain are nearly unbiased.

    Source: Zhang, Nearly Unbiased Variable Selection under Minimax Concave Penalty, 2010.

    Args:
        l1: Non-negative strength, the slope at zero.
        gamma: Positive; the knee, from which on a weight costs no more, is at `gamma * l1`. It has
            to lie at the scale of the weights. The 3 of linear models on standardised columns
            means that; in a network, whose weights are .05 to .3 and whose `l1` is around 1e-4 to
            1e-3, `gamma` is in the hundreds.

    Raises:
        ValueError: If an argument is invalid.

    Example:
    >>> optimizer = kerasreg.Proximal(keras.optimizers.Adam(), kerasreg.MCP(3e-4, gamma=500.0))
    """

    is_separable: ClassVar[bool] = True

    l1: float = 0.01
    gamma: float = 3.0

    def __post_init__(self) -> None:
        """Validates the arguments."""
        self._check_strengths("l1")
        object.__setattr__(self, "gamma", check_positive("gamma", self.gamma))

    def _value(self, w: Tensor) -> Tensor:
        # With w cut off at the knee one formula serves both parts, in value and gradient.
        size = ops.clip(magnitude(w), 0.0, self.gamma * self.l1)
        terms = self.l1 * size - ops.square(size) / (2.0 * self.gamma)
        # In two stages: many weights beyond the knee are many equal terms, whose sum would drift.
        return ops.sum(accurate_sum(ops.reshape(terms, (-1,)), 0))

    def _prox(self, w: Tensor, step: Tensor) -> Tensor:
        return firm_threshold(w, step, self.l1, self.gamma)

    def _residual(self, w: Tensor, grad: Tensor) -> Tensor:
        slope = ops.maximum(self.l1 - ops.abs(w) / self.gamma, 0.0)
        return ops.where(w == 0, soft_threshold(grad, self.l1), grad + ops.sign(w) * slope)

    def _dual_norm(self, grad: Tensor) -> Tensor:
        return ops.max(ops.abs(grad)) / self.l1
