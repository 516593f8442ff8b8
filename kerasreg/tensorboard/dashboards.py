"""Sets up the tabs Custom Scalars and HPARAMS for a run."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from tensorboard.compat.proto import summary_pb2
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as custom_scalar_metadata
from tensorboard.plugins.hparams import api_pb2
from tensorboard.util.tensor_util import make_tensor_proto

from kerasreg.regularizers.from_keras import strength_of
from kerasreg.statistics.structured import StructuredWeights
from kerasreg.statistics.weights import Weight
from kerasreg.tensorboard.hparams import (
    Value,
    add_experiment,
    add_session_end,
    add_session_start,
    metric,
)
from kerasreg_tensorboard.names import COMPACTED, TOTALS

# Where `keras.callbacks.TensorBoard` writes the metrics of the validation, and under which name.
_KERAS_GROUP = "validation"
_KERAS_PREFIX = "epoch_"

# So many columns of numbers the tab HPARAMS shows at first, and what there is of every model.
_SHOWN_COLUMNS = 5
_MORE_COLUMNS = ("dead_units", "near_zero", "l2_norm")


class Dashboards:
    """The summaries for Custom Scalars and HPARAMS, each when its content is known.

    Args:
        log_dir: Folder of the run.
        weights: The weights that are logged.
        hparams: Tells the run's hyper-parameters, once the model has been trained for an epoch;
            or `None` to leave it out of the HPARAMS tab.
    """

    def __init__(
        self,
        log_dir: str,
        weights: Sequence[Weight],
        hparams: Callable[[], Mapping[str, Value | None]] | None,
    ) -> None:
        self._log_dir = log_dir
        self._weights = weights
        self._metrics: Sequence[str] | None = None
        self._hparams = hparams
        self._announced = False

    def layout(self) -> summary_pb2.Summary:
        """The layout of Custom Scalars, as far as it is known."""
        summary = summary_pb2.Summary()
        add_layout(summary, self._weights, self._metrics)
        return summary

    def after_first_epoch(self, metrics: Sequence[str]) -> summary_pb2.Summary:
        """The layout with charts of metrics that are logged as totals, and the row in HPARAMS.

        There is no row before: without its columns, which nothing can add to later, the tab
        would show every chart as one. The summary is empty after the first call.
        """
        summary = summary_pb2.Summary()
        if not self._announced:
            self._announced, self._metrics = True, metrics
            summary = self.layout()
            if self._hparams is not None:
                hparams = self._hparams()
                add_session_start(summary, hparams)
                add_experiment(summary, hparams, self._columns(metrics))
        return summary

    def at_end(self, ok: bool = True) -> summary_pb2.Summary:
        """The end of the row, and the row itself where no epoch has ended."""
        summary = self.after_first_epoch(())
        if self._hparams is not None:
            add_session_end(summary, ok)
        return summary

    def _columns(self, metrics: Sequence[str]) -> list[api_pb2.MetricInfo]:
        validated = validation_metrics(metrics)
        names = validated or [n for n in metrics if not n.startswith("val_") and n not in _LOSSES]
        names = [*names, "sparsity", "regularization_loss"]
        losses = [n for n in ("val_data_loss", "data_loss") if n in metrics][:1]
        names += losses or [name for name in ("val_loss",) if name in metrics]
        columns = [metric(f"{TOTALS}/{name}", name) for name in names]
        # Those of Keras's own callback only where it has begun to log into the same folder: a
        # column that a run has nothing for takes its line off the plot.
        if os.path.isdir(os.path.join(self._log_dir, _KERAS_GROUP)):
            tags = [_KERAS_PREFIX + name.removeprefix("val_") for name in validated]
            columns += [metric(tag, f"{_KERAS_GROUP}/{tag}", _KERAS_GROUP) for tag in tags]
        # What compaction leaves is known in the end only, and not of each model: it is behind those
        # that the tab shows unless it is asked for more, as hidden columns take no line away.
        missing = _SHOWN_COLUMNS - len(columns)
        names = [*_MORE_COLUMNS[: max(missing, 0)], *(f"compacted_{name}" for name in COMPACTED)]
        return columns + [metric(f"{TOTALS}/{name}", name) for name in names]


# More lines cannot be told apart; the page draws every chart of an open category at once.
LINES_PER_CHART = 10
CHARTS_PER_CATEGORY = 6
_METRICS_IN_OVERVIEW = 4
_LOSSES = (
    "data_loss",
    "penalty",
    "total_loss",
    "regularization_loss",
    "val_data_loss",
    "val_penalty",
)
_NOT_METRICS = ("val_loss", "val_data_loss", "val_penalty", "val_total_loss")


def weight_categories(weights: Sequence[Weight]) -> list[layout_pb2.Category]:
    """Closed categories of what each weight does, those without charts left out.

    Charts of weights show those with output units, or all where none has any; others show those
    that have what is shown. A category is bounded: 60 weights, in six charts of at most ten lines
    for each run, and six weights with a band. They are the largest, in the model's order, and the
    title says how many there are.
    """
    with_units = [weight for weight in weights if weight.unit_axes is not None]
    charted = with_units or weights
    structured = StructuredWeights(weights).now()
    in_parts = [weights[each.number] for each in structured if each.number is not None]
    groups = [_line_chart("Groups of several weights", TOTALS, ["dead_groups"])]
    parts = _lines("Dead parts", "dead_parts", in_parts)
    if any(each.number is None for each in structured):
        parts = [*parts, *groups]
    penalised = [weight for weight in weights if weight.penalties]
    most = LINES_PER_CHART * CHARTS_PER_CATEGORY
    categories = (
        ("Sparsity by layer", _lines("Sparsity", "sparsity", charted), charted, most),
        ("Near zero by layer", _lines("Near zero", "near_zero", charted), charted, most),
        ("Dead units by layer", _lines("Dead units", "dead_units", with_units), with_units, most),
        ("Dead parts: inputs, heads, blocks, slices, groups", parts, in_parts, most),
        (
            "Share of the penalty by layer",
            _lines("Share of the penalty", "penalty_share", penalised),
            penalised,
            most,
        ),
        ("Strength by layer", _strengths(weights)[1:], _with_strength(weights), most),
        (
            "Weight magnitudes: mean, root mean square, maximum",
            _bands(charted),
            charted,
            CHARTS_PER_CATEGORY,
        ),
    )
    return [
        layout_pb2.Category(title=_bounded(title, len(shown), most), chart=charts, closed=True)
        for title, charts, shown, most in categories
        if charts
    ]


def add_layout(
    summary: summary_pb2.Summary,
    weights: Sequence[Weight],
    metrics: Sequence[str] | None = None,
) -> None:
    """Adds the layout: an overview with a chart for each validation metric, then categories.

    TensorBoard shows each chart of any run once, and so those that all runs have in one order.

    Args:
        summary: The summary to add to.
        weights: The weights that are logged.
        metrics: The parts of the losses and Keras's metrics; `None` while they are not known.
    """
    is_split = metrics is None or "data_loss" in metrics
    validated = validation_metrics(metrics or ())[:_METRICS_IN_OVERVIEW]
    losses = [
        _line_chart("Data loss", TOTALS, ["data_loss", "val_data_loss"]),
        _line_chart("Data loss + penalty = total", TOTALS, ["data_loss", "penalty", "total_loss"]),
    ]
    charts = [
        _line_chart("Sparsity", TOTALS, ["sparsity"]),
        *(losses[:1] if is_split else []),
        _line_chart("Penalty", TOTALS, ["penalty", "regularization_loss"]),
        *_strengths(weights)[:1],
        *(_line_chart(f"Validation {n.removeprefix('val_')}", TOTALS, [n]) for n in validated),
        _line_chart("Near zero", TOTALS, ["near_zero"]),
        *(losses[1:] if is_split else []),
    ]
    overview = layout_pb2.Category(title="Overview", chart=charts)
    layout = layout_pb2.Layout(category=[overview, *weight_categories(weights)])
    summary.value.add(
        tag=custom_scalar_metadata.CONFIG_SUMMARY_TAG,
        metadata=custom_scalar_metadata.create_summary_metadata(),
        tensor=make_tensor_proto(layout.SerializeToString()),
    )


def validation_metrics(names: Iterable[str]) -> list[str]:
    """The metrics of the validation, without the parts of its loss."""
    return [name for name in names if name.startswith("val_") and name not in _NOT_METRICS]


def _bounded(title: str, number: int, most: int) -> str:
    return title if number <= most else f"{title}: the {most} largest of {number:,} weights"


def _with_strength(weights: Sequence[Weight]) -> list[Weight]:
    """Those on which a penalty acts that has a strength."""
    return [
        weight
        for weight in weights
        if any(strength_of(penalty) is not None for penalty, _ in weight.acting_penalties)
    ]


def _strengths(weights: Sequence[Weight]) -> list[layout_pb2.Chart]:
    """Charts of strengths; the first is filled with weights that other runs may penalise."""
    names = {weight.name for weight in _with_strength(weights)}
    others = [weight for weight in weights if weight.name not in names]
    names |= {w.name for w in _largest(others, max(LINES_PER_CHART - len(names), 0))}
    found = [weight for weight in weights if weight.name in names]
    return _lines("Strength", "strength", found)


def _lines(title: str, metric: str, weights: Sequence[Weight]) -> list[layout_pb2.Chart]:
    """As few charts as hold a line for each weight, neighbours together."""
    names = [w.name for w in _largest(weights, LINES_PER_CHART * CHARTS_PER_CATEGORY)]
    count = -(-len(names) // LINES_PER_CHART)
    edges = [len(names) * index // count for index in range(count + 1)] if count else []
    parts = [names[start:end] for start, end in itertools.pairwise(edges)]
    numbers = [f" ({number} of {count})" for number in range(1, count + 1)] if count > 1 else [""]
    return [_line_chart(f"{title}{n}", metric, p) for n, p in zip(numbers, parts, strict=False)]


def _line_chart(title: str, group: str, names: Iterable[str]) -> layout_pb2.Chart:
    # The tab looks for a regular expression at the beginning of a tag only.
    tags = [f"{re.escape(f'{group}/{name}')}$" for name in names]
    return layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=tags))


def _bands(weights: Sequence[Weight]) -> list[layout_pb2.Chart]:
    """Charts of the non-zero weights: mean <= root mean square <= maximum of the magnitude."""
    charts = []
    for name in (weight.name for weight in _largest(weights, CHARTS_PER_CATEGORY)):
        band = layout_pb2.MarginChartContent.Series(
            value=f"nonzero_rms/{name}", lower=f"nonzero_mean/{name}", upper=f"max_abs/{name}"
        )
        margin = layout_pb2.MarginChartContent(series=[band])
        charts.append(layout_pb2.Chart(title=name, margin=margin))
    return charts[::-1]  # The tab shows charts of this kind from the last to the first.


def _largest(weights: Sequence[Weight], count: int) -> list[Weight]:
    """So many of the largest weights, in the model's order."""
    sizes = [math.prod(weight.variable.shape) for weight in weights]
    by_size = sorted(range(len(weights)), key=lambda index: -sizes[index])
    return [weights[index] for index in sorted(by_size[:count])]
