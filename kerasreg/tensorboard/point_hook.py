"""Hands the numbers of each point to a function of the user's, as for another tracker."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from kerasreg._checks import invalid_value

OnPoint: TypeAlias = Callable[[int, dict[str, float]], Any]
"""Takes a step and the numbers of its point by tag."""


def check_on_point(argument: str, function: Any) -> OnPoint | None:
    """Returns the function, or raises if it cannot be called; there may be none."""
    if function is None or callable(function):
        return function  # type: ignore[no-any-return]
    raise invalid_value(argument, "a function of a step and a dict of numbers, or None", function)


class PointHook:
    """Calls a function whose failures stop neither the training nor the log.

    It is called in the thread that trains: trackers keep the present run for each thread, and a
    call in another one would begin a new run.

    Args:
        function: The function.
    """

    def __init__(self, function: OnPoint) -> None:
        self._function = function
        self._has_failed = False

    def __call__(self, step: int, numbers: Mapping[str, float]) -> None:
        """Hands over numbers of a step, as Python's own."""
        try:
            self._function(step, {tag: float(number) for tag, number in numbers.items()})
        except Exception as error:
            if self._has_failed:
                return
            self._has_failed = True
            name = getattr(self._function, "__qualname__", repr(self._function))
            warnings.warn(
                f"`on_point` of the log, {name}, failed at step {step}. Training and log go on; it "
                f"is called at each point as before, and further failures are not shown. "
                f"{type(error).__name__}: {error}",
                stacklevel=2,
            )
