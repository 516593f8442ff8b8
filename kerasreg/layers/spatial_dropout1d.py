"""Dropout of whole feature maps along a sequence."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg.layers.base_spatial_dropout import BaseSpatialDropout


@keras.saving.register_keras_serializable("kerasreg")
class SpatialDropout1D(BaseSpatialDropout):
    """Drops whole 1D feature maps in training: drop-in for `keras.layers.SpatialDropout1D`.

    `y = x * m / p` with one 0/1 mask `m` for each sample and channel, kept with probability
    `p = 1 - rate`. Neighbouring positions of a feature map are alike, so that
    dropping them one by one would hardly take away any information.

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

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(rate, 1, "channels_last", seed, **kwargs)
