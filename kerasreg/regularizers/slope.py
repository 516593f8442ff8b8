"""The sorted lasso."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from keras import ops

from kerasreg._checks import invalid_value
from kerasreg._tensors import Tensor, accurate_sum, magnitude
from kerasreg.regularizers.base import Penalty, register_penalty
from kerasreg.regularizers.frozen_array import FrozenArray
from kerasreg.regularizers.isotonic import nearest_falling


@register_penalty
@dataclass(frozen=True)
class SLOPE(Penalty):
    """The sorted lasso: `sum_i alphas_i * |w|_(i)`, the largest weight times the first, and so on.

    Large weights are penalised most, as in the step-up procedure that controls the rate of false
    discoveries; weights of correlated inputs become equal. With equal `alphas` it is the lasso.

    Its proximal operator is known for one step size for all weights: `Proximal` takes it around
    SGD, whose step is one number. In the metric of other optimizers, with a step for each weight,
    the order of the weights after it is not that before it, and there is no such formula.

    Source: Bogdan, van den Berg, Sabatti, Su & Candes, SLOPE: Adaptive Variable Selection via
    Convex Optimization, 2015.

    Args:
        alphas: As many non-negative numbers as the weight has entries, none greater than the one
            before it. They are saved with the penalty; the first, the largest, is the strength.

    Raises:
        ValueError: If `alphas` is invalid, or later if it has another length than a weight.

    Example:
    >>> kerasreg.SLOPE(np.linspace(0.1, 0.01, 10))
    SLOPE(alphas=<(10,), 0.01 to 0.1, ...>)
    """

    formula: ClassVar[str] = "sum_i alphas_i |w|_(i), where |w|_(1) is the largest"
    scalar_metric_only: ClassVar[bool] = True

    alphas: Any

    def __post_init__(self) -> None:
        """Validates the numbers."""
        if not isinstance(self.alphas, FrozenArray):
            object.__setattr__(self, "alphas", FrozenArray(self.alphas, "alphas"))
        array = self.alphas.array
        if array.ndim != 1 or np.any(np.diff(array) > 0):
            expected = "a vector of numbers of which none is greater than the one before it"
            raise invalid_value("alphas", expected, self.alphas)

    @property
    def main_strength(self) -> float:
        """The largest of the numbers."""
        return float(self.alphas.array[0])

    def check_weight(self, variable: Any) -> None:
        """Raises if the weight has not as many entries as there are numbers."""
        self._check_shape(variable.shape, f" of SLOPE on weight `{variable.path}`")

    def get_config(self) -> dict[str, Any]:
        """The numbers in base64."""
        return {"alphas": self.alphas.get_config()}

    def _check_shape(self, shape: Sequence[int | None], where: str = "") -> None:
        if None in shape or math.prod(shape) != self.alphas.array.size:  # type: ignore[arg-type]
            expected = f"as many numbers as a weight of shape {tuple(shape)} has entries"
            raise invalid_value("alphas", expected, self.alphas, where)

    def _alphas_for(self, w: Tensor) -> Tensor:
        self._check_shape(w.shape)
        return ops.convert_to_tensor(self.alphas.array, dtype=w.dtype)

    def _value(self, w: Tensor) -> Tensor:
        alphas = self._alphas_for(w)
        rising = ops.sort(ops.reshape(magnitude(w), (-1,)))
        return ops.sum(accurate_sum(ops.flip(alphas) * rising, 0))

    def _prox(self, w: Tensor, step: Tensor) -> Tensor:
        if len(step.shape) > 0:
            expected = "a scalar for SLOPE, which has no formula for a step of each weight"
            raise invalid_value("step", expected, tuple(step.shape))
        alphas, size = self._alphas_for(w), ops.reshape(ops.abs(w), (-1,))
        order = ops.argsort(-size)
        falling = nearest_falling(ops.take(size, order) - step * alphas, _one_run(size))
        shrunk = ops.take(ops.maximum(falling, 0.0), ops.argsort(order))
        # Sums of blocks round, but a step of 0 moves nothing.
        return ops.where(step == 0, w, ops.sign(w) * ops.reshape(shrunk, w.shape))

    def _residual(self, w: Tensor, grad: Tensor) -> Tensor:
        """Weights of one size share their numbers, in any order; those at zero, at most them."""
        alphas, size = self._alphas_for(w), ops.reshape(ops.abs(w), (-1,))
        sign = ops.reshape(ops.where(w == 0, ops.sign(grad), -ops.sign(w)), (-1,))
        push = sign * ops.reshape(grad, (-1,))
        order = ops.argsort(-push)
        order = ops.take(order, ops.argsort(-ops.take(size, order)))  # stable
        size, push = ops.take(size, order), ops.take(push, order)
        other = size != ops.roll(size, 1)
        excess = nearest_falling(push - alphas, ops.logical_or(other, _one_run(size)))
        excess = ops.where(size == 0, ops.maximum(excess, 0.0), excess)
        return ops.reshape(sign * ops.take(excess, ops.argsort(order)), w.shape)

    def _dual_norm(self, grad: Tensor) -> Tensor:
        alphas = self._alphas_for(grad)
        size = ops.flip(ops.sort(ops.reshape(ops.abs(grad), (-1,))))
        sums, limits = ops.cumsum(size), ops.cumsum(alphas)
        return ops.max(ops.where(sums > 0, sums / limits, 0.0))


def _one_run(x: Tensor) -> Tensor:
    return ops.arange(ops.shape(x)[0]) == 0
