"""One run: what is measured at a step, and its way into the run's folder."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tensorboard.compat.proto import summary_pb2

from kerasreg._backends import is_chief
from kerasreg._checks import check_bool, check_non_negative, is_number
from kerasreg.statistics.measurement import statistics_of
from kerasreg.statistics.numbers import Measured
from kerasreg.statistics.optimality import Optimality, check_data, total_residual
from kerasreg.statistics.sparsity_report import report_of
from kerasreg.statistics.weights import Weight, find_weights
from kerasreg.tensorboard.dashboards import Dashboards
from kerasreg.tensorboard.hparams import check_hparams
from kerasreg.tensorboard.pages import add_marker, configuration_page, report_page
from kerasreg.tensorboard.pictures import ZeroPatterns, check_input_shape
from kerasreg.tensorboard.points import (
    add_scalar,
    add_text,
    add_totals,
    add_weights,
    live_values,
    totals_of,
    with_sums,
)
from kerasreg.tensorboard.worker import Worker
from kerasreg.tensorboard.writer import EventWriter, NoWriter


@dataclass(frozen=True)
class Options:
    """The arguments of `RegularizationLogger` that say what is logged; raises if one is invalid.

    Args:
        threshold: Magnitude below which a weight counts as near zero.
        histograms: Whether to log histograms.
        optimality_data: Data to log the optimality residual on, or `None`.
        input_shape: Shape of an image, to draw which pixels are used, or `None`.
        hparams: Hyper-parameters of the run for the HPARAMS tab, or `None`.
    """

    threshold: float
    histograms: bool
    optimality_data: tuple[Any, ...] | None = None
    input_shape: tuple[int, ...] | None = None
    hparams: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        """Validates the arguments."""
        checked = {
            "threshold": check_non_negative("threshold", self.threshold),
            "histograms": check_bool("histograms", self.histograms),
            "optimality_data": check_data("optimality_data", self.optimality_data),
            "hparams": check_hparams("hparams", self.hparams),
            "input_shape": check_input_shape("input_shape", self.input_shape),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)


class Run:
    """Measures a model's weights at once, and writes what it found in a thread of its own.

    Args:
        log_dir: Folder of the run.
        model: The model.
        weights: Those of its weights that are logged.
        first_step: First step that will be logged.
        options: What to log.
    """

    def __init__(
        self,
        log_dir: str,
        model: Any,
        weights: Sequence[Weight],
        first_step: int,
        options: Options,
    ) -> None:
        self.totals: dict[str, float] = {}
        self._weights = weights
        self._statistics = statistics_of(weights, options.threshold, options.histograms)
        self._optimality = Optimality.of(model, weights, options.optimality_data)
        self._patterns = ZeroPatterns(weights, options.input_shape)
        self._dashboards = Dashboards(log_dir, weights, options.hparams)
        self._residual: dict[str, float] = {}
        self._last: Callable[[], Measured] | None = None
        # Every process of a distributed training measures; one of them writes.
        self._writer = EventWriter(log_dir, first_step) if is_chief(model) else NoWriter()
        # After the writer, so that at the end of the process it has written before that closes.
        self._worker = Worker()
        start = self._dashboards.at_start()
        add_text(start, "configuration", configuration_page(model, weights))
        add_marker(start, weights)
        self._write(first_step, start)

    def log(self, model: Any, step: int, losses: Mapping[str, float]) -> None:
        """Measures the weights as they are, for a point on every chart.

        Args:
            model: The model.
            step: Training batches that the model has seen.
            losses: Data loss and penalty, where they are known.
        """
        self._check()
        if not self._statistics.immediate:
            self.settle()  # with the point before, which is there by now
        self._last = functools.cache(self._statistics())
        self._residual = {}
        values = live_values(model, self._weights)
        if self._optimality is not None:
            residuals = self._optimality.residuals()
            values |= {f"optimality_residual/{name}": value for name, value in residuals.items()}
            self._residual = {"optimality_residual": total_residual(residuals)}
        if self._statistics.immediate:
            self.settle()
        totals = with_sums(losses) | self._residual
        self._worker.put(partial(self._write_point, step, self._last, values, totals))

    def settle(self) -> None:
        """Waits until `totals` are those of the last point."""
        if self._last is not None:
            self.totals = totals_of(self._last()) | self._residual

    def flush(self, timeout: float) -> None:
        """Waits until all is written, for `timeout` seconds at most."""
        self._worker.flush(timeout)
        self._check()

    def end_epoch(
        self, step: int, validation: Mapping[str, float], metrics: Mapping[str, Any]
    ) -> None:
        """Writes what is known at the end of an epoch only.

        Args:
            step: The step of the last point.
            validation: The parts of `val_loss`, where they are known.
            metrics: Keras's metrics of the epoch, and whatever else its `logs` hold.
        """
        summary = summary_pb2.Summary()
        numbers = {str(name): float(value) for name, value in metrics.items() if is_number(value)}
        numbers |= with_sums(validation)
        add_totals(summary, numbers)
        summary.MergeFrom(self._dashboards.after_first_epoch(list(numbers)))
        self._write(step, summary)
        self.draw(step)

    def draw(self, step: int, final: bool = False) -> None:
        """Draws where the zeros are, of the weights whose number of zeros has changed.

        Args:
            step: The step of the last point, at which the weights still are.
            final: Whether to draw all of them.
        """
        if self._last is not None:
            pictures = summary_pb2.Summary()
            zeros = [part.zeros for part in self._last().statistics]
            self._patterns.add_to(pictures, step, zeros, final)
            self._write(step, pictures)

    def finish(self, step: int) -> None:
        """Writes the last pictures and the sparsity report."""
        if self._last is not None:
            self.draw(step, final=True)
            page = self._dashboards.at_end()
            report = report_of(self._weights, self._last().statistics)
            add_text(page, "sparsity_report", report_page(report))
            self._write(step, page)

    def close(self) -> None:
        """Closes the run's file when all is written."""
        self._worker.close()
        self._writer.close()
        self._check()

    def _write_point(
        self,
        step: int,
        wait: Callable[[], Measured],
        values: dict[str, float],
        totals: dict[str, float],
    ) -> None:
        """Runs in the worker's thread."""
        summary = summary_pb2.Summary()
        measured = wait()
        add_totals(summary, totals_of(measured) | totals)
        add_weights(summary, self._weights, measured)
        for tag, value in values.items():
            add_scalar(summary, tag, value)
        self._writer.write(step, summary)

    def _check(self) -> None:
        """Raises or warns, in the training's thread, of what went wrong in the other."""
        self._writer.warn()
        self._worker.check()

    def _write(self, step: int, summary: summary_pb2.Summary) -> None:
        if summary.value:
            self._worker.put(partial(self._writer.write, step, summary))


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
