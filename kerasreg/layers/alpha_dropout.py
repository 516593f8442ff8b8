"""Dropout for self-normalising networks."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasreg import masks
from kerasreg._tensors import Tensor, to_accumulator
from kerasreg.layers.base_dropout import BaseDropout
from kerasreg.layers.noise_shape import check_fits, check_noise_shape

# What SELU tends to on the far left: minus the product of its two constants.
SATURATION = -1.6732632423543772 * 1.0507009873554805


@keras.saving.register_keras_serializable("kerasreg")
class AlphaDropout(BaseDropout):
    """Dropout that keeps mean and variance after SELU: drop-in for `keras.layers.AlphaDropout`.

    `y = a * (x if m else s) + b`, where `s` is SELU's value at minus infinity, and `a` and `b`
    restore mean 0 and variance 1.

    Source: Klambauer et al., Self-Normalizing Neural Networks, 2017.

    Args:
        rate: Fraction of the units to set to `s`, in [0, 1).
        noise_shape: Shape of the mask, which is broadcast to the input, as in `Dropout`.
        seed: Integer seed.
        **kwargs: `name`, `dtype` and the other arguments of every Keras layer.

    Call arguments:
        inputs: Tensor of any shape.
        training: Whether to drop.

    Returns:
        A tensor of the shape and dtype of `inputs`.

    Raises:
        ValueError: If an argument is invalid, or `noise_shape` does not fit the input.

    Example:
    >>> y = kerasreg.AlphaDropout(0.1)(np.ones((2, 3)), training=True)
    """

    includes_rate_one = False

    def __init__(
        self,
        rate: float,
        noise_shape: tuple[int | None, ...] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(rate, seed=seed, **kwargs)
        self.noise_shape = check_noise_shape(noise_shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the input; raises if `noise_shape` does not fit it."""
        check_fits(self, input_shape)
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "noise_shape": self.noise_shape}

    def _drop(self, inputs: Tensor) -> Tensor:
        check_fits(self, inputs.shape)
        return _drop(inputs, self.seed_generator.next(), self.noise_shape)


@masks.compiled
def _drop(x: Tensor, state: Tensor, noise_shape: masks.NoiseShape) -> Tensor:
    keep = masks.keep_probability(state)
    a = 1.0 / ops.sqrt(keep * (1.0 + (1.0 - keep) * SATURATION**2))
    b = -a * SATURATION * (1.0 - keep)
    mask = masks.keep_mask(state, masks.mask_shape(x, noise_shape))
    kept = ops.cast(ops.add(ops.multiply(to_accumulator(x), a), b), x.dtype)
    return ops.where(mask, kept, ops.cast(a * SATURATION + b, x.dtype))
