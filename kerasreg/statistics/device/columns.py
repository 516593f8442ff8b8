"""What a device hands over: one vector, in it a column of numbers for each weight.

One array is one transfer. float32 holds integers up to 2^24 only: counts come as two digits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kerasreg.statistics.numbers import BUCKETS, LEAST_EXPONENT, Statistics, histogram_rows

DIGIT_BITS = 15
# A column begins with two digits for each of the counts. With a histogram it ends with the least
# and the greatest of what is counted, and two digits for each bucket.
COUNTS = ("zeros", "near_zeros", "dead_units")
NUMBERS = ("l1_norm", "squares", "max_abs", "exponent")
LENGTH = 2 * len(COUNTS) + len(NUMBERS)
EXTREMES = 2
LENGTH_WITH_BUCKETS = LENGTH + EXTREMES + 2 * BUCKETS

# The exponent while all weights are zero.
NO_EXPONENT = LEAST_EXPONENT - 1


@dataclass(frozen=True)
class Column:
    """Which weight a column is of, and the zeros that it was padded with, which are counted.

    Args:
        number: The number of the weight.
        padding: Number of zeros that were added to the weight.
        padded_units: Number of units that consist of such zeros only.
    """

    number: int
    padding: int = 0
    padded_units: int = 0

    def statistics(self, numbers: npt.NDArray[np.float64], size: int, units: int) -> Statistics:
        """The `Statistics` of a weight of some size and number of units."""
        zeros, near_zeros, dead_units = _counts(numbers[: 2 * len(COUNTS)])
        l1_norm, squares, max_abs, _ = numbers[2 * len(COUNTS) : LENGTH].tolist()
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


def histogram_of(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The histogram in a column, as rows `[left, right, count]`."""
    exponent = int(numbers[LENGTH - 1])
    if exponent == NO_EXPONENT:
        return np.zeros((0, 3))
    extremes, digits = np.split(numbers[LENGTH:LENGTH_WITH_BUCKETS], [EXTREMES])
    return histogram_rows(2.0**exponent, _counts(digits), *extremes.tolist())


def _counts(digits: npt.NDArray[np.float64]) -> list[int]:
    return [int(high) * 2**DIGIT_BITS + int(low) for high, low in digits.reshape(-1, 2)]
