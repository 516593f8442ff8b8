"""Layers and operations of several tensors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from kerasreg._keras_internals import operation_classes
from kerasreg.compaction.call import Call, channels_in
from kerasreg.compaction.channels import Channels, Floats
from kerasreg.compaction.rule import CompactionRule, compaction_rule
from kerasreg.compaction.rules.pointwise import with_number

layers = keras.layers
Combine = Callable[[Floats, Floats], Floats]


def aligned(call: Call, inputs: Sequence[Channels]) -> list[Channels] | None:
    """The inputs with their channels along the same axis; `None` where their ranks differ.

    Those that are broadcast along it keep their one channel there.
    """
    if any(len(x.shape) != len(call.shape) for x in inputs) or not call.shape:
        return None
    axis = max(inputs, key=lambda x: x.length or 0).axis
    turned = [call.along(x, axis) for x in inputs]
    lengths = {x.length for x in turned} - {1}
    return turned if len(lengths) <= 1 and None not in lengths else None


def combined(
    call: Call, inputs: Sequence[Channels], combine: Combine, share: float = 1.0
) -> Channels:
    """The channels of an elementwise function of several tensors.

    Args:
        call: The call.
        inputs: The tensors.
        combine: The function, of two.
        share: A factor on the result.

    Returns:
        The `Channels` of the output.
    """
    found = aligned(call, inputs)
    if found is None:
        return call.blocked(inputs, f"{call.name} combines tensors of different ranks")[0]
    numbers = functools.reduce(combine, (call.constants(x) for x in found))
    length = call.shape[found[0].axis] or 1
    out = call.new(found[0].axis, np.broadcast_to(numbers * share, (length,)))
    for x in found:
        call.edge(out, np.broadcast_to(x.values, out.values.shape))
        if len(x.values) == len(out.values):
            call.tie(out, x)
    return out


@compaction_rule(layers.Add, layers.Subtract, layers.Maximum, layers.Minimum, layers.Average)
class MergeRule(CompactionRule):
    """Channels of the inputs stay or go together."""

    functions = {
        layers.Add: np.add,
        layers.Average: np.add,
        layers.Subtract: np.subtract,
        layers.Maximum: np.maximum,
        layers.Minimum: np.minimum,
    }

    def trace(self, layer: Any, call: Call, inputs: Sequence[Channels]) -> Channels:
        """The function of the constants."""
        combine = next(f for cls, f in self.functions.items() if isinstance(layer, cls))
        share = 1 / len(inputs) if isinstance(layer, layers.Average) else 1.0
        out = combined(call, inputs, combine, share)
        first = 0 if isinstance(layer, layers.Add) else 1
        call.terms(inputs, out, first if combine in (np.add, np.subtract) and share == 1 else None)
        return out


@compaction_rule(layers.Multiply)
class MultiplyRule(CompactionRule):
    """A constant zero makes the others' channel needless."""

    def trace(self, layer: Any, call: Call, inputs: Sequence[Channels]) -> Channels:
        """The product; one factor that is zero is enough."""
        out = product(call, inputs)
        call.terms(inputs, out)
        return out


def product(call: Call, inputs: Sequence[Channels]) -> Channels:
    """The channels of a product."""
    found = aligned(call, inputs)
    if found is None:
        return call.blocked(inputs, f"{call.name} combines tensors of different ranks")[0]
    length = call.shape[found[0].axis] or 1
    numbers = [np.broadcast_to(call.constants(x), (length,)) for x in found]
    zeros = np.array([number == 0 for number in numbers])
    annihilated = zeros.any(axis=0)
    constant = np.where(annihilated, 0.0, np.prod(numbers, axis=0))
    out = call.new(found[0].axis, constant)
    first = np.argmax(zeros, axis=0)
    for i, x in enumerate(found):
        values = np.broadcast_to(x.values, out.values.shape)
        counts = ~annihilated | (first == i)
        call.edge(out.values[counts], values[counts])
        if len(x.values) == length:
            call.tie(out, x)
    return out


@compaction_rule(layers.Concatenate, *operation_classes(["Concatenate"]))
class ConcatenateRule(CompactionRule):
    """Along the channels they are joined, along another axis tied."""

    def trace(self, layer: Any, call: Call, inputs: Sequence[Channels], axis: Any = None) -> Any:
        """Joins or ties."""
        axis = (layer.axis if axis is None else axis) % len(call.shape)
        if len(channels_in(inputs)) != len(inputs):
            return call.blocked(channels_in(inputs), f"{call.name} has other arguments")[0]
        if len(inputs) == 1:
            return inputs[0]
        if all(x.axis == axis and x.length is not None for x in inputs):
            return inputs[0].after(call.shape, axis, np.concatenate([x.values for x in inputs]))
        along = {x.axis for x in inputs} - {axis}
        if len(along) != 1 or any(x.length is None for x in inputs):
            return call.blocked(inputs, f"{call.name} joins along several axes")[0]
        turned = [call.along(x, max(along)) for x in inputs]
        same = functools.reduce(
            lambda a, b: np.where(a == b, a, np.nan), (call.constants(x) for x in turned)
        )
        out = call.new(max(along), same)
        for x in turned:
            call.edge(out, x)
            call.tie(out, x)
        return out


BINARY: dict[str, Combine] = {
    "Add": np.add,
    "Subtract": np.subtract,
    "Maximum": np.maximum,
    "Minimum": np.minimum,
    "Multiply": np.multiply,
    "Divide": np.divide,
    "TrueDivide": np.divide,
}


@compaction_rule(*operation_classes(BINARY))
class BinaryRule(CompactionRule):
    """Operations such as `x + y`, in which one may be a number."""

    def trace(self, layer: Any, call: Call, *args: Any) -> Channels:
        """The function of the constants; of a product as `Multiply` does."""
        inputs = channels_in(args)
        if len(args) != 2 or not inputs:
            return call.blocked(inputs, f"{call.name} has other arguments")[0]
        if len(inputs) == 1:
            return with_number(call, layer, list(args))
        name = type(layer).__name__
        with np.errstate(divide="ignore", invalid="ignore"):
            out = (
                product(call, inputs)
                if name == "Multiply"
                else combined(call, inputs, BINARY[name])
            )
        call.terms(inputs, out, {"Add": 0, "Subtract": 1}.get(name))
        if "Divide" in name:
            call.present(out, f"{call.name} may be infinite")
        return out
