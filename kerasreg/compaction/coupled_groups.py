"""The slices of weights that have to be zero together, so that a channel can go."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from kerasreg._checks import invalid_value
from kerasreg.compaction.channels import Bools, Ints
from kerasreg.compaction.facts import Facts, marked
from kerasreg.compaction.trace import Trace
from kerasreg.compaction.uses import NOTHING, Edge
from kerasreg.regularizers.groups import NO_GROUP, Groups
from kerasreg.regularizers.penalty_map import find_pattern


def coupled_groups(model: Any) -> Groups:
    """Finds the slices of weights that die together, so that `compact` takes a channel out.

    A channel of a residual stream comes from several layers, and goes only when all of them make
    it zero. A group is what makes one channel: the filter or unit of each layer that it comes from,
    with its bias, and its `gamma` and `beta` in `BatchNormalization`. Of a recurrent layer a group
    is a unit with all its gates; of attention a head, of a grouped convolution one of its groups.

    Left out are channels that zeros do not take out: those of the model's inputs and outputs,
    those that `LayerNormalization` and the like mix, the only one of a layer, those that a frozen
    layer makes, and those that become a constant that cannot be folded, as `sigmoid` makes of zeros
    before a convolution with padding.

    Args:
        model: A built `Sequential` or functional model.

    Returns:
        The groups, for `GroupLasso(groups=...)`, in the order of the layers that they begin with.

    Raises:
        ValueError: As `compact` does; and if there are no such channels, or two weights have the
            same path.

    Example:
    >>> x = inputs = keras.Input((8,))
    >>> x = keras.layers.Dense(4, name="stem")(x)
    >>> y = keras.layers.Dense(6, "relu", name="inner")(x)
    >>> x = keras.layers.Add()([x, keras.layers.Dense(4, name="branch")(y)])
    >>> network = keras.Model(inputs, keras.layers.Dense(2)(x))
    >>> groups = kerasreg.coupled_groups(network)  # 4 of stem and branch, 6 of inner
    >>> groups
    Groups(10 groups, 6 patterns)
    >>> penalty = kerasreg.GroupLasso(1e-3, groups=groups)
    >>> network.compile(kerasreg.Proximal(keras.optimizers.Adam(), penalty), "mse")
    """
    coupling = Coupling.of(model)
    numbers = coupling.numbers()
    places = [(part, numbers[part.slots]) for part in coupling.parts]
    places = [(part, labels) for part, labels in places if (labels != NO_GROUP).any()]
    if not places:
        expected = "a model with channels that can go, beside those of its inputs and outputs"
        raise invalid_value("model", expected, model)
    kinds = {id(part.variable): number for number, (part, _) in enumerate(places)}
    return Groups.from_labels(
        (_pattern(model, part.variable, kinds), part.axis, labels) for part, labels in places
    )


class Part(NamedTuple):
    """An axis of a weight whose slices make channels.

    Args:
        variable: The weight.
        axis: The axis.
        slots: The slot of each slice's channel.
    """

    variable: Any
    axis: int
    slots: Ints


@dataclass
class SupposedFacts(Facts):
    """Facts about a model of other weights: positive ones, but for some slices of zeros.

    Args:
        zeros: For the `id` of a variable axes, each with the slices that are zero.
    """

    zeros: dict[int, list[tuple[int, Bools]]] = field(default_factory=dict)
    _random: Any = field(default_factory=lambda: np.random.default_rng(0))

    def numbers(self, variable: Any) -> Any:
        """What a variable is supposed to hold."""
        if id(variable) not in self._numbers:
            array = self._random.random(tuple(variable.shape), np.float32) + 0.5
            for axis, zero in self.zeros.get(id(variable), ()):
                np.moveaxis(array, axis, 0)[zero] = 0
            self._numbers[id(variable)] = array
        return self._numbers[id(variable)]


class Coupling:
    """Which slices make the same channel, and whether zeros there take it out.

    Args:
        facts: What the rules have found out about a model; those of grouped kernels and of heads
            are tied, so that a group goes as a whole.
    """

    def __init__(self, facts: Facts) -> None:
        for grids, _ in facts.balances:
            for values in grids:
                facts.tie(values, np.broadcast_to(grids[0][:, :1], values.shape))
        self.facts, self.slots = facts, facts.slots()
        self.parts = [
            Part(cut.variable, cut.axis, self.slots[cut.calls[0]])
            for cut in facts.cuts.values()
            if cut.produces and not isinstance(cut.variable, str)
        ]
        for grid in facts.grids.values():
            if isinstance(grid.variable, str):
                continue
            for axis in grid.produces:
                slots = self.slots[grid.places[axis][0]]
                # Where groups and places share an axis of the weight, each slice is one place.
                whole = len(grid.view) == len(grid.variable.shape)
                slots = slots[:, 0] if whole else slots.ravel()
                self.parts.append(Part(grid.variable, grid.groups, slots))

    @classmethod
    def of(cls, model: Any) -> Coupling:
        """The coupling in a model, supposed that all slices are zero that can be."""
        zeros = cls(Trace(model).facts).zeros()
        return cls(Trace(model, facts=SupposedFacts(zeros=zeros)).facts)

    def zeros(self) -> dict[int, list[tuple[int, Bools]]]:
        """The slices of each variable that can be zero, by its `id`."""
        fixed, zeros = self._fixed(), dict[int, list[tuple[int, Bools]]]()
        for part in self.parts:
            zeros.setdefault(id(part.variable), []).append((part.axis, ~fixed[part.slots]))
        return zeros

    def numbers(self) -> Ints:
        """For each slot the number of its group, -1 for none, if `facts` suppose zeros."""
        stays = self._fixed()
        stays[self.slots[self._needed() | marked(self.facts.holds, self.facts.count)]] = True
        made = np.unique(np.concatenate([NOTHING, *(part.slots for part in self.parts)]))
        numbers = np.full(self.facts.count, NO_GROUP)
        free = made[~stays[made]]
        numbers[free] = np.arange(len(free))
        return numbers

    def _fixed(self) -> Bools:
        """The slots that are the only one along an axis, or that a frozen layer makes."""
        fixed = np.zeros(self.facts.count, bool)
        axes = [values for cut in self.facts.cuts.values() for values in cut.calls]
        axes += [
            v for grid in self.facts.grids.values() for calls in grid.places.values() for v in calls
        ]
        for values in axes:
            slots = np.unique(self.slots[values])
            if len(slots) == 1:
                fixed[slots] = True
        for part in self.parts:
            if not part.variable.trainable:
                fixed[part.slots] = True
        return fixed

    def _needed(self) -> Bools:
        """The values that zeros do not make needless, if all other channels are needed.

        These read them with weights that are not zero, and have no constant that could take over.
        """
        facts, others = self.facts, np.ones(self.facts.count, bool)
        for read in facts.reads.values():
            read.nonzero, read.merges = np.ones_like(read.nonzero), False
            read.settle(facts.constants)
        needed = marked(facts.pins, facts.count)
        edges = [use for use in facts.uses if isinstance(use, Edge)]
        for use in facts.uses:
            if not isinstance(use, Edge):
                needed[use.needed(others)] = True
        before = -1
        while before < (before := int(needed.sum())):
            for edge in reversed(edges):
                needed[edge.needed(needed)] = True
        return needed


def _pattern(model: Any, variable: Any, kinds: dict[int, Any]) -> str:
    """A pattern that matches the path of one weight only, as each is of its own kind."""
    try:
        return find_pattern(model, variable, kinds)
    except ValueError:
        expected = f"one whose weights have paths of their own, as `{variable.path}` is twice there"
        raise invalid_value("model", expected, model) from None
