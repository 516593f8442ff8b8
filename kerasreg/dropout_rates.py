"""The dropout rates of a model."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg._keras_internals import all_layers
from kerasreg.layers import Dropout
from kerasreg.weights import name_of_layer, unique_names

_DROPOUT_LAYERS = (
    Dropout,
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.GaussianDropout,
    keras.layers.AlphaDropout,
)


def dropout_rates(model: Any) -> dict[str, float]:
    """The present rate of each dropout layer, by the layer's path."""
    found = [layer for layer in all_layers(model) if isinstance(layer, _DROPOUT_LAYERS)]
    names = unique_names(name_of_layer(model, layer) for layer in found)
    return {name: float(layer.rate) for name, layer in zip(names, found, strict=True)}
