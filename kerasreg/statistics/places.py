"""Where each layer of a model stands in what the model computes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras

from kerasreg._keras_internals import all_layers, graph_calls, graph_of, own_variables, sublayers
from kerasreg.regularizers.penalty_map import is_kernel
from kerasreg.statistics.names import Dropouts, LayerNames, unique_names


class Place(NamedTuple):
    """Where a layer stands.

    Args:
        layer: Its name by `LayerNames`, unique in the model; that of the layer around it if this is
            one of Keras's own, as an LSTM around its cell.
        order: Its number in the order in which the model computes, from its input on.
        dropout: The name by `Dropouts` of the dropout in it, behind it or before it, or `""`.
    """

    layer: str
    order: int
    dropout: str


def find_places(model: Any, names: LayerNames, dropouts: Dropouts) -> dict[int, Place]:
    """The place of each layer of a model, by the layer's `id`.

    The order is that of the graph, with the models inside of it in their places; a layer that is
    called again has its first place. A model or layer whose `call` is code of its own tells nothing
    of it: its layers come as Keras lists them, and of dropouts only those inside a layer are known.

    Args:
        model: A built model.
        names: The names of its layers.
        dropouts: Its dropouts.
    """
    layers = _in_order(model)
    known = beside = dropouts.of_layers()
    # A model with a graph may be inside of one without.
    for graph in filter(None, map(graph_of, all_layers(model))):
        beside = _dropouts_beside(graph, known) | beside
    found: dict[int, Place] = {}
    for order, name in enumerate(unique_names(map(names.of_layer, layers))):
        inside = all_layers(layers[order]) if _is_one(layers[order]) else [layers[order]]
        dropped = (beside[id(each)] for each in inside if id(each) in beside)
        place = Place(name, order, next(dropped, ""))
        for each in inside:
            found.setdefault(id(each), place)
    return found


def _in_order(model: Any) -> list[Any]:
    """The layers of a model, each once, without models around them that have no own weights."""
    found: dict[int, Any] = {}

    def visit(layer: Any) -> None:
        if id(layer) not in found:
            found[id(layer)] = layer
            graph = None if _is_one(layer) else graph_of(layer)
            called = [] if graph is None else [call.operation for call in graph_calls(graph)]
            parts = [] if _is_one(layer) else [*called, *sublayers(layer)]
            for each in parts:
                if isinstance(each, keras.layers.Layer):
                    visit(each)

    visit(model)
    return [
        layer
        for layer in found.values()
        if not isinstance(layer, keras.Model) or own_variables(layer)
    ]


def _is_one(layer: Any) -> bool:
    """Whether a layer is shown as one with all that is inside: one of Keras's own, as attention."""
    own = set(type(layer).__mro__) - set(keras.layers.Layer.__mro__)
    return any(cls.__module__.startswith("keras.") for cls in own) and not any(
        isinstance(each, keras.Model) for each in all_layers(layer)
    )


class _Call(NamedTuple):
    """A call in the graph of a model, with those of the models inside of it."""

    operation: Any
    inputs: list[object]
    outputs: list[object]


def _calls(graph: Any, values: dict[int, object]) -> Iterator[_Call]:
    """The calls of a graph; `values` has what stands for its tensors, by their `id`."""
    for call in graph_calls(graph):
        inputs = [values.setdefault(id(tensor), object()) for tensor in call.inputs]
        inner = graph_of(call.operation)
        if inner is None:
            outputs = [object() for _ in call.outputs]
            yield _Call(call.operation, inputs, outputs)
        else:
            # Each call of a model has values of its own; inputs may be optional.
            within = dict(zip(map(id, inner.inputs), inputs, strict=False))
            yield from _calls(inner, within)
            outputs = [within[id(tensor)] for tensor in inner.outputs]
        values.update(zip(map(id, call.outputs), outputs, strict=True))


def _dropouts_beside(graph: Any, dropouts: dict[int, str]) -> dict[int, str]:
    """The dropout of each layer: its own; else of what it puts out; else of what it receives.

    In between may stand what has no kernels, as an activation, on the one way from layer to layer.

    Args:
        graph: The graph of a model.
        dropouts: The names of the dropouts, by the `id` of the layer.
    """
    calls = list(_calls(graph, {id(tensor): object() for tensor in graph.inputs}))
    source = {value: call for call in calls for value in call.outputs}
    users: dict[object, list[_Call]] = defaultdict(list)
    for call in calls:
        for value in dict.fromkeys(call.inputs):
            users[value].append(call)
    stops = {
        id(call.operation): any(map(is_kernel, getattr(call.operation, "weights", ())))
        for call in calls
    }

    def after(call: _Call) -> _Call | None:
        following = users[call.outputs[0]] if len(call.outputs) == 1 else []
        [following_call] = following if len(following) == 1 else [None]
        joins = following_call is not None and len(set(following_call.inputs)) > 1
        return None if joins else following_call

    def before(call: _Call) -> _Call | None:
        given = set(call.inputs)
        return source.get(given.pop()) if len(given) == 1 else None

    found: dict[int, str] = {}
    for step in (after, before):
        for call in calls:
            if stops[id(call.operation)] and id(call.operation) not in found:
                at = step(call)
                while at is not None and not stops[id(at.operation)]:
                    if id(at.operation) in dropouts:
                        found[id(call.operation)] = dropouts[id(at.operation)]
                        break
                    at = step(at)
    return found
