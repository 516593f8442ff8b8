"""Operations along axes: means, sums and the like, softmax, what looks along positions."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._keras_internals import operation_classes
from kerasreg._tensors import to_numpy
from kerasreg.compaction.call import Call
from kerasreg.compaction.channels import Channels, Floats, count_axis
from kerasreg.compaction.rule import CompactionRule, compaction_rule

REDUCTIONS = (
    "Mean Sum Max Min Amax Amin Median Std Var Ptp Prod Logsumexp Any All CountNonzero "
    "Argmax Argmin"
).split()


def axes_of(layer: Any, rank: int) -> list[int]:
    """The axes that an operation works along, counted from the front; all where it names none."""
    if layer.axis is None:
        return list(range(rank))
    return [count_axis(int(axis), rank) for axis in np.ravel(layer.axis)]


@compaction_rule(*operation_classes(REDUCTIONS))
class ReductionRule(CompactionRule):
    """Over positions each channel by itself; over the channels zeros do not count in a sum."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """Follows the channels, or mixes them."""
        axes = axes_of(layer, len(x.shape))
        if x.axis in axes:
            return self._over_channels(call, x, type(layer).__name__)
        axis = x.axis
        if not getattr(layer, "keepdims", False):
            axis -= sum(each < x.axis for each in axes)
        out = call.new(axis, self._constants(layer, call, x, axes), length=x.length)
        call.tie(out, x)
        call.edge(out, x)
        return out

    def _constants(self, layer: Any, call: Call, x: Channels, axes: list[int]) -> Floats:
        """What constants become; what depends on a length that is not known is none."""
        numbers = call.constants(x)
        known = np.flatnonzero(~np.isnan(numbers))
        result = np.full(numbers.shape, np.nan)
        if not len(known):
            return result
        found = []
        for unknown in (2, 3):
            shape = [(size or unknown) if i in axes else 1 for i, size in enumerate(x.shape)]
            line = np.ones(len(shape), int)
            shape[x.axis] = line[x.axis] = len(known)
            given = np.broadcast_to(numbers[known].astype("float32").reshape(line), shape)
            found.append(to_numpy(layer.call(ops.convert_to_tensor(given))).ravel())
        result[known] = np.where(found[0] == found[1], found[0], np.nan)
        return result

    def _over_channels(self, call: Call, x: Channels, name: str) -> Channels:
        mixes = f"{call.name} mixes the channels"
        if name not in ("Sum", "Any", "CountNonzero") or not call.shape:
            return call.blocked([x], mixes)[0]
        counts = call.constants(x) != 0
        out = call.new(-1, None if counts.any() else np.zeros(call.shape[-1] or 1))
        call.hold(out, mixes)
        call.mix(out, x.values[counts], mixes)
        # A zero that stays, for whatever reason, counts, too.
        call.present(x, mixes)
        return out


@compaction_rule(
    keras.layers.Softmax,
    *operation_classes(["Softmax", "LogSoftmax", "Sparsemax", "Cumsum", "Cumprod", "Sort"]),
)
class AlongAxesRule(CompactionRule):
    """Along positions each channel by itself; along the channels each output needs all."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """Passes the channels on, or mixes them."""
        if x.axis in axes_of(layer, len(x.shape)) or x.length is None:
            return call.blocked([x], f"{call.name} mixes the channels")[0]
        out = call.like(x)
        call.edge(out, x)
        return out
