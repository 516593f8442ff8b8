"""Which values a model needs, and which widths stay.

A value is live if it is pinned, or if a live value needs it: the least set with that property, so
that units that only need each other are not. What is computed from live values, folded constants
and zeros is exact; everything else may be anything, and is read by nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kerasreg.compaction.channels import Bools, Ints, any_of
from kerasreg.compaction.facts import Cut, Facts, Grid, Size, marked
from kerasreg.compaction.uses import Read


@dataclass
class Kept:
    """What stays of a model: what is `live` of its values, and what is `alive` of its widths.

    Rules read from it in `config` and `weights`.

    Args:
        facts: What the rules have found.
        round_to: A multiple that widths are rounded up to.
    """

    facts: Facts
    round_to: int = 1
    live: Bools = field(init=False)
    alive: Bools = field(init=False)
    why: dict[int, str] = field(default_factory=dict)
    added: dict[int, set[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        facts = self.facts
        for read in facts.reads.values():
            read.settle(facts.constants)
        self.slots = facts.slots()
        self.live = np.zeros(facts.count, bool)
        self._alive = marked(facts.holds, facts.count)
        self._mark_held()
        for values, reason in facts.pins:
            self._need(values, reason)
        while self._grow():
            pass
        self.alive = self._alive[self.slots]
        self._index()

    def widths(self, values: Ints) -> Ints:
        """The places along an axis that stay, shape `(kept,)`."""
        return np.flatnonzero(self.alive[values])

    def count(self, values: Ints) -> int:
        """How many places along an axis stay."""
        return int(self.alive[values].sum())

    def sizes(self, layer: Any) -> dict[str, Any]:
        """The entries of a layer's configuration that count values, or have a number for each."""
        changes: dict[str, Any] = {}
        for size in self.facts.sizes:
            if size.layer is not layer:
                continue
            number: Any = self._number(size)
            if size.index is not None:
                numbers = changes.get(size.key) or tuple(getattr(layer, size.key))
                number = (*numbers[: size.index], number, *numbers[size.index + 1 :])
            changes[size.key] = number
        for entry in self.facts.entries.values():
            if entry.layer is layer:
                left = np.take(entry.numbers, self.widths(entry.values), axis=entry.axis)
                changes[entry.key] = left.tolist()
        if id(layer) in self.facts.configurations:
            changes.update(self.facts.configurations[id(layer)](self))
        return changes

    def _number(self, size: Size) -> int:
        if size.values.ndim == 1:
            return self.count(size.values)
        groups = self.groups(size.values)
        return self.count(size.values[groups[0]]) if size.inside else len(groups)

    def adds_bias(self, layer: Any) -> bool:
        """Whether a layer that has no bias gets one, for what is folded into it."""
        return id(layer) in self._with_new_bias

    def of_layer(self, layer: Any) -> tuple[list[Read], list[Grid], list[Cut]]:
        """What is folded and cut of a layer of the graph."""
        return self._parts.get(id(layer), ([], [], []))

    def _index(self) -> None:
        """Says of each layer what is folded and cut, and whether it gets a bias."""
        self._parts: dict[int, tuple[list[Read], list[Grid], list[Cut]]] = {}
        self._with_new_bias: set[int] = set()

        def of(layer: Any) -> tuple[list[Read], list[Grid], list[Cut]]:
            return self._parts.setdefault(id(layer), ([], [], []))

        for read in self.facts.reads.values():
            of(read.owner)[0].append(read)
        for grid in self.facts.grids.values():
            of(grid.owner)[1].append(grid)
        for cut in self.facts.cuts.values():
            of(cut.owner)[2].append(cut)
        for read in self.facts.reads.values():
            folded = read.used_rows(self.live) & read.foldable & (read.known != 0)
            if read.bias.variable is None and folded.any():
                self._with_new_bias.add(id(read.bias.layer))

    def groups(self, values: Ints) -> Ints:
        """The groups of which places stay, shape `(kept,)`; `values` are `(groups, places)`."""
        return np.flatnonzero(self.alive[values].any(axis=1))

    def dead(self, calls: list[Ints]) -> Bools:
        """The places along an axis whose values are live in no call."""
        return ~any_of([self.live[values] for values in calls])

    # How live and alive grow.

    def _grow(self) -> bool:
        """One more reason for something to stay, the cheap ones first; whether there is any."""
        if self._spread():
            return True
        for step in (self._merge, self._widen, self._balance, self._round, self._complete):
            if step():
                return True
        return False

    def _need(self, values: Ints, reason: str) -> bool:
        new = values[~self.live[values]]
        if not len(new):
            return False
        self.live[new] = True
        self._alive[self.slots[new]] = True
        for value in np.unique(new):
            self.why.setdefault(int(value), reason)
        return True

    def _stay(self, values: Ints) -> None:
        self._alive[self.slots[values]] = True

    def _mark_held(self) -> None:
        held = np.flatnonzero(self._alive)
        self._alive[self.slots[held]] = True

    def _spread(self) -> bool:
        """What live values need is live."""
        changed = False
        for use in reversed(self.facts.uses):
            changed |= self._need(use.needed(self.live), use.reason)
        return changed

    def _merge(self) -> bool:
        """Of the constants that a kernel cannot fold one stays, if possible another's choice."""
        chosen, alive = None, self._alive[self.slots]
        for read in self.facts.reads.values():
            # All groups of a kernel at once, as their inputs are different ones.
            if chosen is not None and chosen is not read.kernel:
                continue
            if read.choose_representative(self.live, alive):
                chosen = read.kernel
                obstacle = f", which cannot fold the constant ({read.obstacle or 'no bias'})"
                self._need(read.needed(self.live), read.reason + obstacle)
        return chosen is not None

    def _widen(self) -> bool:
        """No axis has length zero."""
        changed = False
        axes = [values for cut in self.facts.cuts.values() for values in cut.calls]
        for values in [*axes, *self.facts.widths]:
            if not self._alive[self.slots[values]].any():
                self._stay(values[:1])
                changed = True
        return changed

    def _balance(self) -> bool:
        """All groups that stay have equally many places."""
        changed = False
        for grids, equal in self.facts.balances:
            alive = [self._alive[self.slots[values]] for values in grids]
            stays = np.logical_or.reduce([each.any(axis=1) for each in alive])
            if not stays.any():
                stays[0] = True
            needed = [max(1, int(each[stays].sum(axis=1).max())) for each in alive]
            needed = [max(needed)] * len(needed) if equal else needed
            for values, each, size in zip(grids, alive, needed, strict=True):
                for group in np.flatnonzero(stays & (each.sum(axis=1) < size)):
                    spare = np.flatnonzero(~each[group])[: size - int(each[group].sum())]
                    self._stay(values[group, spare])
                    changed = True
        return changed

    def _round(self) -> bool:
        """Widths that a layer's configuration counts are multiples."""
        for size in self.facts.sizes if self.round_to > 1 else ():
            if size.values.ndim == 2:
                continue
            slots, times = np.unique(self.slots[size.values], return_counts=True)
            alive = self._alive[slots]
            missing = -int(times[alive].sum()) % self.round_to
            spare = slots[~alive & (times <= missing)][:missing]
            if missing and (times == 1).all() and len(spare):
                self._stay(spare)
                return True
        return False

    def _complete(self) -> bool:
        """What is used wherever it is present is needed where it stays."""
        changed = False
        for values, reason in self.facts.present:
            changed |= self._need(values[self._alive[self.slots[values]]], reason)
        return changed


def shorten(array: Any, cut: Cut, kept: Kept) -> Any:
    """Cuts an axis of an array down to the values that stay, and empties what nobody needs."""
    left = kept.widths(cut.calls[0])
    array = np.take(array, left, axis=cut.axis)
    if cut.produces:
        np.moveaxis(array, cut.axis, 0)[kept.dead(cut.calls)[left]] = 0
    return array


def shorten_grid(array: Any, grid: Grid, kept: Kept) -> Any:
    """The same for groups, each of which keeps places of its own."""
    array = array.reshape(grid.view)
    groups = kept.groups(next(iter(grid.places.values()))[0])
    parts = []
    for group in groups:
        part = np.take(array, [group], axis=grid.groups)
        for axis, calls in grid.places.items():
            if axis in grid.produces:
                part = np.moveaxis(part, axis, 0).copy()
                part[kept.dead([values[group] for values in calls])] = 0
                part = np.moveaxis(part, 0, axis)
            part = np.take(part, kept.widths(calls[0][group]), axis=axis)
        parts.append(part)
    return np.concatenate(parts, axis=grid.groups)
