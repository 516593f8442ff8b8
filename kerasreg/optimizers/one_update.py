"""One update: what penalties make of the gradients before it, and of the weights after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keras import ops

from kerasreg._backends import masked
from kerasreg._tensors import Tensor
from kerasreg.optimizers import orthants
from kerasreg.optimizers.apply_penalty import apply_penalty
from kerasreg.optimizers.averages import Averages
from kerasreg.optimizers.gradients import given_for, update_gradients
from kerasreg.optimizers.held_zeros import HeldZeros
from kerasreg.optimizers.steps import StepSizes
from kerasreg.optimizers.targets import Target
from kerasreg.regularizers import Penalty
from kerasreg.regularizers.update import Hold, Update


@dataclass(eq=False)
class Before:
    """What has to be known of a weight from before the update.

    Args:
        memory: What its penalty remembers.
        gradient: The gradient of the update, where something asks for it.
        hold: What decides whether zeros stay, if they may.
        of_rule: What the rule of its step size remembers.
        pseudo_gradient: The gradient of loss + penalty, where the penalty acts by way of it,
        sign: and the sign that each entry may then have after the update.
    """

    memory: Any
    gradient: Tensor | None
    hold: Hold | None
    of_rule: Sequence[Tensor] = ()
    pseudo_gradient: Tensor | None = None
    sign: Tensor | None = None


class OneUpdate:
    """An update of the optimizer inside, begun before its `apply` and ended after it.

    Args:
        optimizer: The optimizer inside.
        grads: Of each weight with a penalty the gradient that is given.
        acting: Whether the penalty of each weight acts, a scalar; `None` if it does for sure.
        scale: What multiplies the strengths now.
        happens: Whether the gradients are not only accumulated; `None` if they never are.
        held: Which weights' zeros may be held, if any.
        averages: What is averaged over updates.
    """

    def __init__(
        self,
        optimizer: Any,
        grads: Mapping[Target, Any],
        acting: Mapping[Target, Tensor | None],
        scale: Tensor,
        happens: Tensor | None,
        held: HeldZeros | None,
        averages: Averages,
    ) -> None:
        self._optimizer, self._grads, self._acting = optimizer, grads, acting
        self._scale, self._happens, self._held = scale, happens, held
        self._averages = averages
        asking = [
            target
            for target in grads
            if target.rule.needs_gradient
            or _acts_on_gradients(target)
            or target in averages
            or (held is not None and target in held.strengths)
        ]
        weights = [target.variable for target in asking]
        found = update_gradients(optimizer, weights, [grads[target] for target in asking])
        gradients = dict(zip(asking, found, strict=True))
        holds = {} if held is None else held.begin(gradients, scale, happens)
        averages.update(gradients, happens)
        self._before = {t: self._look(t, gradients.get(t), holds.get(t)) for t in grads}

    def _look(self, target: Target, gradient: Tensor | None, hold: Hold | None) -> Before:
        w = ops.stop_gradient(target.variable.value)
        before = Before(target.penalty.remember(w), gradient, hold)
        target.rule.align(target.variable)
        if not _acts_on_gradients(target):
            before.of_rule = target.rule.remember(target.variable)
            return before
        rests = None
        if hold is not None and self._held is not None:
            mean = hold.new_mean()
            [rests] = target.penalty.resting([hold.zero], [mean], self._scale)
            self._held.assign(target, mean)
        bounded = target.variable.constraint is not None
        before.pseudo_gradient = orthants.pseudo_gradient(
            target.penalty, w, gradient, self._scale, rests, bounded
        )
        before.sign = orthants.orthant(w, before.pseudo_gradient)
        return before

    def gradients_to_give(self) -> dict[Target, Any]:
        """The gradient of each weight that the optimizer inside is to get."""
        return {target: self._to_give(target, before) for target, before in self._before.items()}

    def _to_give(self, target: Target, before: Before) -> Any:
        grad, acts = self._grads[target], self._acting[target]
        if before.pseudo_gradient is not None:
            pseudo, where = before.pseudo_gradient, self._acts_now(target)
            return given_for(self._optimizer, target.variable, pseudo, grad, where)
        count = ops.convert_to_tensor(self._optimizer.iterations)
        trains = target.penalty.trains(before.memory, count)
        if trains is None:
            return grad
        free = None if acts is None else ops.logical_not(acts)
        return masked(grad, trains if free is None else ops.logical_or(trains, free))

    def penalize(
        self, penalties: Sequence[Penalty], rate: Tensor, count: Tensor, reach: Tensor | None
    ) -> None:
        """Applies the penalties, after the optimizer's `apply`.

        Args:
            penalties: Those of the weights, each once.
            rate: The learning rate before the update.
            count: Number of updates so far, this one included.
            reach: How far the optimizer could have moved a weight; `None` for no bound.
        """
        step_sizes = {
            rule: StepSizes(rule, rate, count, self._happens)
            for rule in {target.rule for target in self._before}
        }
        for penalty in penalties:
            updates = {}
            for target, before in self._before.items():
                if target.penalty != penalty:
                    continue
                if before.sign is not None:
                    self._stop_at_zero(target, before.sign)
                    continue
                sizes, w = step_sizes[target.rule], ops.stop_gradient(target.variable.value)
                moments = sizes.moments(target, before.of_rule, before.gradient)
                acts = self._acts_now(target)
                memory, hold, path = before.memory, before.hold, target.variable.path
                saliency = self._averages.of(target)
                updates[target] = Update(
                    w, memory, moments, sizes, reach, acts, hold, path, saliency
                )
            self._assign(updates, apply_penalty(penalty, [*updates.values()], count, self._scale))

    def _assign(self, updates: Mapping[Target, Update], results: Any) -> None:
        if results is not None:
            for target, (w, mean) in zip(updates, results, strict=True):
                target.variable.assign(w)
                if mean is not None and self._held is not None:
                    self._held.assign(target, mean)

    def _stop_at_zero(self, target: Target, sign: Tensor) -> None:
        w, acts = target.variable.value, self._acting[target]
        stopped = target.penalty.allowed(orthants.within_orthant(w, sign))
        target.variable.assign(stopped if acts is None else ops.where(acts, stopped, w))

    def _acts_now(self, target: Target) -> Tensor | None:
        acts, happens = self._acting[target], self._happens
        if acts is None or happens is None:
            return happens if acts is None else acts
        return ops.logical_and(acts, happens)


def _acts_on_gradients(target: Target) -> bool:
    return bool(target.rule.orthant_wise and target.penalty.needs_step)


class AveragedUpdate:
    """The end of a training with `use_ema`: the penalties act on the averaged weights.

    What Keras averages is the weights before the penalties act; and as the average of the weights
    is a step from a fixed point, the step size is that of the averaged rate.

    Args:
        targets: The weights with penalties, before they are replaced by their averages.
        acting: Whether the penalty of each acts, a scalar; `None` if it does for sure.
        scale: What multiplies the strengths.
        averages: What has been averaged over updates.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        acting: Mapping[Target, Tensor | None],
        scale: Tensor,
        averages: Averages,
    ) -> None:
        self._acting, self._scale, self._averages = acting, scale, averages
        self._before = {
            t: (t.penalty.remember(t.variable.value), t.rule.remember(t.variable)) for t in targets
        }

    def penalize(
        self, penalties: Sequence[Penalty], rate: Tensor, count: Tensor, reach: Tensor | None
    ) -> None:
        """Applies the penalties to the averages, with the averaged rate and reach."""
        count = ops.convert_to_tensor(count)
        for penalty in penalties:
            updates = {}
            for target, (memory, of_rule) in self._before.items():
                if target.penalty == penalty:
                    sizes = StepSizes(target.rule, rate, count, None, adds_up=False)
                    moments = sizes.moments(target, of_rule, None)
                    if target.variable.constraint is not None:  # which Keras leaves out here
                        target.variable.assign(target.variable.constraint(target.variable))
                    w, acts = ops.stop_gradient(target.variable.value), self._acting[target]
                    path, saliency = target.variable.path, self._averages.of(target)
                    updates[target] = Update(
                        w, memory, moments, sizes, reach, acts, path=path, saliency=saliency
                    )
            results = apply_penalty(penalty, [*updates.values()], count, self._scale)
            for target, (w, _) in zip(updates, results or [], strict=False):
                target.variable.assign(w)
