"""What penalties zero as a whole: inputs, heads, blocks, runs of n:m, groups of several weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kerasreg.regularizers import Penalty
from kerasreg.regularizers.structures import Alive, Structure
from kerasreg.statistics.numbers import Parts
from kerasreg.statistics.weights import Weight, name_penalty


@dataclass(frozen=True)
class Structured:
    """Weights that a penalty zeroes part by part.

    Args:
        penalty: The penalty.
        structure: How it divides them.
        variables: Their variables.
        word: What a part is, in the plural.
        number: The number of the one weight that it is about; `None` of groups of several.
    """

    penalty: Penalty
    structure: Structure
    variables: tuple[Any, ...]
    word: str
    number: int | None = None

    def parts(self, alive: Sequence[Alive]) -> Parts:
        """The parts, from which entries of each variable are not zero."""
        counts = self.structure.count(alive), self.structure.number()
        return Parts(self.word, *counts, name_penalty(self.penalty))


class StructuredWeights:
    """Finds what penalties zero as a whole, and only looks again where other penalties act.

    Of one weight that is what the last penalty says that acts on it, as `Proximal` acts after what
    is in the loss. Output units and single weights are left out: `Statistics` has them.

    Args:
        weights: The weights.
    """

    def __init__(self, weights: Sequence[Weight]) -> None:
        self._weights = weights
        self._asked: list[tuple[int, Penalty]] = []
        self._found: list[Structured] = []

    def now(self) -> list[Structured]:
        """What is zeroed as a whole, by the penalties that act now."""
        asked = [
            (number, penalty)
            for number, weight in enumerate(self._weights)
            for penalty, _ in weight.acting
            if isinstance(penalty, Penalty) and penalty.implements("structure")
        ]
        if asked != self._asked:
            self._asked, self._found = asked, [*self._of_one(asked), *self._of_several(asked)]
        return self._found

    def count(
        self, found: Sequence[Structured], alive: Callable[[Any], Alive]
    ) -> tuple[list[Parts | None], list[Parts]]:
        """Counts what `now` has found.

        Args:
            found: What is counted.
            alive: Tells of a variable which of its entries are not zero.

        Returns:
            The parts of each weight, `None` where there are none; and those of several weights.
        """
        of_each: list[Parts | None] = [None] * len(self._weights)
        of_several = []
        for each in found:
            parts = each.parts(list(map(alive, each.variables)))
            if each.number is None:
                of_several.append(parts)
            else:
                of_each[each.number] = parts
        return of_each, of_several

    def _of_one(self, asked: Sequence[tuple[int, Penalty]]) -> Iterator[Structured]:
        last = {number: penalty for number, penalty in asked if not penalty.spans_weights}
        for number, penalty in last.items():
            weight = self._weights[number]
            variable = weight.variable
            structure = _structure(penalty, [variable])
            if structure is None:
                continue
            [axes] = structure.axes()
            if axes is None or axes not in (weight.unit_axes, tuple(range(len(variable.shape)))):
                word = structure.word if axes is None else weight.word_of(axes) or structure.word
                yield Structured(penalty, structure, (variable,), word, number)

    def _of_several(self, asked: Sequence[tuple[int, Penalty]]) -> Iterator[Structured]:
        spanning = [
            (penalty, tuple(self._weights[number].fellows(penalty)))
            for number, penalty in asked
            if penalty.spans_weights
        ]
        # Each weight names the penalty and all its fellows.
        once = {(p, *map(id, variables)): (p, variables) for p, variables in spanning}
        for penalty, variables in once.values():
            structure = _structure(penalty, variables)
            if structure is not None:
                yield Structured(penalty, structure, variables, structure.word)


def _structure(penalty: Penalty, variables: Sequence[Any]) -> Structure | None:
    """How a penalty divides weights; `None` if it does not fit them, as it says where it acts."""
    try:
        return penalty.structure([tuple(v.shape) for v in variables], [v.path for v in variables])
    except ValueError:
        return None
