"""Sums of roots of the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from keras import ops

from kerasreg._tensors import Tensor, magnitude
from kerasreg.regularizers.base import register_penalty
from kerasreg.regularizers.prox import half_threshold, two_thirds_threshold
from kerasreg.regularizers.separable import Separable


@dataclass(frozen=True)
class _Lq(Separable):
    """`strength * sum |w|^q` with `q < 1`, whose slope at zero is infinite."""

    _q: ClassVar[float]

    strength: float = 0.01

    def __post_init__(self) -> None:
        """Validates the strength."""
        self._check_strengths("strength")

    def _terms(self, w: Tensor) -> Tensor:
        size = magnitude(w)
        zero = size == 0
        # At zero the derivative of the power is infinite, and its product with 0 is no number.
        powers = ops.power(ops.where(zero, ops.ones_like(size), size), self._q)
        return self.strength * ops.where(zero, ops.zeros_like(size), powers)

    @property
    def _kink(self) -> float:
        return math.inf if self.strength > 0 else 0.0

    def _slope(self, size: Tensor) -> Tensor:
        return (self.strength * self._q) * ops.power(ops.where(size == 0, 1.0, size), self._q - 1.0)


@register_penalty
@dataclass(frozen=True)
class L0_5(_Lq):
    """The sum of the square roots of the weights: `strength * sum |w|^(1/2)`.

    Between the number of weights that are not zero and the lasso: large weights are shrunk little,
    small ones become zero with a leap. A weight that is zero is at an optimum whatever its
    gradient, so that one that has become zero after an update of `Proximal` comes back only if a
    single update moves it beyond `3/2 * (step * strength)^(2/3)`, and no strength is the smallest
    with zeros: `max_strength` is 0. In a loss the gradient grows without bound towards zero, where
    it is taken for 0; use it with `Proximal`.

    Source: Xu, Chang, Xu & Zhang, L1/2 Regularization: A Thresholding Representation Theory, 2012.

    Args:
        strength: Non-negative strength.

    Raises:
        ValueError: If `strength` is not a finite, non-negative number.

    Example:
    >>> optimizer = kerasreg.Proximal(keras.optimizers.SGD(0.1), kerasreg.L0_5(1e-4))
    """

    formula: ClassVar[str] = "strength sum |w|^(1/2)"
    _q: ClassVar[float] = 0.5

    def _prox(self, w: Tensor, step: Tensor) -> Tensor:
        return half_threshold(w, step * self.strength)


@register_penalty
@dataclass(frozen=True)
class L2_3(_Lq):
    """The sum of the powers 2/3 of the weights: `strength * sum |w|^(2/3)`.

    As `L0_5`, nearer to the lasso: a weight that is zero is at an optimum whatever its gradient,
    and comes back only if a single update moves it beyond `2 * (2/3 * step * strength)^(3/4)`. In
    a loss the gradient grows without bound towards zero, where it is taken for 0; use it with
    `Proximal`.

    Source: Cao, Sun & Xu, Fast Image Deconvolution Using Closed-Form Thresholding Formulas of Lq
    (q = 1/2, 2/3) Regularization, 2013.

    Args:
        strength: Non-negative strength.

    Raises:
        ValueError: If `strength` is not a finite, non-negative number.

    Example:
    >>> optimizer = kerasreg.Proximal(keras.optimizers.SGD(0.1), kerasreg.L2_3(1e-4))
    """

    formula: ClassVar[str] = "strength sum |w|^(2/3)"
    _q: ClassVar[float] = 2.0 / 3.0

    def _prox(self, w: Tensor, step: Tensor) -> Tensor:
        return two_thirds_threshold(w, step * self.strength)
