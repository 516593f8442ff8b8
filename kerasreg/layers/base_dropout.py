"""What all layers that drop something at random share."""

from __future__ import annotations

from typing import Any, ClassVar

import keras

from kerasreg._checks import check_integer, invalid_value, is_number
from kerasreg._tensors import Tensor
from kerasreg.layers.masks.seed import MaskSeed


class BaseDropout(keras.layers.Layer):  # type: ignore[misc]
    """A layer with a rate that may change at any time, and a seed; see its subclasses.

    A subclass says what happens in training, in `_drop`, and may say what in inference,
    in `_infer`.

    Args:
        rate: Fraction to drop, in [0, 1].
        seed: Integer seed.
        **kwargs: `name`, `dtype` and the other arguments of every Keras layer.
    """

    includes_rate_one: ClassVar[bool] = True

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = None if seed is None else check_integer("seed", seed)
        self.seed_generator = MaskSeed(self.seed)
        self._rate = 0.0
        self._set_rate(rate)
        self._has_live_rate = self._was_identity = False
        self.supports_masking = True
        # Nothing to build, unless a subclass has.
        self.built = type(self).build is keras.layers.Layer.build

    @property
    def rate(self) -> float:
        """The fraction to drop; a new value acts from the next mask on, in compiled steps too.

        Only a layer that was compiled at rate 0, where it draws no masks, needs `compile` once
        more; `DropoutRateScheduler` sees to that.
        """
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        self._set_rate(rate)
        self._has_live_rate = True

    def allow_changes(self) -> bool:
        """Lets the rate change from 0 in what is compiled from now on.

        Returns:
            Whether there may be steps, compiled before, in which it cannot.
        """
        self._has_live_rate = True
        return self._was_identity

    def accepts(self, rate: float) -> bool:
        """Whether this layer can have a rate between 0 and 1; not all of them can have 1."""
        # Nearer to 1 the masks cannot tell it from 1.
        return self.includes_rate_one or rate <= 1 - 2**-31

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Drops in training."""
        if self._is_identity():
            return inputs
        if not training:
            return self._infer(inputs)
        if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(inputs.dtype)):
            where = f" of layer '{self.name}'"
            raise invalid_value("inputs", "a tensor of floats", inputs.dtype, where)
        return self._drop(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "rate": self._rate, "seed": self.seed}

    def _is_identity(self) -> bool:
        """Whether to leave out the masks for good, as the rate is 0 and nobody has changed it."""
        identity = self._rate == 0 and not self._has_live_rate
        if identity and not self._was_identity:
            self._was_identity = True
        return identity

    def _drop(self, inputs: Tensor) -> Tensor:
        raise NotImplementedError

    def _infer(self, inputs: Tensor) -> Tensor:
        return inputs

    def _set_rate(self, rate: float) -> None:
        if not is_number(rate) or not 0 <= rate <= 1:
            raise invalid_argument("rate", "a float value between 0 and 1", f"rate={rate!r}")
        if not self.accepts(rate):
            raise invalid_argument("rate", "a float value below 1", f"rate={rate!r}")
        self.seed_generator.set_rate(float(rate))
        self._rate = float(rate)


def invalid_argument(argument: str, expected: str, received: str) -> ValueError:
    """The error for an argument in the words of Keras's layers, which users' tests match on."""
    return ValueError(
        f"Invalid value received for argument `{argument}`. "
        f"Expected {expected}. Received: {received}"
    )
