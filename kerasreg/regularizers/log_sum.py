"""The log-sum penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from keras import ops

from kerasreg._checks import check_positive
from kerasreg._tensors import Tensor, magnitude
from kerasreg.regularizers.base import register_penalty
from kerasreg.regularizers.prox import log_threshold
from kerasreg.regularizers.separable import Separable


@register_penalty
@dataclass(frozen=True)
class LogSum(Separable):
    """The log-sum penalty: `strength * sum log(1 + |w| / epsilon)`.

    Its slope is `strength / epsilon` at zero and falls as `strength / |w|`, so that large weights
    are shrunk little; it is what the lasso comes to that is weighted again and again by the
    inverse of the weights.

    Source: Candes, Wakin & Boyd, Enhancing Sparsity by Reweighted l1 Minimization, 2008.

    Args:
        strength: Non-negative strength.
        epsilon: Positive; weights much smaller than it are penalised as by the lasso.

    Raises:
        ValueError: If an argument is invalid.

    Example:
    >>> penalty = kerasreg.LogSum(1e-5, epsilon=0.05)
    >>> optimizer = kerasreg.Proximal(keras.optimizers.Adam(), penalty)
    """

    formula: ClassVar[str] = "strength sum log(1 + |w| / epsilon)"

    strength: float = 0.01
    epsilon: float = 0.1

    def __post_init__(self) -> None:
        """Validates the arguments."""
        self._check_strengths("strength")
        object.__setattr__(self, "epsilon", check_positive("epsilon", self.epsilon))

    def _terms(self, w: Tensor) -> Tensor:
        return self.strength * ops.log1p(magnitude(w) / self.epsilon)

    def _prox(self, w: Tensor, step: Tensor) -> Tensor:
        return log_threshold(w, step * self.strength, self.epsilon)

    @property
    def _kink(self) -> float:
        return self.strength / self.epsilon

    def _slope(self, size: Tensor) -> Tensor:
        return self.strength / (size + self.epsilon)
