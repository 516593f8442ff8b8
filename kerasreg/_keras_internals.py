"""The one place that uses what Keras does not export, each use with its reason.

`tests/test_keras_internals.py` fails when Keras changes one of them.
"""

from __future__ import annotations

from typing import Any

import keras
from keras.src.regularizers import ALL_OBJECTS_DICT


def register_regularizer_string(name: str, cls: type) -> None:
    """Lets `keras.regularizers.get(name)` find `cls`.

    Reason: `register_keras_serializable` serves dicts only; strings are looked up in this table.
    """
    ALL_OBJECTS_DICT[name] = cls


def all_layers(layer: Any) -> list[Any]:
    """The layer or model itself and every layer below it, each once, parents first.

    Reason: `model.layers` stops at direct children and misses the sublayers of custom layers.
    """
    return list(layer._flatten_layers(include_self=True, recursive=True))


def track_metric(model: Any, metric: keras.metrics.Metric) -> None:
    """Adds a metric to those whose state the model resets, and carries through its steps.

    Reason: as an attribute of the model, which is the public way, it would be saved with it.
    """
    model._metrics.append(metric)


def untrack_metric(model: Any, metric: keras.metrics.Metric) -> None:
    """Undoes `track_metric`."""
    model._metrics[:] = [other for other in model._metrics if other is not metric]
