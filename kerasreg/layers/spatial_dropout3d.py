"""Dropout of whole feature maps of volumes."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg.layers.base_spatial_dropout import BaseSpatialDropout, check_data_format


@keras.saving.register_keras_serializable("kerasreg")
class SpatialDropout3D(BaseSpatialDropout):
    """Drops whole 3D feature maps in training: drop-in for `keras.layers.SpatialDropout3D`.

    `y = x * m / p` with one 0/1 mask `m` for each sample and channel, kept with probability
    `p = 1 - rate`. Neighbouring positions of a feature map are alike, so that
    dropping them one by one would hardly take away any information.

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

    def __init__(
        self, rate: float, data_format: str | None = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(rate, 3, check_data_format(data_format), seed, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "data_format": self.data_format}
