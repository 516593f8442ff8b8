"""The arguments that say in which shape weights become zero, and the structure that they make."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from kerasreg._checks import check_axis, check_integer, check_pattern, invalid_value
from kerasreg.regularizers.axes import Axis, axes_in, axes_on_layer, check_axes
from kerasreg.regularizers.groups import Groups, checked_groups
from kerasreg.regularizers.path_patterns import PathMatcher
from kerasreg.regularizers.penalty_map import find_pattern
from kerasreg.regularizers.positions import positions_of_weights
from kerasreg.regularizers.structures import (
    Blocks,
    Entries,
    JointGroups,
    Runs,
    Slices,
    Structure,
    Tiles,
    Tiling,
)
from kerasreg.regularizers.unit_axes import unit_axes

_WORDS = {"output": "units", "input": "inputs", "heads": "heads"}
# Where the layer is not known: that of `Dense` and convolutions.
_CONTRACTED = -2


class OnLayer(NamedTuple):
    """What its layer tells of a weight.

    Args:
        pattern: A regular expression for the whole path of the weight.
        axes: The axes of its units, or the one that its runs lie along, counted from the back;
            empty where that is not asked.
        positions: At how many positions of a sample it is applied.
    """

    pattern: str
    axes: tuple[int, ...] = ()
    positions: int = 1


@dataclass(frozen=True)
class UnitShape:
    """The shape in which weights become zero; single entries by default.

    Args:
        axis: Slices along an axis, or the axis of runs.
        block: Blocks of that shape.
        pattern: Runs, as `"n:m"`.
        groups: Groups with parts in several weights.
        layout: What layers have told.
    """

    axis: Axis | None = None
    block: tuple[int, ...] | None = None
    pattern: str | None = None
    groups: Groups | None = None
    layout: tuple[OnLayer, ...] | None = None

    @classmethod
    def checked(
        cls, axis: Any, block: Any, pattern: Any, groups: Any, layout: Any = None
    ) -> UnitShape:
        """The shape from arguments, which may come from a configuration; raises if one is wrong."""
        groups = checked_groups(groups)
        given = {"groups": groups, "pattern": pattern, "block": block, "axis": axis}
        names = [name for name, value in given.items() if value is not None]
        if len(names) > 1 and names != ["pattern", "axis"]:
            raise invalid_value(names[1], f"None beside `{names[0]}`", given[names[1]])
        axis = None if axis is None else check_axes(axis)
        if pattern is not None:
            _parsed(pattern)
            if axis is not None and not isinstance(axis, int):
                raise invalid_value("axis", "one integer beside `pattern`, or None", axis)
        layout = None if layout is None else _checked_layout(layout)
        block = None if block is None else _checked_block(block)
        return cls(axis, block, pattern, groups, layout)

    @property
    def run(self) -> tuple[int, int] | None:
        """The numbers n and m of a pattern."""
        return None if self.pattern is None else _parsed(self.pattern)

    def structure(
        self, shapes: Sequence[Sequence[int]], paths: Sequence[str], is_global: bool
    ) -> Structure:
        """The units of weights, which compete within each weight, or all with each other."""
        told = [_told(self.layout, path) for path in paths]
        costs = [float(each.positions) for each in told] if is_global else None
        if self.groups is not None:
            return JointGroups(self.groups, shapes, paths, costs)
        if self.run is not None:
            axes = [self._run_axis(*each) for each in zip(told, shapes, strict=True)]
            return Runs(*self.run, axes, shapes)
        tilings = [self._tiling(*each) for each in zip(told, shapes, strict=True)]
        return Tiles(self._word(), tilings, shapes, costs)

    def check_weight(self, variable: Any, where: str) -> None:
        """Raises if a weight cannot be divided so."""
        shape, told = tuple(variable.shape), _told(self.layout, variable.path)
        if self.groups is not None:
            self.groups.labels_of(variable.path, shape, where)
        elif self.block is not None and len(shape) < len(self.block):
            expected = f"at most {len(shape)} lengths for shape {shape}"
            raise invalid_value("block", expected, self.block, where)
        elif self.pattern is not None:
            self._run_axis(told, shape, where)
        elif self.axis is not None:
            axes_in(told.axes or self.axis, shape, where)

    def told_by(
        self, model: Any, pairs: Sequence[tuple[Any, Any]], asks_positions: bool, where: str
    ) -> tuple[OnLayer, ...] | None:
        """What a model's layers tell of weights; `None` where nothing is asked.

        Args:
            model: The model.
            pairs: Weights, each with its layer: `(layer, weight)`.
            asks_positions: Whether it matters how often each is applied.
            where: What an error says of an argument, to be completed by the path.
        """
        asks_axes = isinstance(self.axis, str) or (self.pattern is not None and self.axis is None)
        if not (asks_axes or asks_positions):
            return None
        positions = positions_of_weights(model) if asks_positions else {}
        told: Any = {}
        for layer, variable in pairs:
            axes: tuple[int, ...] = ()
            if asks_axes:
                axes = self._axes_on(layer, variable, f"{where} on weight `{variable.path}`")
            told[id(variable)] = axes, positions.get(id(variable), 1)
        layout = (
            OnLayer(find_pattern(model, variable, told), *told[id(variable)])
            for _, variable in pairs
        )
        return tuple(dict.fromkeys(layout))

    def axis_of_runs(self, rank: int) -> int | None:
        """The axis, counted from 0, that the runs of all weights of a rank lie along, if it is one.

        `None` where there are no runs, or layers have told different axes.
        """
        if self.pattern is None:
            return None
        axes = {self._along(each) for each in self.layout or [OnLayer("")]}
        if len(axes) > 1:
            return None
        [axis] = axes
        return axis % rank if -rank <= axis < rank else None

    def _axes_on(self, layer: Any, variable: Any, where: str) -> tuple[int, ...]:
        if isinstance(self.axis, str):
            return axes_on_layer(self.axis, layer, variable, where)
        axes = unit_axes(layer, variable)
        summed = [] if axes is None else [i for i in axes.inputs if i not in axes.outputs]
        if not summed:
            expected = (
                "a weight whose layer sums over channels; leave this one out with a pattern of "
                "paths, or give an `axis`"
            )
            raise invalid_value("pattern", expected, self.pattern, where)
        return (summed[-1] - len(variable.shape),)

    def _tiling(self, told: OnLayer, shape: Sequence[int]) -> Tiling:
        if self.block is not None:
            return Blocks(self.block)
        return Entries() if self.axis is None else Slices(axes_in(told.axes or self.axis, shape))

    def _run_axis(self, told: OnLayer, shape: Sequence[int], where: str = "") -> int:
        return check_axis("axis", self._along(told), shape, where)

    def _along(self, told: OnLayer) -> int:
        if told.axes:
            return told.axes[0]
        return self.axis if isinstance(self.axis, int) else _CONTRACTED

    def _word(self) -> str:
        if self.block is not None:
            return f"blocks of {'×'.join(map(str, self.block))}"
        if self.axis is None:
            return "weights"
        return _WORDS.get(self.axis, "slices") if isinstance(self.axis, str) else "slices"


@functools.lru_cache(maxsize=4096)
def _told(layout: tuple[OnLayer, ...] | None, path: str) -> OnLayer:
    """What the layer of a weight has told, by its path; nothing if it was not asked."""
    matcher = PathMatcher("layout")
    found = (each for each in layout or () if matcher.matches(each.pattern, [path]))
    return next(found, OnLayer(""))


def _checked_layout(given: Any) -> tuple[OnLayer, ...]:
    try:
        layout = tuple(OnLayer(p, tuple(map(int, axes)), int(n)) for p, axes, n in given)
    except (TypeError, ValueError):
        expected = "what `Proximal(..., model=model)` fills in, or None"
        raise invalid_value("layout", expected, given) from None
    for each in layout:
        check_pattern("layout", each.pattern)
    return layout


def _parsed(pattern: Any) -> tuple[int, int]:
    """The numbers of `"n:m"`; raises unless it is such a string."""
    match = re.fullmatch(r"\s*(\d+)\s*:\s*(\d+)\s*", pattern) if isinstance(pattern, str) else None
    n, m = (int(number) for number in match.groups()) if match else (0, 0)
    if not 0 < n < m:
        expected = "'n:m', of which n of every m weights are kept, as '2:4', with n below m"
        raise invalid_value("pattern", expected, pattern)
    return n, m


def _checked_block(block: Any) -> tuple[int, ...]:
    expected = "a tuple of positive lengths along the last axes, as (4, 1)"
    if not isinstance(block, (tuple, list)) or not block:
        raise invalid_value("block", expected, block)
    return tuple(check_integer("block", length, expected, 1) for length in block)
