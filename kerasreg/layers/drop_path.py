"""Stochastic depth."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg._checks import check_bool
from kerasreg._tensors import Tensor
from kerasreg.layers.base_dropout import BaseDropout
from kerasreg.layers.masks import drawing


@keras.saving.register_keras_serializable("kerasreg")
class DropPath(BaseDropout):
    """Drops all of a sample in training, for the branch of a residual block.

    `y = x * m / p` with one 0/1 mask `m` for each sample, kept with probability `p = 1 - rate`:
    in `x + DropPath(rate)(block(x))` the block is left out for some of the samples. Without
    `scale_by_keep` it is `y = x * m`.

    Source: Huang et al., Deep Networks with Stochastic Depth, 2016; per sample, as in Larsson et
    al., FractalNet, 2017.

    Args:
        rate: Fraction of the samples to drop, in [0, 1].
        scale_by_keep: Whether to divide what is kept by `p`, so that the expectation in training
            is the output in inference.
        seed: Integer seed.
        **kwargs: `name`, `dtype` and the other arguments of every Keras layer.

    Call arguments:
        inputs: Tensor of any shape, samples first.
        training: Whether to drop.

    Returns:
        A tensor of the shape and dtype of `inputs`.

    Raises:
        ValueError: If an argument is invalid.

    Example:
    >>> y = kerasreg.DropPath(0.2)(np.ones((2, 3)), training=True)
    """

    def __init__(
        self,
        rate: float,
        scale_by_keep: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(rate, seed=seed, **kwargs)
        self.scale_by_keep = check_bool("scale_by_keep", scale_by_keep)
        self.input_spec = keras.layers.InputSpec(min_ndim=1)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "scale_by_keep": self.scale_by_keep}

    def _drop(self, inputs: Tensor) -> Tensor:
        noise_shape = (None,) + (1,) * (len(inputs.shape) - 1)
        state = self.seed_generator.next()
        return drawing.drop(inputs, state, noise_shape, self.scale_by_keep)
