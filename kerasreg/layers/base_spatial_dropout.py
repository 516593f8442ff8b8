"""What the layers that drop whole feature maps share."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg import masks
from kerasreg._checks import check_choice
from kerasreg._tensors import Tensor
from kerasreg.layers.base_dropout import BaseDropout

DATA_FORMATS = ("channels_last", "channels_first")


def check_data_format(data_format: str | None) -> str:
    """Returns `data_format`, or Keras's default for `None`, or raises."""
    if data_format is None:
        return str(keras.config.image_data_format())
    return check_choice("data_format", data_format, DATA_FORMATS)


class BaseSpatialDropout(BaseDropout):
    """Drops whole feature maps, the same ones at every position; see its subclasses.

    Args:
        rate: Fraction of the feature maps to drop, in [0, 1].
        rank: Number of spatial axes.
        data_format: `"channels_last"` or `"channels_first"`.
        seed: Integer seed.
        **kwargs: `name`, `dtype` and the other arguments of every Keras layer.
    """

    def __init__(
        self, rate: float, rank: int, data_format: str, seed: int | None, **kwargs: Any
    ) -> None:
        super().__init__(rate, seed=seed, **kwargs)
        self.data_format = data_format
        self.input_spec = keras.layers.InputSpec(ndim=rank + 2)

    def _drop(self, inputs: Tensor) -> Tensor:
        ones = (1,) * (len(inputs.shape) - 2)
        last = self.data_format == "channels_last"
        noise_shape = (None, *ones, None) if last else (None, None, *ones)
        return masks.drop(inputs, self.seed_generator.next(), noise_shape)
