"""Finds how an optimizer steps, and whether a penalty can follow it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras

import kerasreg.optimizers.step_rules  # noqa: F401  (registers the rules of Keras's optimizers)
from kerasreg._checks import definer, invalid_value
from kerasreg.optimizers.steps import StepRule, step_rule
from kerasreg.regularizers import Penalty


def find_rule(optimizer: Any) -> StepRule:
    """The `StepRule` of an optimizer; raises unless it is bare and fresh."""
    if isinstance(optimizer, (str, dict)):  # as `compile` takes it
        try:
            optimizer = keras.optimizers.get(optimizer)
        except Exception as error:  # Keras has several for what it does not know.
            expected = "a Keras optimizer, or the name or configuration of one"
            raise invalid_value("inner_optimizer", expected, optimizer) from error
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        expected = "a Keras optimizer, or the name or configuration of one"
    elif isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        expected = "the optimizer itself; put `LossScaleOptimizer` around `Proximal`"
    elif hasattr(optimizer, "inner_optimizer"):
        expected = "the optimizer itself; give one `Proximal` a dict of all penalties"
    elif hasattr(optimizer, "optimizers"):  # `MultiOptimizer`, which Keras 3.14 does not have
        expected = (
            f"one optimizer; put `Proximal` around those inside of {type(optimizer).__name__}"
        )
    elif optimizer.built:
        expected = "an optimizer that is not yet built on variables"
    elif getattr(optimizer, "l1_regularization_strength", 0):
        expected = (
            "an Ftrl without its own l1_regularization_strength, which would threshold a second "
            "time; leave it to the penalty"
        )
    else:
        return _rule_of(optimizer)
    raise invalid_value("inner_optimizer", expected, optimizer)


def _rule_of(optimizer: Any) -> StepRule:
    cls = type(optimizer)
    rule = step_rule(optimizer) if _updates_as_registered(cls) else None
    if rule is None:
        known = [known.__name__ for known in step_rule.registry if known is not object]
        rule = StepRule(optimizer)
        rule.refusal = (
            f"has no known step size; take one of {', '.join(known)}, or register a rule with "
            "`step_rule`"
        )
    return rule


def check_rule(rule: StepRule, penalties: Iterable[Penalty]) -> None:
    """Raises if one of the penalties cannot follow the optimizer."""
    cls = type(rule.optimizer).__name__
    for penalty in penalties:
        needs_step = penalty.needs_step
        reason = rule.refusal if needs_step else None
        one_step = rule.has_one_step or rule.orthant_wise
        if reason is None and penalty.scalar_metric_only and not one_step:
            reason = (
                "has a step size for each weight, a metric in which that penalty's proximal "
                "operator has no formula; take SGD, which has one for all"
            )
        if reason is None and needs_step and rule.orthant_wise:
            reason = _no_orthants(rule, penalty)
        if reason is not None:
            expected = f"one that {penalty!r} can follow. {cls} {reason}"
            raise invalid_value("inner_optimizer", expected, rule.optimizer)


def _no_orthants(rule: StepRule, penalty: Penalty) -> str | None:
    """Why a penalty cannot act by way of the gradients, if it cannot."""
    if penalty.is_constraint:
        return 'has no step size; take `saliency="magnitude"`'
    if rule.optimizer.use_ema:
        return "has no step size, with which an average of weights would get zeros"
    if not penalty.is_separable:
        return rule.no_groups
    if not penalty.implements("_residual"):
        return f"acts by the penalty's slope: give {type(penalty).__name__} `_residual(w, grad)`"
    return None


def _updates_as_registered(cls: type) -> bool:
    """Whether the update of a class is the one that its rule is for."""
    registered = next((base for base in cls.__mro__ if base in step_rule.registry), object)
    updating = definer(cls, "update_step")
    # On torch an instance is of a subclass, also of Keras's, that only fuses the same update.
    return issubclass(registered, updating) or updating.__module__.startswith("keras.")
