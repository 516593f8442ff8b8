"""The step size: how far an optimizer moves a weight for a gradient of one.

It is the metric of the proximal operator after an update; `Proximal` says why.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._backends import runs_in_place
from kerasreg._keras_internals import optimizer_slot
from kerasreg._tensors import Tensor, cast_like, to_accumulator
from kerasreg.optimizers.targets import Target


class StepRule:
    """How an optimizer's step size follows from its learning rate and its moments.

    This one is that of plain gradient descent, the learning rate. An optimizer of one's own joins
    with a subclass that `step_rule` is told of:

        @step_rule.register(MyOptimizer)
        class MyRule(StepRule):
            slots = ("_accumulators",)

            def step_size(self, rate, correction, moments):
                return rate / ops.sqrt(moments[0])

    Args:
        optimizer: The optimizer.

    Attributes:
        slots: Names of the optimizer's lists of variables that hold the moments of a weight.
        needs_gradient: Whether the step size depends on the gradient.
        momentum: The momentum by which step sizes add up from one update to the next; 0 where the
            optimizer averages gradients instead.
        nesterov: Whether the optimizer looks ahead by its momentum.
        refusal: Why no penalty with a strength can follow the optimizer; `None` if one can.
        orthant_wise: Whether there is no step size, so that a penalty is part of the gradients and
            a weight that changes its sign stops at zero.
        no_groups: Why a penalty on groups of weights cannot be part of the gradients.
        reach: How many learning rates an update moves a weight at most, whatever the gradients,
            at a rate that does not change; `None` where there is no bound. No penalty moves a
            weight farther: one that has had no gradient yet has a step size of `rate / epsilon`.
    """

    slots: Sequence[str] = ()
    needs_gradient: bool = False
    momentum: float = 0.0
    nesterov: bool = False
    reach: float | None = None
    refusal: str | None = None
    orthant_wise: bool = False
    no_groups: str = ""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer

    @property
    def has_one_step(self) -> bool:
        """Whether its step size is a scalar, the learning rate: one for all weights."""
        return type(self).step_size is StepRule.step_size and not self.orthant_wise

    def bias_correction(self, count: Tensor) -> Tensor:
        """What the moments fall short by in their first updates.

        Args:
            count: Number of updates so far, this one included: a scalar of the moments' dtype.

        Returns:
            A scalar for `step_size`; by default 1.
        """
        return 1.0

    def of(self, variable: Any) -> StepRule:
        """The rule for one weight; by default this one."""
        return self

    def remember(self, variable: Any) -> Sequence[Tensor]:
        """What `moments` has to know from before the update, as new tensors."""
        return ()

    def moments(
        self, variable: Any, remembered: Sequence[Tensor], gradient: Tensor | None
    ) -> list[Tensor]:
        """What `step_size` computes the step size of a weight from; by default the `slots`.

        Args:
            variable: The weight, after the update.
            remembered: What `remember` returned.
            gradient: The gradient of the update, where the rule `needs_gradient`.

        Returns:
            Scalars, or tensors of the shape of the weight.
        """
        slots = (optimizer_slot(self.optimizer, name, variable) for name in self.slots)
        return [to_accumulator(slot) for slot in slots]

    def align(self, variable: Any) -> None:
        """Brings the optimizer's own copy of a weight, if it has one, to what the weight is now.

        Args:
            variable: The weight, before the update.
        """

    def step_size(self, rate: Tensor, correction: Tensor, moments: Sequence[Tensor]) -> Tensor:
        """The step size of an update, entry by entry.

        Args:
            rate: Scalar learning rate.
            correction: What `bias_correction` returned.
            moments: What `moments` returned, or the same part of each.

        Returns:
            A scalar, or a tensor of the shape of the moments.
        """
        return rate


def quotient(numerator: Tensor, denominator: Tensor, epsilon: float = 0.0) -> Tensor:
    """`numerator / (denominator + epsilon)`.

    Args:
        numerator: Scalar.
        denominator: A tensor that nobody else refers to, as PyTorch overwrites it.
        epsilon: Added to the denominator.
    """
    if not runs_in_place(denominator):
        return numerator / (denominator + epsilon)
    import torch

    denominator = denominator.add_(epsilon) if epsilon else denominator
    return torch.div(numerator, denominator, out=denominator)


@functools.singledispatch
def step_rule(optimizer: Any) -> StepRule | None:
    """The rule that is registered for an optimizer's class or its next of kin, or `None`."""
    return None


class StepSizes:
    """The step sizes of one update of an optimizer.

    Args:
        rule: The optimizer's.
        rate: The learning rate before the update.
        count: Number of updates so far, this one included.
        happened: Whether there was one, where gradients may only have accumulated; `None` if there
            always is.
        adds_up: Whether step sizes add up where the optimizer has momentum.
    """

    def __init__(
        self,
        rule: StepRule,
        rate: Tensor,
        count: Tensor,
        happened: Tensor | None,
        adds_up: bool = True,
    ) -> None:
        self._adds_up = adds_up and bool(rule.momentum)
        self._rule, self._rate, self._happened = rule, rate, happened
        # Before the first update there is no bias to correct, only a division by zero.
        self._count = ops.maximum(count, 1)
        # With momentum the moment is the step size itself, in which the rate is already.
        self._factor = ops.ones_like(rate) if self._adds_up else rate
        self._totals: dict[int, Tensor] = {}
        self._corrections: dict[str, Tensor] = {}

    def moments(
        self, target: Target, remembered: Sequence[Tensor], gradient: Tensor | None
    ) -> list[Tensor]:
        """What the step size of a weight is computed from, as `StepRule.moments`.

        With momentum the sum of the weight's step sizes, which is brought up to date.
        """
        moments = self._rule.moments(target.variable, remembered, gradient)
        return [self._add_up(target, moments)] if self._adds_up else moments

    def __call__(self, scale: Tensor, moments: Sequence[Tensor]) -> Tensor:
        """The step size times a scalar, from what `moments` returned or the same part of each."""
        dtype = _dtype((moments or [self._factor])[0])
        rate = ops.cast(self._factor * cast_like(scale, self._factor), dtype)
        if self._adds_up:
            return moments[0] * rate
        return self._rule.step_size(rate, self._correction(dtype), moments)

    def _correction(self, dtype: str) -> Tensor:
        # On torch a weight comes in many pieces; elsewhere a tensor must not leave its graph.
        correction = self._corrections.get(dtype)
        if correction is None:
            correction = self._rule.bias_correction(ops.cast(self._count, dtype))
            if keras.backend.backend() == "torch":
                self._corrections[dtype] = correction
        return correction

    def _add_up(self, target: Target, moments: Sequence[Tensor]) -> Tensor:
        """The step size of an optimizer with momentum, by the recursion of its own buffer."""
        rule, dtype = self._rule, _dtype((moments or [self._rate])[0])
        step = rule.step_size(ops.cast(self._rate, dtype), self._correction(dtype), moments)
        key = id(target.total_step)
        if key not in self._totals:  # SGD's is the same number for all weights.
            before = cast_like(target.total_step.value, step)
            total = rule.momentum * before + step
            if self._happened is not None:
                total = ops.where(self._happened, total, before)
            self._totals[key] = total
            target.total_step.assign(total)
        total = self._totals[key]
        return rule.momentum * total + step if rule.nesterov else total


def _dtype(x: Tensor) -> str:
    name: str = keras.backend.standardize_dtype(x.dtype)
    return name
