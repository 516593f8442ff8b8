"""Uniform 32-bit words from a seed and the index of an element.

The hash is triple32 of Chris Wellons' hash-prospector (2018), with the seed's two keys mixed in:
three multiplications are what a plain counter needs, for with two (Murmur's finaliser among them)
neighbouring elements are correlated. Every element is computed by itself, so that a compiler
fuses the words into whatever uses them, and the backward pass can draw them again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

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

Constants: TypeAlias = tuple[Sequence[Tensor], Sequence[Tensor]]

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
    return _keys(state, _constants())


def _keys(state: Tensor, constants: Constants) -> tuple[Tensor, Tensor]:
    # In pairs, as TensorFlow takes time for each operation of a graph before it runs at all.
    seed, count, *_ = ops.unstack(word(state))
    a, b, c, d = KEY_SALTS
    mixed = _hash(ops.stack([seed, count]), constant([a, c]), constants)
    mixed = ops.bitwise_xor(ops.stack([count, seed]), mixed)
    key0, key1 = ops.unstack(_hash(mixed, constant([b, d]), constants))
    return key0, key1


def hashed_words(state: Tensor, shape: Sequence[Any]) -> Tensor:
    """Independent uniform int32 words; sizes in `shape` may be tensors in a TensorFlow graph."""
    constants = _constants()
    key0, key1 = _keys(state, constants)
    if not all(isinstance(size, int) for size in shape):
        # The same indices, by fewer operations; up to 2^31 of them.
        index = word(ops.arange(math.prod(shape), dtype="int32"))
        words = _hash(ops.bitwise_xor(index, key0), key1, constants)
        return ops.reshape(ops.cast(words, "int32"), shape)
    rows = leading_axes(shape)
    if rows:
        row = _index(shape, range(rows))
        key1 = key1 + row * constant(ROW_SALT)
    index = _index(shape, range(rows, len(shape)))
    words = ops.cast(_hash(ops.bitwise_xor(index, key0), key1, constants), "int32")
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


def _constants() -> Constants:
    """The shifts and factors as words, made once for all the hashes of a mask."""
    return [constant(shift) for shift in SHIFTS], [constant(factor) for factor in FACTORS]


def _hash(x: Tensor, key: Tensor, constants: Constants) -> Tensor:
    shifts, factors = constants
    x = _xor_shift(x, 0, shifts) * factors[0] + key
    x = _xor_shift(x, 1, shifts) * factors[1]
    x = _xor_shift(x, 2, shifts) * factors[2]
    return _xor_shift(x, 3, shifts)


def _xor_shift(x: Tensor, number: int, shifts: Sequence[Tensor]) -> Tensor:
    shifted = ops.right_shift(x, shifts[number])
    if _IS_TORCH:  # whose shift of signed integers repeats the sign
        shifted = ops.bitwise_and(shifted, constant((1 << (32 - SHIFTS[number])) - 1))
    return ops.bitwise_xor(x, shifted)


def _index(shape: Sequence[Any], axes: range) -> Tensor:
    """The row-major index of each element within some axes, modulo 2^32."""
    index = stride = None
    for axis in reversed(axes):
        along = word(ops.arange(shape[axis], dtype="int32"))
        if stride is not None:
            along = along * stride
        along = ops.reshape(along, [-1 if other == axis else 1 for other in range(len(shape))])
        index = along if index is None else index + along
        if axis > axes.start:
            size = word(shape[axis])
            stride = size if stride is None else stride * size
    return ops.reshape(constant(0), [1] * len(shape)) if index is None else index


def word(x: Any) -> Tensor:
    """An integer or a tensor of integers as words, modulo 2^32."""
    return constant(x) if isinstance(x, int) else ops.cast(x, _WORD_DTYPE)


def constant(value: int | Sequence[int]) -> Tensor:
    """Python integers as words."""
    words = np.asarray(value, "int64").astype("uint32")  # modulo 2^32
    return ops.convert_to_tensor(words.astype(_WORD_DTYPE))
