"""The weights that `Proximal` acts on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kerasreg.optimizers.checks import check_target
from kerasreg.penalty_map import match_penalties
from kerasreg.regularizers import Penalty


@dataclass
class Target:
    """A weight with its penalty, and the sum of its steps where the optimizer has momentum."""

    variable: Any
    penalty: Penalty
    total_step: Any = None


class Targets:
    """All weights with a penalty; raises where one cannot act.

    No list, as Keras would track the weights in it as variables of the optimizer.

    Args:
        penalty: A penalty for all kernels, or a dict from patterns to penalties.
        variables: The weights that the optimizer trains.
    """

    def __init__(self, penalty: Penalty | Mapping[str, Penalty], variables: Sequence[Any]) -> None:
        penalties = match_penalties(penalty, variables)
        self.all = tuple(
            Target(variable, penalty)
            for variable, penalty in zip(variables, penalties, strict=True)
            if penalty is not None
        )
        self.penalties: list[Penalty] = []  # Equal ones act as one, on all their weights together.
        for target in self.all:
            check_target(target.variable)
            if target.penalty not in self.penalties:
                self.penalties.append(target.penalty)
