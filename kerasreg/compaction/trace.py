"""The way through a model's graph, on which every layer's rule is asked."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import keras

from kerasreg._backends import is_sharded
from kerasreg._checks import check_built, check_pattern, invalid_value
from kerasreg._keras_internals import (
    GraphCall,
    graph_calls,
    graph_of,
    layer_paths,
    mask_of,
    own_variables,
)
from kerasreg.compaction import rules  # noqa: F401  Registers them.
from kerasreg.compaction.call import Call, channels_in
from kerasreg.compaction.channels import Channels
from kerasreg.compaction.facts import Facts
from kerasreg.compaction.rule import Refused, asked, rule_of
from kerasreg.compaction.terms import LeftOut, needed_calls


@dataclass(eq=False)
class Record:
    """A call as the report shows it.

    Args:
        layer: The layer or operation.
        path: Its name, behind those of the models that it is inside of.
        inputs: The tensors among its arguments.
        outputs: Its outputs.
        blocks: Why nothing is known of it, if so.
    """

    layer: Any
    path: str
    inputs: list[Channels]
    outputs: list[Channels]
    blocks: str = ""


class Trace:
    """What the rules say of a model.

    Args:
        model: A built `Sequential` or functional model.
        keep: Regular expression for the paths of layers that stay as they are.
        drop_inputs: Whether features of the model's inputs may go.
        left_out: The inputs of sums that are left out.
        facts: Where to write what they say; by default new ones, about the model's own weights.

    Raises:
        ValueError: If the model has no graph, or is not built, or `keep` matches no layer.
    """

    def __init__(
        self,
        model: Any,
        keep: str | re.Pattern[str] | None = None,
        drop_inputs: bool = False,
        left_out: LeftOut | None = None,
        facts: Facts | None = None,
    ) -> None:
        check_model(model)
        self.model = model
        self.facts, self.left_out = facts or Facts(), left_out or {}
        self.removed: list[Record] = []
        self.records: list[Record] = []
        self.inputs: dict[int, list[Channels]] = {}
        self.keep = None if keep is None else check_pattern("keep", keep)
        self._kept_paths: set[str] = set()
        self._paths: list[str] = []
        self.runs: Counter[int] = Counter()
        self._count(model)
        given = [self._input(tensor, drop_inputs) for tensor in graph_of(model).inputs]
        self.outputs = self._model(model, given, "")
        for x in self.outputs:
            self.facts.pins.append((x.values, "output of the model"))
            self.facts.holds.append((x.values, "output of the model"))
        if self.keep is not None and not self._kept_paths:
            expected = "a pattern that matches one of\n  " + "\n  ".join(self._paths) + "\n"
            raise invalid_value("keep", expected, keep)

    def _count(self, model: Any) -> None:
        for call in graph_calls(graph_of(model)):
            self.runs[id(call.operation)] += 1
            if isinstance(call.operation, keras.Model):
                self._count(call.operation)

    def _input(self, tensor: Any, drop: bool) -> Channels:
        shape = tuple(tensor.shape)
        axis = max(len(shape) - 1, 0)
        if len(shape) > 2 and _channels_first(graph_of(self.model), {id(tensor)}):
            axis = 1
        length = shape[axis] if axis else None
        values = self.facts.new(1 if length is None else length)
        self.facts.widths.append(values)
        if not drop or length is None:
            self.facts.holds.append((values, "input of the model"))
        return Channels(shape, axis, values, str(tensor.dtype))

    def _model(self, model: Any, inputs: list[Channels], prefix: str) -> list[Channels]:
        self.inputs.setdefault(id(model), inputs)
        graph = graph_of(model)
        tensors: dict[int, Any] = dict(zip(map(id, graph.inputs), inputs, strict=True))
        for call in needed_calls(graph, self.left_out):
            args, kwargs = call.fill_in(tensors)
            outputs = self._call(call, args, kwargs, prefix)
            tensors.update(zip(map(id, call.outputs), outputs, strict=True))
        return [tensors[id(tensor)] for tensor in graph.outputs]

    def _call(self, node: GraphCall, args: Any, kwargs: Any, prefix: str) -> list[Channels]:
        layer, path = node.operation, prefix + node.operation.name
        shapes = [tensor.shape for tensor in node.outputs]
        dtypes = [str(tensor.dtype) for tensor in node.outputs]
        call = Call(self.facts, layer, path, shapes, dtypes, runs=self.runs[id(layer)])
        left = [x for x in keras.tree.flatten(args) if x is not None]
        if id(layer) in self.left_out:
            args = self._with_phantoms(layer, args)
        inputs = channels_in((args, kwargs))
        self._paths.append(path)
        record = Record(layer, path, inputs, [])
        if self.keep is not None and self.keep.fullmatch(path):
            self._kept_paths.add(path)
            record.blocks = f"{path} is kept by `keep`"
            record.outputs = call.blocked(inputs, record.blocks)
        elif isinstance(layer, keras.Model):
            return self._nested(layer, call, args, kwargs)
        else:
            record.outputs = self._rule(layer, call, args, dict(kwargs), record)
        if not _masks_alike(node):
            self.facts.terms = [terms for terms in self.facts.terms if terms.layer is not layer]
        if isinstance(layer, keras.layers.Layer) and (
            id(layer) not in self.left_out or len(left) > 1
        ):
            self.records.append(record)
        return record.outputs

    def _with_phantoms(self, layer: Any, args: Any) -> Any:
        """The arguments of a call, with what it is called without in their places."""
        given = keras.tree.flatten(args)
        short = self.left_out[id(layer)]
        for i, x in short.inputs.items():
            values = self.facts.new(len(x.values), short.constants[i])
            given[i] = x.after(x.shape, x.axis, values)
        return keras.tree.pack_sequence_as(args, given)

    def _rule(self, layer: Any, call: Call, args: Any, kwargs: Any, record: Record) -> Any:
        """What the rule says; that nothing is known where there is none for these arguments."""
        rule, masks = rule_of(layer), channels_in(kwargs.get("mask"))
        takes_mask = rule is not None and "mask" in inspect.signature(rule.trace).parameters
        kwargs = {
            name: value
            for name, value in kwargs.items()
            if value is not None and (name != "mask" or takes_mask)
        }
        kwargs.pop("training", None)
        name = type(layer).__name__
        if rule is None:
            record.blocks = f"{call.name}: no rule for {name}"
        else:
            try:
                inspect.signature(rule.trace).bind(layer, call, *args, **kwargs)
            except TypeError:
                record.blocks = f"{call.name}: no rule for these arguments of {name}"
        if record.blocks or rule is None:
            return call.blocked(record.inputs, record.blocks)
        with asked(rule, call.name):
            found = channels_in(rule.trace(layer, call, *args, **kwargs))
            if len(found) != len(call.shapes):
                raise invalid_value("trace", f"{len(call.shapes)} `Channels` from it", found)
        for x in masks:
            call.hold(x, f"mask of {call.name}")
            for out in found:
                call.mix(out, x, f"mask of {call.name}")
        return found

    def _nested(self, model: Any, call: Call, args: Any, kwargs: Any) -> list[Channels]:
        """The calls inside of a model; in another call of it the same channels stay."""
        given = channels_in(args)
        first = self.inputs.get(id(model))
        if first is not None:
            given = [call.along(x, known.axis) for x, known in zip(given, first, strict=True)]
            for x, known in zip(given, first, strict=True):
                if len(x.values) != len(known.values):
                    expected = f"that `{call.name}` gets inputs of the same width in all its calls"
                    raise refused(expected, self.model)
                call.tie(x, known)
        outputs = self._model(model, given, f"{call.name}/")
        for mask in channels_in(kwargs):
            call.hold(mask, f"mask of {call.name}")
            for out in outputs:
                call.mix(out, mask, f"mask of {call.name}")
        return outputs


def _channels_first(graph: Any, tensors: set[int]) -> bool:
    """Whether the first layer that cares takes the second axis of tensors for the channels'."""
    for call in graph_calls(graph):
        places = [i for i, tensor in enumerate(call.inputs) if id(tensor) in tensors]
        layer = call.operation
        if not places:
            continue
        if isinstance(layer, keras.Model):
            inner = graph_of(layer)
            return _channels_first(inner, {id(inner.inputs[i]) for i in places})
        if hasattr(layer, "data_format"):
            return bool(layer.data_format == "channels_first")
        if isinstance(layer, keras.layers.BatchNormalization):
            return bool(layer.axis == 1)
        shape = call.inputs[places[0]].shape
        tensors = tensors | {id(tensor) for tensor in call.outputs if tensor.shape == shape}
    return False


def _masks_alike(node: GraphCall) -> bool:
    """Whether a call's inputs have the mask of its output, so that one may stand for it."""
    given, _ = node.fill_in({id(tensor): tensor for tensor in node.inputs})
    first, *others = [mask_of(tensor) for tensor in keras.tree.flatten(given)] or [None]
    alike = all(mask is first for mask in others)
    return alike and all((mask_of(tensor) is None) == (first is None) for tensor in node.outputs)


def check_model(model: Any) -> None:
    """Raises unless a model has a graph, all of whose layers compute with their variables."""
    if not isinstance(model, keras.Model):
        raise invalid_value("model", "a Sequential or functional Keras model", model)
    check_built(model)
    for path, layer in layer_paths(model):
        if isinstance(layer, keras.Model) and graph_of(layer) is None:
            expected = (
                "a Sequential or functional model, also of the models inside of it, as only these "
                f"have a graph of layers; `{path}` is a {type(layer).__name__}"
            )
            raise refused(expected, model)
        if problem := _problem(layer):
            expected = f"one whose layers compute with their kernels; `{path}` {problem}"
            raise refused(expected, model)


def _problem(layer: Any) -> str:
    """Why a layer's weights cannot be cut, if so, in words."""
    if getattr(layer, "lora_enabled", False):
        return "has LoRA enabled"
    if getattr(layer, "quantization_mode", None) is not None:
        return "is quantized; quantize the smaller model instead"
    if any(map(is_sharded, own_variables(layer))):
        return "has weights that are sharded over several devices"
    return ""


def refused(expected: str, model: Any) -> Refused:
    """The error for a model that compaction cannot treat."""
    return Refused(*invalid_value("model", expected, model).args)
