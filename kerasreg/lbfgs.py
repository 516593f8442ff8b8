"""L-BFGS for a smooth convex function of which only the gradient is known.

In float32 the values of a loss are too coarse to tell where its minimum is: near it, a step of
1e-4 changes them by nothing. Its gradient is as precise there as anywhere. (Solvers of equations,
such as SciPy's, also work with the gradient alone, but take the flat ends of a loss that is cut
off, as Keras's cross-entropy of probabilities, for its minimum.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Slope = Callable[[Vector], Vector]

MEMORY = 10
MAX_ITERATIONS = 200
MAX_TRIALS = 30
# So many iterations without a smaller gradient, which need not shrink each time, are enough.
PATIENCE = 20


def minimise(slope: Slope, start: Vector, tolerance: float = 1e-8) -> Vector:
    """The minimum of a convex function, as precise as its gradient.

    Source: Liu & Nocedal, On the Limited Memory BFGS Method for Large Scale Optimization, 1989.

    Args:
        slope: The gradient of the function.
        start: Where to start; of shape `(n,)`.
        tolerance: Norm of the gradient, relative to that at the start, that is small enough.

    Returns:
        The point with the smallest gradient that was found.
    """
    point, gradient = start, slope(start)
    best, smallest = point, np.linalg.norm(gradient)
    enough, idle = tolerance * smallest, 0
    pairs: deque[tuple[Vector, Vector]] = deque(maxlen=MEMORY)
    for _ in range(MAX_ITERATIONS):
        if smallest <= enough or idle == PATIENCE:
            break
        direction = _direction(gradient, pairs)
        if direction @ gradient >= 0:  # Rounding has spoilt the memory.
            pairs.clear()
            direction = _direction(gradient, pairs)
        change, following, found = _search(slope, point, gradient, direction)
        if change @ (following - gradient) > 0:
            pairs.append((change, following - gradient))
        point, gradient = point + change, following
        idle += 1
        if np.linalg.norm(gradient) < smallest:
            best, smallest, idle = point, np.linalg.norm(gradient), 0
        if not found:  # The slope jumps at a kink, or what is left of it is noise.
            return point
    return best


def _direction(gradient: Vector, pairs: deque[tuple[Vector, Vector]]) -> Vector:
    """Minus the gradient times the inverse curvature that the last steps have shown."""
    if not pairs:  # A step of 1 at most: a loss may be flat far away.
        return -gradient / max(1.0, float(np.linalg.norm(gradient)))
    result = gradient.copy()
    shares = []
    for change, difference in reversed(pairs):
        share = (change @ result) / (change @ difference)
        shares.append(share)
        result -= share * difference
    change, difference = pairs[-1]
    result *= (change @ difference) / (difference @ difference)
    for (change, difference), share in zip(pairs, reversed(shares), strict=True):
        result += (share - (difference @ result) / (change @ difference)) * change
    return -result


def _search(
    slope: Slope, point: Vector, gradient: Vector, direction: Vector
) -> tuple[Vector, Vector, bool]:
    """A step to where the slope along it is half as steep, or less, and whether there is one."""
    steepness = abs(direction @ gradient)
    low, high, length = 0.0, np.inf, 1.0
    for _ in range(MAX_TRIALS):
        change = length * direction
        following = slope(point + change)
        along = direction @ following
        if abs(along) <= 0.5 * steepness:
            return change, following, True
        low, high = (low, length) if along > 0 else (length, high)
        length = 2.0 * length if high == np.inf else (low + high) / 2.0
    return change, following, False
