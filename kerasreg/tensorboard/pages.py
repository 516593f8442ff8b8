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
from kerasreg.statistics.places import Place
from kerasreg.statistics.sparsity_report import COLUMNS, SparsityReport
from kerasreg.statistics.structured import StructuredWeights
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
    rows = []
    for weight in weights:
        shape = " × ".join(map(str, weight.variable.shape))
        described = [(*describe_regularizer(penalty), place) for penalty, place in weight.penalties]
        rows += [(weight.variable.path, shape, *row) for row in described or [("", "", "")]]
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


def report_page(report: SparsityReport) -> str:
    """A page of Markdown: the report's table, the total in its last line, and groups below it."""
    rows = table(COLUMNS, (row.cells() for row in (*report.rows, report.total)))
    return "\n\n".join([rows, *map(plain_text, report.lines)])


def add_marker(
    summary: summary_pb2.Summary, weights: Sequence[Weight], places: Mapping[int, Place]
) -> None:
    """Adds what the Sparsity tab says of each weight beside its charts.

    Args:
        summary: The summary to add to.
        weights: The weights.
        places: Those of the layers, by their `id`.
    """
    structured = StructuredWeights(weights).now()
    of_weight = {each.number: each for each in structured}
    descriptions = [
        {
            "name": weight.name,
            "path": weight.variable.path,
            "shape": list(map(int, weight.variable.shape)),
            "size": math.prod(weight.variable.shape),
            "units": weight.units,
            "penalty": describe_penalties(weight),
            "parts": of_weight[number].structure.number() if number in of_weight else 0,
            "part": of_weight[number].word if number in of_weight else "",
            **places[id(weight.layer)]._asdict(),
        }
        for number, weight in enumerate(weights)
    ]
    groups = sum(each.structure.number() for each in structured if each.number is None)
    add_tensor(summary, WEIGHTS_TAG, {"weights": descriptions, "groups": groups})


def add_tensor(summary: summary_pb2.Summary, tag: str, content: Any) -> None:
    """Adds what the Sparsity tab reads: plain data, as JSON in a tensor."""
    plugin = summary_pb2.SummaryMetadata.PluginData(plugin_name=PLUGIN_NAME)
    summary.value.add(
        tag=tag,
        metadata=summary_pb2.SummaryMetadata(
            plugin_data=plugin, data_class=summary_pb2.DATA_CLASS_TENSOR
        ),
        tensor=make_tensor_proto(json.dumps(content)),
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of cells that are plain text whatever is in them."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(plain_text, cells)) + " |" for cells in lines)


def plain_text(text: str) -> str:
    """Markdown of a text that may contain HTML, Markdown or a cell's border."""
    text = html.escape(text)
    return "".join(f"&#{ord(c)};" if c in "|`*_[]\\\n" else c for c in text)
