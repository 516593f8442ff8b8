"""Pooling, padding and all that only moves channels to other places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._keras_internals import operation_classes
from kerasreg._tensors import to_numpy
from kerasreg.compaction.call import Call
from kerasreg.compaction.channels import Channels, Ints
from kerasreg.compaction.rule import CompactionRule, compaction_rule
from kerasreg.compaction.rules.convolutions import channel_axis
from kerasreg.compaction.rules.pointwise import classes

layers = keras.layers


def of_all_ranks(*stems: str) -> list[type]:
    """Layers for one, two and three spatial axes."""
    return classes(" ".join(f"{stem}{rank}D" for stem in stems for rank in (1, 2, 3)))


@compaction_rule(
    *of_all_ranks(
        "MaxPooling",
        "AveragePooling",
        "GlobalMaxPooling",
        "GlobalAveragePooling",
        "AdaptiveMaxPooling",
        "AdaptiveAveragePooling",
        "Cropping",
        "UpSampling",
    )
)
class PoolingRule(CompactionRule):
    """Each channel by itself; a constant stays what it is, as what is padded does not count."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """The same channels in fewer or more places."""
        x = call.along(x, channel_axis(layer))
        axis = x.axis if len(call.shape) == len(x.shape) else len(call.shape) - 1
        return x.after(call.shape, axis, x.values)


@compaction_rule(*classes("Resizing CenterCrop RandomCrop"))
class ResizingRule(CompactionRule):
    """Each channel by itself; a constant stays what it is, unless something is put around it."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """The same channels in other places."""
        x = call.along(x, channel_axis(layer))
        padded = getattr(layer, "pad_to_aspect_ratio", False)
        out = call.new(x.axis, None if padded else call.constants(x), length=x.length)
        call.tie(out, x)
        call.edge(out, x)
        return out


@compaction_rule(*of_all_ranks("ZeroPadding"))
class PaddingRule(CompactionRule):
    """Only zeros stay constant."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """The same channels with zeros around."""
        x = call.along(x, channel_axis(layer))
        out = call.like(x, np.where(call.constants(x) == 0, 0.0, np.nan))
        call.edge(out, x)
        return out


def follow(function: Callable[[Any], Any], x: Channels) -> tuple[int, Ints] | None:
    """Where the channels are after a function that moves numbers.

    The function is called on a tensor that holds the channels' numbers.

    Args:
        function: The function of one tensor.
        x: The input.

    Returns:
        The axis and, for each place of it, the place that it had before; `None` where they are
        spread over several axes, or computed with.
    """
    if x.length is None:
        return None
    shape = [2 if size is None else size for size in x.shape]
    line = np.arange(x.length).reshape([-1 if i == x.axis else 1 for i in range(len(shape))])
    numbers = to_numpy(function(ops.convert_to_tensor(np.broadcast_to(line, shape), "int32")))
    for axis in reversed(range(numbers.ndim)):
        first = np.moveaxis(numbers, axis, 0).reshape(numbers.shape[axis], -1)[:, 0]
        row = first.reshape([-1 if i == axis else 1 for i in range(numbers.ndim)])
        if (numbers == row).all():
            return axis, first.astype(np.int64)
    return None


def moved(call: Call, function: Callable[[Any], Any], x: Channels) -> Channels | None:
    """The channels after a function that moves numbers; `None` where they cannot be followed."""
    try:
        found = follow(function, x)
    except (ValueError, TypeError, RuntimeError):
        return None  # It depends on a length that is not known.
    if found is None:
        return None
    axis, places = found
    if axis >= len(call.shape) or call.shape[axis] != len(places):
        return None
    return x.after(call.shape, axis, x.values[places])


@compaction_rule(layers.Flatten, layers.Permute, layers.RepeatVector)
class MovingRule(CompactionRule):
    """Moves channels, whatever their number."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """Finds them where they are afterwards."""
        out = moved(call, layer.call, x)
        return out or call.blocked([x], f"{call.name} spreads the channels")[0]


@compaction_rule(layers.Reshape)
class ReshapeRule(CompactionRule):
    """Moves channels to an axis whose length its configuration says."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """Finds them, and counts them in `target_shape`."""
        out = moved(call, layer.call, x)
        if out is None or out.axis == 0:
            return call.blocked([x], f"{call.name} spreads the channels")[0]
        if layer.target_shape[out.axis - 1] != -1:
            call.size("target_shape", out, out.axis - 1)
        return out


MOVES = (
    "ExpandDims Squeeze Transpose Swapaxes Moveaxis Flip Fliplr Flipud Rot90 Reshape Ravel Repeat "
    "Tile Roll BroadcastTo Diagonal"
).split()
# The entry of the configuration that says the shape of the output.
SHAPES = {"Reshape": "newshape", "BroadcastTo": "shape"}


@compaction_rule(*operation_classes(MOVES))
class MovingOperationRule(CompactionRule):
    """Moves channels by arguments that may name their number; then it stays."""

    def trace(self, layer: Any, call: Call, x: Channels, *args: Any, **kwargs: Any) -> Channels:
        """Finds them where they are afterwards, and tries whether fewer would be found as well."""

        def function(numbers: Any) -> Any:
            return layer.call(numbers, *args, **kwargs)

        out = moved(call, function, x) if not _has_tensors((args, kwargs)) else None
        if out is None:
            return call.blocked([x], f"{call.name} spreads the channels")[0]
        entry = SHAPES.get(type(layer).__name__)
        if entry is not None and tuple(getattr(layer, entry))[out.axis] not in (-1, None):
            call.size(entry, out, out.axis)
        elif not takes_fewer(function, x, out):
            call.hold(x, f"{call.name} names the number of channels")
        return out


def _has_tensors(structure: Any) -> bool:
    return any(isinstance(each, Channels) for each in keras.tree.flatten(structure))


def takes_fewer(function: Callable[[Any], Any], x: Channels, out: Channels) -> bool:
    """Whether the function does the same without the first channel, and without the last."""
    values, length = x.values, len(x.values)
    if length < 3:
        return False
    for kept in (np.arange(1, length), np.arange(length - 1)):
        shape = (*x.shape[: x.axis], length - 1, *x.shape[x.axis + 1 :])
        try:
            found = follow(function, x.after(shape, x.axis, values[kept]))
        except Exception:  # Whatever the operation does not like about the shape.
            return False
        before = follow(function, x)
        if found is None or before is None or found[0] != before[0]:
            return False
        expected = before[1][np.isin(before[1], kept)]
        if not np.array_equal(kept[found[1]], expected):
            return False
    return True
