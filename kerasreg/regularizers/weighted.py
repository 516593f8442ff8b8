"""A penalty with a factor for each weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from kerasreg._checks import invalid_value
from kerasreg._tensors import Tensor, accurate_sum
from kerasreg.regularizers.base import Penalty, register_penalty
from kerasreg.regularizers.frozen_array import FrozenArray


@register_penalty
@dataclass(frozen=True)
class Weighted(Penalty):
    """A penalty whose strength has a factor for each entry: `sum_i factors_i * p(w_i)`.

    glmnet's `penalty.factor`, and the adaptive lasso with `factors = 1 / |w|^gamma` of an earlier
    fit. The factors are used as given; glmnet first divides them by their mean. An entry of factor
    0 is not penalised; where the penalty is `positive`, it still may not be negative.

    Sources: Zou, The Adaptive Lasso and Its Oracle Properties, 2006; Friedman, Hastie & Tibshirani,
    Regularization Paths for Generalized Linear Models via Coordinate Descent, 2010.

    Args:
        penalty: A penalty that is a sum over the entries of a weight: L1, L2, ElasticNet, MCP,
            SCAD, LogSum, L0_5, L2_3, or one of your own with `is_separable` and `_terms`.
        factors: Array of finite, non-negative numbers whose shape broadcasts to that of the
            weight: `(features, 1)` has a factor for each input of a Dense kernel. It is saved with
            the penalty.

    Raises:
        ValueError: If an argument is invalid, or later if the shape does not fit a weight.

    Example:
    >>> factors = np.array([[1.0], [1.0], [0.0]])  # The third feature is always in.
    >>> kerasreg.Weighted(kerasreg.L1(1e-3), factors)
    Weighted(penalty=L1(l1=0.001), factors=<(3, 1), 0 to 1, ...>)
    """

    formula: ClassVar[str] = "sum_i factors_i p(w_i), where sum_i p(w_i) is the penalty"
    is_separable: ClassVar[bool] = True
    needs_whole: ClassVar[bool] = True

    penalty: Penalty
    factors: Any

    def __post_init__(self) -> None:
        """Validates the arguments."""
        penalty = self.penalty
        if not isinstance(penalty, Penalty) or penalty.is_constraint or not penalty.is_separable:
            expected = "a penalty that is a sum over the entries of a weight"
            raise invalid_value("penalty", expected, penalty)
        if not penalty.implements("_terms"):
            expected = f"a penalty with a value for each entry; give {type(penalty).__name__} a "
            raise invalid_value("penalty", expected + "method `_terms(w)`", penalty)
        object.__setattr__(self, "penalty", penalty.unscaled)
        if not isinstance(self.factors, FrozenArray):
            object.__setattr__(self, "factors", FrozenArray(self.factors, "factors"))

    @property
    def main_strength(self) -> float | None:
        """That of the penalty."""
        return self.penalty.main_strength

    @property
    def has_kink(self) -> bool:
        """Whether the penalty has a kink at zero, and acts on any entry."""
        return self.penalty.has_kink and bool(np.any(self.factors.array))

    def check_weight(self, variable: Any) -> None:
        """Raises if the shape of the factors does not broadcast to that of the weight."""
        self.penalty.check_weight(variable)
        self._check_shape(tuple(variable.shape), f" of Weighted on weight `{variable.path}`")

    def unpenalised(self, shape: tuple[int, ...]) -> npt.NDArray[np.bool_] | None:
        """The entries of factor 0."""
        return np.broadcast_to(self.factors.array == 0, shape)

    def allowed(self, w: Tensor) -> Tensor:
        """The nearest weight that a constraint in the penalty allows."""
        return self.penalty.allowed(w)

    def get_config(self) -> dict[str, Any]:
        """The penalty, serialised, and the factors in base64."""
        penalty = keras.saving.serialize_keras_object(self.penalty)
        return {"penalty": penalty, "factors": self.factors.get_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Penalty:
        """Makes a penalty from `get_config`."""
        if isinstance(config, Mapping) and isinstance(config.get("penalty"), Mapping):
            penalty = keras.saving.deserialize_keras_object(config["penalty"])
            config = {**config, "penalty": penalty}
        return super().from_config(config)

    def _check_shape(self, shape: Sequence[int | None], where: str = "") -> None:
        own = self.factors.array.shape
        pairs = zip(own[::-1], shape[::-1], strict=False)
        if len(own) > len(shape) or any(f not in (1, n) and n is not None for f, n in pairs):
            expected = f"an array whose shape broadcasts to {tuple(shape)}"
            raise invalid_value("factors", expected, self.factors, where)

    def _factors_for(self, w: Tensor) -> Tensor:
        self._check_shape(w.shape)
        return ops.convert_to_tensor(self.factors.array, dtype=w.dtype)

    def _value(self, w: Tensor) -> Tensor:
        terms = self._factors_for(w) * self.penalty._terms(w)
        return ops.sum(accurate_sum(ops.reshape(terms, (-1,)), 0))

    def _prox(self, w: Tensor, step: Tensor) -> Tensor:
        return self.penalty._prox(w, ops.broadcast_to(step * self._factors_for(w), ops.shape(w)))

    def _residual(self, w: Tensor, grad: Tensor) -> Tensor:
        # Where it is not 0, the subdifferential has the factor.
        factors = self._factors_for(w)
        acts = factors > 0
        safe = ops.where(acts, factors, 1.0)
        return ops.where(acts, safe * self.penalty._residual(w, grad / safe), grad)

    def _dual_norm(self, grad: Tensor) -> Tensor:
        # What has the factor 0 is free, and nobody asks for a strength at which it would be zero.
        factors = self._factors_for(grad)
        acts = factors > 0
        return self.penalty.dual_norm(
            ops.where(acts, grad / ops.where(acts, factors, 1.0), ops.zeros_like(grad))
        )
