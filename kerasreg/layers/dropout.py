"""Dropout of units."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg import masks
from kerasreg._checks import check_choice
from kerasreg._tensors import Tensor
from kerasreg.layers.base_dropout import BaseDropout
from kerasreg.layers.noise_shape import check_fits, check_noise_shape

SCALINGS = ("training", "inference")


@keras.saving.register_keras_serializable("kerasreg")
class Dropout(BaseDropout):
    """Sets a random part of its input to zero in training: drop-in for `keras.layers.Dropout`.

    Each unit is kept with probability `p = 1 - rate`; `m` is the 0/1 mask.

    | `scaling` | training | inference |
    |---|---|---|
    | `"training"` (inverted dropout, the default) | `x * m / p` | `x` |
    | `"inference"` (the classical form) | `x * m` | `p * x` |

    In both, the expectation over the masks in training is the output in inference. Some notes
    print the classical inference factor as `1 / p`; that is off by `p^2` and does not preserve
    the expectation. Masking weights instead of units is another technique, DropConnect (Wan et
    al. 2013).

    Source: Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting,
    2014; the inverted form is that of all current frameworks.

    Args:
        rate: Fraction of the units to drop, in [0, 1]. A rate of 1 gives zeros.
        noise_shape: Shape of the mask, which is broadcast to the input: one entry for each axis,
            each 1, the input's size, or `None` for the input's size. `(None, 1, None)` drops
            the same features at all time steps.
        seed: Integer seed. Layers with the same one draw the same masks.
        scaling: `"training"` or `"inference"`: where the scaling by `p` takes place.
        **kwargs: `name`, `dtype` and the other arguments of every Keras layer.

    Call arguments:
        inputs: Tensor of any shape.
        training: Whether to drop.

    Returns:
        A tensor of the shape and dtype of `inputs`.

    Raises:
        ValueError: If an argument is invalid, or `noise_shape` does not fit the input.

    Example:
    >>> y = kerasreg.Dropout(0.5)(np.ones((2, 3)), training=True)
    """

    def __init__(
        self,
        rate: float,
        noise_shape: tuple[int | None, ...] | None = None,
        seed: int | None = None,
        scaling: str = "training",
        **kwargs: Any,
    ) -> None:
        super().__init__(rate, seed=seed, **kwargs)
        self.noise_shape = check_noise_shape(noise_shape)
        self.scaling = check_choice("scaling", scaling, SCALINGS)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the input; raises if `noise_shape` does not fit it."""
        check_fits(self, input_shape)
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        config = {"noise_shape": self.noise_shape, "scaling": self.scaling}
        return {**super().get_config(), **config}

    def _drop(self, inputs: Tensor) -> Tensor:
        check_fits(self, inputs.shape)
        state = self.seed_generator.next()
        return masks.drop(inputs, state, self.noise_shape, self.scaling == "training")

    def _infer(self, inputs: Tensor) -> Tensor:
        if self.scaling == "training":
            return inputs
        return masks.expectation(inputs, self.seed_generator.state)
