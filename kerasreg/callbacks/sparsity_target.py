"""Holds a training at a fraction of weights that are zero, and says where it cannot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kerasreg._keras_internals import bring_up_to_date
from kerasreg._tensors import to_numpy
from kerasreg.callbacks.scaled_penalties import ScaledPenalties
from kerasreg.callbacks.sparsity_controller import TOLERANCE, SparsityController
from kerasreg.callbacks.step_counter import StepCounter
from kerasreg.statistics.measurement import zero_fraction

# Number of updates at the end of a training that the strength can no longer answer.
COUNT = 10

# The part of the non-zero weights that may be set to zero at the end. As a learning rate goes to 0
# a stronger penalty comes too late, and a model does not miss the smallest tenth.
_SETTLED = 0.1


class LastUpdates:
    """The last updates of a training, whose effect on the number of zeros is undone.

    A last batch of few samples can set three percent of all weights to zero, or away from it, and
    with a learning rate that goes to 0 a change of the strength comes too late.

    Args:
        variables: The weights, as they are before these updates.
    """

    def __init__(self, variables: Sequence[Any]) -> None:
        self._variables = variables
        self._before = _flat(variables)

    def settle(self, target: float) -> None:
        """Brings the fraction of zeros to a target, where few weights have to change for it.

        Undoes what led away from the target: the smallest of the weights that have left zero are
        set to zero again, or the largest of those that have become zero get their earlier values
        back. If zeros are still missing, and few of them, the smallest weights are set to zero.
        """
        after = _flat(self._variables)
        count = round(target * after.size)
        chosen = self._excess(after, count)
        after[chosen] = self._before[chosen]
        smallest = _smallest(after, count)
        after[smallest] = 0
        if chosen.size or smallest.size:
            ends = np.cumsum([math.prod(v.shape) for v in self._variables])
            for v, part in zip(self._variables, np.split(after, ends[:-1]), strict=True):
                v.assign(part.reshape(v.shape))

    def _excess(self, after: Any, count: int) -> Any:
        missing = count - np.count_nonzero(after == 0)
        was_zero, is_zero = self._before == 0, after == 0
        turned = was_zero & ~is_zero if missing > 0 else ~was_zero & is_zero
        helpful = np.flatnonzero(turned)
        size = np.abs(self._before[helpful]) + np.abs(after[helpful])
        order = np.argsort(size if missing > 0 else -size, kind="stable")
        return helpful[order[: abs(missing)]]


def _flat(variables: Sequence[Any]) -> Any:
    return np.concatenate([to_numpy(v).ravel() for v in variables])  # A copy in any case.


def _smallest(flat: Any, count: int) -> Any:
    left = np.flatnonzero(flat)
    missing = count - (flat.size - left.size)
    if not 0 < missing <= _SETTLED * left.size:
        return left[:0]
    return left[np.argsort(np.abs(flat[left]), kind="stable")[:missing]]


class SparsityTarget:
    """The strength scale at which a fraction of the weights is zero, found in one training.

    Args:
        model: The model.
        penalties: Those of its `Proximal`.
        target: The fraction of zeros.
        frequency: Largest number of updates between two measurements.
    """

    def __init__(
        self, model: Any, penalties: ScaledPenalties, target: float, frequency: int
    ) -> None:
        self._model, self._penalties = model, penalties
        self._target, self._frequency = target, frequency
        self._per_update = penalties.batches_per_update
        self._too_late = max(COUNT, model.steps_per_execution // self._per_update)
        self._first_scale = penalties.strength_scale or 1.0
        self._controller: SparsityController | None = None
        self._last_updates: LastUpdates | None = None
        self._ahead = 0
        self._end = math.inf

    def begin_epoch(self, steps: StepCounter, length: int | None, epochs: float) -> None:
        """Tells the controller where the training ends, as soon as that is known.

        Args:
            steps: Counter of the steps.
            length: Steps of an epoch, if known.
            epochs: How many there will be, with this one; infinity where that is not known.
        """
        if self._controller is None:
            self._ahead = steps.batches_ahead
        self._end = steps.step + length * epochs if length else math.inf
        end = (self._end + self._ahead) / self._per_update
        if self._controller is None:
            start = self._updates(steps.step)
            self._controller = SparsityController(
                self._target, self._frequency, start, end, self._first_scale
            )
        self._controller.end = end

    def strength_scale(self, step: int) -> float:
        """The scale for a training step; measures the sparsity where that is due."""
        assert self._controller is not None
        updates = self._updates(step)
        if self._controller.is_due(updates):
            self._controller.update(updates, self._measure())
        is_late = self._controller.end - updates <= self._too_late
        if is_late and self._last_updates is None and self._penalties.are_separable:
            bring_up_to_date(self._model)
            self._last_updates = LastUpdates(self._penalties.sparse_weights)
        return self._controller.strength_scale

    def end_batch(self, step: int) -> None:
        """Holds the target after the last training step."""
        if self._last_updates is not None and step >= self._end:
            bring_up_to_date(self._model)
            self._last_updates.settle(self._target)

    def shortcoming(self) -> str | None:
        """By how much, and why, the training has missed its target; `None` where it has not."""
        if self._controller is None:
            return None
        reached, first = self._measure(), self._first_scale
        scale = self._controller.strength_scale
        size = sum(math.prod(variable.shape) for variable in self._penalties.sparse_weights)
        if abs(reached - self._target) <= max(TOLERANCE, 1 / size):
            return None
        missing = reached < self._target
        if self._controller.is_at_bound and missing == (scale > first):
            stronger, larger = ("stronger", "larger") if missing else ("weaker", "smaller")
            reason = (
                f"The scale of the strength is at its bound, {scale:g}, after {first:g} at the "
                f"beginning; give `Proximal` {stronger} penalties, or a {larger} `strength_scale`."
            )
        else:
            groups = "" if self._penalties.are_separable else "penalises whole groups, "
            reason = (
                f"The training {groups}was too short, ended early or where the callback could not "
                "know, or has too many steps per execution; train for longer, or give `Proximal` "
                f"penalties nearer to the strength: the `strength_scale` ended at {scale:g}, after "
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
