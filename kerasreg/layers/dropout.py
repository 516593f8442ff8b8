"""Dropout of units."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasreg._checks import check_choice, check_integer, is_number
from kerasreg._tensors import Tensor

SCALINGS = ("training", "inference")


@keras.saving.register_keras_serializable("kerasreg")
class Dropout(keras.layers.Layer):  # type: ignore[misc]
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
        seed: Integer seed.
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
        super().__init__(**kwargs)
        if not is_number(rate) or not 0 <= rate <= 1:
            raise _invalid("rate", "a float value between 0 and 1", f"rate={rate!r}")
        self.rate = rate
        self.noise_shape = _check_noise_shape(noise_shape)
        if seed is not None:
            check_integer("seed", seed)
        self.seed = seed
        self.scaling = check_choice("scaling", scaling, SCALINGS)
        # Also at rate 0, so that `layer.rate = 0.5` works later; Keras's layer fails there.
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True
        # Nothing to build, unless a subclass has.
        self.built = type(self).build is keras.layers.Layer.build

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Drops units in training; scales as `scaling` says."""
        if self.rate == 0:
            return inputs
        keep = 1.0 - self.rate
        if not training:
            if self.scaling == "training":
                return inputs
            return inputs * keep if keep > 0 else ops.zeros_like(inputs)
        self._check_fits(inputs.shape)
        scaled = inputs / keep if self.scaling == "training" and keep > 0 else inputs
        return ops.where(self._mask(inputs), scaled, ops.zeros_like(inputs))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the input; raises if `noise_shape` does not fit it."""
        self._check_fits(input_shape)
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        config = {
            "rate": self.rate,
            "noise_shape": self.noise_shape,
            "seed": self.seed,
            "scaling": self.scaling,
        }
        return {**super().get_config(), **config}

    def _mask(self, inputs: Tensor) -> Tensor:
        """Which units to keep; the same as those of `keras.layers.Dropout` for the same seed."""
        if self.rate == 1:  # which not every backend's dropout takes
            return ops.zeros_like(inputs, dtype="bool")
        # In float32 for every policy: float16 has too few values between 0 and 1.
        ones = ops.ones_like(inputs, dtype="float32")
        drawn = keras.random.dropout(ones, self.rate, self.noise_shape, self.seed_generator)
        return ops.stop_gradient(drawn) > 0

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
            raise _invalid(
                "noise_shape",
                f"one entry for each axis of the input of layer '{self.name}', each None, 1 or "
                f"the input's size, for the input shape {shape}",
                f"noise_shape={self.noise_shape}",
            )


def _invalid(argument: str, expected: str, received: str) -> ValueError:
    # The words of `keras.layers.Dropout`, which its users' tests match on.
    return ValueError(
        f"Invalid value received for argument `{argument}`. "
        f"Expected {expected}. Received: {received}"
    )


def _check_noise_shape(noise_shape: Any) -> tuple[int | None, ...] | None:
    if noise_shape is None:
        return None
    if isinstance(noise_shape, str):
        raise _invalid("noise_shape", "a tuple or list of integers", f"noise_shape={noise_shape!r}")
    try:
        sizes: tuple[int | None, ...] = tuple(noise_shape)
    except TypeError:
        raise _invalid(
            "noise_shape",
            "an iterable of integers (e.g., a tuple or list)",
            f"noise_shape={noise_shape!r}",
        ) from None
    for index, size in enumerate(sizes):
        if size is not None and (not isinstance(size, int) or isinstance(size, bool)):
            raise _invalid(
                "noise_shape",
                "all elements to be integers or None",
                f"element at index {index}: {size!r}",
            ) from None
        if size is not None and size <= 0:
            raise ValueError(
                "Invalid value received for argument `noise_shape`. Expected all dimensions to be "
                "positive integers or None. "
                f"Received negative or zero value at index {index}: {size}"
            )
    return sizes
