"""Holds a training at a fraction of weights that are zero, and says where it cannot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kerasreg._keras_internals import bring_up_to_date
from kerasreg._tensors import to_float, to_numpy
from kerasreg.callbacks.scaled_penalties import ScaledPenalties
from kerasreg.callbacks.sparsity_controller import TOLERANCE, SparsityController, zero_fraction
from kerasreg.callbacks.step_counter import StepCounter

# How many they are.
COUNT = 10

# Which part of the weights that are left may be set to zero at the end: as a learning rate goes to
# 0 the answer comes too late, and the smallest tenth a training loses without notice.
_SETTLED = 0.1


class LastUpdates:
    """The last updates of a training, whose effect on the number of zeros nothing can answer.

    A last batch of few samples can turn three percent of all weights to zero or away from it, and
    with a learning rate that goes to 0 the answer comes too late.

    Args:
        variables: The weights, as they are before these updates.
    """

    def __init__(self, variables: Sequence[Any]) -> None:
        self._variables = variables
        self._before = _flat(variables)

    def settle(self, target: float) -> None:
        """Brings the fraction of zeros to a target, as far as little has to change for it.

        Undoes that part of the updates by which they led away from it: the smallest of the weights
        that have left zero are zero again, or the largest of those that have become zero are what
        they were. Where zeros are missing still, few of those that are left, the smallest are set
        to zero.
        """
        after = _flat(self._variables)
        count = round(target * after.size)
        chosen = self._excess(after, count)
        after[chosen] = self._before[chosen]
        smallest = _smallest(after, count)
        after[smallest] = 0
        if chosen.size or smallest.size:
            self._assign(after)

    def _excess(self, after: Any, count: int) -> Any:
        missing = count - np.count_nonzero(after == 0)
        was_zero, is_zero = self._before == 0, after == 0
        turned = was_zero & ~is_zero if missing > 0 else ~was_zero & is_zero
        helpful = np.flatnonzero(turned)
        size = np.abs(self._before[helpful]) + np.abs(after[helpful])
        order = np.argsort(size if missing > 0 else -size, kind="stable")
        return helpful[order[: abs(missing)]]

    def _assign(self, flat: Any) -> None:
        start = 0
        for variable in self._variables:
            end = start + math.prod(variable.shape)
            variable.assign(flat[start:end].reshape(variable.shape))
            start = end


def _flat(variables: Sequence[Any]) -> Any:
    return np.concatenate([to_numpy(v).ravel() for v in variables])  # A copy in any case.


def _smallest(flat: Any, count: int) -> Any:
    left = np.flatnonzero(flat)
    missing = count - (flat.size - left.size)
    if not 0 < missing <= _SETTLED * left.size:
        return left[:0]
    return left[np.argsort(np.abs(flat[left]), kind="stable")[:missing]]


class SparsityTarget:
    """The factor on the strength at which a fraction of the weights is zero, in one training.

    Args:
        model: The model.
        penalties: Those of its `Proximal`.
        target: The fraction.
        frequency: Largest number of updates between two measurements.
    """

    def __init__(
        self, model: Any, penalties: ScaledPenalties, target: float, frequency: int
    ) -> None:
        self._model, self._penalties = model, penalties
        self._target, self._frequency = target, frequency
        self._per_update = penalties.steps_per_update
        self._too_late = max(COUNT, model.steps_per_execution // self._per_update)
        self._first_factor = to_float(penalties.proximal_scale) or 1.0
        self._controller: SparsityController | None = None
        self._last_updates: LastUpdates | None = None
        self._ahead = 0
        self._end = math.inf

    def begin_epoch(self, steps: StepCounter, length: int | None, epochs: float) -> None:
        """Tells the controller where the training ends, as soon as that is known.

        Args:
            steps: Counter of the steps.
            length: Steps of an epoch; `None` where that is not known.
            epochs: How many there will be, with this one; infinity where that is not known.
        """
        if self._controller is None:
            self._ahead = steps.batches_ahead
        self._end = steps.step + length * epochs if length else math.inf
        end = (self._end + self._ahead) / self._per_update
        if self._controller is None:
            start = self._updates(steps.step)
            self._controller = SparsityController(
                self._target, self._frequency, start, end, self._first_factor
            )
        self._controller.end = end

    def factor(self, step: int) -> float:
        """The factor for a step; measures where that is due."""
        assert self._controller is not None
        updates = self._updates(step)
        if self._controller.is_due(updates):
            self._controller.update(updates, self._measure())
        is_late = self._controller.end - updates <= self._too_late
        if is_late and self._last_updates is None and self._penalties.are_separable:
            bring_up_to_date(self._model)
            self._last_updates = LastUpdates(self._penalties.sparse_weights)
        return self._controller.factor

    def end_batch(self, step: int) -> None:
        """Holds the target after the last of the steps."""
        if self._last_updates is not None and step >= self._end:
            bring_up_to_date(self._model)
            self._last_updates.settle(self._target)

    def shortcoming(self) -> str | None:
        """By how much, and why, the training has missed its target; `None` where it has not."""
        if self._controller is None:
            return None
        reached, factor, first = self._measure(), self._controller.factor, self._first_factor
        size = sum(math.prod(variable.shape) for variable in self._penalties.sparse_weights)
        if abs(reached - self._target) <= max(TOLERANCE, 1 / size):
            return None
        missing = reached < self._target
        if self._controller.is_at_bound and missing == (factor > first):
            stronger, larger = ("stronger", "larger") if missing else ("weaker", "smaller")
            reason = (
                f"The factor on the strength is at its bound, {factor:g}, after {first:g} at the "
                f"beginning; give `Proximal` {stronger} penalties, or a {larger} `strength_scale`."
            )
        else:
            groups = "" if self._penalties.are_separable else "penalises whole groups, "
            reason = (
                f"The training {groups}was too short, ended early or where the callback could not "
                "know, or has too many steps per execution; train for longer, or give `Proximal` "
                f"penalties nearer to the strength: the factor on it ended at {factor:g}, after "
                f"{first:g} at the beginning."
            )
        return (
            f"StrengthScheduler ended at a sparsity of {reached:.4f}, not at its "
            f"target_sparsity={self._target}. {reason}"
        )

    def _updates(self, step: int) -> int:
        return (step + self._ahead) // self._per_update

    def _measure(self) -> float:
        bring_up_to_date(self._model)
        return zero_fraction(self._penalties.sparse_weights)
