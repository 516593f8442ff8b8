"""What all layers that drop something at random share."""

from __future__ import annotations

from typing import Any, ClassVar

import keras

from kerasreg._checks import check_integer, is_number
from kerasreg._tensors import Tensor
from kerasreg.masks import MaskSeed


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
        if seed is not None:
            check_integer("seed", seed)
        self.seed = seed
        self.seed_generator = MaskSeed(seed)
        self._rate = 0.0
        self._set_rate(rate)
        self._has_live_rate = False
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
            Whether that makes a difference, so that earlier compiled steps cannot be used.
        """
        differs = not self._has_live_rate and self._rate == 0
        self._has_live_rate = True
        return differs

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Drops in training."""
        if self._rate == 0 and not self._has_live_rate:
            return inputs
        return self._drop(inputs) if training else self._infer(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "rate": self._rate, "seed": self.seed}

    def _drop(self, inputs: Tensor) -> Tensor:
        raise NotImplementedError

    def _infer(self, inputs: Tensor) -> Tensor:
        return inputs

    def _set_rate(self, rate: float) -> None:
        self.seed_generator.set_rate(self._check_rate(rate))
        self._rate = rate

    def _check_rate(self, rate: Any) -> float:
        if not is_number(rate) or not 0 <= rate <= 1:
            raise invalid_argument("rate", "a float value between 0 and 1", f"rate={rate!r}")
        if rate == 1 and not self.includes_rate_one:
            raise invalid_argument("rate", "a float value below 1", f"rate={rate!r}")
        return float(rate)


def invalid_argument(argument: str, expected: str, received: str) -> ValueError:
    """The error for an argument in the words of Keras's layers, which users' tests match on."""
    return ValueError(
        f"Invalid value received for argument `{argument}`. "
        f"Expected {expected}. Received: {received}"
    )
