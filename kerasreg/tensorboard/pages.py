"""Describes a run in words: Markdown for the Text tab, and its weights for the Sparsity tab."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tensorboard.compat.proto import summary_pb2
from tensorboard.util.tensor_util import make_tensor_proto

from kerasreg._keras_internals import all_layers
from kerasreg.statistics.names import LayerNames
from kerasreg.statistics.sparsity_report import COLUMNS, SparsityReport
from kerasreg.statistics.weights import Weight, describe_penalties, describe_regularizer
from kerasreg_tensorboard.names import PLUGIN_NAME, WEIGHTS_TAG


def configuration_page(
    model: Any, names: LayerNames, weights: Sequence[Weight], rates: Mapping[str, float]
) -> str:
    """A page of Markdown: each weight with its penalty, each activity penalty, each dropout.

    Args:
        model: The model.
        names: The names of its layers.
        weights: Those of its weights that are logged.
        rates: The rates of its dropouts, by name.

    Returns:
        The page.
    """
    rows = [row for weight in weights for row in _weight_rows(weight)]
    pages = [table(("weight", "shape", "penalty", "strength", "acts"), rows)]
    activities = [
        (names.of_layer(layer), *describe_regularizer(layer.activity_regularizer))
        for layer in all_layers(model)
        if getattr(layer, "activity_regularizer", None) is not None
    ]
    if activities:
        pages.append(table(("activity of layer", "penalty", "strength"), activities))
    if rates:
        pages.append(table(("dropout", "rate"), ((k, f"{v:g}") for k, v in rates.items())))
    return "\n\n".join(pages)


def _weight_rows(weight: Weight) -> list[tuple[str, ...]]:
    shape = " × ".join(map(str, weight.variable.shape))
    rows: list[tuple[str, ...]] = [
        (weight.variable.path, shape, *describe_regularizer(penalty), place)
        for penalty, place in weight.penalties
    ]
    return rows or [(weight.variable.path, shape, "", "", "")]


def report_page(report: SparsityReport) -> str:
    """A page of Markdown: the report's table, the total in its last line.

    Args:
        report: The report.

    Returns:
        The page.
    """
    return table(COLUMNS, (row.cells() for row in (*report.rows, report.total)))


def add_marker(summary: summary_pb2.Summary, weights: Sequence[Weight]) -> None:
    """Adds what the Sparsity tab says of each weight beside its charts.

    Args:
        summary: The summary to add to.
        weights: The weights that are logged.
    """
    plugin = summary_pb2.SummaryMetadata.PluginData(plugin_name=PLUGIN_NAME)
    content = json.dumps({"weights": [_description(weight) for weight in weights]})
    summary.value.add(
        tag=WEIGHTS_TAG,
        metadata=summary_pb2.SummaryMetadata(
            plugin_data=plugin, data_class=summary_pb2.DATA_CLASS_TENSOR
        ),
        tensor=make_tensor_proto(content),
    )


def _description(weight: Weight) -> dict[str, Any]:
    shape = [int(length) for length in weight.variable.shape]
    return {
        "name": weight.name,
        "path": weight.variable.path,
        "shape": shape,
        "size": math.prod(shape),
        "units": weight.units,
        "penalty": describe_penalties(weight),
    }


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table.

    Args:
        header: The names of the columns.
        rows: The cells, as plain text whatever is in them.

    Returns:
        The table.
    """
    lines = [_line(header), _line(["---"] * len(header)), *map(_line, rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_escape, cells)) + " |"


def _escape(cell: str) -> str:
    """Keeps names that contain HTML, Markdown or a cell's border as plain text."""
    text = html.escape(cell)
    return "".join(f"&#{ord(c)};" if c in "|`*_[]\\\n" else c for c in text)
