"""Masks and noise for a tensor, in as few passes over the memory as the backend allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import keras
from keras import ops

from kerasreg._tensors import Tensor, to_accumulator
from kerasreg.layers.masks import torch_words
from kerasreg.layers.masks.counter_hash import SIGN, constant, hashed_words, word
from kerasreg.layers.masks.fusion import compiled_mask

NoiseShape: TypeAlias = tuple[int | None, ...] | None

_IS_TORCH = keras.backend.backend() == "torch"


def keep_probability(state: Tensor, like: Tensor | None = None) -> Tensor:
    """The probability with which the masks of a state keep an element.

    A scalar of float32, or of float64 if `like` is; then to all its digits, which the words that a
    mask compares do not have.
    """
    dtype = "float32" if like is None else keras.backend.standardize_dtype(like.dtype)
    _, _, dropping, more, *_ = ops.unstack(ops.convert_to_tensor(state))
    keeping = _signed(constant(0) - word(dropping), dtype)
    keeping = ops.where(keeping > 0, keeping, keeping + 2.0**32)
    # At a rate of 1 the state still keeps one word: 2^32 that drop do not fit into 32 bits.
    some = keeping > 1
    if dtype == "float64":
        keeping = keeping - _signed(word(more), dtype) * 2.0**-32
    return ops.where(some, keeping * 2.0**-32, 0.0)


def _signed(words: Tensor, dtype: str) -> Tensor:
    return ops.cast(ops.cast(words, "int32"), dtype)


def random_words(state: Tensor, shape: Sequence[Any]) -> Tensor:
    """Independent uniform int32 words, of the hash wherever that is fast."""
    if _IS_TORCH:
        return torch_words.random_words(state, shape)
    return hashed_words(state, shape)


def keep_mask(state: Tensor, shape: Sequence[Any]) -> Tensor:
    """A boolean tensor, each element of it `True` with the state's probability.

    Fast inside a function that is `compiled`; in a TensorFlow graph slow without.
    """
    dropping = ops.unstack(state)[2]
    threshold = ops.cast(ops.bitwise_xor(word(dropping), constant(SIGN)), "int32")
    return random_words(state, shape) >= threshold


def drop(x: Tensor, state: Tensor, noise_shape: NoiseShape = None, rescale: bool = True) -> Tensor:
    """Sets elements to zero, `x * m / p` or, without rescaling, `x * m`.

    Args:
        x: Tensor of floats.
        state: The state of a `MaskSeed`; no two masks should have the same.
        noise_shape: Shape of the mask `m`, broadcast to `x`; `None` in it means the size of `x`.
        rescale: Whether to divide by the probability `p` of keeping an element.
    """
    if _IS_TORCH and noise_shape is None and torch_words.divides(x):
        return torch_words.drop(x, state, rescale)
    return _drop(x, state, noise_shape, rescale)


@compiled_mask
def _drop(x: Tensor, state: Tensor, noise_shape: NoiseShape, rescale: bool) -> Tensor:
    keep = keep_probability(state, to_accumulator(x))
    kept = scaled(x, inverse_or_zero(keep)) if rescale else x
    return ops.where(keep_mask(state, mask_shape(x, noise_shape)), kept, ops.zeros_like(x))


def mask_shape(x: Tensor, noise_shape: NoiseShape) -> tuple[Any, ...]:
    """The shape of a mask for `x`: in a TensorFlow graph some sizes may be tensors."""
    shape = ops.shape(x)
    if noise_shape is None:
        return tuple(shape)
    missing = (1,) * (len(shape) - len(noise_shape))
    sizes = zip((*missing, *noise_shape), shape, strict=True)
    return tuple(size if noise is None else noise for noise, size in sizes)


@compiled_mask
def multiply_by_noise(x: Tensor, state: Tensor) -> Tensor:
    """`x * (1 + s * z)` with normal `z` and `s = sqrt(rate / (1 - rate))`."""
    keep = keep_probability(state, to_accumulator(x))
    deviation = ops.sqrt((1.0 - keep) / keep)
    noise = ops.cast(standard_normal(state, ops.shape(x)), deviation.dtype)
    return scaled(x, 1.0 + deviation * noise)


def uniform(state: Tensor, shape: Sequence[Any]) -> Tensor:
    """Independent numbers of at least 0 and below 1, float32, the fine steps near 0 included."""
    words = random_words(state, shape)
    low = ops.bitwise_and(words, 0xFFFF)
    high = ops.bitwise_and(ops.right_shift(words, 16), 0xFFFF)
    numbers = ops.cast(high, "float32") * 2.0**-16 + ops.cast(low, "float32") * 2.0**-32
    return ops.minimum(numbers, 1.0 - 2.0**-24)


def standard_normal(state: Tensor, shape: Sequence[Any]) -> Tensor:
    """Independent standard normal numbers, float32, by the inverse of the distribution."""
    symmetric = (ops.cast(random_words(state, shape), "float32") + 0.5) * 2.0**-31
    # The outermost words round to 1, where the inverse is infinite. In TensorFlow without XLA it is
    # infinite at 1 - 2^-24 already, as that computes it from half of 1 + x.
    largest = 1.0 - 2.0**-23
    return 2.0**0.5 * ops.erfinv(ops.clip(symmetric, -largest, largest))


def expectation(x: Tensor, state: Tensor) -> Tensor:
    """The expectation of `drop` without rescaling, `p * x`."""
    keep = keep_probability(state, to_accumulator(x))
    return ops.where(keep > 0, scaled(x, keep), ops.zeros_like(x))


def scaled(x: Tensor, factor: Tensor) -> Tensor:
    """`x * factor`, in float32 at least: the factor itself would lose three digits in bfloat16."""
    return ops.cast(ops.multiply(to_accumulator(x), factor), x.dtype)


def inverse_or_zero(share: Tensor) -> Tensor:
    """The factor that makes up for keeping no more than this share; zero where it is zero."""
    return ops.where(share > 0, 1.0 / ops.where(share > 0, share, 1.0), 0.0)
