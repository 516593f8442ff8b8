"""The strengths of a path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kerasreg._checks import check_positive, invalid_value, is_number

SPARSE_TO_DENSE = "sparse_to_dense"
DENSE_TO_SPARSE = "dense_to_sparse"
DIRECTIONS = (SPARSE_TO_DENSE, DENSE_TO_SPARSE)

# So that the first strength leaves nothing, in spite of rounding.
_MARGIN = 1.0 + 1e-6


def strength_grid(
    largest: float, n_strengths: int, min_ratio: float, direction: str
) -> list[float]:
    """Strengths at equal ratios, in the order in which they are trained.

    Args:
        largest: The largest strength.
        n_strengths: Number of strengths.
        min_ratio: The smallest, as a fraction of the largest.
        direction: Which end to begin with.
    """
    if not np.isfinite(largest) or largest <= 0:
        expected = (
            f"strengths, as the gradient of the loss where all weights are zero is {largest:g} and "
            "gives no largest one: are the targets constant, or is the model not convex?"
        )
        raise invalid_value("strengths", expected, None)
    grid = np.geomspace(largest * _MARGIN, largest * min_ratio, n_strengths)
    return in_order(grid.tolist(), direction)


def check_strengths(strengths: Any) -> list[float]:
    """Returns strengths as floats, or raises unless they are positive and sorted, none twice."""
    if isinstance(strengths, str) or not isinstance(strengths, (Sequence, np.ndarray)):
        raise invalid_value("strengths", "a sequence of numbers, or None", strengths)
    values = list(strengths)
    if not values or not all(is_number(value) and 0 < value < np.inf for value in values):
        raise invalid_value("strengths", "finite, positive numbers", strengths)
    steps = np.sign(np.diff(np.asarray(values, "float64")))
    if not (np.all(steps > 0) or np.all(steps < 0)):
        raise invalid_value("strengths", "sorted numbers, none of them twice", strengths)
    return [float(value) for value in values]


def check_min_ratio(min_ratio: Any) -> float:
    """Returns the ratio of the smallest to the largest strength, or raises."""
    ratio = check_positive("min_ratio", min_ratio)
    if ratio >= 1:
        raise invalid_value("min_ratio", "a number between 0 and 1", min_ratio)
    return ratio


def in_order(strengths: Sequence[float], direction: str) -> list[float]:
    """The strengths in the order in which they are trained."""
    return sorted(strengths, reverse=direction == SPARSE_TO_DENSE)
