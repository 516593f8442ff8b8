"""What the rules have found out about a model: the values, what needs what, and what is cut."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from kerasreg._backends import host_view
from kerasreg.compaction.channels import Bools, Channels, Floats, Ints
from kerasreg.compaction.uses import Read, Use

Arguments: TypeAlias = Callable[[Any, tuple[Any, ...]], tuple[Any, ...]]
"""What a call's arguments become, given a `Kept` and what they were."""


@dataclass(eq=False)
class Cut:
    """An axis of a variable along which values lie, so that it gets shorter when they go.

    Args:
        owner: The layer of the graph that the variable belongs to.
        variable: The variable, or the name of a bias that folding may add.
        axis: The axis.
        calls: The values in each call of the layer, each of shape `(length,)`.
        produces: Whether the numbers of a value that nobody needs can be set to zero.
    """

    owner: Any
    variable: Any
    axis: int
    calls: list[Ints]
    produces: bool


@dataclass(eq=False)
class Grid:
    """Axes of a variable that number groups and places in them, as heads and their sizes.

    Every group keeps places of its own, but all equally many; a group of which nothing is kept
    goes.

    Args:
        owner: The layer of the graph that the variable belongs to.
        variable: The variable, or the name of a bias that folding may add.
        view: The shape in which it has an axis of groups.
        groups: That axis.
        places: For axes of that shape the values there in each call of the layer, each of shape
            `(groups, places)`.
        produces: The axes along which what nobody needs can be set to zero.
    """

    owner: Any
    variable: Any
    view: tuple[int, ...]
    groups: int
    places: dict[int, list[Ints]]
    produces: tuple[int, ...]


@dataclass(eq=False)
class Size:
    """An entry of a layer's configuration that counts values.

    Args:
        layer: The layer.
        key: The entry.
        values: What it counts; of shape `(groups, places)` it counts the groups.
        index: Where it stands, if the entry is a tuple.
        inside: Whether to count the places in a group instead of the groups.
    """

    layer: Any
    key: str
    values: Ints
    index: int | None = None
    inside: bool = False


@dataclass(frozen=True)
class Amends:
    """What makes up for constant inputs of a layer such as `Add` that are left out.

    Args:
        places: Which inputs can be left out where they are constant.
        of: Given the numbers of those left out, shape `(left out, channels)`, and how many inputs
            there are, returns the factor on what is left and what is added to it.
    """

    places: Collection[int]
    of: Callable[[Floats, int], tuple[Any, Any]]


@dataclass(eq=False)
class Terms:
    """The inputs of a layer such as `Add`, of which some may be left out.

    Args:
        layer: The layer.
        inputs: Its inputs.
        out: Its output.
        parts: For each input the channels of the output that are computed from it.
        amends: What makes up for constant ones; `None` where nothing does.
        joins: Whether the output is the inputs one behind the other, and shorter without some.
    """

    layer: Any
    inputs: list[Channels]
    out: Channels
    parts: list[Ints]
    amends: Amends | None
    joins: bool


@dataclass(eq=False)
class Entry:
    """An entry of a layer's configuration that has a number for each of some values.

    Args:
        layer: The layer.
        key: The entry.
        numbers: What it holds.
        axis: The axis along which the values lie.
        values: The values.
    """

    layer: Any
    key: str
    numbers: Any
    axis: int
    values: Ints


@dataclass
class Facts:
    """The values of a model and all that is known of them.

    The rules write here, by way of a `Call`; liveness, survivors and the new model are read off.
    """

    count: int = 0
    uses: list[Use] = field(default_factory=list)
    reads: dict[Any, Read] = field(default_factory=dict)
    ties: list[tuple[Ints, Ints]] = field(default_factory=list)
    holds: list[tuple[Ints, str]] = field(default_factory=list)
    pins: list[tuple[Ints, str]] = field(default_factory=list)
    present: list[tuple[Ints, str]] = field(default_factory=list)
    cuts: dict[Any, Cut] = field(default_factory=dict)
    grids: dict[Any, Grid] = field(default_factory=dict)
    balances: list[tuple[tuple[Ints, ...], bool]] = field(default_factory=list)
    sizes: list[Size] = field(default_factory=list)
    entries: dict[tuple[int, str], Entry] = field(default_factory=dict)
    widths: list[Ints] = field(default_factory=list)
    arguments: dict[int, Arguments] = field(default_factory=dict)
    configurations: dict[int, Callable[[Any], dict[str, Any]]] = field(default_factory=dict)
    terms: list[Terms] = field(default_factory=list)
    _constants: Floats = field(default_factory=lambda: np.full(1024, np.nan))
    _numbers: dict[int, Any] = field(default_factory=dict)

    @property
    def constants(self) -> Floats:
        """The number that each value always is, NaN where it is none, shape `(values,)`."""
        return self._constants[: self.count]

    def new(self, count: int, constants: Floats | None = None) -> Ints:
        """Returns new values."""
        first, self.count = self.count, self.count + count
        while self.count > len(self._constants):
            self._constants = np.concatenate(
                [self._constants, np.full(len(self._constants), np.nan)]
            )
        if constants is not None:
            finite = np.isfinite(constants)
            self._constants[first : self.count] = np.where(finite, constants, np.nan)
        return np.arange(first, self.count)

    def numbers(self, variable: Any) -> Any:
        """What a variable holds; where it can be without a copy, of the variable as it is now."""
        if id(variable) not in self._numbers:
            self._numbers[id(variable)] = host_view(variable)
        return self._numbers[id(variable)]

    def tie(self, values: Ints, others: Ints) -> None:
        """Lets values stay or go together, one by one."""
        self.ties.append((values, others))

    def cut(self, owner: Any, variable: Any, axis: int, values: Ints, produces: bool) -> None:
        """Says which values lie along an axis; those of another call of the layer are tied."""
        rank = np.inf if isinstance(variable, str) else len(variable.shape)
        axis = axis if axis >= 0 or rank == np.inf else int(axis + rank)
        key = (id(owner), variable if isinstance(variable, str) else id(variable), axis)
        if key not in self.cuts:
            self.cuts[key] = Cut(owner, variable, axis, [values], produces)
            return
        self.tie(self.cuts[key].calls[0], values)
        self.cuts[key].calls.append(values)

    def grid(self, grid: Grid) -> None:
        """Says which values lie in the groups of a variable; as `cut`."""
        key = (
            id(grid.owner),
            grid.variable if isinstance(grid.variable, str) else id(grid.variable),
        )
        known = self.grids.setdefault(key, grid)
        if known is grid:
            return
        for axis, (values,) in grid.places.items():
            self.tie(known.places[axis][0].ravel(), values.ravel())
            known.places[axis].append(values)

    def entry(self, entry: Entry) -> None:
        """Says that an entry of a configuration has numbers of values; as `cut`."""
        known = self.entries.setdefault((id(entry.layer), entry.key), entry)
        if known is not entry:
            self.tie(known.values, entry.values)

    def slots(self) -> Ints:
        """For each value one that stands for all that are tied to it, shape `(values,)`."""
        root = np.arange(self.count)
        if not self.ties:
            return root
        a = np.concatenate([np.ravel(pair[0]) for pair in self.ties])
        b = np.concatenate([np.ravel(pair[1]) for pair in self.ties])
        while True:
            low = np.minimum(root[a], root[b])
            new = root.copy()
            for ends in (a, b):
                np.minimum.at(new, ends, low)
                np.minimum.at(new, root[ends], low)
            new = new[new]
            if np.array_equal(new, root):
                return root
            root = new


def marked(groups: Sequence[tuple[Ints, str]], count: int) -> Bools:
    """Which values occur in any of the groups, shape `(count,)`."""
    result = np.zeros(count, bool)
    for values, _ in groups:
        result[values] = True
    return result
