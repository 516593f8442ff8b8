"""A run of TensorBoard's: what is measured of a model, and its way into the run's folder."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from tensorboard.compat.proto import summary_pb2

from kerasreg._backends import is_chief
from kerasreg._checks import check_bool, check_non_negative, check_pattern
from kerasreg.statistics.measurement import statistics_of
from kerasreg.statistics.names import Dropouts, LayerNames
from kerasreg.statistics.numbers import Measured
from kerasreg.statistics.optimality import Optimality, check_data, total_residual
from kerasreg.statistics.places import find_places
from kerasreg.statistics.sparsity_report import report_of
from kerasreg.statistics.variables import choose_weights
from kerasreg.statistics.weights import find_weights
from kerasreg.tensorboard.compaction_page import add_compaction
from kerasreg.tensorboard.dashboards import Dashboards
from kerasreg.tensorboard.event_file import EventWriter, has_points
from kerasreg.tensorboard.hparams import check_hparams
from kerasreg.tensorboard.pages import add_marker, configuration_page, report_page
from kerasreg.tensorboard.pictures import ZeroPatterns, check_input_shape, input_kernel
from kerasreg.tensorboard.points import add_epoch, add_measured, add_text, live_values, with_sums
from kerasreg.tensorboard.worker import Worker


@dataclass
class Options:
    """The arguments of `RegularizationLogger` that say what is logged; raises if one is invalid.

    Args:
        weights: Pattern, searched for in `variable.path`, of the weights to log; `None` for all.
        threshold: Magnitude below which a weight counts as near zero.
        histograms: Whether to log histograms.
        optimality_data: Data to log the optimality residual on, or `None`.
        input_shape: Shape of an image, to draw which pixels are used, or `None`.
        hparams: Hyper-parameters of the run for the HPARAMS tab, or `None`.
    """

    weights: str | re.Pattern[str] | None
    threshold: float
    histograms: bool
    optimality_data: tuple[Any, ...] | None
    input_shape: tuple[int, ...] | None
    hparams: dict[str, Any] | None

    def __post_init__(self) -> None:
        """Validates the arguments."""
        if self.weights is not None:
            self.weights = check_pattern("weights", self.weights)
        self.threshold = check_non_negative("threshold", self.threshold)
        self.histograms = check_bool("histograms", self.histograms)
        self.optimality_data = check_data("optimality_data", self.optimality_data)
        self.input_shape = check_input_shape("input_shape", self.input_shape)
        self.hparams = check_hparams("hparams", self.hparams)

    def check_fit(self, model: Any) -> None:
        """Raises if the model has none of the weights that these arguments speak of."""
        variables = [each.variable for each in choose_weights(model, self.weights)]
        if self.input_shape is not None:
            input_kernel(variables, self.input_shape)


def replaces_points(log_dir: str, model: Any, first_step: int) -> bool:
    """Whether a run from this step on will take the place of points that TensorBoard shows."""
    # Of a distributed training one process writes, and warns.
    return is_chief(model) and has_points(log_dir, first_step)


# How long to wait for a slow disk, in seconds.
FLUSH_SECONDS = 2.0


class Run:
    """Measures a model's weights at once, and writes what it found in a thread of its own.

    Args:
        log_dir: Folder of the run.
        model: The model, which `options` fit.
        first_step: First step that will be logged.
        options: What to log.
        optimizers: The `Optimizers` that train the model.

    Attributes:
        totals: The numbers of the last point of all weights together, by name.
    """

    def __init__(
        self, log_dir: str, model: Any, first_step: int, options: Options, optimizers: Any
    ) -> None:
        self.totals: dict[str, float] = {}
        self._names, self._optimizers = LayerNames(model), optimizers
        weights = find_weights(model, options.weights, self._names, optimizers)
        self._weights = weights
        self._dropouts = Dropouts(model, self._names)
        self._places = find_places(model, self._names, self._dropouts)
        self._statistics = statistics_of(weights, options.threshold, options.histograms)
        data = options.optimality_data
        self._optimality = None if data is None else Optimality(model, weights, data)
        self._residual: dict[str, float] = {}
        self._patterns = ZeroPatterns(weights, options.input_shape)
        self._dashboards = Dashboards(log_dir, weights, options.hparams)
        self._last: Callable[[], Measured] | None = None
        # Every process of a distributed training measures; one of them writes.
        self._writer = EventWriter(log_dir, first_step) if is_chief(model) else None
        # After the writer, so that at the end of the process it has written before that closes.
        self._worker = Worker()
        self._describe(model, first_step)

    def _describe(self, model: Any, step: int) -> None:
        """Writes what is said of the weights, not of their values."""
        summary = self._dashboards.layout()
        page = configuration_page(model, self._names, self._weights, self._dropouts.rates())
        add_text(summary, "configuration", page)
        add_marker(summary, self._weights, self._places)
        self._write(step, summary)

    def log(self, model: Any, step: int, losses: Mapping[str, float]) -> None:
        """Measures the weights as they are, for a point on every chart.

        Args:
            model: The model.
            step: Training batches that the model has seen.
            losses: The parts of the losses, where they are known; those of `val_loss` wait for
                `end_epoch`.
        """
        self._check()
        if not self._statistics.immediate:
            self._settle()  # with the point before, which is there by now
        if self._optimizers.refresh():  # one that was built since then
            self._describe(model, step)
        self._last = functools.cache(self._statistics())
        self._residual = {}
        rates = self._optimizers.learning_rates()
        held = self._optimizers.share_held()
        values = live_values(rates, held, self._weights, self._dropouts)
        if self._optimality is not None:
            residuals = self._optimality.residuals()
            values |= {f"optimality_residual/{name}": value for name, value in residuals.items()}
            self._residual = {"optimality_residual": total_residual(residuals)}
        if self._statistics.immediate:
            self._settle()
        if self._writer is not None:
            training = {n: loss for n, loss in losses.items() if not n.startswith("val_")}
            point = (self._last, with_sums(training) | self._residual, values)
            self._worker.put(partial(self._write_point, self._writer, step, *point))

    def end_epoch(self, step: int, losses: Mapping[str, float], logs: Mapping[str, Any]) -> None:
        """Adds to the last point what is known at the end of an epoch only.

        Args:
            step: The step of the last point, at which the weights still are.
            losses: The parts of the losses, where they are known.
            logs: Keras's metrics of the epoch, and whatever else its `logs` hold.
        """
        self._settle()
        summary = summary_pb2.Summary()
        metrics = add_epoch(summary, self.totals, losses, logs)
        summary.MergeFrom(self._dashboards.after_first_epoch(metrics))
        self._write(step, summary)
        self._draw(step)

    def flush(self, timeout: float = FLUSH_SECONDS) -> None:
        """Waits until all is written, for `timeout` seconds at most."""
        self._worker.flush(timeout)
        self._warn()

    def finish(self, model: Any, step: int) -> None:
        """Writes what is said once, of the trained model: last pictures and the two reports."""
        if self._last is not None:
            self._draw(step, final=True)
            page = self._dashboards.at_end()
            report = report_of(self._weights, self._last())
            text = report_page(report)
            if self._writer is not None:
                text += f"\n\n{add_compaction(page, model)}"
            add_text(page, "sparsity_report", text)
            self._write(step, page)

    def close(self) -> None:
        """Closes the run's file when all is written."""
        self._worker.close()
        if self._writer is not None:
            self._writer.close()
        self._check()

    def _settle(self) -> None:
        """Waits until `totals` are those of the last point."""
        if self._last is not None:
            self.totals = self._last().totals | self._residual

    def _draw(self, step: int, final: bool = False) -> None:
        """Draws where the zeros are, of all weights or of those whose number of zeros changed."""
        if self._last is not None:
            pictures = summary_pb2.Summary()
            zeros = [part.zeros for part in self._last().statistics]
            self._patterns.add_to(pictures, step, zeros, final)
            self._write(step, pictures)

    def _write_point(
        self,
        writer: EventWriter,
        step: int,
        wait: Callable[[], Measured],
        totals: Mapping[str, float],
        values: Mapping[str, float],
    ) -> None:
        """Runs in the worker's thread."""
        summary = summary_pb2.Summary()
        add_measured(summary, self._weights, wait(), totals, values)
        writer.write(step, summary)

    def _write(self, step: int, summary: summary_pb2.Summary) -> None:
        if summary.value and self._writer is not None:
            self._worker.put(partial(self._writer.write, step, summary))

    def _check(self) -> None:
        """Warns or raises, in the training's thread, of what went wrong in the other."""
        self._warn()
        self._worker.check()

    def _warn(self) -> None:
        if self._writer is not None:
            self._writer.warn()
