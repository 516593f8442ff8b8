"""What multiplies the strength of penalties in the loss while a model trains."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import keras

from kerasreg._tensors import Tensor, cast_like


class StrengthScale:
    """A number that multiplies the strength of penalties, and that compiled steps read anew.

    It is no weight: nothing saves or loads it.

    Args:
        weights: The weights whose penalties it scales; at least one.
        name: Name of its variable.

    Attributes:
        value: The number now, to read in a callback: on JAX the training step borrows `state`'s.
        state: The variable that the compiled steps read.
        models: The models whose steps have been compiled since the weights have it.
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
        """The weights whose penalties it still scales."""
        left = [weight for given in self._given if (weight := given()) is not None]
        return [w for w in left if getattr(w.regularizer, "strength_scale", None) is self]

    def assign(self, value: float) -> None:
        """Changes the number from the next training step on."""
        self.value = value
        self.state.assign(value)

    def like(self, x: Tensor) -> Tensor:
        """The number as a tensor of the dtype of `x`."""
        return cast_like(self.state.value, x)
