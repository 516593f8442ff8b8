"""Numbers that say how sparse weights are."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Statistics:
    """Counts and norms of one or more weights.

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
class Parts:
    """How many parts of weights are zero, in the shape in which a penalty zeroes them.

    Args:
        word: What a part is, in the plural, as `"heads"`.
        zero: Number of parts that are zero; of runs of `n:m` of those that keep to it.
        number: Number of parts.
        penalty: The penalty in words.
    """

    word: str
    zero: int
    number: int
    penalty: str

    def __str__(self) -> str:
        return f"{self.zero:,} of {self.number:,} {self.word}"


# What is logged of each weight: the same as of all together, and then some.
_TOTALS = ("sparsity", "near_zero", "dead_units", "l1_norm", "l2_norm", "max_abs")
_OF_A_WEIGHT = (*_TOTALS, "nonzero_mean", "nonzero_rms")

TOTAL_NAMES = (*_TOTALS, "regularization_loss", "dead_groups")
"""All names that `Measured.totals` may have, in their order."""


@dataclass(frozen=True)
class Measured:
    """What is measured of several weights at one moment.

    Args:
        statistics: The `Statistics` of each weight.
        histograms: For each weight the counts of its non-zero values, an array of shape `(n, 3)`
            with rows `[left, right, count]` from the least to the greatest of them; an empty list
            where they were not asked for.
        penalties: For each weight what the penalties that act on it amount to.
        counts: For each weight whether the totals have it; its penalties they have always.
        parts: For each weight the parts that its penalty zeroes, `None` where there are none.
        groups: The parts of each penalty on groups of several weights.
    """

    statistics: list[Statistics]
    histograms: list[npt.NDArray[np.float64]]
    penalties: list[float]
    counts: list[bool]
    parts: list[Parts | None]
    groups: list[Parts]

    @functools.cached_property
    def totals(self) -> dict[str, float]:
        """The numbers of all weights together, by name."""
        total = total_statistics(itertools.compress(self.statistics, self.counts))
        numbers = {name: getattr(total, name) for name in _TOTALS}
        groups = {"dead_groups": sum(each.zero for each in self.groups)} if self.groups else {}
        return {**numbers, "regularization_loss": sum(self.penalties), **groups}

    def of_each(self) -> list[dict[str, float]]:
        """The numbers of each weight, by name; without dead units or parts where it has none."""
        return [
            {n: getattr(numbers, n) for n in _OF_A_WEIGHT if n != "dead_units" or numbers.units}
            | ({} if parts is None else {"dead_parts": parts.zero})
            for numbers, parts in zip(self.statistics, self.parts, strict=True)
        ]


@functools.cache
def limit_of(threshold: float, dtype: np.dtype[Any] | str) -> float:
    """The smallest positive number of a dtype that is not below the threshold.

    Magnitudes below it are near zero, exactly as if float64 compared them with the threshold; zero
    is for every threshold.
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
    added = ("size", "zeros", "near_zeros", "l1_norm", "units", "dead_units")
    sums: dict[str, Any] = {name: sum(getattr(part, name) for part in parts) for name in added}
    return Statistics(
        **sums,
        l2_norm=math.hypot(*(part.l2_norm for part in parts)),
        max_abs=float(np.max([part.max_abs for part in parts], initial=0.0)),
    )


BUCKETS = 32

# Of the radius of a histogram's range: float32 holds 16 / radius, and float64 2 * radius.
LEAST_EXPONENT, LARGEST_EXPONENT = -100, 1022


def histogram_rows(
    radius: float, counts: npt.ArrayLike, least: float, greatest: float
) -> npt.NDArray[np.float64]:
    """Counts of all buckets of a range as rows `[left, right, count]`.

    They reach from the least value to the greatest, which TensorBoard shows as such; none while
    nothing is counted.
    """
    edges = np.linspace(-radius, radius, BUCKETS + 1)
    rows = np.stack([edges[:-1], edges[1:], np.asarray(counts)], axis=1)
    filled = np.flatnonzero(rows[:, 2])
    if not filled.size:
        return np.zeros((0, 3))
    rows = rows[filled[0] : filled[-1] + 1]
    rows[0, 0], rows[-1, 1] = least, greatest
    return rows
