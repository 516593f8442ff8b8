"""Counts training batches across epochs, executions and interrupted runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from kerasreg._keras_internals import batches_seen


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

    def begin_epoch(self, model: Any, epoch: int, params: Mapping[str, Any]) -> None:
        """Starts an epoch; the first of a `fit` continues where the model's training stopped."""
        self._epoch_length = params.get("steps")
        self._batches_before = _batches(model)
        if self._fit_begins:
            self._fit_begins = False
            self.step = self._first_step(epoch)
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
