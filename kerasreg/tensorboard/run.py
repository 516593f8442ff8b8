"""One run: the folder, what is measured for it at a step, and how that is named."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from tensorboard.compat.proto import summary_pb2

from kerasreg._tensors import to_float
from kerasreg.dropout_rates import dropout_rates
from kerasreg.optimality import Optimality, total_residual
from kerasreg.statistics import (
    NonZeroHistogram,
    Statistics,
    total_statistics,
    weight_statistics,
)
from kerasreg.tensorboard.configuration import configuration_page
from kerasreg.tensorboard.summaries import add_histogram, add_scalar, add_text
from kerasreg.tensorboard.writer import EventWriter
from kerasreg.weights import Weight

MEASURES = ("sparsity", "near_zero", "dead_units", "l1_norm", "l2_norm", "max_abs")

# One group that TensorBoard sorts ahead of Keras's `epoch_…`: only its first groups open.
TOTALS = "all"


class Run:
    """Measures a model's weights and writes them into a run's folder.

    Args:
        log_dir: Folder of the run.
        model: The model.
        weights: Those of its weights that are logged.
        first_step: First step that will be logged.
        threshold: Magnitude below which a weight counts as near zero.
        histograms: Whether to write histograms.
        optimality: Measures the optimality residual, if that is to be written.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        model: Any,
        weights: Sequence[Weight],
        first_step: int,
        threshold: float,
        histograms: bool,
        optimality: Optimality | None = None,
    ) -> None:
        self._weights = weights
        self._optimality = optimality
        self._threshold = threshold
        self._histograms = [NonZeroHistogram() for _ in weights] if histograms else []
        self._writer = EventWriter(log_dir, first_step)
        page = summary_pb2.Summary()
        add_text(page, "configuration", configuration_page(model, weights))
        self._writer.write(first_step, page)

    def log(self, model: Any, step: int, losses: Mapping[str, float]) -> dict[str, float]:
        """Measures the weights as they are and writes a point to every chart.

        Args:
            model: The model.
            step: Training batches that the model has seen.
            losses: Data loss and penalty, where they are known.

        Returns:
            The totals of the weights.
        """
        summary = summary_pb2.Summary()
        parts, penalties = [], []
        for weight in self._weights:
            parts.append(weight_statistics(weight, self._threshold))
            penalties.append(weight.penalty_value)
            _add_weight(summary, weight, parts[-1], penalties[-1])
        totals = {
            **_measures(total_statistics(parts)),
            "regularization_loss": sum(penalties),
            **self._add_optimality(summary),
        }
        _add_totals(summary, {**totals, **_with_sums(losses), **_learning_rate(model)})
        for name, rate in dropout_rates(model).items():
            add_scalar(summary, f"dropout_rate/{name}", rate)
        for weight, histogram in zip(self._weights, self._histograms, strict=False):
            buckets = histogram.count(weight.variable)
            add_histogram(summary, f"nonzero/{weight.name}", buckets)
        self._writer.write(step, summary)
        return totals

    def _add_optimality(self, summary: summary_pb2.Summary) -> dict[str, float]:
        if self._optimality is None:
            return {}
        residuals = self._optimality.residuals()
        for name, residual in residuals.items():
            add_scalar(summary, f"optimality_residual/{name}", residual)
        return {"optimality_residual": total_residual(residuals)}

    def add(self, step: int, losses: Mapping[str, float]) -> None:
        """Writes totals that became known after the point at `step` was written."""
        summary = summary_pb2.Summary()
        _add_totals(summary, _with_sums(losses))
        self._writer.write(step, summary)

    def close(self) -> None:
        """Closes the run's file."""
        self._writer.close()


def _measures(statistics: Statistics) -> dict[str, float]:
    return {name: getattr(statistics, name) for name in MEASURES}


def _with_sums(losses: Mapping[str, float]) -> dict[str, float]:
    """The parts of the losses and their sums, as `total_loss` and `val_total_loss`."""
    sums = {
        f"{prefix}total_loss": losses[f"{prefix}data_loss"] + losses[f"{prefix}penalty"]
        for prefix in ("", "val_")
        if f"{prefix}data_loss" in losses
    }
    return {**losses, **sums}


def _add_totals(summary: summary_pb2.Summary, totals: Mapping[str, float]) -> None:
    for name, value in totals.items():
        add_scalar(summary, f"{TOTALS}/{name}", value)


def _add_weight(
    summary: summary_pb2.Summary, weight: Weight, statistics: Statistics, penalty: float
) -> None:
    for name, value in _measures(statistics).items():
        if name != "dead_units" or statistics.units:
            add_scalar(summary, f"{name}/{weight.name}", value)
    if weight.penalties:
        add_scalar(summary, f"regularization_loss/{weight.name}", penalty)


def _learning_rate(model: Any) -> dict[str, float]:
    optimizer = getattr(model, "optimizer", None)
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        return {}
    return {"learning_rate": to_float(optimizer.learning_rate)}
