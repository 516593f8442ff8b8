"""The points of one step: what was measured, under the names of the charts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tensorboard.compat.proto import summary_pb2, types_pb2
from tensorboard.plugins.histogram import metadata as histogram_metadata
from tensorboard.plugins.scalar import metadata as scalar_metadata
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.util.tensor_util import make_tensor_proto

from kerasreg._checks import is_number
from kerasreg._tensors import to_float
from kerasreg.statistics.activations import Activated
from kerasreg.statistics.names import Dropouts
from kerasreg.statistics.numbers import Measured
from kerasreg.statistics.weights import Weight, strengths
from kerasreg_tensorboard.names import TOTALS

_SCALAR = scalar_metadata.create_summary_metadata(display_name=None, description=None)


def live_values(
    rates: Mapping[str, Any], held: float | None, weights: Sequence[Weight], dropouts: Dropouts
) -> dict[str, float]:
    """What can change while a model trains, by tag: learning rates, dropout rates, strengths, ...

    Args:
        rates: The learning rates by the names of their optimizers, a single one as `""`.
        held: The share of the weights that `Proximal` holds at zero, if any does.
        weights: The weights that are logged.
        dropouts: The model's dropouts.
    """
    values = {f"dropout_rate/{name}": rate for name, rate in dropouts.rates().items()}
    for name, rate in rates.items():
        values[f"learning_rate/{name}" if name else f"{TOTALS}/learning_rate"] = to_float(rate)
    if held is not None:
        values[f"{TOTALS}/held"] = held
    scale, by_weight = strengths(weights)
    if scale is not None:
        values[f"{TOTALS}/strength_scale"] = scale
    return values | {f"strength/{name}": value for name, value in by_weight.items()}


def with_sums(losses: Mapping[str, float]) -> dict[str, float]:
    """The parts of the losses and their sums, as `total_loss` and `val_total_loss`."""
    sums = {
        f"{prefix}total_loss": losses[f"{prefix}data_loss"] + losses[f"{prefix}penalty"]
        for prefix in ("", "val_")
        if f"{prefix}data_loss" in losses
    }
    return {**losses, **sums}


def metrics_in(logs: Mapping[str, Any], losses: Mapping[str, float]) -> dict[str, float]:
    """Keras's metrics, and other numbers, among its logs.

    Args:
        logs: The logs.
        losses: The parts of the losses: Keras's loss is there as their sum.
    """
    split = {name.replace("data_loss", "loss") for name in losses}
    known = {*with_sums(losses), *split, "learning_rate"}
    return {
        str(name): float(value)
        for name, value in logs.items()
        if is_number(value) and str(name) not in known
    }


def add_totals(summary: summary_pb2.Summary, totals: Mapping[str, float]) -> None:
    """Adds numbers of the whole model, by the names of their charts."""
    for name, value in totals.items():
        add_scalar(summary, f"{TOTALS}/{name}", value)


def epoch_numbers(
    totals: Mapping[str, float], losses: Mapping[str, float], logs: Mapping[str, Any]
) -> dict[str, float]:
    """What is known of the whole model at the end of an epoch only, by name.

    Args:
        totals: The numbers of the last point, which it has already.
        losses: The parts of the losses.
        logs: Keras's metrics of the epoch, and whatever else its `logs` hold.
    """
    metrics = {n: value for n, value in metrics_in(logs, losses).items() if n not in totals}
    parts = with_sums(losses)
    return metrics | {name: loss for name, loss in parts.items() if name.startswith("val_")}


@dataclass(frozen=True)
class Point:
    """What is measured at one step; asking for it waits for the device, in any thread.

    Args:
        weights: The weights.
        measured: Waits for what is measured of them.
        activated: Waits for what is measured of the activations.
        totals: More numbers of the whole model, by name.
        values: Points of other charts, by tag.
    """

    weights: Sequence[Weight]
    measured: Callable[[], Measured]
    activated: Callable[[], Activated]
    totals: Mapping[str, float]
    values: Mapping[str, float]

    def numbers(self) -> dict[str, float]:
        """All numbers, of the model, its weights and its layers, by tag."""
        measured, activated = self.measured(), self.activated()
        totals = {**self.totals, **measured.totals, **activated.totals}
        numbers = {f"{TOTALS}/{name}": value for name, value in totals.items()}
        total = measured.totals["regularization_loss"]
        for weight, of_weight, penalty in zip(
            self.weights, measured.of_each(), measured.penalties, strict=True
        ):
            numbers |= {f"{name}/{weight.name}": value for name, value in of_weight.items()}
            # Asked at each point, as a penalty may come while the run is open.
            if weight.variable.regularizer is not None or weight.proximal_penalties:
                share = penalty / total if total and math.isfinite(total) else total
                numbers[f"regularization_loss/{weight.name}"] = penalty
                numbers[f"penalty_share/{weight.name}"] = share
        return numbers | activated.of_each() | dict(self.values)


def add_measured(summary: summary_pb2.Summary, point: Point) -> None:
    """Adds the numbers of a point, and the histograms of weights and activations."""
    for tag, value in point.numbers().items():
        add_scalar(summary, tag, value)
    measured, activated = point.measured(), point.activated()
    for weight, rows in zip(point.weights, measured.histograms, strict=False):
        add_histogram(summary, f"nonzero/{weight.name}", rows)
    for name, rows in zip(activated.names, activated.histograms, strict=False):
        add_histogram(summary, f"activations/{name}", rows)


def add_scalar(summary: summary_pb2.Summary, tag: str, value: float) -> None:
    """Adds a point to the chart `tag`; NaN and infinity are written as they are."""
    point = summary.value.add(tag=tag, metadata=_SCALAR)
    point.tensor.dtype = types_pb2.DT_FLOAT
    point.tensor.tensor_shape.SetInParent()
    point.tensor.float_val.append(value)


def add_text(summary: summary_pb2.Summary, tag: str, markdown: str) -> None:
    """Adds a page of Markdown."""
    summary.MergeFrom(text_pb(tag, markdown))


def add_histogram(summary: summary_pb2.Summary, tag: str, buckets: npt.NDArray[np.float64]) -> None:
    """Adds a histogram from its buckets, rows `[left, right, count]`."""
    summary.value.add(
        tag=tag,
        metadata=histogram_metadata.create_summary_metadata(display_name=None, description=None),
        tensor=make_tensor_proto(np.asarray(buckets, dtype=np.float64)),
    )
