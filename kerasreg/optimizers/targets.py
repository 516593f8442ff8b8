"""The weights that `Proximal` acts on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from kerasreg._checks import definer, invalid_on_weight, invalid_value
from kerasreg.regularizers import Penalty
from kerasreg.regularizers.from_keras import as_penalty, has_kink
from kerasreg.regularizers.penalty_map import (
    checked_penalties,
    match_penalties,
    penalties_on_layers,
)


def check_penalty(penalty: Any, model: Any = None) -> Penalty | dict[str, Penalty]:
    """Returns one penalty, or a dict of penalties by valid patterns; raises otherwise.

    With a built model they are those for its layers.
    """
    checked = checked_penalties("penalty", penalty, _with_prox)
    return checked if model is None else penalties_on_layers(model, checked)


def _with_prox(penalty: Any) -> Penalty:
    """Returns a penalty that has a proximal operator, or raises."""
    converted = as_penalty(penalty)
    if converted is None:
        expected = "a kerasreg penalty, or L1, L2 or L1L2 of keras.regularizers"
        raise invalid_value("penalty", expected, penalty)
    cls = type(converted)
    if not cls.has_prox():
        expected = f"a penalty with a proximal operator; give {cls.__name__} a method `_prox(w, "
        raise invalid_value("penalty", expected + "step)`, or pass it to a layer", penalty)
    if converted.needs_data:
        expected = "a penalty that needs no data; give this one to `kerasreg.prune(model, ..., x)`"
        raise invalid_value("penalty", expected, penalty)
    return converted


def check_target(variable: Any) -> None:
    """Raises if another penalty with a kink acts on the weight, or a constraint on its norm."""
    if not _leaves_zeros(variable.constraint):
        expected = (
            "none but NonNeg, as a penalty of `Proximal` acts on it: after a norm has been bounded "
            "a penalty changes it, and what bounds it after the penalty moves its fixed points"
        )
        raise invalid_on_weight("constraint", variable, expected)
    if has_kink(variable.regularizer):
        expected = (
            "none with a kink at zero, as a penalty of `Proximal` acts on the weight too; leave it "
            "out of the layer, or take it off: `Proximal(optimizer, detach_regularizers(model))`"
        )
        raise invalid_on_weight("regularizer", variable, expected)


def _leaves_zeros(constraint: Any) -> bool:
    """Whether a constraint acts entry by entry, so that a penalty can follow it."""
    non_negative = keras.constraints.NonNeg
    return constraint is None or definer(type(constraint), "__call__") is non_negative


@dataclass(eq=False)
class Target:
    """A weight with a penalty.

    Args:
        variable: The weight.
        penalty: The penalty.
        rule: The `StepRule` of the optimizer for it.
        total_step: The variable for the sum of its step sizes where the optimizer has momentum.
    """

    variable: Any
    penalty: Penalty
    rule: Any = None
    total_step: Any = None


class Targets:
    """All weights with a penalty; raises where one cannot act.

    No list, as Keras would track the weights in it as variables of the optimizer.
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
            target.penalty.check_weight(target.variable)
            if target.penalty not in self.penalties:
                self.penalties.append(target.penalty)
