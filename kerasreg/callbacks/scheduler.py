"""What the callbacks that follow a schedule share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import keras

from kerasreg._checks import check_choice, invalid_value
from kerasreg._tensors import to_number
from kerasreg.callbacks.step_counter import FitStepCounter

Schedule: TypeAlias = Callable[[int], Any]
"""A function of the epoch or the step; a `LearningRateSchedule` of Keras is one of the step."""

Every: TypeAlias = Literal["epoch", "step"]


class Scheduler(keras.callbacks.Callback):  # type: ignore[misc]
    """Asks a schedule for a number at the beginning of each epoch or step; see its subclasses.

    A subclass says what to do with it, in `_set`, and what numbers it takes, in `_expected`. In a
    training that is resumed, by `initial_epoch` or `BackupAndRestore`, the epochs before it count.
    """

    def __init__(self, schedule: Schedule, every: Every | None = None) -> None:
        super().__init__()
        if not callable(schedule):
            expected = "a function or a keras.optimizers.schedules.LearningRateSchedule"
            raise invalid_value("schedule", expected, schedule)
        if every is None:
            of_step = isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule)
            every = "step" if of_step else "epoch"
        self.schedule = schedule
        self.every: Every = check_choice("every", every, Every)
        self._steps = FitStepCounter()
        self._optimizer: Any = None

    @property
    def async_safe(self) -> bool:
        """Whether Keras may run ahead of this callback within an epoch."""
        return self.every == "epoch"

    def set_model(self, model: Any, optimizer: Any = None) -> None:
        """Counts the steps of another model anew.

        Args:
            model: The model.
            optimizer: In a training loop of your own, its optimizer, or a list of several; by
                default those that the model holds.
        """
        if model is not self._model or optimizer is not None:
            self._optimizer = optimizer
        if model is not self._model:
            self._steps = FitStepCounter()
        super().set_model(model)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begins to count: the next epoch is the first of this `fit`."""
        self._steps.begin_fit()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the epoch's number."""
        self._steps.begin_epoch(self.model, epoch, self.params or {})
        if self.every == "epoch":
            self._follow(epoch)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the step's number."""
        if self.every == "step":
            self._follow(self._steps.epoch_start + batch)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Counts the steps."""
        self._steps.end_batch(batch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Counts the steps."""
        self._steps.end_epoch(self.model)

    def _follow(self, when: int) -> None:
        value = self.schedule(when)
        number = to_number(value)
        expected = self._expected(number)
        if number is None or expected is not None:
            expected = f"a function that returns {expected}, for {self.every} {when}"
            raise invalid_value("schedule", expected, value)
        self._set(number)

    def _expected(self, number: float | None) -> str | None:
        """What the schedule should have returned instead; `None` if the number is right."""
        raise NotImplementedError

    def _set(self, number: float) -> None:
        """Sets what is scheduled to the number, from the next step on."""
        raise NotImplementedError
