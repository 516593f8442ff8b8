"""The ridge penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from keras import ops

from kerasreg._tensors import Tensor
from kerasreg.regularizers.base import register_penalty
from kerasreg.regularizers.separable import Separable


@register_penalty
@dataclass(frozen=True)
class L2(Separable):
    """The ridge penalty: `l2 * sum w^2`, without a factor of one half, as in Keras.

    Source: Hoerl & Kennard, Ridge Regression: Biased Estimation for Nonorthogonal Problems, 1970.

    Args:
        l2: Non-negative strength.

    Raises:
        ValueError: If `l2` is not a finite, non-negative number.

    Example:
    >>> layer = keras.layers.Dense(10, kernel_regularizer=kerasreg.L2(1e-4))
    """

    formula: ClassVar[str] = "l2 sum w^2"

    has_kink = False

    l2: float = 0.01

    def __post_init__(self) -> None:
        """Validates the strength."""
        self._check_strengths("l2")

    def _terms(self, w: Tensor) -> Tensor:
        return self.l2 * ops.square(w)

    def _value(self, w: Tensor) -> Tensor:
        return self.l2 * ops.sum(ops.square(w))

    def value_from_norms(self, l1_norm: float, l2_norm: float) -> float:
        """The value, from the norms of the weight."""
        return self.l2 * l2_norm**2

    def _prox(self, w: Tensor, step: Tensor) -> Tensor:
        return w / (1.0 + step * (2.0 * self.l2))

    @property
    def _kink(self) -> float:
        return 0.0

    def _slope(self, size: Tensor) -> Tensor:
        return (2.0 * self.l2) * size
