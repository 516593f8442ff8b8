"""Dropout of single units: `Dropout`, `AlphaDropout` and `GaussianDropout`.

They differ in what a dropped unit becomes: zero, what SELU tends to, or noise on the unit.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import keras
from keras import ops

from kerasreg._checks import check_choice
from kerasreg._tensors import Tensor, to_accumulator
from kerasreg.layers.base_dropout import BaseDropout, invalid_argument
from kerasreg.layers.masks import drawing, fusion

Scaling: TypeAlias = Literal["training", "inference"]


class NoiseShapeDropout(BaseDropout):
    """Dropout by a mask that is broadcast to the input; see its subclasses.

    Args:
        rate: Fraction of the units to drop, in [0, 1].
        noise_shape: Shape of the mask, as in `Dropout`.
        seed: Integer seed.
        **kwargs: `name`, `dtype` and the other arguments of every Keras layer.
    """

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
        self._check_fits(input_shape)
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "noise_shape": self.noise_shape}

    def _check_fits(self, input_shape: Any) -> None:
        if self.noise_shape is None:
            return
        shape = tuple(input_shape)
        # Without `None` a shorter one is broadcast, as everywhere; `None` counts from the left.
        missing = len(shape) - len(self.noise_shape)
        padded = (1,) * (0 if None in self.noise_shape else missing) + self.noise_shape
        fits = len(padded) == len(shape) and all(
            noise in (None, 1) or size is None or noise == size
            for noise, size in zip(padded, shape, strict=True)
        )
        if not fits:
            raise invalid_argument(
                "noise_shape",
                f"one entry for each axis of the input of layer '{self.name}', each None, 1 or "
                f"the input's size, for the input shape {shape}",
                f"noise_shape={self.noise_shape}",
            )


@keras.saving.register_keras_serializable("kerasreg")
class Dropout(NoiseShapeDropout):
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
        scaling: Scaling = "training",
        **kwargs: Any,
    ) -> None:
        super().__init__(rate, noise_shape, seed, **kwargs)
        self.scaling = check_choice("scaling", scaling, Scaling)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "scaling": self.scaling}

    def _drop(self, inputs: Tensor) -> Tensor:
        self._check_fits(inputs.shape)
        state = self.seed_generator.next()
        return drawing.drop(inputs, state, self.noise_shape, self.scaling == "training")

    def _infer(self, inputs: Tensor) -> Tensor:
        if self.scaling == "training":
            return inputs
        return drawing.expectation(inputs, self.seed_generator.state)


# What SELU tends to on the far left: minus the product of its two constants.
SATURATION = -1.6732632423543772 * 1.0507009873554805


@keras.saving.register_keras_serializable("kerasreg")
class AlphaDropout(NoiseShapeDropout):
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

    def _drop(self, inputs: Tensor) -> Tensor:
        self._check_fits(inputs.shape)
        return _drop_to_saturation(inputs, self.seed_generator.next(), self.noise_shape)


def _saturate(x: Tensor, state: Tensor, noise_shape: drawing.NoiseShape) -> Tensor:
    a, b = _scale_and_shift(x, state)
    mask = drawing.keep_mask(state, drawing.mask_shape(x, noise_shape))
    kept = ops.cast(ops.add(ops.multiply(to_accumulator(x), a), b), x.dtype)
    return ops.where(mask, kept, ops.cast(a * SATURATION + b, x.dtype))


@fusion.compiled_mask
def _slope(dy: Tensor, state: Tensor, noise_shape: drawing.NoiseShape) -> Tensor:
    a, _ = _scale_and_shift(dy, state)
    mask = drawing.keep_mask(state, drawing.mask_shape(dy, noise_shape))
    return ops.where(mask, drawing.scaled(dy, a), ops.zeros_like(dy))


_drop_to_saturation = fusion.compiled_mask(_saturate, _slope)


def _scale_and_shift(x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    keep = drawing.keep_probability(state, to_accumulator(x))
    a = 1.0 / ops.sqrt(keep * (1.0 + (1.0 - keep) * SATURATION**2))
    return a, -a * SATURATION * (1.0 - keep)


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

    def _drop(self, inputs: Tensor) -> Tensor:
        return drawing.multiply_by_noise(inputs, self.seed_generator.next())


def check_noise_shape(noise_shape: Any) -> tuple[int | None, ...] | None:
    """Returns `noise_shape` as a tuple, or raises if it cannot be one."""
    if noise_shape is None:
        return None
    if isinstance(noise_shape, str):
        raise invalid_argument(
            "noise_shape", "a tuple or list of integers", f"noise_shape={noise_shape!r}"
        )
    try:
        sizes: tuple[int | None, ...] = tuple(noise_shape)
    except TypeError:
        raise invalid_argument(
            "noise_shape",
            "an iterable of integers (e.g., a tuple or list)",
            f"noise_shape={noise_shape!r}",
        ) from None
    for index, size in enumerate(sizes):
        if size is not None and (not isinstance(size, int) or isinstance(size, bool)):
            raise invalid_argument(
                "noise_shape",
                "all elements to be integers or None",
                f"element at index {index}: {size!r}",
            )
        if size is not None and size <= 0:
            raise ValueError(
                "Invalid value received for argument `noise_shape`. Expected all dimensions to be "
                "positive integers or None. "
                f"Received negative or zero value at index {index}: {size}"
            )
    return sizes
