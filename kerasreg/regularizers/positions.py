"""At how many positions of a sample each weight of a model is multiplied with something."""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from typing import Any

import keras

from kerasreg._checks import invalid_value
from kerasreg._keras_internals import graph_calls, graph_of


def positions_of_weights(model: Any) -> dict[int, int]:
    """The multiplications of each entry of a weight for one sample, by the `id` of the variable.

    Args:
        model: A built `Sequential` or functional model.

    Raises:
        ValueError: If the model has no graph, so that the shapes in it are not known.
    """
    graph = graph_of(model)
    if graph is None:
        expected = "'parameters' for a model whose `call` is code of its own"
        raise invalid_value("cost", expected, "macs", f" for `{model.name}`")
    found: dict[int, int] = defaultdict(int)
    for call in graph_calls(graph):
        if not isinstance(call.operation, keras.layers.Layer) or not call.operation.weights:
            continue
        if graph_of(call.operation) is not None:
            inside = positions_of_weights(call.operation)
        else:
            number = positions(call.operation, call.inputs[0].shape, call.outputs[0].shape)
            inside = {id(variable): number for variable in call.operation.weights}
        for key, number in inside.items():
            found[key] += number
    return found


@functools.singledispatch
def positions(layer: Any, inputs: Any, outputs: Any) -> int:
    """At how many positions of a sample a layer applies its kernels; unknown lengths count once.

    A layer of one's own joins as in `unit_axes`.

    Args:
        layer: The layer.
        inputs: The shape of its first input.
        outputs: The shape of its first output.
    """
    return _positions_in(layer, outputs)


@positions.register(keras.layers.Conv1DTranspose)
@positions.register(keras.layers.Conv2DTranspose)
@positions.register(keras.layers.Conv3DTranspose)
def _of_transposed_convolution(layer: Any, inputs: Any, outputs: Any) -> int:
    return _positions_in(layer, inputs)


@positions.register(keras.layers.RNN)
@positions.register(keras.layers.Bidirectional)
def _of_recurrent(layer: Any, inputs: Any, outputs: Any) -> int:
    sizes: list[int] = [size or 1 for size in inputs[1:-1]]
    return math.prod(sizes)


@positions.register
def _of_embedding(layer: keras.layers.Embedding, inputs: Any, outputs: Any) -> int:
    return 0  # A row is looked up.


def _positions_in(layer: Any, shape: Any) -> int:
    first = getattr(layer, "data_format", None) == "channels_first"
    sizes: list[int] = [size or 1 for size in (shape[2:] if first else shape[1:-1])]
    return math.prod(sizes)
