"""Counts training batches across epochs, executions and interrupted runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from kerasreg._keras_internals import batches_seen
from kerasreg.callbacks.logged_steps import LoggedSteps


class StepCounter:
    """The number of training batches that a model has seen.

    Keras's callbacks only hear the index of a batch within its epoch, and with
    `steps_per_execution` that of the last batch that an execution might have reached.
    """

    def __init__(self) -> None:
        self.step = 0
        self._fit_begins = True
        self.epoch_start = 0
        self._batches_before = 0
        self._epoch_length: int | None = None
        self.last_epoch_length: int | None = None

    def begin_fit(self) -> None:
        """Prepares for the first epoch of a call of `fit`."""
        self._fit_begins = True
        self.last_epoch_length = None

    def begin_model(self, model: Any) -> None:
        """Takes note of what the optimizer has seen before a loop of one's own begins."""
        self._batches_before = _batches(model)

    def begin_loop(self, model: Any, step: int, logged: LoggedSteps | None = None) -> None:
        """Starts to log in a loop of one's own, which counts by itself.

        Args:
            model: The model.
            step: The first step by that count.
            logged: What was logged of the model in the same folder, after which the steps go on
                where the count begins anew.
        """
        optimizer = getattr(model, "optimizer", None)
        before = self._batches_before
        self.from_start = step <= 1 or (optimizer is not None and before == 0)
        self.shift = 0
        if logged is not None and step < logged.step:
            self.shift = logged.shift_of(optimizer)
            is_loaded = 0 < before <= step
            if step + self.shift < logged.step and not is_loaded:
                self.shift = logged.step

    def begin_epoch(
        self,
        model: Any,
        epoch: int,
        params: Mapping[str, Any],
        logged: LoggedSteps | None = None,
    ) -> None:
        """Starts an epoch; the first of a `fit` continues where the model's training stopped.

        Args:
            model: The model.
            epoch: The number of the epoch.
            params: What Keras tells callbacks of the training.
            logged: What was logged of the model in the same folder.
        """
        self._epoch_length = params.get("steps")
        self._batches_before = _batches(model)
        if self._fit_begins:
            self._fit_begins = False
            if logged is not None:
                self.step = max(self.step, self._step_after(logged, model, epoch))
            self.step = self._first_step(epoch)
            self.from_start = self.step == 0
            self.shift = self.step - self._batches_before
        self.epoch_start = self.step

    def end_batch(self, batch: int) -> None:
        """Counts up to the last batch of an execution, whose index is within the epoch."""
        batches = batch + 1
        if self._epoch_length is not None:
            batches = min(batches, self._epoch_length)
        # Asynchronous executions may report out of order.
        self.step = max(self.step, self.epoch_start + batches)

    def end_epoch(self, model: Any) -> None:
        """Corrects the last execution of an epoch of unknown length, which may be short."""
        if self._epoch_length is None:
            excess = self.step - self.epoch_start - (_batches(model) - self._batches_before)
            if 0 < excess < model.steps_per_execution:
                self.step -= excess
        self.last_epoch_length = self.step - self.epoch_start

    @property
    def batches_ahead(self) -> int:
        """How many more batches than are counted here the optimizer had seen before the epoch."""
        return self._batches_before - self.epoch_start

    def _step_after(self, logged: LoggedSteps, model: Any, epoch: int) -> int:
        """Where a model that has been logged goes on: the optimizer may be new, or there is none.

        What is loaded, or said by `initial_epoch`, may lie before the last step that was logged.
        """
        if self._batches_before or epoch * (self._epoch_length or 0):
            return self._batches_before + logged.shift_of(getattr(model, "optimizer", None))
        return logged.step

    def _first_step(self, epoch: int) -> int:
        by_epochs = epoch * (self._epoch_length or 0)
        # A loaded optimizer knows its batches, and `initial_epoch` tells where only weights were
        # loaded. A logger that is used again goes on, even with a new optimizer.
        return max(self.step, self._batches_before, by_epochs)


class FitStepCounter(StepCounter):
    """The number of training batches in a call of `fit`, after those of the epochs before it.

    A schedule over batches starts anew with each `fit`, as one over epochs does.
    """

    def _first_step(self, epoch: int) -> int:
        if epoch and self._epoch_length is None:
            return self._batches_before
        return epoch * (self._epoch_length or 0)


def _batches(model: Any) -> int:
    """The number of batches that the model's optimizer has seen."""
    optimizer = getattr(model, "optimizer", None)
    return batches_seen(optimizer) if isinstance(optimizer, keras.optimizers.Optimizer) else 0
