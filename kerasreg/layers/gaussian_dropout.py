"""Multiplicative Gaussian noise."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg import masks
from kerasreg._tensors import Tensor
from kerasreg.layers.base_dropout import BaseDropout


@keras.saving.register_keras_serializable("kerasreg")
class GaussianDropout(BaseDropout):
    """Multiplies by Gaussian noise in training: drop-in for `keras.layers.GaussianDropout`.

    `y = x * (1 + s * z)` with standard normal `z` and `s = sqrt(rate / (1 - rate))`: the mean and
    the variance of dropout with that rate, without its zeros.

    Source: Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting,
    2014, section 10.

    Args:
        rate: The rate of the dropout whose variance the noise has, in [0, 1).
        seed: Integer seed.
        **kwargs: `name`, `dtype` and the other arguments of every Keras layer.

    Call arguments:
        inputs: Tensor of any shape.
        training: Whether to add noise.

    Returns:
        A tensor of the shape and dtype of `inputs`.

    Raises:
        ValueError: If an argument is invalid.

    Example:
    >>> y = kerasreg.GaussianDropout(0.5)(np.ones((2, 3)), training=True)
    """

    includes_rate_one = False

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(rate, seed=seed, **kwargs)

    def _drop(self, inputs: Tensor) -> Tensor:
        return masks.multiply_by_noise(inputs, self.seed_generator.next())
