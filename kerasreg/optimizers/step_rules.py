"""The step sizes of Keras's optimizers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._keras_internals import learns_by_adam, optimizer_slot
from kerasreg._tensors import Tensor, cast_like, to_accumulator
from kerasreg.optimizers.steps import StepRule, quotient, step_rule

# The least ratio of Lamb. Its own goes to zero with a weight, which then would never be zero.
LEAST_RATIO = 1e-5


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
        self.reach = _reach_of_adam(float(optimizer.beta_1), float(optimizer.beta_2))

    def bias_correction(self, count: Tensor) -> Tensor:
        return ops.sqrt(1.0 - ops.power(self.optimizer.beta_2, count))

    def step_size(self, rate: Tensor, correction: Tensor, moments: Sequence[Tensor]) -> Tensor:
        return quotient(rate * correction, ops.sqrt(moments[0]), self.optimizer.epsilon)


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
        root = ops.sqrt(moments[0] / correction)
        return quotient(rate, root, self.optimizer.epsilon)


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
        return quotient(rate, ops.sqrt(square + self.optimizer.epsilon))


@step_rule.register(keras.optimizers.Adagrad)
class _Adagrad(StepRule):
    slots = ("_accumulators",)
    reach = 1.0

    def step_size(self, rate: Tensor, correction: Tensor, moments: Sequence[Tensor]) -> Tensor:
        return quotient(rate, ops.sqrt(moments[0] + self.optimizer.epsilon))


@step_rule.register(keras.optimizers.Lamb)
class _Lamb(StepRule):
    slots = ("_velocities",)

    def remember(self, variable: Any) -> Sequence[Tensor]:
        return (_norm(variable.value),)

    def moments(
        self, variable: Any, remembered: Sequence[Tensor], gradient: Tensor | None
    ) -> list[Tensor]:
        """With the ratio of the norms of the weight and of its update by Adam."""
        [v], optimizer = super().moments(variable, remembered, gradient), self.optimizer
        m = to_accumulator(optimizer_slot(optimizer, "_momentums", variable))
        count = ops.cast(ops.maximum(ops.convert_to_tensor(optimizer.iterations), 1), m.dtype)
        m = m / (1.0 - ops.power(optimizer.beta_1, count))
        root = ops.sqrt(v / self.bias_correction(count))
        size, length = remembered[0], _norm(m / (root + optimizer.epsilon))
        both = ops.logical_and(size > 0, length > 0)
        ratio = ops.where(both, size / ops.where(both, length, 1.0), 1.0)
        return [v, ops.maximum(ratio, LEAST_RATIO)]

    def bias_correction(self, count: Tensor) -> Tensor:
        return 1.0 - ops.power(self.optimizer.beta_2, count)

    def step_size(self, rate: Tensor, correction: Tensor, moments: Sequence[Tensor]) -> Tensor:
        v, ratio = moments
        return rate * ratio / (ops.sqrt(v / correction) + self.optimizer.epsilon)


@step_rule.register(keras.optimizers.Adadelta)
class _Adadelta(StepRule):
    slots = ("_accumulated_grads",)

    def remember(self, variable: Any) -> Sequence[Tensor]:
        changes = optimizer_slot(self.optimizer, "_accumulated_delta_vars", variable)
        return (ops.copy(to_accumulator(changes)),)

    def moments(
        self, variable: Any, remembered: Sequence[Tensor], gradient: Tensor | None
    ) -> list[Tensor]:
        return [*super().moments(variable, remembered, gradient), *remembered]

    def step_size(self, rate: Tensor, correction: Tensor, moments: Sequence[Tensor]) -> Tensor:
        squares, changes = (ops.sqrt(moment + self.optimizer.epsilon) for moment in moments)
        return rate * changes / squares


@step_rule.register(keras.optimizers.Adafactor)
class _Adafactor(StepRule):
    slots = ("_v",)
    needs_gradient = True

    def __init__(self, optimizer: Any) -> None:
        super().__init__(optimizer)
        if optimizer.clipnorm or optimizer.clipvalue or optimizer.global_clipnorm:
            self.refusal = (
                "clips by `clip_threshold` already, and its step is not known where gradients are "
                "clipped before; leave out clipnorm, global_clipnorm and clipvalue"
            )
        elif optimizer.use_ema:
            self.refusal = "has steps that depend on the last gradient: leave out use_ema"

    def remember(self, variable: Any) -> Sequence[Tensor]:
        """The size of the weight, and how far its rate lies below the learning rate."""
        optimizer = self.optimizer
        size = ops.maximum(_root_mean_square(variable.value), optimizer.epsilon_2)
        rate = to_accumulator(optimizer.learning_rate)
        limit = ops.rsqrt(ops.cast(ops.convert_to_tensor(optimizer.iterations) + 1, rate.dtype))
        return (size * ops.minimum(1.0, limit / ops.where(rate > 0, rate, 1.0)),)

    def moments(
        self, variable: Any, remembered: Sequence[Tensor], gradient: Tensor | None
    ) -> list[Tensor]:
        [v] = super().moments(variable, remembered, gradient)
        # Rounding and weights that nothing has reached must not make it infinite.
        v = ops.maximum(v, self.optimizer.epsilon_1)
        change = _root_mean_square(gradient / ops.sqrt(v))
        return [v, remembered[0] / ops.maximum(1.0, change / self.optimizer.clip_threshold)]

    def step_size(self, rate: Tensor, correction: Tensor, moments: Sequence[Tensor]) -> Tensor:
        v, size = moments
        return rate * size / ops.sqrt(v)


@step_rule.register(keras.optimizers.Ftrl)
class _Ftrl(StepRule):
    slots = ("_accumulators",)

    def remember(self, variable: Any) -> Sequence[Tensor]:
        return (ops.copy(to_accumulator(self.optimizer.learning_rate)),)

    def moments(
        self, variable: Any, remembered: Sequence[Tensor], gradient: Tensor | None
    ) -> list[Tensor]:
        return [*super().moments(variable, remembered, gradient), *remembered]

    def step_size(self, rate: Tensor, correction: Tensor, moments: Sequence[Tensor]) -> Tensor:
        return rate / self._curvature(*moments)

    def align(self, variable: Any) -> None:
        """Ftrl keeps no weights, but `-w` times the inverse of its step size, which may change."""
        rate = ops.maximum(to_accumulator(self.optimizer.learning_rate), 1e-30)
        linear = optimizer_slot(self.optimizer, "_linears", variable)
        [squares] = super().moments(variable, (), None)
        inverse = self._curvature(squares, rate) / rate
        linear.assign(cast_like(-to_accumulator(variable.value) * inverse, linear))

    def _curvature(self, squares: Tensor, rate: Tensor) -> Tensor:
        """The inverse of the step size, times the rate."""
        optimizer = self.optimizer
        own = optimizer.beta + 2.0 * optimizer.l2_regularization_strength * rate
        return ops.power(squares, -optimizer.learning_rate_power) + own


@step_rule.register(keras.optimizers.Lion)
class _Lion(StepRule):
    orthant_wise = True
    no_groups = (
        "moves every weight by the learning rate whatever its gradient, so that no threshold makes "
        "loss + penalty stationary"
    )


@step_rule.register(keras.optimizers.Muon)
class _Muon(StepRule):
    """Orthant-wise where it is Muon itself, and Adam's steps where it is Adam."""

    orthant_wise = True
    no_groups = (
        "mixes the entries of a matrix; use it for other weights (`exclude_layers`, "
        "MultiOptimizer), or Adam"
    )

    def __init__(self, optimizer: Any) -> None:
        super().__init__(optimizer)
        self._adam = _AdamInMuon(optimizer)
        reach = _reach_of_adam(optimizer.adam_beta_1, optimizer.adam_beta_2)
        self.reach = reach and reach * optimizer.adam_lr_ratio

    def of(self, variable: Any) -> StepRule:
        return self._adam if learns_by_adam(self.optimizer, variable) else self


class _AdamInMuon(StepRule):
    slots = ("adam_velocities",)

    def bias_correction(self, count: Tensor) -> Tensor:
        return ops.sqrt(1.0 - ops.power(self.optimizer.adam_beta_2, count))

    def step_size(self, rate: Tensor, correction: Tensor, moments: Sequence[Tensor]) -> Tensor:
        root = ops.sqrt(moments[0]) + self.optimizer.epsilon
        return rate * self.optimizer.adam_lr_ratio * correction / root


@step_rule.register(keras.optimizers.ScheduleFreeAdamW)
class _ScheduleFreeAdamW(StepRule):
    refusal = (
        "evaluates an average over all past weights, which has no zeros; use AdamW with a "
        "decaying learning rate, or use_ema"
    )

    def align(self, variable: Any) -> None:
        """Sets to zero what a weight that is zero would come back to."""
        z = optimizer_slot(self.optimizer, "_momentums", variable)
        z.assign(ops.where(ops.equal(variable.value, 0), ops.zeros_like(z.value), z.value))


def _reach_of_adam(beta_1: float, beta_2: float) -> float | None:
    """By Cauchy-Schwarz, as those of Nadam and Adamax."""
    if not beta_1**2 < beta_2 < 1:
        return None
    return (1 - beta_1) / math.sqrt((1 - beta_2) * (1 - beta_1**2 / beta_2))


def _norm(x: Tensor) -> Tensor:
    return ops.sqrt(ops.sum(ops.square(to_accumulator(x))))


def _root_mean_square(x: Tensor) -> Tensor:
    return ops.sqrt(ops.mean(ops.square(to_accumulator(x))))
