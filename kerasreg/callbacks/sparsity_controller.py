"""Finds the strength at which a given fraction of the weights is zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from kerasreg._backends import host_view, is_on_host

# The factor stays within this range of where a training began, and of one.
RANGE = 1e4
# How near to the target counts as reached.
TOLERANCE = 0.01

# The part of the training in which the target rises; up to which part of the target the sparsity
# may be ahead of that, and how far the logarithm falls at most where it is.
_RISE, _AHEAD, _FALL_AHEAD = 0.15, 0.5, 2.0
# What a measurement adds to the factor's logarithm for an error of one that changed by one, ...
_INTEGRAL, _PROPORTIONAL = 0.05, 1.5
# ... and where every step is measured.
_INTEGRAL_EACH_STEP, _PROPORTIONAL_EACH_STEP = 0.6, 2.5
# The least that it adds for an error of one, relative to the steps to the end; and how many there
# seem to be where that is not known.
_INTEGRAL_LEFT, _UNKNOWN_LEFT = 4.5, 200.0
# How fast the logarithm may follow the error, and change at all, relative to the steps since the
# beginning or to the end.
_FASTEST_INTEGRAL, _FASTEST = 30.0, 5.0
# By how much faster where there are too many zeros, as they come back slowly.
_FALLING = 5.0
# The largest error, and the one above which the logarithm rises no faster.
_LARGEST_ERROR, _LARGEST_INTEGRATED = 4.0, 1.0


class SparsityController:
    """Feedback from the sparsity to the factor on the strength.

    The logit of the sparsity is roughly linear in the logarithm of the strength, but it answers
    late: a weight takes its time to reach zero, the longer the smaller the learning rate. Feedback
    on the error alone, an integral controller, would oscillate; on the error's change as well, it
    is damped. Increments of the factor, instead of a sum of errors, do not wind up at a bound.

    A factor that is too large for a while removes weights that were needed, and that do not come
    back. So the error's change counts more than the error, and a large error no more than one of
    one: while the zeros are on their way it is no reason for more strength. What is missing
    becomes urgent as the steps run out, also because the learning rate may.

    The target rises from the first sparsity by `1 - (1 - progress)^3`, soon, as zeros that are made
    in a hurry take that same strength. The penalty may be ahead of it.

    What is zero flickers by up to a percent with the batches, over some ten steps, so that near
    the end every step is measured and answered.

    Sources: Astrom & Hagglund, PID Controllers, 1995; Zhu & Gupta, To Prune, or Not to Prune,
    2017 (the rise).

    Args:
        target: Fraction of zeros, between 0 and 1.
        frequency: Largest number of updates between two measurements.
        start: Number of updates before the first.
        end: Their number after the last; infinity where it is not known.
        factor: The factor at the start.
    """

    def __init__(
        self, target: float, frequency: int, start: float, end: float, factor: float
    ) -> None:
        self.target = target
        self.end = end
        self._frequency = frequency
        self._start = self._last = self._due = start
        self._lowest = math.log(min(1.0, factor) / RANGE)
        self._highest = math.log(max(1.0, factor) * RANGE)
        self._first_logarithm = self._logarithm = math.log(factor)
        self._first_sparsity: float | None = None
        self._error = 0.0

    @property
    def factor(self) -> float:
        """The factor now."""
        return math.exp(self._logarithm)

    @property
    def is_at_bound(self) -> bool:
        """Whether the factor is as large or as small as it may become."""
        return self._logarithm in (self._lowest, self._highest)

    def is_due(self, count: float) -> bool:
        """Whether to measure after so many updates."""
        return count >= self._due

    def update(self, count: float, sparsity: float) -> None:
        """Changes the factor by the sparsity after so many updates."""
        # Both at the beginning and at the end much changes within few steps.
        near = min(count - self._start + 10, self.end - count + 5)
        interval = count - self._last
        left = max(1.0, self.end - count) if math.isfinite(self.end) else _UNKNOWN_LEFT
        expected = self._expected(count, sparsity)
        aim = min(max(sparsity, expected), max(expected, _AHEAD * self.target))
        error = _clip(_logit(aim) - _logit(sparsity), _LARGEST_ERROR)
        if interval > 0:
            change = self._change(error, interval, interval / near, interval / left)
            if expected < sparsity < self.target:  # Some zeros are there at any strength.
                least = self._first_logarithm - _FALL_AHEAD
                change = max(change, min(0.0, least - self._logarithm))
            self._logarithm = max(self._lowest, min(self._logarithm + change, self._highest))
        self._error, self._last = error, count
        self._due = count + max(1, min(self._frequency, near // 10))

    def _expected(self, count: float, sparsity: float) -> float:
        """The sparsity to be reached by now."""
        if self._first_sparsity is None:
            self._first_sparsity = min(sparsity, self.target)
        known = math.isfinite(self.end)  # It may be from the second epoch on.
        rise = _RISE * (self.end - self._start) if known else 0.0
        progress = min(1.0, (count - self._start) / rise) if rise else 1.0
        return self.target - (self.target - self._first_sparsity) * (1 - progress) ** 3

    def _change(
        self, error: float, interval: float, relative: float, relative_to_left: float
    ) -> float:
        each_step = 1 / interval
        integral = _INTEGRAL + (_INTEGRAL_EACH_STEP - _INTEGRAL) * each_step**2
        proportional = _PROPORTIONAL + (_PROPORTIONAL_EACH_STEP - _PROPORTIONAL) * each_step
        urgent = min(_INTEGRAL_LEFT * relative_to_left, _INTEGRAL_EACH_STEP)
        integral = max(integral, urgent) * (_FALLING if error < 0 else 1.0)
        integral = min(integral, _FASTEST_INTEGRAL * relative)
        change = integral * min(error, _LARGEST_INTEGRATED) + proportional * (error - self._error)
        return _clip(change, _FASTEST * relative)


def zero_fraction(variables: Sequence[Any]) -> float:
    """The fraction of all weights that are exactly zero now."""
    size: int = sum(math.prod(variable.shape) for variable in variables)
    return 1 - sum(map(_count_nonzero, variables)) / size


def _count_nonzero(variable: Any) -> int:
    if is_on_host(variable):
        return int(np.count_nonzero(host_view(variable)))
    return int(ops.sum(ops.cast(ops.not_equal(variable.value, 0), "int32")))


def _logit(fraction: float) -> float:
    inside = _clip(fraction - 0.5, 0.5 - 1e-6) + 0.5
    return math.log(inside / (1 - inside))


def _clip(x: float, bound: float) -> float:
    return max(-bound, min(x, bound))
