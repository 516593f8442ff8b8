"""Describes a run in words: Markdown for the Text tab, and its weights for the Sparsity tab."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tensorboard.compat.proto import summary_pb2
from tensorboard.util.tensor_util import make_tensor_proto

from kerasreg._keras_internals import all_layers
from kerasreg.regularizers.from_keras import as_penalty
from kerasreg.statistics.names import LayerNames
from kerasreg.statistics.places import Place
from kerasreg.statistics.sparsity_report import COLUMNS, SparsityReport
from kerasreg.statistics.structured import StructuredWeights
from kerasreg.statistics.weights import Weight, describe_penalties, describe_regularizer
from kerasreg.tensorboard.markdown import plain_text, table
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
    pages = ["## Weights", table(("weight", "shape", "penalty", "strength", "acts"), rows)]
    activities = [
        (names.of_layer(layer), *describe_regularizer(layer.activity_regularizer))
        for layer in all_layers(model)
        if getattr(layer, "activity_regularizer", None) is not None
    ]
    if activities:
        pages += ["## Activities", table(("activity of layer", "penalty", "strength"), activities)]
    formulas = {_name_of(each): _formula_of(each) for each in _penalties(model, weights)}
    if formulas:
        pages += ["## Penalties", table(("penalty", "formula"), formulas.items())]
    if rates:
        dropouts = table(("dropout", "rate"), ((k, f"{v:g}") for k, v in rates.items()))
        pages += ["## Dropout", dropouts]
    return "\n\n".join(pages)


def _penalties(model: Any, weights: Sequence[Weight]) -> Iterator[Any]:
    for weight in weights:
        for penalty, _ in weight.penalties:
            yield penalty
    for layer in all_layers(model):
        if getattr(layer, "activity_regularizer", None) is not None:
            yield layer.activity_regularizer


def _name_of(penalty: Any) -> str:
    return describe_regularizer(penalty)[0]


def _formula_of(penalty: Any) -> str:
    """What a penalty says of itself; a Keras one is known by its penalty, else by its config."""
    known = as_penalty(penalty)
    formula = "" if known is None else known.formula
    return formula or describe_regularizer(penalty)[1]


def report_page(report: SparsityReport) -> str:
    """A page of Markdown: the report's table, the total in its last line, and groups below it."""
    rows = table(COLUMNS, (row.cells() for row in (*report.rows, report.total)))
    return "\n\n".join(["## Sparsity", rows, *map(plain_text, report.lines)])


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
