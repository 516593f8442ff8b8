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
    pages = [_table(("weight", "shape", "penalty", "strength"), map(_weight_row, weights))]
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


def _weight_row(weight: Weight) -> tuple[str, ...]:
    name, strength = "", ""
    if weight.regularizer is not None:
        name, strength = describe_regularizer(weight.regularizer)
        name += "" if weight.trainable else " (frozen, not in the loss)"
    shape = " × ".join(map(str, weight.variable.shape))
    return (weight.variable.path, shape, name, strength)


def _table(header: Sequence[str], rows: Any) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_escape, line)) + " |" for line in lines)


def _escape(cell: str) -> str:
    """Keeps names that contain HTML, Markdown or a cell's border as plain text."""
    text = html.escape(cell)
    return "".join(f"&#{ord(c)};" if c in "|`*_[]\\" else c for c in text)
