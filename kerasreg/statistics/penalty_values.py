"""What the penalties on a weight amount to, and how strong they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras

from kerasreg._tensors import to_float
from kerasreg.regularizers import L1, L2, ElasticNet, Penalty
from kerasreg.statistics.numbers import Statistics
from kerasreg.statistics.weights import AFTER_THE_STEP, FROZEN, Weight

# By the exact class, as one that is derived from it may have another value.
FROM_NORMS: dict[type, Callable[[Any, float, float], float]] = {
    L1: lambda p, l1_norm, _: p.l1 * l1_norm,
    L2: lambda p, _, l2_norm: p.l2 * l2_norm**2,
    ElasticNet: lambda p, l1_norm, l2_norm: p.alpha * (p.l1 * l1_norm + p.l2 * l2_norm**2),
    keras.regularizers.L1: lambda p, l1_norm, _: float(p.l1) * l1_norm,
    keras.regularizers.L2: lambda p, _, l2_norm: float(p.l2) * l2_norm**2,
    keras.regularizers.L1L2: lambda p, l1_norm, l2_norm: (
        float(p.l1) * l1_norm + float(p.l2) * l2_norm**2
    ),
}


def read_scale(weights: Sequence[Weight]) -> float:
    """What scales the penalties of the model's `Proximal` now; 1 where there is none."""
    scales = (weight.strength_scale for weight in weights)
    return next((to_float(scale) for scale in scales if scale is not None), 1.0)


def penalty_values(weights: Sequence[Weight], statistics: Sequence[Statistics]) -> list[float]:
    """What the penalties that act on each weight amount to now, see `penalty_value`."""
    scale = read_scale(weights)
    return [penalty_value(*pair, scale) for pair in zip(weights, statistics, strict=True)]


def strengths(weights: Sequence[Weight]) -> tuple[float | None, dict[str, float]]:
    """The scale that penalties have in common, see `common_scale`, and each weight's strength.

    Args:
        weights: The weights.

    Returns:
        The scale or `None`, and the strengths by the names of the weights that have one.
    """
    scale = read_scale(weights)
    found = ((weight.name, strength(weight, scale)) for weight in weights)
    by_name = {name: value for name, value in found if value is not None}
    return common_scale(weights, scale), by_name


def penalty_value(weight: Weight, statistics: Statistics, scale: float) -> float:
    """What the penalties that act on a weight amount to at its present value.

    Args:
        weight: The weight.
        statistics: Its statistics, whose norms are the value of most penalties.
        scale: What scales the penalties of `Proximal` now.

    Returns:
        The value; penalties of frozen weights, and constraints, add nothing to it.
    """
    total = 0.0
    for penalty, factor in acting_penalties(weight):
        from_norms = FROM_NORMS.get(type(penalty))
        if from_norms is not None:
            value = from_norms(penalty, statistics.l1_norm, statistics.l2_norm)
        else:
            w = keras.ops.stop_gradient(weight.variable.value)
            value = to_float(keras.ops.sum(penalty(w)))
        total += value * (scale if factor is None else factor)
    return total


def acting_penalties(weight: Weight) -> list[tuple[Any, float | None]]:
    """The penalties that add to what is minimised, each with what scales it now.

    That is `None` where `Proximal` scales it. Keras leaves the penalty of a frozen weight out, and
    a constraint has no value.
    """
    in_the_loss = 1.0 if weight.loss_scale is None else weight.loss_scale
    return [
        (penalty, None if place == AFTER_THE_STEP else in_the_loss)
        for penalty, place in weight.penalties
        if place != FROZEN and not getattr(penalty, "is_constraint", False)
    ]


def strength(weight: Weight, scale: float) -> float | None:
    """The strength of the first penalty that acts on a weight, `None` where there is none.

    That of a penalty is its first hyper-parameter, `l1` or `alpha`, times what scales it.
    """
    for penalty, factor in acting_penalties(weight):
        value = _main_strength(penalty)
        if value is not None:
            return value * (scale if factor is None else factor)
    return None


def common_scale(weights: Sequence[Weight], scale: float) -> float | None:
    """What scales the penalties of `Proximal`, or else those in the loss if it is one number."""
    acting = [(w, factor) for w in weights for _, factor in acting_penalties(w)]
    factors = {factor for _, factor in acting}
    if None in factors:
        return scale
    if len(factors) == 1 and any(weight.loss_scale is not None for weight, _ in acting):
        return factors.pop()
    return None


def _main_strength(penalty: Any) -> float | None:
    if isinstance(penalty, keras.regularizers.L1L2):
        return float(penalty.l1) or float(penalty.l2)
    if isinstance(penalty, Penalty) and dataclasses.fields(penalty):
        return penalty.main_strength
    value = getattr(penalty, "l1", getattr(penalty, "l2", None))
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):  # One's own regularizer may call anything so.
        return None


def describe_regularizer(regularizer: Any) -> tuple[str, str]:
    """Name and strengths of a regularizer, as `("L1", "l1=0.001")`."""
    if isinstance(regularizer, keras.regularizers.Regularizer):
        try:
            config = regularizer.get_config()
        except Exception:  # Keras allows a regularizer without a config; it is only described.
            config = {}
        name = type(regularizer).__name__
        if not isinstance(regularizer, Penalty):
            name = f"keras.{name}" if type(regularizer).__module__.startswith("keras.") else name
        return name, ", ".join(f"{key}={_short(value)}" for key, value in config.items())
    return getattr(regularizer, "__name__", type(regularizer).__name__), ""


def _short(value: Any) -> str:
    # Keras keeps some strengths as float32, which would print as 0.0010000000474974513.
    return f"{value:.7g}" if isinstance(value, float) else str(value)
