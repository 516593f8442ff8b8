"""The text page that says how a model is regularised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kerasreg._keras_internals import all_layers
from kerasreg.dropout_rates import dropout_rates
from kerasreg.layer_names import LayerNames
from kerasreg.tensorboard.markdown import table
from kerasreg.weights import Weight, describe_regularizer


def configuration_page(model: Any, weights: Sequence[Weight]) -> str:
    """A page of Markdown: each weight with its penalty, each activity penalty, each dropout.

    Args:
        model: The model.
        weights: Those of its weights that are logged.

    Returns:
        The page.
    """
    rows = [row for weight in weights for row in _weight_rows(weight)]
    pages = [table(("weight", "shape", "penalty", "strength", "acts"), rows)]
    name_of = LayerNames(model).of_layer
    activities = [
        (name_of(layer), *describe_regularizer(layer.activity_regularizer))
        for layer in all_layers(model)
        if getattr(layer, "activity_regularizer", None) is not None
    ]
    if activities:
        pages.append(table(("activity of layer", "penalty", "strength"), activities))
    rates = dropout_rates(model)
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
