"""The run that a logger writes, from its first point to its last."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kerasreg.tensorboard.options import Options
from kerasreg.tensorboard.points import with_sums
from kerasreg.tensorboard.run import Run
from kerasreg.tensorboard.zero_pattern import ZeroPatterns
from kerasreg.weights import Weight, find_weights

# How long to wait for a slow disk.
FLUSH_SECONDS = 2.0


class Recorder:
    """Opens a run, says what belongs to a point of it, and closes it.

    Args:
        log_dir: Folder of the run.
        pattern: Chooses the weights to log.
        options: What to log.
    """

    def __init__(self, log_dir: str, pattern: str | re.Pattern[str] | None, options: Options):
        self._log_dir = log_dir
        self._pattern = pattern
        self._options = options
        self._run: Run | None = None
        self.totals: dict[str, float] = {}
        self.logged_step = -1

    @property
    def is_open(self) -> bool:
        """Whether there is a run to write to."""
        return self._run is not None

    def find_weights(self, model: Any) -> list[Weight]:
        """The weights to log; raises if there are none, or none that `input_shape` fits."""
        weights = find_weights(model, self._pattern)
        ZeroPatterns(weights, self._options.input_shape)
        return weights

    def open(self, model: Any, weights: Sequence[Weight], first_step: int) -> None:
        """Begins a run, or goes on with what is in the folder."""
        self._run = Run(self._log_dir, model, weights, first_step, self._options)

    def log(self, model: Any, step: int, losses: Mapping[str, float]) -> None:
        """Writes a point of everything that is known at any step."""
        assert self._run is not None
        training = {name: loss for name, loss in losses.items() if not _is_validation(name)}
        self._run.log(model, step, training)
        self.totals = self._run.totals
        self.logged_step = step

    def end_epoch(self, step: int, losses: Mapping[str, float], logs: Mapping[str, Any]) -> None:
        """Adds to the point at `step` what is known at the end of an epoch only."""
        assert self._run is not None
        self._run.settle()
        self.totals = self._run.totals
        validation = {name: loss for name, loss in losses.items() if _is_validation(name)}
        # Keras's loss is there as the sum of its parts.
        split = {name.replace("data_loss", "loss") for name in losses}
        known = {*self.totals, *with_sums(losses), *split, "learning_rate"}
        metrics = {name: value for name, value in logs.items() if str(name) not in known}
        self._run.end_epoch(step, validation, metrics)

    def flush(self, timeout: float = FLUSH_SECONDS) -> None:
        """Waits until all is written, for `timeout` seconds at most."""
        if self._run is not None:
            self._run.flush(timeout)

    def finish(self, step: int) -> None:
        """Adds what is said once, of the trained model."""
        if self._run is not None:
            self._run.finish(step)

    def close(self) -> None:
        """Closes the run."""
        run, self._run = self._run, None
        self.totals = {}
        if run is not None:
            run.close()


def _is_validation(name: str) -> bool:
    return name.startswith("val_")
