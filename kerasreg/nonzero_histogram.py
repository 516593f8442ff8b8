"""Histograms of the weights that are not zero, comparable from one step to the next."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

BUCKETS = 32
_HALF = BUCKETS // 2
# Of the range: so that float32 holds its sixteenth's inverse, and float64 its width.
LEAST_EXPONENT, _LARGEST_EXPONENT = -100, 1022


class NonZeroHistogram:
    """Counts finite, non-zero values in equal buckets over a range that never shrinks.

    Zeros would swamp every other bucket. The range is the smallest power of two that holds all
    values seen so far, on both sides of zero, so that histograms of different steps compare. A
    bucket holds the magnitudes from its inner edge up to, and without, its outer one; the
    outermost holds that as well.
    """

    def __init__(self) -> None:
        self.radius = 0.0
        self._counts = np.zeros(BUCKETS, dtype=np.int64)
        self._at_edges = np.zeros(2, dtype=np.int64)

    def clear(self) -> None:
        """Forgets the counts, and keeps the range."""
        self._counts[:] = self._at_edges[:] = 0

    def widen(self, largest: float) -> None:
        """Makes the range hold magnitudes up to `largest`, a finite number.

        Buckets merge: as the range doubles, each is the sum of two.
        """
        if largest <= self.radius:
            return
        mantissa, exponent = math.frexp(largest)
        exponent -= mantissa == 0.5
        radius = 2.0 ** min(max(exponent, LEAST_EXPONENT), _LARGEST_EXPONENT)
        doublings = round(math.log2(radius / self.radius)) if self.radius else 0
        self.radius = radius
        for _ in range(min(doublings, _HALF)):
            left, right = self._counts[:_HALF], self._counts[_HALF:]
            merged = np.zeros(BUCKETS, dtype=np.int64)
            merged[_HALF // 2 : _HALF] = left.reshape(-1, 2).sum(axis=1)
            merged[_HALF : _HALF + _HALF // 2] = right.reshape(-1, 2).sum(axis=1)
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
        if self.radius == 0:
            return np.zeros((0, 3))
        counts = self._counts.copy()
        counts[[0, -1]] += self._at_edges
        return histogram_rows(self.radius, counts)


def histogram_rows(radius: float, counts: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Counts of all buckets of a range as rows `[left, right, count]`."""
    edges = np.linspace(-radius, radius, BUCKETS + 1)
    return np.stack([edges[:-1], edges[1:], np.asarray(counts)], axis=1)
