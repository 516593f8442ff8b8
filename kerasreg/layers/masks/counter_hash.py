"""Uniform 32-bit words from a seed and the index of an element.

The hash is triple32 of Chris Wellons' hash-prospector (2018), with the seed's two keys mixed in:
three multiplications are what a plain counter needs, for with two (Murmur's finaliser among them)
neighbouring elements are correlated. Every element is computed by itself, so that a compiler
fuses the words into whatever uses them, and the backward pass can draw them again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._tensors import Tensor

FACTORS = (0xED5AD4BB, 0xAC4C1B51, 0x31848BAB)
SHIFTS = (17, 11, 15, 14)
# From the digits of pi, e and the golden ratio: any odd numbers would do.
KEY_SALTS = (0x243F6A88, 0x9E3779B9, 0xB7E15163, 0x8AED2A6B)
ROW_SALT = 0x9E3779B9
COUNTER_LIMIT = 1 << 32
SIGN = 0x80000000

_IS_TORCH = keras.backend.backend() == "torch"
# PyTorch has next to no operations on unsigned integers.
_WORD_DTYPE = "int32" if _IS_TORCH else "uint32"


def to_signed(word: int) -> int:
    """The signed integer with the bits of a 32-bit word."""
    return (word & 0xFFFFFFFF ^ SIGN) - SIGN


def hash_int(x: int, key: int) -> int:
    """The hash of one Python integer."""
    x = ((x ^ x >> SHIFTS[0]) * FACTORS[0] + key) & 0xFFFFFFFF
    x = (x ^ x >> SHIFTS[1]) * FACTORS[1] & 0xFFFFFFFF
    x = (x ^ x >> SHIFTS[2]) * FACTORS[2] & 0xFFFFFFFF
    return x ^ x >> SHIFTS[3]


def keys_int(seed: int, count: int) -> tuple[int, int]:
    """The two keys of a mask, as `keys`, of Python integers, signed or not."""
    seed, count = seed & 0xFFFFFFFF, count & 0xFFFFFFFF
    a, b, c, d = KEY_SALTS
    return hash_int(count ^ hash_int(seed, a), b), hash_int(seed ^ hash_int(count, c), d)


def keys(state: Tensor) -> tuple[Tensor, Tensor]:
    """The two keys of a mask, from the seed and the number of masks drawn before."""
    seed, count = word(state[0]), word(state[1])
    a, b, c, d = map(constant, KEY_SALTS)
    return (
        _hash(ops.bitwise_xor(count, _hash(seed, a)), b),
        _hash(ops.bitwise_xor(seed, _hash(count, c)), d),
    )


def hashed_words(state: Tensor, shape: Sequence[Any]) -> Tensor:
    """Independent uniform int32 words; sizes in `shape` may be tensors in a TensorFlow graph."""
    key0, key1 = keys(state)
    rows = leading_axes(shape)
    if rows:
        row = _index(shape, range(rows))
        key1 = key1 + row * constant(ROW_SALT)
    index = _index(shape, range(rows, len(shape)))
    words = ops.cast(_hash(ops.bitwise_xor(index, key0), key1), "int32")
    return ops.broadcast_to(words, shape)


def leading_axes(shape: Sequence[Any]) -> int:
    """The number of axes that one counter of 32 bits has no room for, counted from the front.

    Sizes that are not known when a graph is traced are taken to fit.
    """
    axis = len(shape)
    while axis > 0 and all(isinstance(size, int) for size in shape[axis - 1 :]):
        if math.prod(shape[axis - 1 :]) > COUNTER_LIMIT:
            return axis
        axis -= 1
    return 0


def _hash(x: Tensor, key: Tensor) -> Tensor:
    x = _xor_shift(x, SHIFTS[0]) * constant(FACTORS[0]) + key
    x = _xor_shift(x, SHIFTS[1]) * constant(FACTORS[1])
    x = _xor_shift(x, SHIFTS[2]) * constant(FACTORS[2])
    return _xor_shift(x, SHIFTS[3])


def _xor_shift(x: Tensor, distance: int) -> Tensor:
    shifted = ops.right_shift(x, constant(distance))
    if _IS_TORCH:  # whose shift of signed integers repeats the sign
        shifted = ops.bitwise_and(shifted, constant((1 << (32 - distance)) - 1))
    return ops.bitwise_xor(x, shifted)


def _index(shape: Sequence[Any], axes: range) -> Tensor:
    """The row-major index of each element within some axes, modulo 2^32."""
    index = ops.reshape(constant(0), [1] * len(shape))
    stride = constant(1)
    for axis in reversed(axes):
        along = [-1 if other == axis else 1 for other in range(len(shape))]
        index = index + ops.reshape(word(ops.arange(shape[axis], dtype="int32")) * stride, along)
        stride = stride * word(shape[axis])
    return index


def word(x: Any) -> Tensor:
    """An integer or a tensor of integers as words, modulo 2^32."""
    return constant(x) if isinstance(x, int) else ops.cast(x, _WORD_DTYPE)


def constant(value: int) -> Tensor:
    """A Python integer as a word."""
    return ops.convert_to_tensor(np.asarray(value & 0xFFFFFFFF, "uint32").astype(_WORD_DTYPE))
