"""A run of TensorBoard's: what is measured of a model, and its way into the run's folder."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from tensorboard.compat.proto import summary_pb2

from kerasreg._backends import is_chief
from kerasreg._checks import check_bool, check_non_negative, check_pattern
from kerasreg.statistics.activations import (
    Activated,
    Activations,
    check_activation_data,
    check_fits,
)
from kerasreg.statistics.measurement import statistics_of
from kerasreg.statistics.names import Dropouts, LayerNames
from kerasreg.statistics.numbers import Measured
from kerasreg.statistics.optimality import RESIDUAL, Optimality, check_data, total_residual
from kerasreg.statistics.places import find_places
from kerasreg.statistics.sparsity_report import report_of
from kerasreg.statistics.variables import choose_weights
from kerasreg.statistics.weights import find_weights
from kerasreg.tensorboard.compaction_page import add_compaction
from kerasreg.tensorboard.dashboards import Dashboards
from kerasreg.tensorboard.event_file import EventWriter, has_points
from kerasreg.tensorboard.hparams import Value, check_hparams
from kerasreg.tensorboard.pages import add_marker, configuration_page, report_page
from kerasreg.tensorboard.pictures import (
    Draw,
    ZeroPatterns,
    check_input_shape,
    drawn,
    input_kernel,
)
from kerasreg.tensorboard.point_hook import OnPoint, PointHook, check_on_point
from kerasreg.tensorboard.points import (
    Point,
    add_measured,
    add_text,
    add_totals,
    epoch_numbers,
    live_values,
    metrics_in,
    with_sums,
)
from kerasreg.tensorboard.settings import Settings
from kerasreg.tensorboard.training_page import training_page
from kerasreg.tensorboard.worker import Worker
from kerasreg_tensorboard.names import TOTALS


@dataclass
class Options:
    """The arguments of `RegularizationLogger` that say what is logged; raises if one is invalid.

    Args:
        weights: Pattern, searched for in `variable.path`, of the weights to log; `None` for all.
        threshold: Magnitude below which a weight counts as near zero.
        histograms: Whether to log histograms.
        optimality_data: Data to log the optimality residual on, or `None`.
        input_shape: Shape of an image, to draw which pixels are used, or `None`.
        hparams: Hyper-parameters of the run for the HPARAMS tab; `None` for those that the model
            tells, `False` for no row.
        activation_data: Inputs to log activations on, or `None`.
        on_point: Is called with the step and the numbers of each point, or `None`.
    """

    weights: str | re.Pattern[str] | None
    threshold: float
    histograms: bool
    optimality_data: tuple[Any, ...] | None
    input_shape: tuple[int, ...] | None
    hparams: dict[str, Any] | Literal[False] | None
    activation_data: Any
    on_point: OnPoint | None

    def __post_init__(self) -> None:
        """Validates the arguments."""
        if self.weights is not None:
            self.weights = check_pattern("weights", self.weights)
        self.threshold = check_non_negative("threshold", self.threshold)
        self.histograms = check_bool("histograms", self.histograms)
        self.optimality_data = check_data("optimality_data", self.optimality_data)
        self.input_shape = check_input_shape("input_shape", self.input_shape)
        self.hparams = check_hparams("hparams", self.hparams)
        self.activation_data = check_activation_data("activation_data", self.activation_data)
        self.on_point = check_on_point("on_point", self.on_point)

    def row(self, settings: Settings) -> Callable[[], Mapping[str, Value | None]] | None:
        """What tells the hyper-parameters of the run's row in the HPARAMS tab, if it has one."""
        if self.hparams is False:
            return None
        return settings.hparams if self.hparams is None else partial(dict, self.hparams)

    def check_fit(self, model: Any) -> None:
        """Raises if the model has none of the weights, or inputs, that the arguments speak of."""
        variables = [each.variable for each in choose_weights(model, self.weights)]
        if self.input_shape is not None:
            input_kernel(variables, self.input_shape)
        if self.activation_data is not None:
            check_fits("activation_data", self.activation_data, model)


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
        fit: The `params` that Keras gives its callbacks, in a loop of one's own none.

    Attributes:
        totals: The numbers of the last point of all weights together, by name.
    """

    def __init__(
        self,
        log_dir: str,
        model: Any,
        first_step: int,
        options: Options,
        optimizers: Any,
        fit: Mapping[str, Any] | None = None,
    ) -> None:
        self.totals: dict[str, float] = {}
        self._names, self._optimizers, self._fit = LayerNames(model), optimizers, fit or {}
        weights = find_weights(model, options.weights, self._names, optimizers)
        self._weights = weights
        self._dropouts = Dropouts(model, self._names)
        self._places = find_places(model, self._names, self._dropouts)
        self._statistics = statistics_of(weights, options.threshold, options.histograms)
        data = options.optimality_data
        self._optimality = None if data is None else Optimality(model, weights, data)
        self._residual: dict[str, float] = {}
        x = options.activation_data
        self._activations = (
            None if x is None else Activations(model, self._names, x, options.histograms)
        )
        self._activated: Callable[[], Activated] = Activated
        self._running: tuple[int, set[str]] = (-1, set())
        self._patterns = ZeroPatterns(weights, options.input_shape)
        settings = Settings(model, self._names, weights, optimizers, self._dropouts.rates())
        self._dashboards = Dashboards(log_dir, weights, options.row(settings))
        self._last: Callable[[], Measured] | None = None
        # Every process of a distributed training measures; one of them writes.
        self._writer = EventWriter(log_dir, first_step) if is_chief(model) else None
        # That process alone hands points on, too.
        hook = options.on_point if self._writer is not None else None
        self._hook = None if hook is None else PointHook(hook)
        self._not_handed: Callable[[], dict[str, float]] = dict
        # After the writer, so that at the end of the process it has written before that closes.
        self._worker = Worker()
        self._describe(model, first_step)

    def _describe(self, model: Any, step: int) -> None:
        """Writes what is said of the weights, not of their values."""
        summary = self._dashboards.layout()
        training = training_page(model, self._optimizers, self._fit)
        page = configuration_page(model, self._names, self._weights, self._dropouts.rates())
        add_text(summary, "configuration", f"{training}\n\n{page}")
        add_marker(summary, self._weights, self._places)
        self._write(step, summary)

    def log(
        self, model: Any, step: int, losses: Mapping[str, float], logs: Mapping[str, Any]
    ) -> None:
        """Measures the weights as they are, for a point on every chart.

        Args:
            model: The model.
            step: Training batches that the model has seen.
            losses: The parts of the losses, where they are known; those of `val_loss` wait for
                `end_epoch`.
            logs: Keras's metrics of the epoch so far, where they are known.
        """
        self._check()
        if not self._statistics.immediate:
            self._settle()  # with the point before, which is there by now
        if self._optimizers.refresh():  # one that was built since then
            self._describe(model, step)
        self._last = functools.cache(self._statistics())
        self._activated = functools.cache(self._activate())
        self._residual = {}
        rates = self._optimizers.learning_rates()
        held = self._optimizers.share_held()
        values = live_values(rates, held, self._weights, self._dropouts)
        if self._optimality is not None:
            residuals = self._optimality.residuals()
            values |= {f"optimality_residual/{name}": value for name, value in residuals.items()}
            self._residual = {RESIDUAL: total_residual(residuals)}
        if self._statistics.immediate:
            self._settle()
        metrics = metrics_in(logs, losses)
        self._running = step, set(metrics)
        if self._writer is not None:
            training = {n: loss for n, loss in losses.items() if not n.startswith("val_")}
            totals = metrics | with_sums(training) | self._residual
            point = Point(self._weights, self._last, self._activated, totals, values)
            self._worker.put(partial(self._write_point, self._writer, step, point))
            self._not_handed = point.numbers

    def end_epoch(self, step: int, losses: Mapping[str, float], logs: Mapping[str, Any]) -> None:
        """Adds to the last point what is known at the end of an epoch only.

        Args:
            step: The step of the last point, at which the weights still are.
            losses: The parts of the losses, where they are known.
            logs: Keras's metrics of the epoch, and whatever else its `logs` hold.
        """
        self._settle()
        numbers = epoch_numbers(self.totals, losses, logs)
        # The epoch's metrics are those so far, where its last batch has a point.
        known = self._running[1] if self._running[0] == step else set()
        new = {name: number for name, number in numbers.items() if name not in known}
        summary = summary_pb2.Summary()
        add_totals(summary, new)
        summary.MergeFrom(self._dashboards.after_first_epoch([*losses, *numbers]))
        self._write(step, summary)
        self._draw(step)
        self.hand_over(step, {f"{TOTALS}/{name}": number for name, number in new.items()})

    def hand_over(self, step: int, more: Mapping[str, float] | None = None) -> None:
        """Hands the numbers of the last point to `on_point`, unless it has had them, and others.

        On an accelerator it waits until they have been measured.
        """
        if self._hook is not None:
            numbers, self._not_handed = self._not_handed() | dict(more or {}), dict
            if numbers:
                self._hook(step, numbers)

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
                text += f"\n\n## Compaction\n\n{add_compaction(page, model)}"
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
            self.totals = self._last().totals | self._activated().totals | self._residual

    def _draw(self, step: int, final: bool = False) -> None:
        """Draws where the zeros are, of all weights or of those whose number of zeros changed."""
        if self._last is not None and self._writer is not None:
            zeros = [part.zeros for part in self._last().statistics]
            if drawings := self._patterns.count(step, zeros, final):
                self._worker.put(partial(_write_pictures, self._writer, step, drawings))

    def _activate(self) -> Callable[[], Activated]:
        """Starts to measure the activations; without them the log goes on."""
        if self._activations is not None:
            try:
                return self._activations()
            except Exception as error:
                self._activations = None
                warnings.warn(
                    "The log goes on without activations: the outputs of the model's layers on "
                    f"`activation_data` could not be had. {type(error).__name__}: {error}",
                    stacklevel=2,
                )
        return Activated

    def _write_point(self, writer: EventWriter, step: int, point: Point) -> None:
        """Runs in the worker's thread."""
        summary = summary_pb2.Summary()
        add_measured(summary, point)
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


def _write_pictures(writer: EventWriter, step: int, drawings: Sequence[Draw]) -> None:
    """Runs in the worker's thread."""
    writer.write(step, drawn(drawings))
