"""Layers and operations of several tensors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from kerasreg._keras_internals import operation_classes, residual_scale
from kerasreg.compaction.call import Call, channels_in
from kerasreg.compaction.channels import Channels, Floats, count_axis
from kerasreg.compaction.facts import Amends
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


def amends_of(name: str, out: Channels, count: int) -> Amends | None:
    """What makes up for constant inputs of an operation of that name, if anything does."""
    every = range(count)
    if name == "Add":
        return Amends(every, lambda numbers, _: (1.0, numbers.sum(axis=0)))
    if name == "Subtract":
        return Amends([1], lambda numbers, _: (1.0, -numbers.sum(axis=0)))
    if name == "Average":
        return Amends(every, lambda numbers, n: ((n - len(numbers)) / n, numbers.sum(axis=0) / n))
    # Of vectors, `Rescaling` would take the factors for those of an image.
    vectors = len(out.shape) < 3 and keras.config.image_data_format() == "channels_first"
    if name == "Multiply" and not vectors:
        return Amends(every, lambda numbers, _: (numbers.prod(axis=0), 0.0))
    return None


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
        cls = next(cls for cls in self.functions if isinstance(layer, cls))
        combine = self.functions[cls]
        share = 1 / len(inputs) if isinstance(layer, layers.Average) else 1.0
        out = combined(call, inputs, combine, share)
        call.terms(inputs, out, amends_of(cls.__name__, out, len(inputs)))
        return out


@compaction_rule(layers.Multiply)
class MultiplyRule(CompactionRule):
    """A constant zero makes the others' channel needless."""

    def trace(self, layer: Any, call: Call, inputs: Sequence[Channels]) -> Channels:
        """The product; one factor that is zero is enough."""
        out = product(call, inputs)
        call.terms(inputs, out, amends_of("Multiply", out, len(inputs)))
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
            return self._join(call, inputs, axis)
        along = {x.axis for x in inputs} - {axis}
        if len(along) != 1 or any(x.length is None for x in inputs):
            return call.blocked(inputs, f"{call.name} joins along several axes")[0]
        turned = [call.along(x, max(along)) for x in inputs]
        return together(call, turned, max(along))

    def _join(self, call: Call, inputs: Sequence[Channels], axis: int) -> Channels:
        """New channels in the places of the inputs', which others may still need."""
        values = np.concatenate([x.values for x in inputs])
        out = call.new(axis, call.facts.constants[values])
        call.edge(out, values)
        call.tie(out, values)
        call.joined(inputs, out)
        return out


@compaction_rule(*operation_classes(["Stack"]))
class StackRule(CompactionRule):
    """Along a new axis; channels are tied as where they are joined along another axis."""

    def trace(self, layer: Any, call: Call, inputs: Sequence[Channels]) -> Channels:
        """Ties, if all have their channels along the same axis."""
        first = inputs[0]
        if any(x.axis != first.axis or x.length != first.length for x in inputs):
            return call.blocked(inputs, f"{call.name} joins along several axes")[0]
        new = count_axis(layer.axis, len(call.shape))
        return together(call, inputs, first.axis + (new <= first.axis))


def together(call: Call, inputs: Sequence[Channels], axis: int) -> Channels:
    """The channels of tensors side by side along another axis: constant where all are equal."""
    same = functools.reduce(
        lambda a, b: np.where(a == b, a, np.nan), (call.constants(x) for x in inputs)
    )
    out = call.new(axis, same)
    for x in inputs:
        call.edge(out, x)
        call.tie(out, x)
    return out


@compaction_rule(residual_scale())
class ResidualScaleRule(CompactionRule):
    """`x[0] + scale * x[1]`."""

    def trace(self, layer: Any, call: Call, inputs: Sequence[Channels]) -> Channels:
        """As `Add`; a branch that is constant can go."""
        out = combined(call, inputs, lambda a, b: a + layer.scale * b)
        call.terms(
            inputs, out, Amends([1], lambda numbers, _: (1.0, layer.scale * numbers.sum(axis=0)))
        )
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
        name = type(layer).__name__
        if len(inputs) == 1:
            out = with_number(call, layer, list(args))
            if "Divide" in name:
                call.present(out, f"{call.name} may be infinite")
            return out
        with np.errstate(divide="ignore", invalid="ignore"):
            out = (
                product(call, inputs)
                if name == "Multiply"
                else combined(call, inputs, BINARY[name])
            )
        call.terms(inputs, out, amends_of(name, out, 2))
        if "Divide" in name:
            call.present(out, f"{call.name} may be infinite")
        return out


NUMERIC = (
    "Power Mod Fmod FloorDivide DivideNoNan Arctan2 Hypot Logaddexp Logaddexp2 Ldexp Nextafter "
    "Fmax Fmin"
).split()
LOGICAL = (
    "Greater GreaterEqual Less LessEqual Equal NotEqual LogicalAnd LogicalOr LogicalXor Where "
    "Isclose"
).split()


@compaction_rule(*operation_classes([*NUMERIC, *LOGICAL]))
class ElementwiseRule(CompactionRule):
    """Operations of several tensors and numbers on each number by itself."""

    def trace(self, layer: Any, call: Call, *args: Any, **kwargs: Any) -> Channels:
        """Ties the channels; they are constant only where they are computed from one tensor."""
        inputs = channels_in((args, kwargs))
        others = [x for x in args if not isinstance(x, Channels)]
        if len(inputs) == 1 and len(args) == 2 and not kwargs:
            out = with_number(call, layer, list(args))
        elif kwargs or any(np.ndim(x) for x in others):
            return call.blocked(inputs, f"{call.name} has other arguments")[0]
        else:
            out = combined(call, inputs, np.add, np.nan)
        if type(layer).__name__ in NUMERIC:
            call.present(out, f"{call.name} may be infinite")
        return out
