"""The words and masks of `kerasreg.masks` once more, in NumPy's 64-bit integers and float64."""

import math

import numpy as np
from keras import ops

from kerasreg.layers.masks.seed import MaskSeed

WORDS = 1 << 32


def triple32(x, key=0):
    """Chris Wellons' hash of 32 bits, with a key added after the first multiplication."""
    # All of one type: older versions of NumPy take a float where uint64 meets Python's integers.
    x, key, words = np.asarray(x, "uint64"), np.asarray(key, "uint64"), np.uint64(WORDS)
    shifts = [np.uint64(shift) for shift in (17, 11, 15, 14)]
    factors = [np.uint64(factor) for factor in (0xED5AD4BB, 0xAC4C1B51, 0x31848BAB)]
    x = ((x ^ x >> shifts[0]) * factors[0] + key) % words
    x = (x ^ x >> shifts[1]) * factors[1] % words
    x = (x ^ x >> shifts[2]) * factors[2] % words
    return x ^ x >> shifts[3]


def numpy_keys(seed, count):
    key0 = triple32(count ^ triple32(seed, 0x243F6A88), 0x9E3779B9)
    key1 = triple32(seed ^ triple32(count, 0xB7E15163), 0x8AED2A6B)
    return key0, key1


def numpy_words(seed, count, shape, rows=0):
    """Signed words; the first `rows` axes have a counter of their own."""
    key0, key1 = numpy_keys(np.uint64(seed % WORDS), np.uint64(count % WORDS))
    row = np.arange(math.prod(shape[:rows]), dtype="uint64")[:, None]
    index = np.arange(math.prod(shape[rows:]), dtype="uint64")
    words = triple32(index ^ key0, (key1 + row * np.uint64(0x9E3779B9)) % np.uint64(WORDS))
    return words.astype("uint32").view("int32").reshape(shape)


def dropping(rate):
    """How many of the 2^32 words drop an element."""
    return min(round(rate * WORDS), WORDS - 1)


def numpy_mask(seed, count, shape, rate, rows=0):
    """Whether an element is kept, as float64."""
    words = numpy_words(seed, count, shape, rows).astype("int64") + WORDS // 2
    return (words >= dropping(rate)).astype("float64")


def numpy_scale(rate):
    return 0.0 if rate == 1 else WORDS / (WORDS - dropping(rate))


def to_state(seed, count=0, rate=0.5):
    """The state of a `MaskSeed` with these words."""
    words = np.array([seed % WORDS, count % WORDS, dropping(rate), 0], "uint32")
    return ops.convert_to_tensor(words.astype(MaskSeed(0).state.dtype))
