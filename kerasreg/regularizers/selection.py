"""The largest entries of one or more tensors, found without sorting.

The bits of non-negative floats, read as integers, are in the order of the floats. So the smallest
kept value is found bit by bit, from 31 counts over the data: no sort, no copy, no concatenation
of tensors, and the same code on sharded tensors and for a number that changes during training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
from keras import ops

from kerasreg._tensors import Tensor

# Smallest normal numbers; TensorFlow takes smaller ones for zero. Such numbers of float16 are no
# longer small, and its subnormal ones are kept.
SMALLEST = {"float16": 2.0**-24, "bfloat16": 2.0**-126, "float32": 2.0**-126, "float64": 2.0**-126}

# Highest bit of a non-negative 32-bit integer.
TOP_BIT = 30


def largest(magnitudes: Sequence[Tensor], count: Tensor) -> list[Tensor]:
    """Masks of the `count` largest entries of several tensors taken together.

    Among equal entries at the limit the first ones are taken, so that there are never more.

    Args:
        magnitudes: Tensors of any shapes, with non-negative float32 entries.
        count: Scalar integer tensor, how many entries to take.

    Returns:
        A boolean tensor for each tensor; with `count` or fewer entries in all, all are taken.
    """
    bits = [ops.view(x, "int32") for x in magnitudes]
    limit = _largest_integer(lambda level: _total([b >= level for b in bits]) >= count)
    above = [b > limit for b in bits]
    ties = [b == limit for b in bits]
    spare = count - _total(above)
    positions = _positions(bits)

    def ties_before(end: Tensor) -> list[Tensor]:
        pairs = zip(ties, positions, strict=True)
        return [ops.logical_and(tie, position < end) for tie, position in pairs]

    def fits(end: Tensor) -> Tensor:
        return _total(ties_before(end)) <= spare

    # Seldom are there more equal entries than room; to find that out takes one count.
    everything = ops.full((), 2**31 - 1, dtype="int32")
    end = ops.cond(fits(everything), lambda: everything, lambda: _largest_integer(fits))
    return [ops.logical_or(a, tie) for a, tie in zip(above, ties_before(end), strict=True)]


def keep(mask: Tensor, w: Tensor) -> Tensor:
    """The entries in the mask, and zeros.

    An entry that is kept and happens to be zero becomes the smallest positive number, so that the
    zeros of a weight are those entries that are not kept, and no others.
    """
    dtype = keras.backend.standardize_dtype(w.dtype)
    smallest, zero = (ops.full((), x, dtype=dtype) for x in (SMALLEST[dtype], 0))
    return ops.where(mask, ops.where(ops.equal(w, 0), smallest, w), zero)


def with_zeros_of(w: Tensor, before: Tensor) -> Tensor:
    """The entries of a weight, but zero again where `keep` has lifted a zero of `before`."""
    smallest = SMALLEST[keras.backend.standardize_dtype(w.dtype)]
    lifted = ops.logical_and(ops.equal(before, 0), ops.abs(w) <= smallest)
    return ops.where(lifted, before, w)


def _largest_integer(holds: Callable[[Tensor], Tensor]) -> Tensor:
    """The largest non-negative 32-bit integer for which a monotone condition holds; 0 if none."""

    def try_bit(index: Tensor, found: Tensor) -> Tensor:
        shift = ops.cast(TOP_BIT - index, "int32")
        tried = ops.bitwise_or(found, ops.left_shift(ops.ones((), dtype="int32"), shift))
        return ops.where(holds(tried), tried, found)

    return ops.fori_loop(0, TOP_BIT + 1, try_bit, ops.zeros((), dtype="int32"))


def _total(masks: Sequence[Tensor]) -> Tensor:
    # As a matrix of one entry, because Keras on torch transposes what it has counted.
    counts = [ops.count_nonzero(ops.reshape(mask, (1, 1, -1)), axis=-1) for mask in masks]
    return ops.cast(ops.reshape(sum(counts), ()), "int32")


def _positions(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The number of each entry, counted through all tensors."""
    result, start = [], 0
    for x in tensors:
        size = ops.size(x)
        result.append(ops.reshape(ops.arange(start, start + size, dtype="int32"), ops.shape(x)))
        start += size
    return result
