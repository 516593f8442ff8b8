"""One run: what is measured at a step, and its way into the run's folder."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from tensorboard.compat.proto import summary_pb2

from kerasreg._checks import is_number
from kerasreg.measurement import statistics_of
from kerasreg.optimality import Optimality, total_residual
from kerasreg.sparsity_report import report_of
from kerasreg.statistics import Measured
from kerasreg.tensorboard.chief import is_chief
from kerasreg.tensorboard.configuration import configuration_page
from kerasreg.tensorboard.dashboards import Dashboards
from kerasreg.tensorboard.marker import add_marker
from kerasreg.tensorboard.options import Options
from kerasreg.tensorboard.points import add_totals, add_weights, live_values, totals_of, with_sums
from kerasreg.tensorboard.report_page import report_page
from kerasreg.tensorboard.summaries import add_scalar, add_text
from kerasreg.tensorboard.worker import Worker
from kerasreg.tensorboard.writer import EventWriter, NoWriter
from kerasreg.tensorboard.zero_pattern import ZeroPatterns
from kerasreg.weights import Weight


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
