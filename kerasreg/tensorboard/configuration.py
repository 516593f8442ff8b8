"""The text page that says how a model is regularised."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from kerasreg._keras_internals import all_layers
from kerasreg.dropout_rates import dropout_rates
from kerasreg.weights import Weight, describe_regularizer, name_of_layer


def configuration_page(model: Any, weights: Sequence[Weight]) -> str:
    """A page of Markdown: each weight with its penalty, each activity penalty, each dropout.

    Args:
        model: The model.
        weights: Those of its weights that are logged.

    Returns:
        The page.
    """
    rows = [row for weight in weights for row in _weight_rows(weight)]
    pages = [_table(("weight", "shape", "penalty", "strength", "acts"), rows)]
    activities = [
        (name_of_layer(model, layer), *describe_regularizer(layer.activity_regularizer))
        for layer in all_layers(model)
        if getattr(layer, "activity_regularizer", None) is not None
    ]
    if activities:
        pages.append(_table(("activity of layer", "penalty", "strength"), activities))
    rates = dropout_rates(model)
    if rates:
        pages.append(_table(("dropout", "rate"), ((k, f"{v:g}") for k, v in rates.items())))
    return "\n\n".join(pages)


def _weight_rows(weight: Weight) -> list[tuple[str, ...]]:
    shape = " × ".join(map(str, weight.variable.shape))
    rows: list[tuple[str, ...]] = [
        (weight.variable.path, shape, *describe_regularizer(penalty), place)
        for penalty, place in weight.penalties
    ]
    return rows or [(weight.variable.path, shape, "", "", "")]


def _table(header: Sequence[str], rows: Any) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_escape, line)) + " |" for line in lines)


def _escape(cell: str) -> str:
    """Keeps names that contain HTML, Markdown or a cell's border as plain text."""
    text = html.escape(cell)
    return "".join(f"&#{ord(c)};" if c in "|`*_[]\\" else c for c in text)
