"""The elastic net."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from keras import ops

from kerasreg._checks import (
    check_bool,
    check_fraction,
    check_integer,
    check_non_negative,
    check_positive,
)
from kerasreg._tensors import Tensor, magnitude
from kerasreg.regularizers.base import later, register_penalty
from kerasreg.regularizers.prox import soft_threshold
from kerasreg.regularizers.separable import Separable


@register_penalty
@dataclass(frozen=True, repr=False)
class ElasticNet(Separable):
    """The elastic net: `alpha * (l1 * sum |w| + l2 * sum w^2)`.

    There is no factor of one half in front of the square, as in `keras.regularizers.L1L2`.
    Other packages scale both terms differently; `from_sklearn` and `from_glmnet` convert.

    Source: Zou & Hastie, Regularization and Variable Selection via the Elastic Net, 2005.

    Args:
        alpha: Non-negative number that scales both terms.
        l1: Non-negative strength of the absolute values.
        l2: Non-negative strength of the squares.
        positive: Whether `Proximal` also keeps weights from being negative. In a loss there can be
            no such constraint: there a negative weight has its penalty, and that is all.

    Raises:
        ValueError: If a strength is not a finite, non-negative number, or `positive` no boolean.

    Example:
    >>> penalty = kerasreg.ElasticNet(alpha=0.1, l1=0.5, l2=0.5)
    >>> layer = keras.layers.Dense(10, kernel_regularizer=penalty)
    """

    formula: ClassVar[str] = "alpha (l1 sum |w| + l2 sum w^2)"

    alpha: float = 1.0
    l1: float = 0.01
    l2: float = 0.01
    positive: bool = later(False)

    def __post_init__(self) -> None:
        """Validates the arguments."""
        self._check_strengths("alpha", "l1", "l2")
        check_bool("positive", self.positive)

    @property
    def has_kink(self) -> bool:
        """Whether the absolute values count, which have a kink at zero."""
        return self.alpha * self.l1 > 0

    @classmethod
    def from_sklearn(cls, alpha: float, l1_ratio: float, n_outputs: int = 1) -> ElasticNet:
        """The penalty of `sklearn.linear_model.ElasticNet(alpha, l1_ratio)` for Keras's `"mse"`.

        scikit-learn minimises `||y - Xw||^2 / (2n) + alpha * l1_ratio * ||w||_1 +
        alpha * (1 - l1_ratio) / 2 * ||w||^2`; Keras's mean squared error has no factor of one
        half, and averages over the outputs.

        Args:
            alpha: scikit-learn's `alpha`, non-negative.
            l1_ratio: scikit-learn's `l1_ratio`, in [0, 1].
            n_outputs: Number of outputs of the model.

        Returns:
            An `ElasticNet` with the same minimiser.

        Example:
        >>> kerasreg.ElasticNet.from_sklearn(alpha=0.05, l1_ratio=1.0)
        ElasticNet(alpha=0.05, l1=2.0, l2=0.0)
        """
        alpha = check_non_negative("alpha", alpha)
        l1_ratio = check_fraction("l1_ratio", l1_ratio)
        n_outputs = check_integer("n_outputs", n_outputs, "a positive integer", least=1)
        return cls(alpha / n_outputs, 2.0 * l1_ratio, 1.0 - l1_ratio)

    @classmethod
    def from_glmnet(cls, lambda_: float, alpha: float, y_std: float) -> ElasticNet:
        """The penalty of R's `glmnet(family = "gaussian")` for Keras's `"mse"`.

        glmnet standardises `y` internally and reports `lambda` on the original scale, so the
        quadratic part depends on the spread of `y`.

        Args:
            lambda_: glmnet's `lambda`, non-negative.
            alpha: glmnet's `alpha`, the share of the absolute values, in [0, 1].
            y_std: Standard deviation of `y`, with 1/n (as `numpy.std`), in the units of `y`.

        Returns:
            An `ElasticNet` with the same minimiser.

        Example:
        >>> kerasreg.ElasticNet.from_glmnet(lambda_=0.1, alpha=0.5, y_std=2.0)
        ElasticNet(alpha=0.1, l1=1.0, l2=0.25)
        """
        lambda_ = check_non_negative("lambda_", lambda_)
        alpha = check_fraction("alpha", alpha)
        y_std = check_positive("y_std", y_std)
        return cls(lambda_, 2.0 * alpha, (1.0 - alpha) / y_std)

    def _terms(self, w: Tensor) -> Tensor:
        return self.alpha * (self.l1 * magnitude(w) + self.l2 * ops.square(w))

    def _value(self, w: Tensor) -> Tensor:
        value = ops.zeros((), dtype=w.dtype)
        if self.l1 > 0:
            value += self.l1 * ops.sum(magnitude(w))
        if self.l2 > 0:
            value += self.l2 * ops.sum(ops.square(w))
        return self.alpha * value

    def value_from_norms(self, l1_norm: float, l2_norm: float) -> float:
        """The value, from the norms of the weight."""
        return self.alpha * (self.l1 * l1_norm + self.l2 * l2_norm**2)

    def _prox(self, w: Tensor, step: Tensor) -> Tensor:
        shrunk = soft_threshold(self.allowed(w), step * (self.alpha * self.l1))
        return shrunk / (1.0 + step * (2.0 * self.alpha * self.l2))

    @property
    def _kink(self) -> float:
        return self.alpha * self.l1

    def _slope(self, size: Tensor) -> Tensor:
        return self.alpha * (self.l1 + (2.0 * self.l2) * size)
