"""Numbers that say how sparse weights are."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Statistics:
    """What one pass over one or more weights counts.

    Args:
        size: Number of weights.
        zeros: Number of weights that are exactly zero.
        near_zeros: Number of weights below the threshold in magnitude, exact zeros included.
        l1_norm: Sum of the magnitudes.
        l2_norm: Euclidean norm.
        max_abs: Largest magnitude; NaN if any weight is NaN.
        units: Number of output units.
        dead_units: Number of output units all of whose weights are exactly zero.
    """

    size: int
    zeros: int
    near_zeros: int
    l1_norm: float
    l2_norm: float
    max_abs: float
    units: int
    dead_units: int

    @property
    def sparsity(self) -> float:
        """Fraction of weights that are exactly zero."""
        return self.zeros / self.size if self.size else 0.0

    @property
    def near_zero(self) -> float:
        """Fraction of weights below the threshold in magnitude."""
        return self.near_zeros / self.size if self.size else 0.0

    @property
    def nonzero_mean(self) -> float:
        """Mean magnitude of the weights that are not zero."""
        return self.l1_norm / (self.size - self.zeros) if self.size > self.zeros else 0.0

    @property
    def nonzero_rms(self) -> float:
        """Root mean square of the weights that are not zero; between their mean and `max_abs`."""
        count = self.size - self.zeros
        return self.l2_norm / math.sqrt(count) if count else 0.0


@dataclass(frozen=True)
class Measured:
    """What is measured of several weights at one moment.

    Args:
        statistics: The `Statistics` of each weight.
        histograms: For each weight the counts of its non-zero values, an array of shape `(n, 3)`
            with rows `[left, right, count]`; an empty list where they were not asked for.
        penalties: For each weight what the penalties that act on it amount to.
    """

    statistics: list[Statistics]
    histograms: list[npt.NDArray[np.float64]]
    penalties: list[float]


def limit_of(threshold: float, dtype: npt.DTypeLike) -> float:
    """The smallest positive number of a dtype that is not below the threshold.

    All that is below it is near zero, exactly as in float64; zero itself whatever the threshold.
    """
    kind: Any = np.dtype(dtype).type
    with np.errstate(over="ignore"):  # Nothing reaches a threshold that the dtype does not have.
        limit = kind(threshold)
    if float(limit) < threshold or limit == 0:
        limit = np.nextafter(limit, kind(np.inf))
    return float(limit)


def total_statistics(parts: Iterable[Statistics]) -> Statistics:
    """The statistics of several weights taken together."""
    parts = list(parts)
    return Statistics(
        size=sum(part.size for part in parts),
        zeros=sum(part.zeros for part in parts),
        near_zeros=sum(part.near_zeros for part in parts),
        l1_norm=sum(part.l1_norm for part in parts),
        l2_norm=math.hypot(*(part.l2_norm for part in parts)),
        max_abs=float(np.max([part.max_abs for part in parts], initial=0.0)),
        units=sum(part.units for part in parts),
        dead_units=sum(part.dead_units for part in parts),
    )


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
