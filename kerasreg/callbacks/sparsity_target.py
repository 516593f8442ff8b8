"""Holds a training at a fraction of weights that are zero, and says where it cannot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kerasreg._keras_internals import bring_up_to_date
from kerasreg.callbacks.penalised_units import PenalisedUnits
from kerasreg.callbacks.scaled_penalties import ScaledPenalties
from kerasreg.callbacks.sparsity_controller import TOLERANCE, SparsityController
from kerasreg.callbacks.step_counter import StepCounter

# Number of updates at the end of a training that the strength can no longer answer.
COUNT = 10

# The part of the non-zero weights that may be set to zero at the end. As a learning rate goes to 0
# a stronger penalty comes too late, and a model does not miss the smallest tenth.
_SETTLED = 0.1

# For how many updates groups are supposed to shrink on as they do. They become zero all at once
# where nothing is answered before the first of them is, and hardly ever come back.
_AHEAD = 50


class LastUpdates:
    """The last updates of a training, whose effect on the number of zeros can be undone.

    A last batch of few samples can set three percent of all weights to zero, or away from it, and
    with a learning rate that goes to 0 a change of the strength comes too late. Groups that have
    become as small as each other become zero in few updates, all of them.

    Args:
        units: The weights, as they are before these updates.
    """

    def __init__(self, units: PenalisedUnits) -> None:
        self._units = units
        self._values, self._sizes = units.values(), units.sizes()

    def limit(self, most: int) -> None:
        """Leaves so many units zero at most, and one of each layer as it is.

        The largest of those that have become zero get their earlier values back.
        """
        sizes = self._units.sizes()
        turned = np.flatnonzero((self._sizes > 0) & (sizes == 0))
        largest_first = turned[np.argsort(-self._sizes[turned], kind="stable")]
        excess = int(np.count_nonzero(sizes == 0)) - most
        needed = int(np.count_nonzero(np.isinf(self._sizes[turned])))
        self._replace(largest_first[: max(excess, needed)], self._values)

    def zero_fraction_after(self, times: float) -> float:
        """The fraction of zero units, if groups shrink so many times more as in these updates."""
        sizes = self._units.sizes()
        may_die = self._units.in_groups & np.isfinite(sizes) & np.isfinite(self._sizes)
        shrunk = np.where(may_die, self._sizes, 0.0) - np.where(may_die, sizes, 0.0)
        return float(np.mean(sizes <= times * shrunk))

    def settle(self, target: float) -> None:
        """Brings the fraction of zeros to a target, where few weights have to change for it.

        Undoes what led away from the target: the smallest of the units that have left zero are
        set to zero again, or the largest of those that have become zero get their earlier values
        back. If zeros are still missing, and few of them, the smallest units are set to zero.
        """
        aim = round(target * self._units.count)
        self.limit(aim)
        sizes = self._units.sizes()
        missing = aim - int(np.count_nonzero(sizes == 0))
        returned = np.flatnonzero((self._sizes == 0) & (sizes > 0))
        again = returned[np.argsort(sizes[returned], kind="stable")[: max(missing, 0)]]
        sizes[again] = 0
        self._replace(np.concatenate([again, _smallest(sizes, missing - again.size)]))

    def _replace(self, chosen: Any, values: Sequence[Any] | None = None) -> None:
        if chosen.size:
            mask = np.zeros(self._units.count, bool)
            mask[chosen] = True
            self._units.replace(mask, values or [0.0] * len(self._values))


def _smallest(sizes: Any, missing: int) -> Any:
    left = np.flatnonzero(sizes)
    if not 0 < missing <= max(1, _SETTLED * left.size):
        return left[:0]
    smallest = left[np.argsort(sizes[left], kind="stable")[:missing]]
    return smallest[np.isfinite(sizes[smallest])]


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
        assert penalties.units is not None
        self._model, self._units = model, penalties.units
        self._limits = self._units.are_known and self._units.are_groups
        self._target, self._frequency = target, frequency
        self._per_update = penalties.batches_per_update
        self._too_late = max(COUNT, model.steps_per_execution // self._per_update)
        self._first_scale = penalties.strength_scale or 1.0
        self._controller: SparsityController | None = None
        self._last_updates: LastUpdates | None = None
        self._ahead = self._measured = 0
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
                self._target, self._frequency, start, end, self._first_scale, self._limits
            )
        self._controller.end = end

    def strength_scale(self, step: int) -> float:
        """The scale for a training step; measures the sparsity where that is due."""
        assert self._controller is not None
        updates = self._updates(step)
        if self._controller.is_due(updates):
            self._controller.update(updates, self._sparsity(updates))
        is_late = self._controller.end - updates <= self._too_late
        if is_late and self._last_updates is None and self._units.are_known:
            bring_up_to_date(self._model)
            self._last_updates = LastUpdates(self._units)
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
        if abs(reached - self._target) <= max(TOLERANCE, 1 / self._units.count):
            return None
        missing = reached < self._target
        if self._controller.is_at_bound and missing == (scale > first):
            stronger, larger = ("stronger", "larger") if missing else ("weaker", "smaller")
            reason = (
                f"The scale of the strength is at its bound, {scale:g}, after {first:g} at the "
                f"beginning; give `Proximal` {stronger} penalties, or a {larger} `strength_scale`."
            )
        else:
            unknown = "has a penalty without a `structure`, "
            unknown = "" if self._units.are_known else unknown
            reason = (
                f"The training {unknown}was too short, ended early or where the callback could not "
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
        return self._units.zero_fraction()

    def _sparsity(self, updates: int) -> float:
        """What the strength answers: of groups also those that are about to become zero."""
        assert self._controller is not None
        reached, last = self._measure(), self._last_updates
        if self._limits:
            if last is not None:
                ahead = min(_AHEAD, self._controller.end - updates)
                reached = last.zero_fraction_after(ahead / max(1, updates - self._measured))
                last.limit(round(self._target * self._units.count))
            self._last_updates, self._measured = LastUpdates(self._units), updates
        return reached
