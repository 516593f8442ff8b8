"""What a run was set to, for its row in HPARAMS where the user names nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kerasreg._keras_internals import all_layers
from kerasreg._tensors import to_float
from kerasreg.optimizers.of_model import Optimizers
from kerasreg.statistics.names import LayerNames
from kerasreg.statistics.weights import (
    FROZEN,
    IF_ADDED,
    IN_THE_LOSS,
    LEFT_OUT,
    Weight,
    name_without_strength,
    strength_in,
)
from kerasreg.tensorboard.hparams import Value

# Columns of one kind, as strengths: with more nobody finds his way.
MOST_COLUMNS = 6
_ON_ACTIVITIES = "on activities"


class Settings:
    """The penalties, the optimizer and the dropout of a run, under names that runs share.

    Args:
        model: The model.
        names: The names of its layers.
        weights: Its weights that are logged.
        optimizers: The `Optimizers` that train it.
        dropouts: The rates of its dropouts, by name.
    """

    def __init__(
        self,
        model: Any,
        names: LayerNames,
        weights: Sequence[Weight],
        optimizers: Optimizers,
        dropouts: Mapping[str, float],
    ) -> None:
        self._weights, self._optimizers, self._dropouts = weights, optimizers, dropouts
        self._activities = [
            (names.of_layer(layer), layer.activity_regularizer)
            for layer in all_layers(model)
            if getattr(layer, "activity_regularizer", None) is not None
        ]
        # As they are now: schedules change them.
        rates = optimizers.learning_rates()
        self._rates = {name: _seven_digits(to_float(rate)) for name, rate in rates.items()}

    def hparams(self) -> dict[str, Value | None]:
        """The hyper-parameters by name; `None` stands for one that the run has no number for.

        A strength of 0 is none, so that the axis of the others stays logarithmic.
        """
        kinds = self._strengths()
        optimizers = {type(each).__name__: None for each in self._optimizers.innermost().values()}
        values: dict[str, Value | None] = {"penalty": " + ".join(kinds) or "none"}
        strengths = _columns("strength", dict(_named(kinds)), none=None)
        values |= {name: strength or None for name, strength in strengths.items()}
        values["optimizer"] = " + ".join(optimizers) or "none"
        values |= _columns("learning_rate", _as_one(self._rates), none=None)
        dropped = {name: rate for name, rate in self._dropouts.items() if rate}
        return values | _columns("dropout", _as_one(dropped), none=0.0)

    def _strengths(self) -> dict[str, dict[float | None, list[str]]]:
        """For each kind of penalty its strengths, and the weights that have them."""
        kinds: dict[str, dict[float | None, list[str]]] = {}
        acting = [
            (weight.name, penalty, place)
            for weight in self._weights
            for penalty, place in weight.penalties
            if place not in (FROZEN, LEFT_OUT)
        ]
        acting += [(name, penalty, _ON_ACTIVITIES) for name, penalty in self._activities]
        for name, penalty, place in acting:
            where = "" if place in (IN_THE_LOSS, IF_ADDED) else f" {place}"
            strength = strength_in(penalty)
            strength = None if strength is None else _seven_digits(strength)
            of_kind = kinds.setdefault(name_without_strength(penalty) + where, {})
            of_kind.setdefault(strength, []).append(name)
        return kinds


def _named(kinds: Mapping[str, Mapping[float | None, list[str]]]) -> Iterator[tuple[str, float]]:
    """The strengths, each under a name that says of what."""
    for kind, strengths in kinds.items():
        for strength, weights in strengths.items():
            if strength is None:
                continue
            more = f" and {len(weights) - 1} more" if len(weights) > 1 else ""
            yield f"{kind} on {weights[0]}{more}" if len(strengths) > 1 else kind, strength


def _columns(name: str, values: Mapping[str, float], none: float | None) -> dict[str, Value | None]:
    """One column where there is one number; else a column for each of the first, by its name."""
    if len(values) <= 1:
        return {name: next(iter(values.values()), none)}
    return {f"{name} of {key}": values[key] for key in list(values)[:MOST_COLUMNS]}


def _seven_digits(value: float) -> float:
    """Of a number that Keras may keep as float32: 0.1 is 0.10000000149011612 there."""
    return float(f"{value:.7g}")


def _as_one(values: Mapping[str, float]) -> Mapping[str, float]:
    """Numbers that are all the same as one."""
    return {"": next(iter(values.values()))} if len(set(values.values())) == 1 else values
