"""Parts of the channels, and channels that are filled up."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasreg._keras_internals import operation_classes
from kerasreg.compaction.call import Call, channels_in
from kerasreg.compaction.channels import Channels, Ints, count_axis
from kerasreg.compaction.liveness import Kept
from kerasreg.compaction.rule import CompactionRule, compaction_rule
from kerasreg.compaction.rules.shapes import moved


@compaction_rule(*operation_classes(["GetItem"]))
class ItemRule(CompactionRule):
    """A slice of the channels has other bounds when some of them go."""

    def trace(self, layer: Any, call: Call, x: Channels, key: Any) -> Channels:
        """Finds the channels where they are afterwards, and the bounds in the key."""
        if channels_in(key) or x.length is None or not call.shape:
            return call.blocked([x], f"{call.name} has other arguments")[0]
        items = items_of(key)
        place = place_in(items, x.axis, len(x.shape))
        item = items[place]
        if isinstance(item, int):
            one = x.values[item % x.length]
            call.hold(np.array([one]), f"{call.name} takes one channel")
            last = len(call.shape) - 1
            out = x.after(call.shape, last, np.repeat(one, call.shape[last] or 1))
        else:
            found = moved(call, lambda numbers: layer.call(numbers, key), x)
            if found is None:
                return call.blocked([x], f"{call.name} spreads the channels")[0]
            out = found
            if item is Ellipsis:
                return out
            if not isinstance(item, slice) or item.step not in (None, 1):
                call.hold(x, f"{call.name} names channels")
                return out
            call.widen(x.values[item])

        def shifted(kept: Kept, args: tuple[Any, ...]) -> tuple[Any, ...]:
            bounds = bounds_among(item, kept.widths(x.values), len(x.values))
            return args[0], (*items[:place], bounds, *items[place + 1 :])

        call.rewrite(shifted)
        return out


def items_of(key: Any) -> tuple[Any, ...]:
    """The parts of what stands in the brackets of `x[...]`, with an ellipsis in any case."""
    items = tuple(key) if isinstance(key, (tuple, list)) else (key,)
    return items if any(item is Ellipsis for item in items) else (*items, Ellipsis)


def place_in(items: tuple[Any, ...], axis: int, rank: int) -> int:
    """Which of the parts is about an axis."""
    missing = rank - sum(item is not None and item is not Ellipsis for item in items)
    current = 0
    for place, item in enumerate(items):
        current += 0 if item is None else missing if item is Ellipsis else 1
        if current > axis:
            return place
    raise ValueError(f"There is no axis {axis} in {items}.")


def bounds_among(item: Any, kept: Ints, length: int) -> Any:
    """A place, or a slice of places, among those of the places that are kept."""
    if isinstance(item, int):
        return int(np.searchsorted(kept, item % length))
    start, stop, _ = item.indices(length)
    return slice(int(np.searchsorted(kept, start)), int(np.searchsorted(kept, stop)))


@compaction_rule(*operation_classes(["Split"]))
class SplitRule(CompactionRule):
    """Parts one behind the other, of each of which something stays."""

    def trace(self, layer: Any, call: Call, x: Channels) -> list[Channels]:
        """Cuts the places at which it is split."""
        axis = count_axis(layer.axis, len(x.shape))
        if axis != x.axis:
            return [x.after(shape, x.axis, x.values) for shape in call.shapes]
        if x.length is None:
            return call.blocked([x], f"{call.name} splits an axis of unknown length")
        parts = np.split(x.values, layer.indices_or_sections)
        ends = np.cumsum([len(part) for part in parts])[:-1]
        for part in parts:
            call.widen(part)
        call.configure(
            lambda kept: {"indices_or_sections": [kept.count(x.values[:end]) for end in ends]}
        )
        pairs = zip(call.shapes, parts, strict=True)
        return [x.after(shape, axis, part) for shape, part in pairs]


@compaction_rule(*operation_classes(["Pad"]))
class PadRule(CompactionRule):
    """Zeros around the positions, and channels of zeros."""

    def trace(self, layer: Any, call: Call, x: Channels, constant_values: Any = None) -> Channels:
        """Only zeros stay constant; channels of zeros need nothing."""
        widths = np.broadcast_to(layer.pad_width, (len(x.shape), 2))
        before, after = map(int, widths[x.axis])
        if layer.mode != "constant" or constant_values not in (None, 0) or x.length is None:
            if before or after:
                return call.blocked([x], f"{call.name} adds channels")[0]
            out = call.like(x)
            call.edge(out, x)
            return out.after(call.shape, x.axis, out.values)
        around = np.delete(widths, x.axis, axis=0).any()
        known = call.constants(x)
        known = np.where(known == 0, 0.0, np.nan) if around else known
        out = call.new(x.axis, np.pad(known, (before, after)))
        inner = out.values[before : before + len(x.values)]
        call.tie(inner, x)
        call.edge(inner, x)
        added = out.values[:before], out.values[before + len(x.values) :]

        def changes(kept: Kept) -> dict[str, Any]:
            left = widths.copy()
            left[x.axis] = [kept.count(part) for part in added]
            return {"pad_width": left.tolist()}

        call.configure(changes)
        return out
