"""The minimax concave penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from keras import ops

from kerasreg._checks import check_bool, check_positive
from kerasreg._tensors import Tensor, magnitude
from kerasreg.regularizers.base import later, register_penalty
from kerasreg.regularizers.prox import firm_threshold
from kerasreg.regularizers.separable import Separable


@register_penalty
@dataclass(frozen=True, repr=False)
class MCP(Separable):
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
        positive: Whether `Proximal` also keeps weights from being negative. In a loss there can be
            no such constraint: there a negative weight has its penalty, and that is all.

    Raises:
        ValueError: If an argument is invalid.

    Example:
    >>> optimizer = kerasreg.Proximal(keras.optimizers.Adam(), kerasreg.MCP(3e-4, gamma=500.0))
    """

    formula: ClassVar[str] = (
        "sum l1 |w| - w^2 / (2 gamma) where |w| <= gamma l1, else gamma l1^2 / 2"
    )

    l1: float = 0.01
    gamma: float = 3.0
    positive: bool = later(False)

    def __post_init__(self) -> None:
        """Validates the arguments."""
        self._check_strengths("l1")
        object.__setattr__(self, "gamma", check_positive("gamma", self.gamma))
        check_bool("positive", self.positive)

    def _terms(self, w: Tensor) -> Tensor:
        # With w cut off at the knee one formula serves both parts, in value and gradient.
        size = ops.clip(magnitude(w), 0.0, self.gamma * self.l1)
        return self.l1 * size - ops.square(size) / (2.0 * self.gamma)

    def _prox(self, w: Tensor, step: Tensor) -> Tensor:
        return firm_threshold(self.allowed(w), step, self.l1, self.gamma)

    @property
    def _kink(self) -> float:
        return self.l1

    def _slope(self, size: Tensor) -> Tensor:
        return ops.maximum(self.l1 - size / self.gamma, 0.0)
