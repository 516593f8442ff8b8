"""The weights that `Proximal` acts on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kerasreg._checks import check_axis, invalid_value
from kerasreg.optimizers.checks import check_target
from kerasreg.penalty_map import match_penalties
from kerasreg.regularizers import GroupLasso, Penalty


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
        if not self.all and variables:
            paths = "\n  ".join(variable.path for variable in variables)
            raise invalid_value("penalty", f"a weight to act on among\n  {paths}\n", penalty)
        for target in self.all:
            check_target(target.variable)
            if isinstance(target.penalty, GroupLasso):
                where = f" of GroupLasso on weight `{target.variable.path}`"
                check_axis("axis", target.penalty.axis, target.variable.shape, where)
            if target.penalty not in self.penalties:
                self.penalties.append(target.penalty)
