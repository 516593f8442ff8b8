"""The smoothly clipped absolute deviation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from keras import ops

from kerasreg._checks import check_positive, invalid_value
from kerasreg._tensors import Tensor, magnitude
from kerasreg.regularizers.base import register_penalty
from kerasreg.regularizers.prox import scad_threshold
from kerasreg.regularizers.separable import Separable


@register_penalty
@dataclass(frozen=True)
class SCAD(Separable):
    """The smoothly clipped absolute deviation: the lasso up to `l1`, a constant on large weights.

    The sum over the weights of `l1 |w|` where `|w| <= l1`, of `l1 |w| - (|w| - l1)^2 /
    (2 (gamma - 1))` up to `gamma * l1`, and of `(gamma + 1) * l1^2 / 2` from there on. Large
    weights are not shrunk.

    Source: Fan & Li, Variable Selection via Nonconcave Penalized Likelihood and its Oracle
    Properties, 2001.

    Args:
        l1: Non-negative strength, the slope up to `l1`.
        gamma: Greater than 2; the knee, from which on a weight costs no more, is at `gamma * l1`.
            It has to lie at the scale of the weights, as that of `MCP`.

    Raises:
        ValueError: If an argument is invalid.

    Example:
    >>> optimizer = kerasreg.Proximal(keras.optimizers.Adam(), kerasreg.SCAD(3e-4, gamma=500.0))
    """

    formula: ClassVar[str] = (
        "sum l1 |w| where |w| <= l1, l1 |w| - (|w| - l1)^2 / (2 (gamma - 1)) up to gamma l1, "
        "(gamma + 1) l1^2 / 2 beyond"
    )

    l1: float = 0.01
    gamma: float = 3.7

    def __post_init__(self) -> None:
        """Validates the arguments."""
        self._check_strengths("l1")
        object.__setattr__(self, "gamma", check_positive("gamma", self.gamma))
        if self.gamma <= 2:
            raise invalid_value("gamma", "a finite number greater than 2", self.gamma)

    def _terms(self, w: Tensor) -> Tensor:
        # With w cut off at the knee one formula serves all parts, in value and gradient.
        size = ops.clip(magnitude(w), 0.0, self.gamma * self.l1)
        bend = ops.square(ops.maximum(size - self.l1, 0.0))
        return self.l1 * size - bend / (2.0 * (self.gamma - 1.0))

    def _prox(self, w: Tensor, step: Tensor) -> Tensor:
        return scad_threshold(w, step, self.l1, self.gamma)

    @property
    def _kink(self) -> float:
        return self.l1

    def _slope(self, size: Tensor) -> Tensor:
        return ops.clip((self.gamma * self.l1 - size) / (self.gamma - 1.0), 0.0, self.l1)
