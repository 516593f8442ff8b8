"""Numbers that say how sparse a weight is, in one pass over it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kerasreg._tensors import to_numpy
from kerasreg.weights import Weight

# Blocks of this many elements stay in the cache; temporaries of a whole weight cost page faults.
BLOCK_SIZE = 1 << 17
BUCKETS = 32


@dataclass(frozen=True)
class Statistics:
    """What one pass over one or more weights counts. All sums are taken in float64.

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


def weight_statistics(weight: Weight, threshold: float) -> Statistics:
    """Counts and norms of a weight at its present value.

    Args:
        weight: The weight.
        threshold: Magnitude below which a weight counts as near zero.

    Returns:
        The `Statistics`.
    """
    rows = _rows_by_unit(to_numpy(weight.variable), weight.unit_axes)
    alive = np.zeros(rows.shape[1], dtype=bool)
    zeros = near_zeros = 0
    absolute_sum = square_sum = 0.0
    largest = 0.0
    for block in _blocks(rows):
        magnitude = _magnitude(block)
        non_zero = magnitude != 0
        alive |= non_zero.any(axis=0)
        zeros += magnitude.size - int(np.count_nonzero(non_zero))
        near_zeros += int(np.count_nonzero(~non_zero | (magnitude < threshold)))
        absolute_sum += float(magnitude.sum())
        flat = magnitude.reshape(-1)
        with np.errstate(all="ignore"):  # an infinite weight is reported, not warned of
            square_sum += float(flat @ flat)
        largest = float(np.maximum(largest, magnitude.max()))  # keeps a NaN, as `max` does not
    has_units = weight.unit_axes is not None
    return Statistics(
        size=rows.size,
        zeros=zeros,
        near_zeros=near_zeros,
        l1_norm=absolute_sum,
        l2_norm=math.sqrt(square_sum),
        max_abs=largest,
        units=alive.size if has_units else 0,
        dead_units=int(alive.size - np.count_nonzero(alive)) if has_units else 0,
    )


def total_statistics(parts: Iterable[Statistics]) -> Statistics:
    """The statistics of several weights taken together."""
    parts = list(parts)
    return Statistics(
        size=sum(part.size for part in parts),
        zeros=sum(part.zeros for part in parts),
        near_zeros=sum(part.near_zeros for part in parts),
        l1_norm=sum(part.l1_norm for part in parts),
        l2_norm=math.sqrt(sum(part.l2_norm**2 for part in parts)),
        max_abs=float(np.max([part.max_abs for part in parts], initial=0.0)),
        units=sum(part.units for part in parts),
        dead_units=sum(part.dead_units for part in parts),
    )


class NonZeroHistogram:
    """Counts of the finite, non-zero weights in equal buckets over a range that never shrinks.

    Zeros would swamp every other bucket. The range is the smallest power of two that holds all
    weights seen so far, on both sides of zero, so that histograms of different steps compare.
    """

    def __init__(self) -> None:
        self._radius = 0.0

    def count(self, variable: Any) -> npt.NDArray[np.float64]:
        """Counts the weights at their present value.

        Args:
            variable: A `keras.Variable`.

        Returns:
            An array of shape `(32, 3)` with rows `[left, right, count]`, or `(0, 3)` while all
            weights are zero.
        """
        rows = _rows_by_unit(to_numpy(variable), None)
        largest = max((_largest_finite(block) for block in _blocks(rows)), default=0.0)
        if largest > self._radius:
            self._radius = 2.0 ** math.ceil(math.log2(largest))
        if self._radius == 0:
            return np.zeros((0, 3))
        counts = np.zeros(BUCKETS, dtype=np.int64)
        for block in _blocks(rows):
            values = block.astype(np.float64).reshape(-1)
            values = values[np.isfinite(values) & (values != 0)]
            position = (values / self._radius + 1.0) * (BUCKETS / 2)
            index = np.minimum(position.astype(np.int64), BUCKETS - 1)
            counts += np.bincount(index, minlength=BUCKETS)
        edges = np.linspace(-self._radius, self._radius, BUCKETS + 1)
        return np.stack([edges[:-1], edges[1:], counts], axis=1)


def _rows_by_unit(array: npt.NDArray[Any], unit_axes: tuple[int, ...] | None) -> npt.NDArray[Any]:
    """A matrix with one column for each unit, or with one column."""
    if unit_axes is None:
        return array.reshape(-1, 1)
    last = tuple(range(-len(unit_axes), 0))
    moved = np.moveaxis(array, unit_axes, last)
    return moved.reshape(-1, math.prod(moved.shape[-len(unit_axes) :]))


def _blocks(rows: npt.NDArray[Any]) -> Iterable[npt.NDArray[Any]]:
    height = max(1, BLOCK_SIZE // max(1, rows.shape[1]))
    for start in range(0, rows.shape[0] if rows.size else 0, height):
        yield rows[start : start + height]


def _magnitude(block: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return np.abs(block.astype(np.float64))


def _largest_finite(block: npt.NDArray[Any]) -> float:
    magnitude = _magnitude(block)
    return float(np.max(magnitude, where=np.isfinite(magnitude), initial=0.0))
