"""The statistics as a formula that XLA fuses: each weight is read once, and again for histograms.

The first reduction of a block leaves a hundredth of its size; what follows costs next to nothing.
Magnitudes are compared by their bits, as integers: for them XLA's CPU takes tiny numbers for zeros,
and loses a NaN in a maximum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from kerasreg._tensors import Tensor
from kerasreg.statistics.device.blocks import LONGEST_RUN, Block
from kerasreg.statistics.device.columns import DIGIT_BITS, NO_EXPONENT
from kerasreg.statistics.numbers import BUCKETS, LEAST_EXPONENT, limit_of

_HALF = BUCKETS // 2
# Four buckets share an integer, a byte for each.
_WORDS = BUCKETS // 4


class _Format(NamedTuple):
    """How a floating-point number is laid out, by IEEE 754."""

    integer: str
    mantissa_bits: int
    bias: int

    def bits_of(self, value: float, dtype: str) -> int:
        """The bits of a number as an integer."""
        return int(np.asarray(value, dtype).view(self.integer))


_FORMATS = {"float32": _Format("int32", 23, 127), "float64": _Format("int64", 52, 1023)}


def block_columns(
    values: Sequence[Tensor],
    block: Block,
    threshold: float,
    exponents: Tensor,
    histograms: bool,
) -> tuple[Tensor, Tensor]:
    """Reduces the weights of a block.

    Args:
        values: All weights.
        block: The block.
        threshold: Magnitude below which a weight counts as near zero.
        exponents: Of the radius of each member's histogram so far, integers.
        histograms: Whether to count the buckets.

    Returns:
        An array with a column of numbers as a row for each member, and the new exponents.
    """
    x = block.gather(values)
    dtype, format_ = _format(x)
    axis = block.axis + 1
    bits = _magnitude_bits(x)
    zeros = _units(_count(bits == 0, axis), block, _count_all)
    near = bits < format_.bits_of(limit_of(threshold, dtype), dtype)
    near_zeros = _units(_count(near, axis), block, _count_all)
    digits = [_digits(counts) for counts in (zeros, near_zeros, _as_int(zeros == block.unit_size))]
    sums = [_as_sum(ops.sum(each, axis=axis)) for each in (ops.abs(x), ops.square(x))]
    numbers = [_staged_sum(_units(each, block, _staged_sum), 1) for each in sums]
    numbers.append(ops.view(_largest(ops.max(bits, axis=axis)), dtype))
    tail = []
    if histograms:
        least, greatest = _extremes(x, bits, axis)
        # In this order the number of a negative value is -1 less its magnitude.
        largest = ops.maximum(ops.maximum(greatest, -1 - least), 0)[:, 0]
        exponents = ops.maximum(exponents, _exponents(largest, format_))
        tail = [_in_order(least, dtype), _in_order(greatest, dtype)]
        tail.append(_bucket_digits(x, exponents, block))
    columns = [*digits, *numbers, exponents[:, None], *tail]
    return ops.concatenate([ops.cast(column, dtype) for column in columns], axis=1), exponents


def _format(x: Tensor) -> tuple[str, _Format]:
    dtype = keras.backend.standardize_dtype(x.dtype)
    return dtype, _FORMATS[dtype]


def _magnitude_bits(x: Tensor) -> Tensor:
    integer = _format(x)[1].integer
    return ops.bitwise_and(ops.view(x, integer), np.iinfo(integer).max)


def _as_int(x: Tensor) -> Tensor:
    return ops.cast(x, "int32")


def _count(condition: Tensor, axis: int) -> Tensor:
    return ops.sum(_as_int(condition), axis=axis)


def _count_all(counts: Tensor, axis: int) -> Tensor:
    return ops.sum(counts, axis=axis, keepdims=True)


def _as_sum(x: Tensor) -> Tensor:
    """Keeps a sum of magnitudes apart from the next, with which XLA merges it and loses digits."""
    return ops.view(_magnitude_bits(x), _format(x)[0])


def _staged_sum(x: Tensor, axis: int) -> Tensor:
    """Sum of magnitudes along an axis, which is kept as 1, in stages where it is long."""
    while x.shape[axis] > LONGEST_RUN:
        missing = -x.shape[axis] % LONGEST_RUN
        x = ops.pad(x, [(0, missing if a == axis else 0) for a in range(len(x.shape))])
        runs = (x.shape[axis] // LONGEST_RUN, LONGEST_RUN)
        x = ops.reshape(x, (*x.shape[:axis], *runs, *x.shape[axis + 1 :]))
        x = _as_sum(ops.sum(x, axis=axis + 1))
    return _as_sum(ops.sum(x, axis=axis, keepdims=True))


def _units(partial: Tensor, block: Block, add_up: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Adds partial results up to one for each member and unit, a matrix."""
    for axis in range(1, len(partial.shape)):
        if axis not in block.kept:
            partial = add_up(partial, axis)
    return ops.reshape(partial, (len(block.members), -1))


def _largest(partial: Tensor) -> Tensor:
    return ops.max(ops.reshape(partial, (partial.shape[0], -1)), axis=1, keepdims=True)


def _extremes(x: Tensor, bits: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """The least and the greatest of what is counted, as integers in the order of the numbers."""
    integer = _format(x)[1].integer
    order = ops.where(_is_negative(x), -1 - bits, bits)
    nothing = ops.full_like(order, np.iinfo(integer).min)
    counted = _is_counted(x, bits)
    # -1 - n turns the order round, and is the sign in two's complement.
    least, greatest = (
        _largest(ops.max(ops.where(counted, each, nothing), axis=axis))
        for each in (-1 - order, order)
    )
    return -1 - least, greatest


def _in_order(order: Tensor, dtype: str) -> Tensor:
    """The numbers that `_extremes` has put in order; by their bits, see the module."""
    least = np.iinfo(_FORMATS[dtype].integer).min
    bits = ops.where(order < 0, ops.bitwise_or(-1 - order, least), order)
    return ops.view(bits, dtype)


def _is_negative(x: Tensor) -> Tensor:
    return ops.view(x, _format(x)[1].integer) < 0


def _is_counted(x: Tensor, bits: Tensor) -> Tensor:
    """Whether a weight is in a bucket: zeros and non-finite ones are in none."""
    dtype, format_ = _format(x)
    return ops.logical_and(bits > 0, bits < format_.bits_of(math.inf, dtype))


def _digits(counts: Tensor) -> Tensor:
    """The sum over axis 1 as two digits, as float32 or an integer may not hold it as one."""
    high = ops.sum(ops.right_shift(counts, DIGIT_BITS), axis=1)
    low = ops.sum(ops.bitwise_and(counts, 2**DIGIT_BITS - 1), axis=1)
    high += ops.right_shift(low, DIGIT_BITS)
    return ops.stack([high, ops.bitwise_and(low, 2**DIGIT_BITS - 1)], axis=-1)


def _exponents(bits: Tensor, format_: _Format) -> Tensor:
    """Exponents of the smallest powers of two that are not below magnitudes."""
    rounded_up = bits + (2**format_.mantissa_bits - 1)
    exponents = ops.right_shift(rounded_up, format_.mantissa_bits) - format_.bias
    exponents = ops.maximum(_as_int(exponents), LEAST_EXPONENT)
    return ops.where(bits > 0, exponents, ops.full_like(exponents, NO_EXPONENT))


def _bucket_digits(x: Tensor, exponents: Tensor, block: Block) -> Tensor:
    words = _byte_counts(_bucket_numbers(x, exponents), block.axis + 1)
    shifts = ops.convert_to_tensor([0, 8, 16, 24], dtype="int32")
    counts = ops.bitwise_and(ops.right_shift(words[..., None], shifts), 255)
    others = [axis for axis in range(1, len(words.shape) - 1) if axis not in block.kept]
    counts = ops.sum(counts, axis=tuple(others)) if others else counts
    counts = ops.reshape(counts, (len(block.members), -1, BUCKETS))
    return ops.reshape(_digits(counts), (len(block.members), -1))


def _bucket_numbers(x: Tensor, exponents: Tensor) -> Tensor:
    """The bucket of each weight; those of zeros and non-finite ones are none."""
    dtype, format_ = _format(x)
    exponents = int(math.log2(_HALF)) + format_.bias - ops.cast(exponents, format_.integer)
    scales = ops.view(ops.left_shift(exponents, format_.mantissa_bits), dtype)
    scales = ops.reshape(scales, (-1, *(1,) * (len(x.shape) - 1)))
    counted = _is_counted(x, _magnitude_bits(x))
    sixteenths = ops.where(counted, ops.abs(x), ops.zeros_like(x)) * scales
    # The largest weight may lie on the outer edge.
    steps = _as_int(ops.minimum(sixteenths, _HALF - 1))
    numbers = ops.where(_is_negative(x), _HALF - 1 - steps, _HALF + steps)
    return ops.where(counted, numbers, ops.full_like(numbers, BUCKETS))


def _byte_counts(numbers: Tensor, axis: int) -> Tensor:
    """Counts the buckets along an axis of at most 255, four in an integer; a new last axis."""
    word = ops.right_shift(numbers, 2)
    one = ops.left_shift(ops.ones_like(numbers), 8 * ops.bitwise_and(numbers, 3))
    nothing = ops.zeros_like(numbers)
    counts = [ops.sum(ops.where(word == w, one, nothing), axis=axis) for w in range(_WORDS)]
    return ops.stack(counts, axis=-1)
