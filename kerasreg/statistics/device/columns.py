"""What a device hands over: one vector, with a row of these columns for each weight.

One array is one transfer, and float32 holds integers up to 2^24 only: counts come as two digits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kerasreg.statistics.numbers import BUCKETS, LEAST_EXPONENT, Statistics, histogram_rows

DIGIT_BITS = 15
# Each of the counts is two columns wide, as each of the buckets is.
COUNTS = ("zeros", "near_zeros", "dead_units")
NUMBERS = ("l1_norm", "squares", "max_abs", "exponent")
WIDTH = 2 * len(COUNTS) + len(NUMBERS)
WIDTH_WITH_BUCKETS = WIDTH + 2 * BUCKETS

# All weights are zero yet.
NO_EXPONENT = LEAST_EXPONENT - 1


@dataclass(frozen=True)
class Row:
    """Which weight a row is of, and what it counts too much.

    Args:
        number: The number of the weight.
        padding: Number of zeros that were added to the weight.
        padded_units: Number of units all of whose weights were.
    """

    number: int
    padding: int = 0
    padded_units: int = 0

    def statistics(self, row: npt.NDArray[np.float64], size: int, units: int) -> Statistics:
        """The `Statistics` of a weight of some size and number of units."""
        zeros, near_zeros, dead_units = _counts(row[: 2 * len(COUNTS)])
        l1_norm, squares, max_abs, _ = row[2 * len(COUNTS) : WIDTH].tolist()
        return Statistics(
            size=size,
            zeros=zeros - self.padding,
            near_zeros=near_zeros - self.padding,
            l1_norm=l1_norm,
            l2_norm=math.sqrt(squares),
            max_abs=max_abs,
            units=units,
            dead_units=dead_units - self.padded_units if units else 0,
        )


def histogram_of_row(row: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The histogram of a weight from its row, as rows `[left, right, count]`."""
    exponent = int(row[WIDTH - 1])
    if exponent == NO_EXPONENT:
        return np.zeros((0, 3))
    return histogram_rows(2.0**exponent, _counts(row[WIDTH:WIDTH_WITH_BUCKETS]))


def _counts(digits: npt.NDArray[np.float64]) -> list[int]:
    return [int(high) * 2**DIGIT_BITS + int(low) for high, low in digits.reshape(-1, 2)]
