"""The dropout rates of a model."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg._keras_internals import all_layers
from kerasreg.layer_names import LayerNames
from kerasreg.layers.base_dropout import BaseDropout
from kerasreg.weights import unique_names

# Keras's spatial dropouts are `Dropout`s.
DROPOUT_LAYERS = (
    BaseDropout,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.AlphaDropout,
)


def dropout_rates(model: Any) -> dict[str, float]:
    """The present rate of each dropout, by the layer's path; recurrent layers have two."""
    name_of = LayerNames(model).of_layer
    found: list[tuple[str, float]] = []
    for layer in all_layers(model):
        if isinstance(layer, DROPOUT_LAYERS):
            found.append((name_of(layer), layer.rate))
        elif isinstance(layer, keras.layers.RNN):
            for kind in ("dropout", "recurrent_dropout"):
                if getattr(layer, kind, 0):
                    found.append((f"{name_of(layer)}/{kind}", getattr(layer, kind)))
    names = unique_names(name for name, _ in found)
    return {name: float(rate) for name, (_, rate) in zip(names, found, strict=True)}
