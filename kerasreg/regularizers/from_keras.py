"""Turns Keras's own regularizers into penalties, so that all else has to know only these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from kerasreg._checks import definer, invalid_value
from kerasreg.regularizers.base import Penalty
from kerasreg.regularizers.elastic_net import ElasticNet
from kerasreg.regularizers.l1 import L1
from kerasreg.regularizers.l2 import L2

_OF_KERAS: dict[type, Callable[[Any], Penalty]] = {
    keras.regularizers.L1: lambda regularizer: L1(float(regularizer.l1)),
    keras.regularizers.L2: lambda regularizer: L2(float(regularizer.l2)),
    keras.regularizers.L1L2: lambda r: ElasticNet(1.0, float(r.l1), float(r.l2)),
}


def as_penalty(regularizer: Any) -> Penalty | None:
    """The penalty that computes the same as a regularizer, without what scales it.

    Args:
        regularizer: Any callable, or `None`.

    Returns:
        A penalty of kerasreg for one of kerasreg, or L1, L2 or L1L2 of `keras.regularizers`;
        `None` for others, also for those derived from Keras's with a `__call__` of their own.
    """
    if isinstance(regularizer, Penalty):
        return regularizer.unscaled
    convert = (
        _OF_KERAS.get(definer(type(regularizer), "__call__")) if callable(regularizer) else None
    )
    return convert and convert(regularizer)


def to_penalty(argument: str, regularizer: Any) -> Penalty:
    """The penalty that a regularizer stands for, as `as_penalty`; raises where there is none."""
    penalty = as_penalty(regularizer)
    if penalty is None:
        expected = "a kerasreg penalty, or L1, L2 or L1L2 of keras.regularizers"
        raise invalid_value(argument, expected, regularizer)
    return penalty


def strength_of(regularizer: Any) -> float | None:
    """The main strength of a regularizer: of Keras's L1L2 `l1`, or `l2` where that is 0."""
    if isinstance(regularizer, Penalty):
        return regularizer.main_strength
    penalty = as_penalty(regularizer)
    if isinstance(penalty, ElasticNet):
        return penalty.l1 or penalty.l2
    return None if penalty is None else penalty.main_strength


def value_from_norms(regularizer: Any, l1_norm: float, l2_norm: float) -> float | None:
    """The value of a regularizer where the norms of the weight are enough, as `Penalty`'s."""
    penalty = regularizer if isinstance(regularizer, Penalty) else as_penalty(regularizer)
    return None if penalty is None else penalty.value_from_norms(l1_norm, l2_norm)
