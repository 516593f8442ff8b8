"""The step size: how far an optimizer moves a weight for a gradient of one.

It is the metric of the proximal operator after an update; `Proximal` says why.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._checks import definer, invalid_value
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
        momentum: The momentum by which step sizes add up from one update to the next; 0 where the
            optimizer averages gradients instead.
        nesterov: Whether the optimizer looks ahead by its momentum.
        reach: How many learning rates an update moves a weight at most, whatever the gradients,
            at a rate that does not change; `None` where there is no bound. No penalty moves a
            weight farther: one that has had no gradient yet has a step size of `rate / epsilon`.
    """

    slots: Sequence[str] = ()
    momentum: float = 0.0
    nesterov: bool = False
    reach: float | None = None

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer

    def bias_correction(self, count: Tensor) -> Tensor:
        """What the moments fall short by in their first updates.

        Args:
            count: Number of updates so far, this one included: a scalar of the moments' dtype.

        Returns:
            A scalar for `step_size`; by default 1.
        """
        return 1.0

    def step_size(self, rate: Tensor, correction: Tensor, moments: Sequence[Tensor]) -> Tensor:
        """The step size of an update, entry by entry.

        Args:
            rate: Scalar learning rate.
            correction: What `bias_correction` returned.
            moments: The tensors in `slots`, or the same part of each.

        Returns:
            A scalar, or a tensor of the shape of the moments.
        """
        return rate


@functools.singledispatch
def step_rule(optimizer: Any) -> StepRule | None:
    """The rule that is registered for an optimizer's class or its next of kin, or `None`."""
    return None


@step_rule.register(keras.optimizers.SGD)
class _SGD(StepRule):
    def __init__(self, optimizer: Any) -> None:
        super().__init__(optimizer)
        self.momentum, self.nesterov = float(optimizer.momentum), bool(optimizer.nesterov)


@step_rule.register(keras.optimizers.Adam)
@step_rule.register(keras.optimizers.AdamW)
class _Adam(StepRule):
    def __init__(self, optimizer: Any) -> None:
        super().__init__(optimizer)
        self.slots = ("_velocity_hats",) if optimizer.amsgrad else ("_velocities",)
        beta_1, beta_2 = float(optimizer.beta_1), float(optimizer.beta_2)
        if beta_1**2 < beta_2 < 1:  # By Cauchy-Schwarz, as the two below.
            rest = (1 - beta_2) * (1 - beta_1**2 / beta_2)
            self.reach = (1 - beta_1) / math.sqrt(rest)

    def bias_correction(self, count: Tensor) -> Tensor:
        return ops.sqrt(1.0 - ops.power(self.optimizer.beta_2, count))

    def step_size(self, rate: Tensor, correction: Tensor, moments: Sequence[Tensor]) -> Tensor:
        return rate * correction / (ops.sqrt(moments[0]) + self.optimizer.epsilon)


@step_rule.register(keras.optimizers.Nadam)
class _Nadam(StepRule):
    slots = ("_velocities",)

    def __init__(self, optimizer: Any) -> None:
        super().__init__(optimizer)
        beta_1, beta_2 = float(optimizer.beta_1), float(optimizer.beta_2)
        ratio = beta_1**2 / beta_2
        if ratio < 1 and beta_2 < 1:
            earlier = (beta_1 * (1 - beta_1)) ** 2 * ratio / (1 - ratio)
            self.reach = math.sqrt(((1 - beta_1**2) ** 2 + earlier) / (1 - beta_2))

    def bias_correction(self, count: Tensor) -> Tensor:
        return 1.0 - ops.power(self.optimizer.beta_2, count)

    def step_size(self, rate: Tensor, correction: Tensor, moments: Sequence[Tensor]) -> Tensor:
        return rate / (ops.sqrt(moments[0] / correction) + self.optimizer.epsilon)


@step_rule.register(keras.optimizers.Adamax)
class _Adamax(StepRule):
    slots = ("_u",)

    def __init__(self, optimizer: Any) -> None:
        super().__init__(optimizer)
        beta_1, beta_2 = float(optimizer.beta_1), float(optimizer.beta_2)
        if beta_1 < beta_2:
            self.reach = (1 - beta_1) / (1 - beta_1 / beta_2)

    def step_size(self, rate: Tensor, correction: Tensor, moments: Sequence[Tensor]) -> Tensor:
        return rate / (moments[0] + self.optimizer.epsilon)


@step_rule.register(keras.optimizers.RMSprop)
class _RMSprop(StepRule):
    def __init__(self, optimizer: Any) -> None:
        super().__init__(optimizer)
        self.slots = ("_velocities", *(["_average_gradients"] if optimizer.centered else []))
        self.momentum = float(optimizer.momentum)
        # The variance of gradients that hardly change may be next to nothing.
        if not optimizer.centered and optimizer.rho < 1 and self.momentum < 1:
            self.reach = 1 / math.sqrt(1 - optimizer.rho) / (1 - self.momentum)

    def step_size(self, rate: Tensor, correction: Tensor, moments: Sequence[Tensor]) -> Tensor:
        square, *means = moments
        for mean in means:
            # Not in place, which on torch would change the optimizer's own variable. A constant
            # gradient has no variance, and rounding may leave less than that.
            square = ops.maximum(square - ops.square(mean), 0.0)
        return rate / ops.sqrt(square + self.optimizer.epsilon)


@step_rule.register(keras.optimizers.Adagrad)
class _Adagrad(StepRule):
    slots = ("_accumulators",)
    reach = 1.0

    def step_size(self, rate: Tensor, correction: Tensor, moments: Sequence[Tensor]) -> Tensor:
        return rate / ops.sqrt(moments[0] + self.optimizer.epsilon)


class StepSizes:
    """The step sizes of one update of an optimizer.

    Args:
        rule: The optimizer's.
        rate: The learning rate before the update.
        count: Number of updates so far, this one included.
        happened: Whether there was one, where gradients may only have accumulated; `None` if there
            always is.
    """

    def __init__(
        self, rule: StepRule, rate: Tensor, count: Tensor, happened: Tensor | None
    ) -> None:
        self._rule, self._rate, self._happened = rule, rate, happened
        # Before the first update there is no bias to correct, only a division by zero.
        self._count = ops.maximum(count, 1)
        # With momentum the moment is the step size itself, in which the rate is already.
        self._factor = ops.ones_like(rate) if rule.momentum else rate
        self._totals: dict[int, Tensor] = {}
        self._scalars: tuple[Any, ...] = (None,)

    def moments(self, target: Target) -> list[Tensor]:
        """What the step size of a weight is computed from.

        With momentum the sum of the weight's step sizes, which is brought up to date.
        """
        rule = self._rule
        slots = (optimizer_slot(rule.optimizer, name, target.variable) for name in rule.slots)
        moments = [to_accumulator(slot) for slot in slots]
        return [self._add_up(target, moments)] if rule.momentum else moments

    def __call__(self, scale: Tensor, moments: Sequence[Tensor]) -> Tensor:
        """The step size times a scalar, from what `moments` returned or the same part of each."""
        rate, correction = self._scaled(scale, _dtype((moments or [self._factor])[0]))
        if self._rule.momentum:
            return moments[0] * rate
        return self._rule.step_size(rate, correction, moments)

    def _scaled(self, scale: Tensor, dtype: str) -> tuple[Tensor, Tensor]:
        # On torch a weight comes in many pieces, one after the other and with the same scale;
        # elsewhere a tensor must not leave its graph.
        known = keras.backend.backend() == "torch" and self._scalars[0] is scale
        if not known or self._scalars[1] != dtype:
            rate = ops.cast(self._factor * cast_like(scale, self._factor), dtype)
            correction = self._rule.bias_correction(ops.cast(self._count, dtype))
            self._scalars = (scale, dtype, (rate, correction))
        return self._scalars[2]  # type: ignore[no-any-return]

    def _add_up(self, target: Target, moments: Sequence[Tensor]) -> Tensor:
        """The step size of an optimizer with momentum, by the recursion of its own buffer."""
        rule, dtype = self._rule, _dtype((moments or [self._rate])[0])
        correction = rule.bias_correction(ops.cast(self._count, dtype))
        step = rule.step_size(ops.cast(self._rate, dtype), correction, moments)
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


def find_rule(optimizer: Any) -> StepRule:
    """The `StepRule` of an optimizer; raises unless it is supported, bare and fresh."""
    if isinstance(optimizer, (str, dict)):  # as `compile` takes it
        try:
            optimizer = keras.optimizers.get(optimizer)
        except Exception as error:  # Keras has several for what it does not know.
            expected = "a Keras optimizer, or the name or configuration of one"
            raise invalid_value("inner_optimizer", expected, optimizer) from error
    cls = type(optimizer)
    supported = [known.__name__ for known in step_rule.registry if known is not object]
    expected = f"one of {', '.join(supported)}"
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        expected = f"a Keras optimizer, {expected}"
    elif isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        expected = "the optimizer itself; put `LossScaleOptimizer` around `Proximal`"
    elif hasattr(optimizer, "inner_optimizer"):
        expected = "the optimizer itself; give one `Proximal` a dict of all penalties"
    elif not _updates_as_registered(cls) or (rule := step_rule(optimizer)) is None:
        expected = f"{expected}, not {cls.__name__}; register a rule for others with `step_rule`"
    elif optimizer.use_ema:
        expected = "an optimizer with use_ema=False: averages of the weights have no zeros"
    elif optimizer.built:
        expected = "an optimizer that is not yet built on variables"
    else:
        return rule
    raise invalid_value("inner_optimizer", expected, optimizer)


def _updates_as_registered(cls: type) -> bool:
    """Whether the update of a class is the one that its rule is for."""
    registered = next(base for base in cls.__mro__ if base in step_rule.registry)
    updating = definer(cls, "update_step")
    # On torch an instance is of a subclass, also of Keras's, that only fuses the same update.
    return issubclass(registered, updating) or updating.__module__.startswith("keras.")
