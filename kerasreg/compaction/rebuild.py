"""The new model: the graph once more, with copies of the layers and what is left of the weights."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np

from kerasreg._keras_internals import all_layers, graph_of, graph_structure, input_layer
from kerasreg._tensors import to_numpy
from kerasreg.compaction.channels import Channels
from kerasreg.compaction.copies import Copies, carry_states, without_initial_numbers
from kerasreg.compaction.facts import Cut, Grid
from kerasreg.compaction.liveness import Kept, shorten, shorten_grid
from kerasreg.compaction.plain import is_own, kernel_factors
from kerasreg.compaction.rule import asked, rule_of
from kerasreg.compaction.terms import amended, amending_layer, needed_calls
from kerasreg.compaction.trace import Trace
from kerasreg.compaction.uses import Read
from kerasreg.regularizers import Penalty
from kerasreg.regularizers.saved_places import attention_groups, find_places


class Rebuild:
    """Copies a model, layer by layer.

    Args:
        trace: What is known of the model; `None` to keep all of it.
        kept: What stays.
        strip: Whether to leave plain Keras only.
    """

    def __init__(self, trace: Trace | None, kept: Kept | None, strip: bool) -> None:
        self.trace, self.kept, self.strip = trace, kept, strip
        self._layers = Copies(self._changes, strip)
        self.losses = self._layers.losses
        self._copies: dict[int, tuple[Any, Any, str]] = {}
        self._models: dict[int, tuple[Any, Any]] = {}
        self._whole = set() if trace is None else {id(r.layer) for r in trace.records if r.blocks}
        self._prepare: Any = None

    def model(self, model: Any) -> Any:
        """The new model, with its weights."""
        with without_initial_numbers() as self._prepare:
            copy = self._model(model, "")
        made = [each for each in self._copies.values() if isinstance(each[0], keras.layers.Layer)]
        for old, new in reversed(self._models.values()):
            _carry_trainable(old, new)
        for layer, new, _ in made:
            _carry_trainable(layer, new)
        for layer, new, path in made:
            self._assign(layer, new, path)
            carry_states(layer, new)
        return copy

    # The graph.

    def _model(self, model: Any, prefix: str) -> Any:
        if id(model) not in self._models:
            self._models[id(model)] = model, self._new_model(model, prefix)
        return self._models[id(model)][1]

    def _new_model(self, model: Any, prefix: str) -> Any:
        graph = graph_of(model)
        known = [None] * len(graph.inputs)
        if self.trace is not None:
            known = self.trace.inputs[id(model)]  # type: ignore[assignment]
        inputs = [self._input(t, x) for t, x in zip(graph.inputs, known, strict=True)]
        if isinstance(model, keras.Sequential):
            layers = [
                self._copy(each, prefix)
                for each in model.layers
                if not isinstance(each, keras.layers.InputLayer)
            ]
            return keras.Sequential([*inputs, *layers], name=model.name)
        tensors = dict(zip(map(id, graph.inputs), inputs, strict=True))
        left_out = {} if self.trace is None else self.trace.left_out
        for call in needed_calls(graph, left_out):
            args, kwargs = call.fill_in(tensors)
            outputs = keras.tree.flatten(self._call(call.operation, args, kwargs, prefix))
            tensors.update(zip(map(id, call.outputs), outputs, strict=True))
        ends = [
            keras.tree.map_structure(lambda tensor: tensors[id(tensor)], structure)
            for structure in graph_structure(graph)
        ]
        return keras.Model(*ends, name=model.name)

    def _call(self, layer: Any, args: Any, kwargs: Any, prefix: str) -> Any:
        """What the copy of a layer makes of the arguments."""
        if self.trace is not None and id(layer) in self.trace.left_out:
            return self._shortened(layer, args, prefix)
        if self.trace is not None and self.kept is not None:
            change = self.trace.facts.arguments.get(id(layer))
            args = change(self.kept, args) if change else args
        copy = self._copy(layer, prefix)
        if type(copy) is not type(layer):
            kwargs = {name: x for name, x in kwargs.items() if _takes(copy, name)}
        return copy(*args, **kwargs)

    def _shortened(self, layer: Any, args: Any, prefix: str) -> Any:
        """What a layer makes of some of its inputs, or the one that is left."""
        assert self.trace is not None and self.kept is not None
        short = self.trace.left_out[id(layer)]
        left = [x for i, x in enumerate(keras.tree.flatten(args)) if i not in short.inputs]
        x = left[0] if len(left) == 1 else self._copy(layer, prefix)(left)
        (terms,) = (each for each in self.trace.facts.terms if each.layer is layer)
        amends = amending_layer(layer, x, terms.out.axis, *amended(terms, self.kept, short))
        return x if amends is None else amends(x)

    def _input(self, tensor: Any, x: Channels | None) -> Any:
        layer = input_layer(tensor)
        shape = list(tensor.shape)
        if x is not None and self.kept is not None and x.length is not None:
            if shape[x.axis] is not None:
                shape[x.axis] = self.kept.count(x.values)
        config = {**layer.get_config(), "batch_shape": tuple(shape)}
        return keras.layers.InputLayer.from_config(config).output

    def _copy(self, layer: Any, prefix: str) -> Any:
        path = prefix + layer.name
        if isinstance(layer, keras.Model):
            return self._model(layer, f"{path}/")
        if id(layer) not in self._copies:
            if isinstance(layer, keras.layers.Layer):
                copy = self._layers.of(layer, path)
                self._prepare(copy)
            else:
                copy = type(layer).from_config({**layer.get_config(), **self._changes(layer, path)})
            self._copies[id(layer)] = layer, copy, path
        return self._copies[id(layer)][1]

    def _changes(self, layer: Any, path: str) -> dict[str, Any]:
        rule = rule_of(layer)
        if self.kept is None or rule is None or id(layer) in self._whole:
            return {}
        with asked(rule, path):
            return rule.config(layer, self.kept)

    # The weights.

    def _assign(self, layer: Any, copy: Any, path: str) -> None:
        arrays = weights_of(layer, self.kept, path)
        before, after = kernel_factors(layer), kernel_factors(copy)
        added = {id(_attribute(copy, key)): key for key in arrays if isinstance(key, str)}
        old = iter(layer.weights)
        for target in copy.weights:
            if id(target) in added:
                target.assign(arrays[added[id(target)]].reshape(target.shape))
                continue
            variable = next(old)
            array = arrays[id(variable)]
            if id(variable) in before and id(target) not in after:
                array = array * before[id(variable)]
            target.assign(array.reshape(target.shape))
            if target.trainable != variable.trainable:
                target.trainable = variable.trainable
            if target.regularizer is not None and not self._keeps_penalty(target, variable):
                _take_off_penalty(copy, target)
        for each in all_layers(copy):
            if (rule := rule_of(each)) is not None:
                with asked(rule, path):
                    rule.assigned(each)

    def _keeps_penalty(self, target: Any, variable: Any) -> bool:
        """Whether a weight's penalty suits it, and the user need not be told otherwise."""
        penalty, path = target.regularizer, variable.path
        if self.strip and is_own(type(penalty)):
            name = type(penalty).__name__
            self.losses.append(f"{path}: {name}, which the code of its layer will make again")
            return False
        tells_apart = isinstance(penalty, Penalty) and (
            penalty.needs_whole or penalty.spans_weights
        )
        if tells_apart and tuple(target.shape) != tuple(variable.shape):
            self.losses.append(f"{path}: {penalty!r}")
            return False
        return True


def _take_off_penalty(layer: Any, variable: Any) -> None:
    variable.regularizer = None
    for holder, attribute in find_places(layer, [variable])[id(variable)]:
        setattr(holder, attribute, None)
    for holder, attribute, members in attention_groups(layer):
        if any(member is variable for member in members):
            setattr(holder, attribute, None)


def _carry_trainable(layer: Any, copy: Any) -> None:
    """Freezes what is frozen, from the outside in, as freezing acts on all that is inside."""
    alike = type(layer) is type(copy) and not isinstance(layer, keras.Model)
    inside = zip(all_layers(layer), all_layers(copy), strict=False) if alike else [(layer, copy)]
    for old, new in inside:
        if old.trainable != new.trainable:
            new.trainable = old.trainable


def _takes(layer: Any, argument: str) -> bool:
    """Whether a layer can be called with an argument; one of kerasreg may have taken more."""
    return argument in inspect.signature(layer.call).parameters


def _attribute(layer: Any, path: str) -> Any:
    """An attribute of an attribute; a wrapper that has been stripped off is passed over."""
    for name in path.split("."):
        layer = getattr(layer, name, layer) if name == "layer" else getattr(layer, name)
    return layer


def weights_of(layer: Any, kept: Kept | None, path: str) -> dict[int | str, Any]:
    """What is left of a layer's weights.

    Args:
        layer: A layer of the graph.
        kept: What stays; `None` for all.
        path: The layer's path.

    Returns:
        An array for the `id` of each variable, and for the attribute of each bias that is added.
    """
    arrays: dict[int | str, Any] = {id(variable): to_numpy(variable) for variable in layer.weights}
    rule = rule_of(layer)
    if kept is None or rule is None:
        return arrays
    reads, grids, cuts = kept.of_layer(layer)
    for key in {id(read.kernel) for read in reads}:
        arrays[key] = arrays[key].copy()
    for read in reads:
        _fold(read, arrays, kept)
    with asked(rule, path):
        rule.weights(layer, arrays, kept)
    for grid in grids:
        if (name := _key(grid)) in arrays:
            arrays[name] = shorten_grid(arrays[name], grid, kept)
    for cut in cuts:
        if (name := _key(cut)) in arrays:
            arrays[name] = shorten(arrays[name], cut, kept)
    return arrays


def _fold(read: Read, arrays: dict[int | str, Any], kept: Kept) -> None:
    sums = read.fold(arrays[id(read.kernel)], kept.live)
    bias = read.bias
    if bias.variable is not None:
        key: int | str = id(bias.variable)
        if not sums.any():
            return
        arrays[key] = arrays[key].astype(np.float64)
    elif kept.adds_bias(bias.layer):
        key = bias.attribute
        arrays.setdefault(key, np.zeros(bias.shape))
    else:
        return
    part = arrays[key][bias.part]
    arrays[key][bias.part] = part + sums.reshape(bias.spread or part.shape)


def _key(part: Cut | Grid) -> int | str:
    """Under which name the array is kept that is cut."""
    return part.variable if isinstance(part.variable, str) else id(part.variable)
