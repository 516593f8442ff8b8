"""Measures tensors that are no weights, as what layers put out, where they lie."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from kerasreg._backends import host_view, is_on_host
from kerasreg._tensors import Tensor
from kerasreg.statistics.device.columns import LENGTH_WITH_BUCKETS, histogram_of
from kerasreg.statistics.device.device_statistics import fetch_later, reduction_of
from kerasreg.statistics.host import BlockCounter, NonZeroHistogram
from kerasreg.statistics.numbers import Statistics

Counted: TypeAlias = tuple[list[Statistics], list[npt.NDArray[np.float64]]]
"""The `Statistics` of each tensor, and the histogram of what is not zero in it."""


class TensorStatistics:
    """Measures tensors of the same shapes again and again.

    Args:
        values: The tensors, as they are at first.
        unit_axes: The axes that number the units of each, or `None`.
    """

    def __init__(
        self, values: Sequence[Tensor], unit_axes: Sequence[tuple[int, ...] | None]
    ) -> None:
        self._unit_axes = unit_axes
        self._on_host = all(map(is_on_host, values))
        if self._on_host:
            self._counter = BlockCounter(threshold=0.0)
            self._histograms = [NonZeroHistogram() for _ in values]
        else:
            self._reduction = reduction_of(values, unit_axes, threshold=0.0, histograms=True)

    def __call__(self, values: Sequence[Tensor]) -> Callable[[], Counted]:
        """Measures tensors; returns a function that waits for the numbers, in any thread."""
        if self._on_host:
            counted = self._count(values)
            return lambda: counted
        shapes = [tuple(value.shape) for value in values]
        fetch = fetch_later(self._reduction(values, [], []))
        return lambda: self._read(np.asarray(fetch(), np.float64), shapes)

    def _count(self, values: Sequence[Tensor]) -> Counted:
        statistics = [
            self._counter.count(host_view(value), axes, histogram)
            for value, axes, histogram in zip(
                values, self._unit_axes, self._histograms, strict=True
            )
        ]
        return statistics, [histogram.rows() for histogram in self._histograms]

    def _read(self, vector: npt.NDArray[np.float64], shapes: Sequence[tuple[int, ...]]) -> Counted:
        statistics = [Statistics(0, 0, 0, 0.0, 0.0, 0.0, 0, dead_units=0)] * len(shapes)
        histograms = [np.zeros((0, 3))] * len(shapes)
        rows = vector.reshape(-1, LENGTH_WITH_BUCKETS)
        for column, numbers in zip(self._reduction.columns, rows, strict=True):
            shape, axes = shapes[column.number], self._unit_axes[column.number]
            units = 0 if axes is None else math.prod(shape[axis] for axis in axes)
            statistics[column.number] = column.statistics(numbers, math.prod(shape), units)
            histograms[column.number] = histogram_of(numbers)
        return statistics, histograms
