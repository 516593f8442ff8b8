"""What scales a penalty in the loss while a model trains."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import keras

from kerasreg._tensors import Tensor, cast_like


class LiveScale:
    """A factor on the values of penalties on weights, which compiled steps read anew each time.

    It is no weight: nothing saves or loads it.

    Args:
        weights: Those that get it; at least one.
        name: Name of its variable.

    Attributes:
        value: The factor now. Read this one in a callback: on JAX the variable's is lent to the
            step.
        state: The variable that the steps read.
        models: Those whose steps have been compiled since the weights have it.
    """

    def __init__(self, weights: Iterable[Any], name: str) -> None:
        self.value = 1.0
        # float32 and not cast, whatever the policy: float16 has no 1e-8.
        self.state = keras.Variable(
            1.0, dtype="float32", trainable=False, autocast=False, name=name
        )
        self.models: weakref.WeakSet[Any] = weakref.WeakSet()
        self._given = [weakref.ref(weight) for weight in weights]

    @property
    def weights(self) -> list[Any]:
        """Those that have it still."""
        given = (weight() for weight in self._given)
        regularized = ((weight, getattr(weight, "regularizer", None)) for weight in given)
        return [
            w for w, regularizer in regularized if getattr(regularizer, "live_scale", 0) is self
        ]

    def assign(self, value: float) -> None:
        """Changes the factor from the next step on."""
        self.value = value
        self.state.assign(value)

    def factor_like(self, x: Tensor) -> Tensor:
        """The factor as a tensor of the dtype of `x`."""
        return cast_like(self.state.value, x)
