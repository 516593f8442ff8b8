"""Products of two tensors that sum over an axis, as in attention written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kerasreg._keras_internals import operation_classes
from kerasreg.compaction.call import Call, channels_in
from kerasreg.compaction.channels import Channels, count_axis
from kerasreg.compaction.rule import CompactionRule, compaction_rule

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def bilinear(call: Call, inputs: Sequence[Channels], labels: Sequence[str], made: str) -> Channels:
    """The channels of a sum of products of two tensors.

    Args:
        call: The call.
        inputs: The two tensors.
        labels: For each the labels of its axes, as of an einsum.
        made: Those of the output's axes.

    Returns:
        The output.
    """
    own = [each[x.axis] for x, each in zip(inputs, labels, strict=True)]
    if own[0] == own[1] and inputs[0].length == inputs[1].length is not None:
        return _paired(call, inputs, own[0], made)
    # What is multiplied with scores, say, usually comes second.
    for place in (1, 0):
        if own[place] in made and own[place] not in labels[1 - place]:
            return _weighed(call, inputs[place], inputs[1 - place], made.index(own[place]))
    return call.blocked(inputs, f"{call.name} sums over other axes than the channels")[0]


def _paired(call: Call, inputs: Sequence[Channels], label: str, made: str) -> Channels:
    """Both have their channels along the same axis: a zero in one makes the other's needless."""
    zeros = np.array([call.constants(x) == 0 for x in inputs])
    zero = zeros.any(axis=0)
    call.tie(*inputs)
    if label in made:
        out = call.new(made.index(label), np.where(zero, 0.0, np.nan))
        call.tie(out, inputs[0])
    else:
        out = call.new(-1, np.zeros(call.shape[-1] or 1) if zero.all() else None)
        call.hold(out, f"{call.name} makes no new channels")
    for place, x in enumerate(inputs):
        if label in made:
            needs = ~zero | zeros[place] & (zeros.argmax(axis=0) == place)
            call.edge(out.values[needs], x.values[needs])
        else:
            call.mix(out, x.values[~zero])
            # What stays for whatever reason is summed up, too.
            call.present(x, f"read by {call.name}")
    return out


def _weighed(call: Call, x: Channels, weights: Channels, axis: int) -> Channels:
    """Each channel is summed over positions, with all of the other tensor as weights."""
    zero = call.constants(x) == 0
    out = call.new(axis, np.where(zero, 0.0, np.nan))
    call.tie(out, x)
    call.edge(out, x)
    call.hold(weights, f"read by {call.name}")
    call.mix(out.values[~zero], weights)
    return out


def matmul_labels(ranks: Sequence[int]) -> tuple[list[str], str]:
    """The labels of a product of matrices with axes of samples in front."""
    batch = LETTERS[: max(ranks) - 2]
    fronts = [batch[len(batch) - rank + 2 :] for rank in ranks]
    return [f"{fronts[0]}xy", f"{fronts[1]}yz"], f"{batch}xz"


@compaction_rule(*operation_classes(["Matmul", "Einsum"]), keras.layers.Dot)
class BilinearRule(CompactionRule):
    """Products of matrices."""

    def trace(self, layer: Any, call: Call, *args: Any) -> Channels:
        """Finds the labels of the axes."""
        inputs = channels_in(args)
        found = None
        if len(inputs) == 2 == len(keras.tree.flatten(args)):
            found = self._labels(layer, [len(x.shape) for x in inputs])
        if found is None:
            return call.blocked(inputs, f"{call.name} has other arguments")[0]
        return bilinear(call, inputs, *found)

    def _labels(self, layer: Any, ranks: list[int]) -> tuple[list[str], str] | None:
        if isinstance(layer, keras.layers.Dot):
            return self._of_dot(layer, ranks)
        equation = getattr(layer, "subscripts", None)
        if equation is None:
            return matmul_labels(ranks) if min(ranks) >= 2 else None
        given, arrow, made = equation.replace(" ", "").partition("->")
        labels = given.split(",")
        twice = any(len(set(each)) < len(each) for each in (*labels, made))
        if not arrow or "." in equation or twice or [*map(len, labels)] != ranks:
            return None
        return labels, made

    def _of_dot(self, layer: Any, ranks: list[int]) -> tuple[list[str], str] | None:
        """One axis of each is summed over; of the others the samples' is the same."""
        if layer.normalize:
            return None
        axes = layer.axes if isinstance(layer.axes, (list, tuple)) else [layer.axes] * 2
        labels, start = [], 1
        for axis, rank in zip(axes, ranks, strict=True):
            own = list("a" + LETTERS[start : start + rank - 1])
            own[count_axis(axis, rank)] = "y"
            labels.append("".join(own))
            start += rank - 1
        made = "a" + "".join(x for each in labels for x in each[1:] if x != "y")
        return (labels, made) if labels[0][0] == labels[1][0] == "a" else None
