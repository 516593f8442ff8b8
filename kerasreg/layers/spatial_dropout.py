"""Dropout of whole feature maps, of one, two or three spatial axes."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, TypeAlias, cast

import keras

from kerasreg._checks import check_choice
from kerasreg._tensors import Tensor
from kerasreg.layers.base_dropout import BaseDropout
from kerasreg.layers.masks import drawing

DataFormat: TypeAlias = Literal["channels_last", "channels_first"]


def check_data_format(data_format: DataFormat | None) -> DataFormat:
    """Returns `data_format`, or Keras's default for `None`, or raises."""
    if data_format is None:
        return cast(DataFormat, keras.config.image_data_format())
    checked: DataFormat = check_choice("data_format", data_format, DataFormat)
    return checked


class BaseSpatialDropout(BaseDropout):
    """Drops whole feature maps, the same ones at every position; see its subclasses.

    Args:
        rate: Fraction of the feature maps to drop, in [0, 1].
        data_format: `"channels_last"` or `"channels_first"`; by default that of Keras's
            configuration.
        seed: Integer seed.
        **kwargs: `name`, `dtype` and the other arguments of every Keras layer.
    """

    rank: ClassVar[int]
    """Number of spatial axes."""

    def __init__(
        self,
        rate: float,
        data_format: DataFormat | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(rate, seed=seed, **kwargs)
        self.data_format = check_data_format(data_format)
        self.input_spec = keras.layers.InputSpec(ndim=self.rank + 2)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "data_format": self.data_format}

    def _drop(self, inputs: Tensor) -> Tensor:
        ones = (1,) * self.rank
        last = self.data_format == "channels_last"
        noise_shape = (None, *ones, None) if last else (None, None, *ones)
        return drawing.drop(inputs, self.seed_generator.next(), noise_shape)


@keras.saving.register_keras_serializable("kerasreg")
class SpatialDropout1D(BaseSpatialDropout):
    """Drops whole 1D feature maps in training: drop-in for `keras.layers.SpatialDropout1D`.

    `y = x * m / p` with one 0/1 mask `m` for each sample and channel, kept with probability
    `p = 1 - rate`. Neighbouring positions of a feature map are alike, so that dropping them one by
    one would hardly take away any information.

    Source: Tompson et al., Efficient Object Localization Using Convolutional Networks, 2015.

    Args:
        rate: Fraction of the feature maps to drop, in [0, 1].
        seed: Integer seed.
        **kwargs: `name`, `dtype` and the other arguments of every Keras layer.

    Call arguments:
        inputs: Tensor of shape `(samples, steps, channels)`.
        training: Whether to drop.

    Returns:
        A tensor of the shape and dtype of `inputs`.

    Raises:
        ValueError: If an argument is invalid.

    Example:
    >>> y = kerasreg.SpatialDropout1D(0.5)(np.ones((2, 3, 4)), training=True)
    """

    rank = 1

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(rate, "channels_last", seed, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        config = super().get_config()
        del config["data_format"]
        return config


@keras.saving.register_keras_serializable("kerasreg")
class SpatialDropout2D(BaseSpatialDropout):
    """Drops whole 2D feature maps in training: drop-in for `keras.layers.SpatialDropout2D`.

    `y = x * m / p` with one 0/1 mask `m` for each sample and channel, kept with probability
    `p = 1 - rate`. Neighbouring positions of a feature map are alike, so that dropping them one by
    one would hardly take away any information.

    Source: Tompson et al., Efficient Object Localization Using Convolutional Networks, 2015.

    Args:
        rate: Fraction of the feature maps to drop, in [0, 1].
        data_format: `"channels_last"` or `"channels_first"`; by default that of Keras's
            configuration.
        seed: Integer seed.
        **kwargs: `name`, `dtype` and the other arguments of every Keras layer.

    Call arguments:
        inputs: Tensor of shape `(samples, rows, columns, channels)` or, with channels first,
            `(samples, channels, rows, columns)`.
        training: Whether to drop.

    Returns:
        A tensor of the shape and dtype of `inputs`.

    Raises:
        ValueError: If an argument is invalid.

    Example:
    >>> y = kerasreg.SpatialDropout2D(0.5)(np.ones((2, 3, 3, 4)), training=True)
    """

    rank = 2


@keras.saving.register_keras_serializable("kerasreg")
class SpatialDropout3D(BaseSpatialDropout):
    """Drops whole 3D feature maps in training: drop-in for `keras.layers.SpatialDropout3D`.

    `y = x * m / p` with one 0/1 mask `m` for each sample and channel, kept with probability
    `p = 1 - rate`. Neighbouring positions of a feature map are alike, so that dropping them one by
    one would hardly take away any information.

    Source: Tompson et al., Efficient Object Localization Using Convolutional Networks, 2015.

    Args:
        rate: Fraction of the feature maps to drop, in [0, 1].
        data_format: `"channels_last"` or `"channels_first"`; by default that of Keras's
            configuration.
        seed: Integer seed.
        **kwargs: `name`, `dtype` and the other arguments of every Keras layer.

    Call arguments:
        inputs: Tensor of shape `(samples, depth, rows, columns, channels)`,
            or with the channels after the samples.
        training: Whether to drop.

    Returns:
        A tensor of the shape and dtype of `inputs`.

    Raises:
        ValueError: If an argument is invalid.

    Example:
    >>> y = kerasreg.SpatialDropout3D(0.5)(np.ones((2, 3, 3, 3, 4)), training=True)
    """

    rank = 3
