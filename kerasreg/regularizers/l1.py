"""The lasso penalty."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from keras import ops

from kerasreg._tensors import Tensor, cast_like, magnitude, to_accumulator
from kerasreg.regularizers.base import Penalty, Update, register_penalty
from kerasreg.regularizers.prox import soft_threshold


@register_penalty
@dataclass(frozen=True)
class L1(Penalty):
    """The lasso penalty: `l1 * sum |w|`.

    Source: Tibshirani, Regression Shrinkage and Selection via the Lasso, 1996.

    Args:
        l1: Non-negative strength.

    Raises:
        ValueError: If `l1` is not a finite, non-negative number.

    Example:
    >>> layer = keras.layers.Dense(10, kernel_regularizer=kerasreg.L1(1e-4))
    """

    is_separable: ClassVar[bool] = True

    l1: float = 0.01

    def __post_init__(self) -> None:
        """Validates the strength."""
        self._check_strengths("l1")

    def update(
        self, updates: Iterable[Update], count: Tensor, strength_scale: Tensor
    ) -> Iterable[Tensor]:
        """The `prox` of each weight, one pass over it shorter."""
        scale = ops.multiply(strength_scale, self.l1)
        return (cast_like(soft_threshold(to_accumulator(u.w), u.step(scale)), u.w) for u in updates)

    def _value(self, w: Tensor) -> Tensor:
        return self.l1 * ops.sum(magnitude(w))

    def value_from_norms(self, l1_norm: float, l2_norm: float) -> float:
        """The value, from the norms of the weight."""
        return self.l1 * l1_norm

    def _prox(self, w: Tensor, step: Tensor) -> Tensor:
        return soft_threshold(w, step * self.l1)

    def _residual(self, w: Tensor, grad: Tensor) -> Tensor:
        # At zero the subdifferential of l1 |w| is the interval [-l1, l1].
        return ops.where(w == 0, soft_threshold(grad, self.l1), grad + self.l1 * ops.sign(w))

    def _dual_norm(self, grad: Tensor) -> Tensor:
        return ops.max(ops.abs(grad)) / self.l1
