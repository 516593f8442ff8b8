"""Remembers what this process has logged of a model, so that its steps go on in the same folder."""

from __future__ import annotations

import weakref
from typing import Any

from kerasreg.tensorboard.event_file import place_of


class LoggedSteps:
    """The steps of one model in one folder.

    Args:
        model: The model.

    Attributes:
        step: The last step that was logged; -1 before the first.
    """

    def __init__(self, model: Any) -> None:
        self._model = weakref.ref(model)
        self._optimizer: weakref.ref[Any] | None = None
        self._shift = 0
        self.step = -1

    def is_of(self, model: Any) -> bool:
        """Whether the steps are of this very model."""
        return model is not None and self._model() is model

    def add(self, step: int, shift: int) -> None:
        """Takes note of a point, and of how far its step is ahead of what was counted for it."""
        optimizer = getattr(self._model(), "optimizer", None)
        self._optimizer = None if optimizer is None else weakref.ref(optimizer)
        self._shift, self.step = shift, step

    def shift_of(self, optimizer: Any) -> int:
        """How far steps are ahead of the count of this optimizer; 0 where another one counted."""
        counted = None if self._optimizer is None else self._optimizer()
        return self._shift if counted is optimizer else 0


# Only of the last model in each folder, as its points have replaced those of others.
_LOGGED: dict[str, LoggedSteps] = {}


def steps_logged(folder: str, model: Any) -> LoggedSteps | None:
    """What this process has logged of a model into a folder, if it was the last to log there."""
    steps = _LOGGED.get(place_of(folder))
    return steps if steps is not None and steps.is_of(model) else None


def begin_log(folder: str, model: Any) -> LoggedSteps:
    """Begins a log in a folder, in which nothing goes on from what was there before."""
    steps = _LOGGED[place_of(folder)] = LoggedSteps(model)
    return steps
