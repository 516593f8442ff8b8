"""Measures weights in the memory of a CPU, in little more time than reading them takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from kerasreg._backends import host_view, host_views
from kerasreg.statistics.numbers import (
    BUCKETS,
    LARGEST_EXPONENT,
    LEAST_EXPONENT,
    Measured,
    Statistics,
    histogram_rows,
    limit_of,
)
from kerasreg.statistics.structured import StructuredWeights
from kerasreg.statistics.weights import Weight, penalty_values

Array = npt.NDArray[Any]

# A block and its temporaries stay in the cache; those of a whole weight would cost page faults.
BLOCK_SIZE = 1 << 17
# Rows of a block are summed in float32, the sums in float64.
_ROW = 2048
# Values whose buckets are counted at once: their temporaries stay in the cache with the block.
PIECE = 1 << 16
# Magnitudes whose squares neither overflow float32 nor lose a digit that is seen in the sum.
_SAFE = (1e-15, 1e15)

_HALF = BUCKETS // 2
_ONES = {np.dtype(dtype): np.ones(_ROW, dtype) for dtype in (np.float32, np.float64)}

# Two neighbours' bucket numbers make one number, so that there is half as much to count.
_PAIRS = 256 * (BUCKETS + 1)


class HostStatistics:
    """Measures weights in the memory of a CPU, without a copy of them.

    Args:
        weights: The weights.
        threshold: Magnitude below which a weight counts as near zero.
        histograms: Whether to count histograms as well.
    """

    immediate = True
    """Whether the numbers are there as soon as a call returns."""

    def __init__(self, weights: Sequence[Weight], threshold: float, histograms: bool) -> None:
        self._weights = weights
        self._structured = StructuredWeights(weights)
        self._counter = BlockCounter(threshold)
        self._histograms = [NonZeroHistogram() for _ in weights] if histograms else []

    def __call__(self) -> Callable[[], Measured]:
        """Measures the weights as they are now; returns a function that hands it over."""
        weights = self._weights
        histograms: Sequence[NonZeroHistogram | None] = self._histograms or [None] * len(weights)
        arrays = host_views([weight.source for weight in weights])
        statistics = [
            self._counter.count(array, weight.unit_axes, histogram)
            for array, weight, histogram in zip(arrays, weights, histograms, strict=True)
        ]
        rows = [histogram.rows() for histogram in self._histograms]
        structured = self._structured.now()
        return partial(
            Measured,
            statistics,
            rows,
            penalty_values(weights, statistics),
            [weight.counts for weight in weights],
            *self._structured.count(structured, lambda variable: host_view(variable.value) != 0),
        )


class BlockCounter:
    """Adds up the statistics of an array, block by block, in one pass over its memory.

    Args:
        threshold: Magnitude below which a weight counts as near zero.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._scratch: dict[Any, Array] = {}

    def count(
        self,
        values: Array,
        unit_axes: tuple[int, ...] | None,
        histogram: NonZeroHistogram | None = None,
    ) -> Statistics:
        """The statistics of an array.

        Args:
            values: Array of any shape and real dtype.
            unit_axes: The axes that number output units, or `None`.
            histogram: Is cleared, and counts the values as well.

        Returns:
            The `Statistics`.
        """
        array = by_unit(values, unit_axes)
        alive = np.full(array.shape[1], unit_axes is None)
        zeros = near_zeros = 0
        largest = total = squares = 0.0
        values_counter = None if histogram is None else _ValueCounter(histogram, self._buffer)
        with np.errstate(all="ignore"):  # An infinite weight is reported, not warned of.
            for first, block in _blocks(array):
                wide, magnitude = self._widened(block)
                top = magnitude.max()
                part = alive[first : first + block.shape[1]]
                zeros_here, near_here = self._count_zeros(magnitude, block.shape, part)
                zeros, near_zeros = zeros + zeros_here, near_zeros + near_here
                total_here, squares_here = _sums(magnitude, top)
                total, squares = total + total_here, squares + squares_here
                if values_counter is not None and zeros_here < magnitude.size:
                    values_counter.add(wide, top, zeros_here)
                largest = float(np.maximum(largest, top))  # keeps a NaN, as `max` does not
            if values_counter is not None:
                values_counter.flush()
        units = alive.size if unit_axes is not None else 0
        return Statistics(
            size=array.size,
            zeros=zeros,
            near_zeros=near_zeros,
            l1_norm=total,
            l2_norm=math.sqrt(squares),
            max_abs=largest,
            units=units,
            dead_units=units - int(np.count_nonzero(alive)) if units else 0,
        )

    def _widened(self, block: Array) -> tuple[Array, Array]:
        """The values of a block, flat, in float32 or float64, and their magnitudes."""
        flat = block.reshape(-1)
        wide_dtype = np.float32 if flat.dtype == np.float32 or flat.itemsize < 4 else np.float64
        if flat.dtype != wide_dtype:
            wide = self._buffer("wide", wide_dtype, flat.size)
            np.copyto(wide, flat, casting="unsafe")
            flat = wide
        return flat, np.abs(flat, out=self._buffer("magnitude", wide_dtype, flat.size))

    def _count_zeros(
        self, magnitude: Array, shape: tuple[int, ...], alive: Array
    ) -> tuple[int, int]:
        """Numbers of zeros and of near zeros; takes note of the units that are alive."""
        flags = self._buffer("flags", np.bool_, magnitude.size)
        limit = magnitude.dtype.type(limit_of(self._threshold, magnitude.dtype))
        below = np.less(magnitude, limit, out=flags)
        near_zeros = int(np.count_nonzero(below))
        if not near_zeros:
            alive[:] = True
            return 0, 0
        non_zero = np.not_equal(magnitude, 0, out=flags)
        zeros = magnitude.size - int(np.count_nonzero(non_zero))
        if not alive.all():
            alive |= np.logical_or.reduce(non_zero.reshape(shape), axis=(0, 2))
        return zeros, near_zeros

    def _buffer(self, name: str, dtype: Any, size: int) -> Array:
        key = (name, dtype)
        if key not in self._scratch or self._scratch[key].size < size:
            self._scratch[key] = np.empty(max(size, BLOCK_SIZE), dtype=dtype)
        return self._scratch[key][:size]


class NonZeroHistogram:
    """Counts finite, non-zero values in equal buckets of a range that never shrinks.

    Zeros would swamp every other bucket. The range is the smallest power of two that holds all
    values seen so far, on both sides of zero, so that histograms of different steps compare. A
    bucket holds its inner edge and not its outer one, but for the outermost, which hold both. The
    first and the last bucket that hold a value end at the least and at the greatest of them.
    """

    def __init__(self) -> None:
        self.radius = 0.0
        self._counts = np.zeros(BUCKETS, dtype=np.int64)
        self._at_edges = np.zeros(2, dtype=np.int64)
        self.least, self.greatest = math.inf, -math.inf

    def clear(self) -> None:
        """Forgets the counts, and keeps the range."""
        self._counts[:] = self._at_edges[:] = 0
        self.least, self.greatest = math.inf, -math.inf

    def reach(self, least: float, greatest: float) -> None:
        """Takes note of the least and the greatest of values that are counted."""
        self.least, self.greatest = min(self.least, least), max(self.greatest, greatest)

    def widen(self, largest: float) -> None:
        """Makes the range hold magnitudes up to `largest`, a finite number.

        Buckets merge: as the range doubles, each is the sum of two.
        """
        if largest <= self.radius:
            return
        mantissa, exponent = math.frexp(largest)
        exponent -= mantissa == 0.5
        radius = 2.0 ** min(max(exponent, LEAST_EXPONENT), LARGEST_EXPONENT)
        doublings = round(math.log2(radius / self.radius)) if self.radius else 0
        self.radius = radius
        for _ in range(min(doublings, _HALF)):
            merged = np.zeros(BUCKETS, dtype=np.int64)
            merged[_HALF // 2 : -(_HALF // 2)] = self._counts.reshape(-1, 2).sum(axis=1)
            # What was at an end is now where an inner bucket begins.
            merged[[_HALF // 2 - 1, _HALF + _HALF // 2]] += self._at_edges
            self._counts, self._at_edges = merged, np.zeros(2, dtype=np.int64)

    def add(self, counts: npt.NDArray[np.int64], at_edges: tuple[int, int] = (0, 0)) -> None:
        """Adds values that are already counted in the buckets of the present range.

        Args:
            counts: Count of each bucket.
            at_edges: Counts of the values at the left and the right end, which are in no bucket.
        """
        self._counts += counts
        self._at_edges += at_edges

    def rows(self) -> npt.NDArray[np.float64]:
        """The counts as rows `[left, right, count]`; none while all values are zero."""
        counts = self._counts.copy()
        counts[[0, -1]] += self._at_edges
        return histogram_rows(self.radius, counts, self.least, self.greatest)


class _ValueCounter:
    """Counts values in the buckets of a histogram, block by block."""

    def __init__(self, histogram: NonZeroHistogram, buffer: Callable[..., Array]) -> None:
        self._histogram = histogram
        self._buffer = buffer
        self._pairs = np.zeros(_PAIRS, dtype=np.int64)
        self._negative = self._positive = 0
        histogram.clear()

    def add(self, wide: Array, top: Any, zeros: int) -> None:
        """Counts a block; its largest magnitude and its number of zeros are known."""
        if not np.isfinite(top):
            wide = wide[np.isfinite(wide)]
            top = np.abs(wide).max(initial=0)
            if not wide.size:
                return
        if top > self._histogram.radius:
            self.flush()
            self._histogram.widen(float(top))
        flags = self._buffer("flags", np.bool_, wide.size)
        negative = int(np.count_nonzero(np.less(wide, 0, out=flags)))
        positive = wide.size - negative - zeros
        self._negative += negative
        self._positive += positive
        self._find_extremes(wide, float(top), negative, positive)
        if wide.dtype == np.float64:  # whose largest values no power of two holds
            wide = np.clip(wide, -self._histogram.radius, self._histogram.radius)
        scale = wide.dtype.type(_HALF / (self._histogram.radius or 1.0))
        for start in range(0, wide.size, PIECE):
            piece = wide[start : start + PIECE]
            numbers = self._buffer("numbers", np.int8, -(-piece.size // 2) * 2)
            numbers[-1] = 0
            # The cast cuts off towards zero.
            np.multiply(piece, scale, out=numbers[: piece.size], casting="unsafe")
            np.add(numbers, _HALF, out=numbers)
            self._pairs += np.bincount(numbers.view(np.uint16), minlength=_PAIRS)

    def _find_extremes(self, wide: Array, top: float, negative: int, positive: int) -> None:
        """Tells the histogram of the least and the greatest value of a block that are not zero.

        Most blocks have neither of the weight's, which their largest magnitude says at once.
        """
        histogram = self._histogram
        if top <= min(-histogram.least, histogram.greatest):
            return
        if negative and positive:
            histogram.reach(float(wide.min()), float(wide.max()))
        elif positive:
            all_are = positive == wide.size
            histogram.reach(float(wide.min()) if all_are else self._least_magnitude(wide), top)
        elif negative:
            all_are = negative == wide.size
            histogram.reach(-top, float(wide.max()) if all_are else -self._least_magnitude(wide))

    def _least_magnitude(self, wide: Array) -> float:
        """The least magnitude that is not zero."""
        bits = np.abs(wide, out=self._buffer("bits", wide.dtype, wide.size))
        bits = bits.view(f"u{wide.itemsize}")
        bits -= 1  # A zero wraps around, to the largest of all.
        return float((bits.min(keepdims=True) + 1).astype(bits.dtype).view(wide.dtype)[0])

    def flush(self) -> None:
        """Hands the histogram what was counted in the buckets of its present range.

        Counted are the numbers -16 to 16, cut off towards zero. Number 0 stands for both buckets
        next to zero and for zero itself, which the numbers of negative and positive values tell
        apart; -16 and 16 for the ends of the range, which are in no bucket.
        """
        pairs = self._pairs.reshape(-1, 256)
        numbers = pairs.sum(axis=1) + pairs.sum(axis=0)[: BUCKETS + 1]
        left, right = numbers[:_HALF], numbers[_HALF + 1 :]
        inner = (self._negative - left.sum(), self._positive - right.sum())
        counts = np.concatenate([left[1:], inner, right[:-1]])
        self._histogram.add(counts, at_edges=(numbers[0], numbers[-1]))
        self._pairs[:] = self._negative = self._positive = 0


def by_unit(array: Array, unit_axes: tuple[int, ...] | None) -> Array:
    """The array as `(before, units, after)`; a view wherever the units are neighbouring axes."""
    if unit_axes is None:
        return array.reshape(-1, 1, 1)
    first, count = unit_axes[0], len(unit_axes)
    if unit_axes != tuple(range(first, first + count)):
        array, first = np.moveaxis(array, unit_axes, tuple(range(-count, 0))), array.ndim - count
    shape = array.shape
    before, units = math.prod(shape[:first]), math.prod(shape[first : first + count])
    return array.reshape(before, units, math.prod(shape[first + count :]))


def _blocks(array: Array) -> Iterator[tuple[int, Array]]:
    """Pieces of neighbouring memory, each with the number of its first unit."""
    before, units, after = array.shape
    if array.size == 0:
        return
    rows = max(1, BLOCK_SIZE // (units * after))
    width = units if rows > 1 else min(units, max(1, BLOCK_SIZE // after))
    for row in range(0, before, rows):
        for unit in range(0, units, width):
            yield unit, array[row : row + rows, unit : unit + width]


def _sums(magnitude: Array, top: Any) -> tuple[float, float]:
    """The sum of a block's magnitudes, and of their squares."""
    whole = magnitude.size // _ROW * _ROW if _SAFE[0] < top < _SAFE[1] else 0
    total = squares = 0.0
    if whole:
        rows = magnitude[:whole].reshape(-1, _ROW)
        total += float(np.add.reduce(rows @ _ONES[rows.dtype], dtype=np.float64))
        products = np.matmul(rows[:, None, :], rows[:, :, None])
        squares += float(np.add.reduce(products, axis=None, dtype=np.float64))
    if whole < magnitude.size:
        rest = magnitude[whole:].astype(np.float64)
        total, squares = total + float(rest.sum()), squares + float(rest @ rest)
    return total, squares
