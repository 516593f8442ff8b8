"""The points of one step: what was measured, under the names of the charts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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


def add_totals(summary: summary_pb2.Summary, totals: Mapping[str, float]) -> None:
    """Adds numbers of the whole model, by the names of their charts."""
    for name, value in totals.items():
        add_scalar(summary, f"{TOTALS}/{name}", value)


def add_epoch(
    summary: summary_pb2.Summary,
    totals: Mapping[str, float],
    losses: Mapping[str, float],
    logs: Mapping[str, Any],
) -> list[str]:
    """Adds what is known at the end of an epoch only; returns its names.

    Args:
        summary: The summary to add to.
        totals: The numbers of the last point, which it has already.
        losses: The parts of the losses.
        logs: Keras's metrics of the epoch, and whatever else its `logs` hold.
    """
    # Keras's loss is there as the sum of its parts.
    split = {name.replace("data_loss", "loss") for name in losses}
    parts = with_sums(losses)
    known = {*totals, *parts, *split, "learning_rate"}
    metrics = {
        str(name): float(value)
        for name, value in logs.items()
        if is_number(value) and str(name) not in known
    }
    metrics |= {name: loss for name, loss in parts.items() if name.startswith("val_")}
    add_totals(summary, metrics)
    return list(metrics)


def add_measured(
    summary: summary_pb2.Summary,
    weights: Sequence[Weight],
    measured: Measured,
    totals: Mapping[str, float],
    values: Mapping[str, float],
) -> None:
    """Adds what was measured of a model and of each of its weights.

    Args:
        summary: The summary to add to.
        weights: The weights.
        measured: What was measured of them.
        totals: More numbers of the whole model, by name.
        values: Points of other charts, by tag.
    """
    add_totals(summary, {**measured.totals, **totals})
    total = measured.totals["regularization_loss"]
    for weight, numbers, penalty in zip(
        weights, measured.of_each(), measured.penalties, strict=True
    ):
        for name, value in numbers.items():
            add_scalar(summary, f"{name}/{weight.name}", value)
        # Asked at each point, as a penalty may come while the run is open.
        if weight.variable.regularizer is not None or weight.proximal_penalties:
            share = penalty / total if total and math.isfinite(total) else total
            add_scalar(summary, f"regularization_loss/{weight.name}", penalty)
            add_scalar(summary, f"penalty_share/{weight.name}", share)
    for weight, rows in zip(weights, measured.histograms, strict=False):
        add_histogram(summary, f"nonzero/{weight.name}", rows)
    for tag, value in values.items():
        add_scalar(summary, tag, value)


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
