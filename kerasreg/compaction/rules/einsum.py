"""`EinsumDense`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kerasreg._keras_internals import taken_for_bias
from kerasreg.compaction.call import Call
from kerasreg.compaction.channels import Channels, Floats, Ints, along_axis
from kerasreg.compaction.liveness import Kept
from kerasreg.compaction.rule import CompactionRule, compaction_rule
from kerasreg.compaction.uses import Bias


@dataclass(frozen=True)
class Labels:
    """The labels of an equation, those of an ellipsis as capitals.

    Args:
        x: Those of the input's axes.
        kernel: Those of the kernel.
        out: Those of the output.
    """

    x: str
    kernel: str
    out: str

    @property
    def rows(self) -> str:
        """What is summed over, with weights."""
        return "".join(each for each in self.x if each in self.kernel and each not in self.out)

    @property
    def columns(self) -> str:
        """What is new in the output."""
        return "".join(each for each in self.out if each not in self.x)

    @property
    def shared(self) -> str:
        """What the input, the kernel and the output have in common."""
        return "".join(each for each in self.x if each in self.kernel and each in self.out)

    @property
    def regular(self) -> bool:
        """Whether no label occurs twice in an operand, and none in the kernel only."""
        operands = (self.x, self.kernel, self.out)
        twice = any(len(set(each)) < len(each) for each in operands)
        return not twice and set(self.kernel) <= set(self.x + self.out)


def labels_of(equation: str, rank: int) -> Labels:
    """The labels of an equation whose input has so many axes."""
    given, out = equation.replace(" ", "").split("->")
    x, kernel = given.split(",")
    missing = rank - len(x.replace("...", ""))
    dots = "".join(chr(ord("A") + i) for i in range(missing))
    # Only so that no capital of the equation is taken for one of these.
    x, kernel, out = (
        re.sub("[A-Z]", lambda m: chr(ord(m[0]) + 0xE000), s) for s in (x, kernel, out)
    )
    return Labels(x.replace("...", dots), kernel, out.replace("...", dots))


@compaction_rule(keras.layers.EinsumDense)
class EinsumDenseRule(CompactionRule):
    """`Dense` over several axes, of which one of the input's and one of the output's is cut."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """Cuts what is summed over and what is new, or what both have in common."""
        labels = labels_of(layer.equation, len(x.shape))
        along = labels.x[x.axis]
        if not labels.regular or not (labels.rows or along in labels.shared):
            return call.blocked([x], f"{call.name} neither sums over its channels nor keeps them")[
                0
            ]
        if along in labels.shared:
            out = self._shared(layer, call, x, labels)
        else:
            axis = x.axis if along in labels.rows else labels.x.index(labels.rows[-1])
            out = self._summed(layer, call, call.along(x, axis), labels)
        return call.apply(layer.activation, out)

    def _shared(self, layer: Any, call: Call, x: Channels, labels: Labels) -> Channels:
        """Each channel by itself, with weights of its own."""
        label = labels.x[x.axis]
        place = labels.kernel.index(label)
        kernel = np.moveaxis(call.numbers(layer.kernel), place, 0).reshape(len(x.values), -1)
        zero = (kernel == 0).all(axis=1)
        single = set(labels.kernel) == {label} and set(labels.x) <= set(labels.out)
        known = call.constants(x)
        sums = known * kernel[:, 0] if single else np.where(known == 0, 0.0, np.nan)
        sums[zero] = 0
        axis = labels.out.index(label)
        out = call.new(axis, sums + along_axis(bias_numbers(layer, call, labels), axis))
        call.tie(out, x)
        call.edge(out.values[~zero], x.values[~zero])
        call.cut(layer.kernel, place, x)
        shape = () if layer.bias is None else tuple(layer.bias.shape)
        self._cut_output(layer, call, call.bias(shape, allowed=False), labels, out)
        return out

    def _summed(self, layer: Any, call: Call, x: Channels, labels: Labels) -> Channels:
        """Each channel of the output reads all of the input, at all places of the other axes."""
        sizes = dict(zip(labels.kernel, map(int, layer.kernel.shape), strict=True))
        bias, obstacle = folding_place(layer, call, labels, sizes)
        rows, columns = (
            tuple(map(labels.kernel.index, each)) for each in (labels.rows, labels.columns)
        )
        read = call.read(layer.kernel, rows, columns, bias, not obstacle, obstacle=obstacle)
        shape = tuple(sizes[label] for label in labels.rows)
        inputs = spread(call, x, labels.rows.index(labels.x[x.axis]), shape, of_input=True)
        sums = read.constants(call.facts.constants[inputs])
        out = self._output(layer, call, labels, sizes, sums)
        made = tuple(sizes[label] for label in labels.columns)
        outputs = spread(call, out, len(made) - 1, made, of_input=False) if made else None
        if outputs is None:
            outputs = call.facts.new(1)
            call.mix(out, outputs)
            call.hold(out, f"{call.name} makes no new channels")
        call.connect(read, inputs, outputs)
        call.cut(layer.kernel, labels.kernel.index(labels.x[x.axis]), x, produces=False)
        if made:
            call.cut(layer.kernel, columns[-1], out)
            self._cut_output(layer, call, bias, labels, out)
        return out

    def _output(
        self, layer: Any, call: Call, labels: Labels, sizes: dict[str, int], sums: Floats
    ) -> Channels:
        """The channels of the output, along the last of its new axes."""
        if not labels.columns:
            return call.new(-1)
        axis = labels.out.index(labels.columns[-1])
        grid = [sizes[label] if label in labels.columns else 1 for label in labels.out]
        total = sums.reshape(grid) + bias_numbers(layer, call, labels)
        return call.new(axis, along_axis(total, axis))

    def _cut_output(
        self, layer: Any, call: Call, bias: Bias, labels: Labels, out: Channels
    ) -> None:
        """Says what is cut for the output's channels besides the kernel."""
        axis = out.axis - len(labels.out) + len(bias.shape)
        if axis >= 0 and bias.shape[axis] == len(out.values):
            call.cut(bias.attribute if bias.variable is None else bias.variable, axis, out)
        # A bias of another form could be added along another axis.
        if taken_for_bias(bias.shape):
            call.hold(out, f"{call.name} adds its bias along another axis")
        elif taken_for_bias((*bias.shape[:-1], 1)):
            for half in np.array_split(out.values, 2):
                call.widen(half)
        explicit = [label for label in labels.out if not label.isupper()]
        partial = layer.partial_output_shape
        place = explicit.index(labels.out[out.axis]) - len(explicit) + len(partial)
        call.size("partial_output_shape", out, place)

    def config(self, layer: Any, kept: Kept) -> dict[str, Any]:
        """The axis in `output_shape`, and a bias along the new axes."""
        changes = super().config(layer, kept)
        if "partial_output_shape" in changes:
            changes["output_shape"] = changes.pop("partial_output_shape")
        if changes.pop("use_bias", False):
            given, out = layer.equation.replace(" ", "").split("->")
            changes["bias_axes"] = "".join(each for each in out if each not in given.split(",")[0])
        return changes


def bias_numbers(layer: Any, call: Call, labels: Labels) -> Floats:
    """The bias, or zero, with all axes of the output."""
    bias = np.zeros(()) if layer.bias is None else call.numbers(layer.bias)
    return bias.reshape((1,) * (len(labels.out) - bias.ndim) + bias.shape)


def folding_place(
    layer: Any, call: Call, labels: Labels, sizes: dict[str, int]
) -> tuple[Bias, str]:
    """The bias that constants are folded into, and what keeps them from it."""
    obstacle = ""
    if labels.shared:
        obstacle = "weights of its own at each place"
    elif not set(labels.x) <= set(labels.kernel + labels.out):
        obstacle = "a sum over positions"
    if layer.bias is None:
        first = min(map(labels.out.index, labels.columns), default=len(labels.out))
        shape = [sizes[label] if label in labels.columns else 1 for label in labels.out[first:]]
        # With a bias along its last axis the output is what it was, on all backends.
        last = bool(shape) and labels.columns == labels.out[first:]
        return call.bias(tuple(shape), allowed=last), obstacle
    shape = list(layer.bias.shape)
    names = labels.out[len(labels.out) - len(shape) :]
    had = {label for label, size in zip(names, shape, strict=True) if size > 1}
    if any(sizes[label] > 1 and label not in had for label in labels.columns):
        obstacle = obstacle or "a bias that is the same along one of the axes"
    sums = tuple(sizes[label] if label in labels.columns else 1 for label in names)
    return call.bias(tuple(shape), spread=sums), obstacle


def spread(call: Call, x: Channels, axis: int, shape: tuple[int, ...], of_input: bool) -> Ints:
    """The values of a tensor's channels at each place of several axes, in one row.

    Args:
        call: The call.
        x: The tensor.
        axis: Which of the axes numbers its channels.
        shape: The lengths of the axes.
        of_input: Whether the tensor comes before the layer.
    """
    if len(shape) == 1:
        return x.values
    line = x.values.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    channels = np.broadcast_to(line, shape).ravel()
    values = call.facts.new(len(channels), call.facts.constants[channels] if of_input else None)
    call.tie(values, channels)
    call.edge(*((values, channels) if of_input else (channels, values)))
    return values
