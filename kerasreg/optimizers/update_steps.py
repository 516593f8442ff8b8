"""The steps of all weights in one update, and with momentum their sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import keras
from keras import ops

from kerasreg._tensors import Tensor, cast_like
from kerasreg.optimizers.steps import ElementStep, StepRule
from kerasreg.optimizers.targets import Target

Step: TypeAlias = tuple[list[Tensor], Callable[..., Tensor]]
"""Tensors, and a function of a scalar and these that is the step times the scalar."""


def steps_of(
    rule: StepRule, targets: Sequence[Target], rate: Tensor, count: Tensor, happened: Tensor
) -> list[Step]:
    """For each weight what its step is computed from, and how.

    With momentum the sums of the steps are brought up to date.

    Args:
        rule: The optimizer's.
        targets: The weights.
        rate: The learning rate before the update.
        count: Number of updates so far, this one included.
        happened: Whether there was an update; gradients may only have accumulated.

    Returns:
        A `Step` for each weight; 0 where there was no update, which leaves all as it is.
    """
    happened = cast_like(happened, rate)

    def scaled(scale: Tensor, total: Tensor) -> Tensor:
        return total * cast_like(cast_like(scale, happened) * happened, total)

    if rule.momentum:
        totals: dict[int, Tensor] = {}
        return [([_add_up(rule, t, rate, count, happened, totals)], scaled) for t in targets]

    return [_step_of(rule, target, rate * happened, count) for target in targets]


def _step_of(rule: StepRule, target: Target, rate: Tensor, count: Tensor) -> Step:
    moments = rule.moments(target.variable)
    dtype = _dtype((moments or [rate])[0])
    prepared: dict[int, ElementStep] = {}  # Once for a scale, however many pieces a weight is in.

    def step(scale: Tensor, *parts: Tensor) -> Tensor:
        if id(scale) not in prepared:
            prepared[id(scale)] = rule.step(rate * cast_like(scale, rate), count, dtype)
        return prepared[id(scale)](*parts)

    return moments, step


def _dtype(x: Tensor) -> str:
    name: str = keras.backend.standardize_dtype(x.dtype)
    return name


def _add_up(
    rule: StepRule,
    target: Target,
    rate: Tensor,
    count: Tensor,
    happened: Tensor,
    totals: dict[int, Tensor],
) -> Tensor:
    """The step of an optimizer with momentum, by the recursion of its own buffer."""
    moments = rule.moments(target.variable)
    step = rule.step(rate, count, _dtype((moments or [rate])[0]))(*moments)
    key = id(target.total_step)
    if key not in totals:  # SGD's is the same number for all weights.
        before = cast_like(target.total_step.value, step)
        totals[key] = ops.where(happened > 0, rule.momentum * before + step, before)
        target.total_step.assign(totals[key])
    return rule.momentum * totals[key] + step if rule.nesterov else totals[key]
