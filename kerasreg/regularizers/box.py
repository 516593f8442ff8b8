"""The constraint that weights lie between two bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from keras import ops

from kerasreg._checks import invalid_value, is_number
from kerasreg._tensors import Tensor
from kerasreg.regularizers.base import Penalty, register_penalty


@register_penalty
@dataclass(frozen=True)
class Box(Penalty):
    """Keeps each weight between two bounds: `lower <= w <= upper`. For `Proximal`.

    After each update a weight beyond a bound is set to the bound, which is the nearest that it
    allows in the metric of every optimizer.

    Source: Parikh & Boyd, Proximal Algorithms, 2014.

    Args:
        lower: The least that is allowed; `-float("inf")` for no bound.
        upper: The most that is allowed, not less than `lower`; `float("inf")` for no bound.

    Raises:
        ValueError: If an argument is invalid.

    Example:
    >>> non_negative = kerasreg.Box(0.0, float("inf"))
    >>> optimizer = kerasreg.Proximal(keras.optimizers.Adam(1e-3), non_negative)
    """

    formula: ClassVar[str] = "lower <= w <= upper"
    is_separable: ClassVar[bool] = True
    is_constraint: ClassVar[bool] = True
    main_strength = None

    lower: float = 0.0
    upper: float = 1.0

    def __post_init__(self) -> None:
        """Validates the bounds."""
        for name, beyond in (("lower", math.inf), ("upper", -math.inf)):
            value = getattr(self, name)
            if not is_number(value) or math.isnan(value) or value == beyond:
                raise invalid_value(name, f"a number other than {beyond}", value)
            object.__setattr__(self, name, float(value))
        if self.upper < self.lower:
            raise invalid_value("upper", f"at least the lower bound, {self.lower}", self.upper)

    @property
    def has_kink(self) -> bool:
        """Whether a bound is zero, so that it makes zeros."""
        return 0.0 in (self.lower, self.upper)

    def _value(self, w: Tensor) -> Tensor:
        """The indicator: 0 where the constraint holds, infinite where it does not."""
        holds = ops.all(ops.logical_and(w >= self.lower, w <= self.upper))
        return ops.where(holds, ops.zeros((), w.dtype), float("inf"))

    def _prox(self, w: Tensor, step: Tensor) -> Tensor:
        return ops.clip(w, self.lower, self.upper)

    def _residual(self, w: Tensor, grad: Tensor) -> Tensor:
        # At a bound a gradient that would move the weight beyond it is borne.
        inward = ops.where(w <= self.lower, ops.minimum(grad, 0.0), grad)
        return ops.where(w >= self.upper, ops.maximum(inward, 0.0), inward)
