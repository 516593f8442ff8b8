"""Turns Keras's own regularizers into penalties, so that all else has to know only these."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg._checks import definer, invalid_on_weight
from kerasreg.regularizers.base import Penalty
from kerasreg.regularizers.elastic_net import ElasticNet
from kerasreg.regularizers.l1 import L1
from kerasreg.regularizers.l2 import L2
from kerasreg.regularizers.orthogonal import OrthogonalRegularizer


def as_penalty(regularizer: Any) -> Penalty | None:
    """The penalty that computes the same as a regularizer, without what scales it.

    `None` for all but kerasreg's and L1, L2, L1L2 and OrthogonalRegularizer of Keras, also for
    those derived from Keras's with a `__call__` of their own.
    """
    if isinstance(regularizer, Penalty):
        return regularizer.unscaled
    kind = definer(type(regularizer), "__call__") if callable(regularizer) else None
    if kind is keras.regularizers.L1:
        return L1(float(regularizer.l1))
    if kind is keras.regularizers.L2:
        return L2(float(regularizer.l2))
    if kind is keras.regularizers.L1L2:
        return ElasticNet(1.0, float(regularizer.l1), float(regularizer.l2))
    if kind is keras.regularizers.OrthogonalRegularizer:
        return OrthogonalRegularizer(float(regularizer.factor), regularizer.mode)
    return None


def has_kink(regularizer: Any) -> bool:
    """Whether a regularizer makes zeros, so that `Proximal` must not act on the weight as well."""
    penalty = as_penalty(regularizer)
    return penalty is not None and penalty.has_kink


def penalty_on(variable: Any, ability: str, advice: str) -> Penalty:
    """The penalty of a weight, as `as_penalty`; raises where there is none."""
    penalty = as_penalty(variable.regularizer)
    if penalty is None:
        expected = f"one {ability}, a kerasreg penalty, or L1, L2 or L1L2 of keras.regularizers; "
        raise invalid_on_weight("regularizer", variable, expected + advice)
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
