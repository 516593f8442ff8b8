"""`EinsumDense` along one axis."""

from __future__ import annotations

import re
from typing import Any

import keras

from kerasreg.compaction.call import Call
from kerasreg.compaction.channels import Channels
from kerasreg.compaction.liveness import Kept
from kerasreg.compaction.rule import CompactionRule, compaction_rule
from kerasreg.compaction.rules.affine import affine


def axes_of(equation: str, rank: int) -> tuple[str, str, str]:
    """The labels of input, kernel and output, those of an ellipsis as capitals and dots as none."""
    operands, out = re.sub(r"\s", "", equation).split("->")
    x, kernel = operands.split(",")
    dots = "".join(chr(ord("A") + i) for i in range(rank - len(x.replace("...", ""))))
    return x.replace("...", dots), kernel, out.replace("...", dots)


@compaction_rule(keras.layers.EinsumDense)
class EinsumDenseRule(CompactionRule):
    """`Dense` where one axis is summed over and one is new; others are blocked."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """Cuts both axes."""
        labels, kernel, made = axes_of(layer.equation, len(x.shape))
        inner = [label for label in kernel if label not in made]
        outer = [label for label in kernel if label not in labels]
        plain = len(kernel) == 2 and len(inner) == len(outer) == 1
        if not plain or layer.bias is not None and len(layer.bias.shape) != 1:
            return call.blocked([x], f"{call.name} sums over several axes, or none")[0]
        x = call.along(x, labels.index(inner[0]))
        rows, columns = kernel.index(inner[0]), kernel.index(outer[0])
        axis = made.index(outer[0])
        bias = call.bias((int(layer.kernel.shape[columns]),), allowed=axis == len(made) - 1)
        if layer.bias is not None and axis != len(made) - 1:
            return call.blocked([x], f"{call.name} has its units along another axis")[0]
        out = affine(call, x, axis, layer.kernel, rows, columns, bias)
        call.size("output_shape", out)
        return call.apply(layer.activation, out)

    def config(self, layer: Any, kept: Kept) -> dict[str, Any]:
        """The axis in `output_shape`, and a bias along it."""
        count = kept.sizes(layer).get("output_shape")
        if count is None:
            return {}
        rank = len(layer.input_spec.shape or ()) or layer.input_spec.ndim
        _, kernel, made = axes_of(layer.equation, rank)
        shape = list(layer.partial_output_shape)
        label = next(label for label in kernel if label in made)
        shape[made.index(label) - len(made)] = count
        changes: dict[str, Any] = {"output_shape": tuple(shape)}
        return {**changes, "bias_axes": label} if kept.adds_bias(layer) else changes
