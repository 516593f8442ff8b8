"""Finds the strength at which a given fraction of the weights is zero."""

from __future__ import annotations

import math

# | constant                | value | raised                                                       |
# |-------------------------|-------|--------------------------------------------------------------|
# | RANGE                   | 1e4   | the strength scale may go further from the first, and from 1 |
# | TOLERANCE               | 0.01  | a sparsity further from the target counts as reached         |
# | _RISE                   | 0.15  | the target rises over a larger part of the training          |
# | _AHEAD                  | 0.5   | the sparsity may be further ahead of the rise, as part of    |
# |                         |       | the target                                                   |
# | _FALL_AHEAD             | 2.0   | where it is ahead the logarithm of the scale may fall lower  |
# | _INTEGRAL               | 0.05  | the logarithm follows an error faster, ...                   |
# | _INTEGRAL_AHEAD         | 0.03  | ... with each update where it looks ahead, ...               |
# | _INTEGRAL_EACH_STEP     | 0.6   | ... where every update is measured                           |
# | _PROPORTIONAL           | 1.5   | it follows a change of the error further, ...                |
# | _PROPORTIONAL_EACH_STEP | 2.5   | ... where every update is measured                           |
# | _INTEGRAL_LEFT          | 4.5   | it follows an error faster towards the end                   |
# | _UNKNOWN_LEFT           | 100.0 | an end that is not known seems further away, in updates      |
# | _FASTEST_INTEGRAL       | 30.0  | it may follow an error faster near both ends                 |
# | _FASTEST                | 5.0   | it may change faster near both ends                          |
# | _FALLING                | 5.0   | it falls faster than it rises, as zeros come back slowly     |
# | _LARGEST_ERROR          | 4.0   | errors count up to a larger one, in logits of the sparsity   |
# | _LARGEST_INTEGRATED     | 1.0   | missing zeros raise it faster the more are missing           |
RANGE = 1e4
TOLERANCE = 0.01

_RISE, _AHEAD, _FALL_AHEAD = 0.15, 0.5, 2.0
_INTEGRAL, _INTEGRAL_AHEAD, _INTEGRAL_EACH_STEP = 0.05, 0.03, 0.6
_PROPORTIONAL, _PROPORTIONAL_EACH_STEP = 1.5, 2.5
_INTEGRAL_LEFT, _UNKNOWN_LEFT = 4.5, 100.0
_FASTEST_INTEGRAL, _FASTEST, _FALLING = 30.0, 5.0, 5.0
_LARGEST_ERROR, _LARGEST_INTEGRATED = 4.0, 1.0


class SparsityController:
    """Feedback from the sparsity to the scale of the strength.

    The logit of the sparsity is roughly linear in the logarithm of the strength, but it answers
    late: a weight takes its time to reach zero, the longer the smaller the learning rate. Feedback
    on the error alone, an integral controller, would oscillate; on the error's change as well, it
    is damped. Increments of the scale, instead of a sum of errors, do not wind up at a bound.

    A scale that is too large for a while removes weights that were needed and that do not come
    back. So the change of the error counts more than the error itself, and errors above one count
    as one: a large error while the zeros are on their way asks for no more strength. What is
    missing becomes urgent as the updates run out, as the learning rate may go to 0 with them.

    The target rises from the first sparsity by `1 - (1 - progress)^3`: early, as zeros that are
    made late and in a hurry take more strength. The sparsity may be ahead of it.

    The sparsity fluctuates by up to a percent from batch to batch, over some ten updates. So every
    update near the end is measured and answered.

    Sources: Astrom & Hagglund, PID Controllers, 1995; Zhu & Gupta, To Prune, or Not to Prune,
    2017 (the rise).

    Args:
        target: Fraction of zeros, between 0 and 1.
        frequency: Largest number of updates between two measurements.
        start: Number of updates before the training.
        end: Number of updates after it; infinity where that is not known.
        strength_scale: The scale at the start.
        looks_ahead: Whether the sparsity is one to be expected, from how fast groups shrink. It
            answers the strength at once, so that feedback on the error alone does not oscillate.
    """

    def __init__(
        self,
        target: float,
        frequency: int,
        start: float,
        end: float,
        strength_scale: float,
        looks_ahead: bool = False,
    ) -> None:
        self.target = target
        self.end = end
        self._frequency = frequency
        self._looks_ahead = looks_ahead
        self._start = self._last = self._due = start
        self._lowest = math.log(min(1.0, strength_scale) / RANGE)
        self._highest = math.log(max(1.0, strength_scale) * RANGE)
        self._first_logarithm = self._logarithm = math.log(strength_scale)
        self._first_sparsity: float | None = None
        self._error = 0.0

    @property
    def strength_scale(self) -> float:
        """What multiplies the strength now."""
        return math.exp(self._logarithm)

    @property
    def is_at_bound(self) -> bool:
        """Whether the scale is as large or as small as it may become."""
        return self._logarithm in (self._lowest, self._highest)

    def is_due(self, count: float) -> bool:
        """Whether to measure after this number of updates."""
        return count >= self._due

    def update(self, count: float, sparsity: float) -> None:
        """Changes the scale by the sparsity after this number of updates."""
        # Much changes within few updates at both ends of a training.
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
        if self._looks_ahead:
            integral = _INTEGRAL_AHEAD * interval * (_FALLING if error < 0 else 1.0)
            return _clip(integral * error, _FASTEST * relative)
        each_step = 1 / interval
        integral = _INTEGRAL + (_INTEGRAL_EACH_STEP - _INTEGRAL) * each_step**2
        proportional = _PROPORTIONAL + (_PROPORTIONAL_EACH_STEP - _PROPORTIONAL) * each_step
        urgent = min(_INTEGRAL_LEFT * relative_to_left, _INTEGRAL_EACH_STEP)
        integral = max(integral, urgent) * (_FALLING if error < 0 else 1.0)
        integral = min(integral, _FASTEST_INTEGRAL * relative)
        change = integral * min(error, _LARGEST_INTEGRATED) + proportional * (error - self._error)
        return _clip(change, _FASTEST * relative)


def _logit(fraction: float) -> float:
    inside = _clip(fraction - 0.5, 0.5 - 1e-6) + 0.5
    return math.log(inside / (1 - inside))


def _clip(x: float, bound: float) -> float:
    return max(-bound, min(x, bound))
