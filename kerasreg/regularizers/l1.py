"""The lasso penalty."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from keras import ops

from kerasreg._checks import check_bool
from kerasreg._tensors import Tensor, cast_like, magnitude, to_accumulator
from kerasreg.regularizers.base import later, register_penalty
from kerasreg.regularizers.prox import soft_threshold
from kerasreg.regularizers.separable import Separable
from kerasreg.regularizers.update import Update


@register_penalty
@dataclass(frozen=True, repr=False)
class L1(Separable):
    """The lasso penalty: `l1 * sum |w|`.

    Source: Tibshirani, Regression Shrinkage and Selection via the Lasso, 1996.

    Args:
        l1: Non-negative strength.
        positive: Whether `Proximal` also keeps weights from being negative. In a loss there can be
            no such constraint: there a negative weight has its penalty, and that is all.

    Raises:
        ValueError: If `l1` is not a finite, non-negative number, or `positive` no boolean.

    Example:
    >>> layer = keras.layers.Dense(10, kernel_regularizer=kerasreg.L1(1e-4))
    """

    formula: ClassVar[str] = "l1 sum |w|"

    l1: float = 0.01
    positive: bool = later(False)

    def __post_init__(self) -> None:
        """Validates the arguments."""
        self._check_strengths("l1")
        check_bool("positive", self.positive)

    def update(
        self, updates: Iterable[Update], count: Tensor, strength_scale: Tensor
    ) -> Iterable[Tensor]:
        """The `prox` of each weight, one pass over it shorter."""
        scale = ops.multiply(strength_scale, self.l1)
        weights = ((u, self.allowed(to_accumulator(u.w))) for u in updates)
        return (cast_like(soft_threshold(w, u.step(scale)), u.w) for u, w in weights)

    def _terms(self, w: Tensor) -> Tensor:
        return self.l1 * magnitude(w)

    def _value(self, w: Tensor) -> Tensor:
        return self.l1 * ops.sum(magnitude(w))

    def value_from_norms(self, l1_norm: float, l2_norm: float) -> float:
        """The value, from the norms of the weight."""
        return self.l1 * l1_norm

    def _prox(self, w: Tensor, step: Tensor) -> Tensor:
        return soft_threshold(self.allowed(w), step * self.l1)

    @property
    def _kink(self) -> float:
        return self.l1

    def _slope(self, size: Tensor) -> Tensor:
        return ops.full_like(size, self.l1)
