"""An oracle for what compaction leaves: channels on which the outputs do not depend."""

import keras
import numpy as np

from helpers.backends import gradient, to_numpy
from kerasreg._keras_internals import all_layers, graph_calls, graph_of

layers = keras.layers


def needless_channels(model, x):
    """Looks at each channel of each layer with weights, on data.

    A channel is needless if the outputs do not change with a number that is added to it, or if it
    is the same number everywhere. Kinks are made smooth for that: a unit that ReLU switches off in
    all samples would look as if it were dead.

    Args:
        model: A functional model of one input.
        x: Inputs for it.

    Returns:
        For the path of each layer which of its channels are needless in all calls, as an array.
    """
    seen = []
    _run(model, x, lambda path, y: seen.append((path, y)) or y)
    places = np.cumsum([0] + [y.shape[-1] for _, y in seen])
    rng = np.random.default_rng(0)

    def outputs(numbers):
        calls = iter(zip(places, places[1:], strict=False))
        found = _run(model, x, lambda path, y: y + numbers[slice(*next(calls))])
        weights = [keras.ops.convert_to_tensor(rng.normal(size=y.shape), y.dtype) for y in found]
        return sum(keras.ops.sum(y * w) for y, w in zip(found, weights, strict=True))

    slopes = to_numpy(gradient(outputs)(np.zeros(places[-1], "float32")))
    found = {}
    for (path, y), start, end in zip(seen, places, places[1:], strict=False):
        numbers = to_numpy(y).reshape(-1, y.shape[-1])
        constant = np.ptp(numbers, axis=0) <= 2e-7 * np.abs(numbers).max(axis=0)
        needless = constant | (slopes[start:end] == 0)
        found[path] = found.get(path, True) & needless
    return found


def _run(model, x, behind, prefix=""):
    """The outputs, with what `behind(path, tensor)` makes of the output of layers with weights."""
    graph = graph_of(model)
    tensors = dict(zip(map(id, graph.inputs), keras.tree.flatten(x), strict=True))
    for call in graph_calls(graph):
        args, kwargs = call.fill_in(tensors)
        layer, path = call.operation, prefix + call.operation.name
        if isinstance(layer, keras.Model):
            found = _run(layer, args, behind, f"{path}/")
        else:
            found = keras.tree.flatten(_smoothly(layer, args, kwargs))
            if isinstance(layer, layers.Layer) and layer.weights:
                found = [behind(path, y) if "float" in str(y.dtype) else y for y in found]
        tensors.update(zip(map(id, call.outputs), found, strict=True))
    return [tensors[id(tensor)] for tensor in graph.outputs]


def _smoothly(layer, args, kwargs):
    """What a layer computes, or something as dependent on its inputs that has no kink."""
    kind = type(layer).__name__
    if not isinstance(layer, layers.Layer) and kind != "Relu":
        return layer(*args, **kwargs)
    if kind in ("Maximum", "Minimum"):
        return sum(keras.tree.flatten(args))
    if kind == "Relu":
        return keras.ops.softplus(args[0])
    kinks = [each for each in all_layers(layer) if _activation(each) is keras.activations.relu]
    for each in kinks:
        each.activation = keras.activations.softplus
    try:
        return layer(*args, **kwargs)
    finally:
        for each in kinks:
            each.activation = keras.activations.relu


def _activation(layer):
    return getattr(layer, "activation", None)
