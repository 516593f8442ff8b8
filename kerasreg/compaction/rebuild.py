"""The new model: the graph once more, with copies of the layers and what is left of the weights."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np

from kerasreg._keras_internals import graph_calls, graph_of, graph_structure
from kerasreg._tensors import to_numpy
from kerasreg.compaction.channels import Channels
from kerasreg.compaction.copies import copy_of, without_initial_numbers
from kerasreg.compaction.liveness import Kept, shorten, shorten_grid
from kerasreg.compaction.rule import rule_of
from kerasreg.compaction.trace import Trace


class Rebuild:
    """Copies a model, layer by layer.

    Args:
        trace: What is known of the model; `None` to keep all of it.
        kept: What stays.
        strip: Whether to leave plain Keras only.
    """

    def __init__(self, trace: Trace | None, kept: Kept | None, strip: bool) -> None:
        self.trace, self.kept, self.strip = trace, kept, strip
        self.losses: list[str] = []
        self._copies: dict[int, tuple[Any, Any]] = {}
        self._models: dict[int, Any] = {}
        self._whole = set() if trace is None else {id(r.layer) for r in trace.records if r.blocks}
        self._prepare: Any = None

    def model(self, model: Any) -> Any:
        """The new model, with its weights."""
        with without_initial_numbers() as self._prepare:
            copy = self._model(model)
        for layer, new in self._copies.values():
            if isinstance(layer, keras.layers.Layer):
                self._assign(layer, new)
        return copy

    # The graph.

    def _model(self, model: Any) -> Any:
        if id(model) not in self._models:
            self._models[id(model)] = self._new_model(model)
        return self._models[id(model)]

    def _new_model(self, model: Any) -> Any:
        graph = graph_of(model)
        known = [None] * len(graph.inputs)
        if self.trace is not None:
            known = self.trace.inputs[id(model)]  # type: ignore[assignment]
        inputs = [self._input(t, x) for t, x in zip(graph.inputs, known, strict=True)]
        if isinstance(model, keras.Sequential):
            layers = [each for each in model.layers if not isinstance(each, keras.layers.InputLayer)]
            return keras.Sequential([*inputs, *map(self._copy, layers)], name=model.name)
        tensors = dict(zip(map(id, graph.inputs), inputs, strict=True))
        for call in graph_calls(graph):
            args, kwargs = call.fill_in(tensors)
            copy = self._copy(call.operation)
            if type(copy) is not type(call.operation):
                kwargs = {name: x for name, x in kwargs.items() if _takes(copy, name)}
            outputs = keras.tree.flatten(copy(*args, **kwargs))
            tensors.update(zip(map(id, call.outputs), outputs, strict=True))
        ends = [
            keras.tree.map_structure(lambda tensor: tensors[id(tensor)], structure)
            for structure in graph_structure(graph)
        ]
        return keras.Model(*ends, name=model.name)

    def _input(self, tensor: Any, x: Channels | None) -> Any:
        layer = tensor._keras_history.operation
        shape = list(tensor.shape)
        if x is not None and self.kept is not None and x.length is not None:
            if shape[x.axis] is not None:
                shape[x.axis] = self.kept.count(x.values)
        config = {**layer.get_config(), "batch_shape": tuple(shape)}
        return keras.layers.InputLayer.from_config(config).output

    def _copy(self, layer: Any) -> Any:
        if isinstance(layer, keras.Model):
            return self._model(layer)
        if id(layer) not in self._copies:
            if isinstance(layer, keras.layers.Layer):
                copy = copy_of(layer, self._changes, self.strip, self.losses)
                self._prepare(copy)
            else:
                copy = type(layer).from_config(layer.get_config())
            self._copies[id(layer)] = layer, copy
        return self._copies[id(layer)][1]

    def _changes(self, layer: Any) -> dict[str, Any]:
        rule = rule_of(layer)
        if self.kept is None or rule is None or id(layer) in self._whole:
            return {}
        return rule.config(layer, self.kept)

    # The weights.

    def _assign(self, layer: Any, copy: Any) -> None:
        arrays, added = weights_of(layer, self.kept)
        new = []
        for attribute, array in added.items():
            new.append(_attribute(copy, attribute))
            new[-1].assign(array.reshape(new[-1].shape))
        others = [v for v in copy.weights if not any(v is each for each in new)]
        for variable, target in zip(layer.weights, others, strict=True):
            target.assign(arrays[id(variable)].reshape(target.shape))
            if target.trainable != variable.trainable:
                target.trainable = variable.trainable


def _takes(layer: Any, argument: str) -> bool:
    """Whether a layer can be called with an argument; one of kerasreg may have taken more."""
    return argument in inspect.signature(layer.call).parameters


def _attribute(layer: Any, path: str) -> Any:
    """An attribute of an attribute; a wrapper that has been stripped off is passed over."""
    for name in path.split("."):
        layer = getattr(layer, name, layer) if name == "layer" else getattr(layer, name)
    return layer


def weights_of(layer: Any, kept: Kept | None) -> tuple[dict[int, Any], dict[str, Any]]:
    """What is left of a layer's weights.

    Args:
        layer: A layer of the graph.
        kept: What stays; `None` for all.

    Returns:
        For the `id` of each variable an array, and for each bias that is added its attribute and an
        array.
    """
    arrays = {id(variable): to_numpy(variable) for variable in layer.weights}
    added: dict[str, Any] = {}
    if kept is None:
        return arrays, added
    for read in kept.facts.reads.values():
        if id(read.kernel) in arrays:
            _fold(read, arrays, added, kept)
    rule = rule_of(layer)
    if rule is not None:
        rule.weights(layer, arrays, kept)
    for grid in kept.facts.grids.values():
        _replace(grid, layer, arrays, added, lambda array, grid=grid: shorten_grid(array, grid, kept))
    for cut in kept.facts.cuts.values():
        _replace(cut, layer, arrays, added, lambda array, cut=cut: shorten(array, cut, kept))
    return arrays, added


def _fold(read: Any, arrays: dict[int, Any], added: dict[str, Any], kept: Kept) -> None:
    kernel = arrays[id(read.kernel)].copy()
    sums = read.fold(kernel, kept.live)
    arrays[id(read.kernel)] = kernel
    if not sums.any():
        if not (read.bias.variable is None and kept.adds_bias(read.bias.layer)):
            return
    if read.bias.variable is None:
        bias = added.setdefault(read.bias.attribute, np.zeros(read.bias.shape))
        bias[read.bias.part] += sums
    else:
        bias = arrays[id(read.bias.variable)].astype(np.float64)
        bias[read.bias.part] += sums.reshape(bias[read.bias.part].shape)
        arrays[id(read.bias.variable)] = bias


def _replace(
    part: Any, layer: Any, arrays: dict[int, Any], added: dict[str, Any], change: Any
) -> None:
    """Changes the array that a `Cut` or `Grid` is about, if it is the layer's."""
    if part.owner is not layer:
        return
    if isinstance(part.variable, str):
        if part.variable in added:
            added[part.variable] = change(added[part.variable])
    elif id(part.variable) in arrays:
        arrays[id(part.variable)] = change(arrays[id(part.variable)])
