"""Changes the strength of penalties while a model trains."""

from __future__ import annotations

import math
import re
import warnings
from typing import Any

import keras

from kerasreg._checks import check_choice, check_integer, check_pattern, invalid_value, is_number
from kerasreg._tensors import to_float
from kerasreg.callbacks.last_updates import COUNT, LastUpdates
from kerasreg.callbacks.scaled_penalties import ScaledPenalties
from kerasreg.callbacks.scheduler import Schedule, Scheduler
from kerasreg.callbacks.sparsity_controller import TOLERANCE, SparsityController, zero_fraction


class StrengthScheduler(Scheduler):
    """Multiplies the strengths of penalties by a factor, without compiling anything anew.

    The factor is that of a schedule, or the one at which `target_sparsity` is reached. It acts on
    the penalties that the model's `Proximal` applies, as its `strength_scale`, and on those of
    kerasreg and L1, L2 and L1L2 of Keras on weights in the loss; 0 turns them off, and 1 is their
    own strength. `RegularizationLogger` shows it as `all/strength_scale` and `strength/<weight>`;
    put it, and other callbacks that read the weights, behind this one.

    At the end of the training the last factor stays, also for the next training. It is saved with
    `Proximal`, but not for penalties in the loss: a loaded or cloned model has their own strengths.

    With `target_sparsity` the factor of `Proximal` answers the sparsity that it measures, between
    a ten-thousandth of its first value and 10,000 times that. The target rises over the first half
    of the training, and is held in the second. What leads away from it in the last ten updates,
    too late to be answered, is undone. Where the end is not known, as with one epoch of a generator
    or with `EarlyStopping`, the target is met less exactly; and so it is with `GroupLasso`.

    Sources: Sonderby et al., Ladder Variational Autoencoders, 2016 (warm-up of a penalty);
    Astrom & Hagglund, PID Controllers, 1995 (feedback); Zhu & Gupta, To Prune, or Not to Prune,
    2017 (a target that rises).

    Args:
        schedule: Function of the epoch or the step, both counted from 0, that returns the factor;
            or a `keras.optimizers.schedules.LearningRateSchedule`, a function of the step.
        target_sparsity: Instead of a schedule, fraction of zeros in (0, 1) among the weights on
            which `Proximal` has a penalty with a strength, all together.
        weights: Regular expression, searched for in `variable.path`, that chooses the weights
            whose penalties in the loss are scaled; `None` for all.
        every: `"epoch"` or `"step"`: when to ask the schedule, and for which of them. By default
            the step for a `LearningRateSchedule`, and the epoch for a function. Within one
            execution of `steps_per_execution` the factor stays as it is.
        where: `"loss"` or `"proximal"`, to scale only penalties there; `None` for both.
        frequency: With `target_sparsity`, the number of steps between two measurements; near
            both ends of a training there are more. Each counts the zeros of all those weights, and
            on JAX brings the model up to date.

    Raises:
        ValueError: If an argument is invalid; when training starts, if the model has no such
            penalty, or one that cannot be scaled; during training, if the schedule returns no
            finite, non-negative number.

    Example:
    >>> warm_up = kerasreg.StrengthScheduler(lambda epoch: min(1.0, epoch / 10))
    >>> history = model.fit(x, y, epochs=2, verbose=0, callbacks=[warm_up])

    Half of the weights zero, whatever strength that takes:

    >>> adam = keras.optimizers.Adam(0.01)
    >>> penalties = kerasreg.detach_regularizers(model)
    >>> model.compile(kerasreg.Proximal(adam, penalties), model.loss)
    >>> half = kerasreg.StrengthScheduler(target_sparsity=0.5)
    >>> history = model.fit(x, y, epochs=20, verbose=0, callbacks=[half])
    """

    def __init__(
        self,
        schedule: Schedule | keras.optimizers.schedules.LearningRateSchedule | None = None,
        target_sparsity: float | None = None,
        weights: str | re.Pattern[str] | None = None,
        every: str | None = None,
        where: str | None = None,
        frequency: int = 10,
    ) -> None:
        if (schedule is None) == (target_sparsity is None):
            expected = "a function, or None and a `target_sparsity` instead"
            raise invalid_value("schedule", expected, schedule)
        if schedule is None:
            _check_target(target_sparsity, weights, every, where)
            # Feedback is a schedule too, one that looks at the weights.
            schedule, every, where = self._controlled, "step", "proximal"
        super().__init__(schedule, every)
        self.target_sparsity = target_sparsity
        self.where = None if where is None else check_choice("where", where, ("loss", "proximal"))
        self.weights = None if weights is None else check_pattern("weights", weights)
        if self.where == "proximal" and weights is not None:
            raise invalid_value("weights", 'None with where="proximal"', weights)
        self.frequency = check_integer("frequency", frequency, "a positive integer", least=1)
        self._penalties: ScaledPenalties | None = None
        self._factor: float | None = None
        self._controller: SparsityController | None = None
        self._last_updates: LastUpdates | None = None
        self._end, self._too_late = math.inf, COUNT
        self._per_update = 1

    def set_model(self, model: Any) -> None:
        """Finds the penalties, before Keras compiles the model's steps."""
        super().set_model(model)
        if model is not None:
            self._penalties = ScaledPenalties(model, self.where, self.weights)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Takes note that the next epoch is the first."""
        super().on_train_begin(logs)
        self._factor = self._controller = self._last_updates = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the epoch's factor."""
        super().on_epoch_begin(epoch, logs)
        if self.target_sparsity is not None:
            self._plan(self.target_sparsity, epoch)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Counts the steps, and after the last one holds the target."""
        super().on_train_batch_end(batch, logs)
        last = self._last_updates if self._steps.step >= self._end else None
        if last is not None and self._controller is not None and self.model is not None:
            last.undo_excess(self._controller.target)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Warns if the target was out of reach."""
        if self._controller is not None and self._controller.is_at_bound:
            reached = self._measure()
            if abs(reached - self._controller.target) > TOLERANCE:
                warnings.warn(
                    f"StrengthScheduler ended at a sparsity of {reached:.4f}, not at its "
                    f"target_sparsity={self.target_sparsity}. The factor on the strength is at its "
                    f"bound, {self._controller.factor:g}; give `Proximal` "
                    f"{'stronger' if reached < self._controller.target else 'weaker'} penalties.",
                    stacklevel=2,
                )

    def _expected(self, number: float | None) -> str | None:
        valid = number is not None and math.isfinite(number) and number >= 0
        return None if valid else "a finite, non-negative number"

    def _set(self, number: float) -> None:
        # On JAX, reading the model brings its state up to date, and the change into it.
        if number != self._factor and self.model is not None and self._penalties is not None:
            self._factor = number
            self._penalties.assign(number)

    def _plan(self, target: float, epoch: int) -> None:
        """Tells the controller where the training ends, as soon as that is known."""
        assert self._penalties is not None
        params, step = self.params or {}, self._steps.step
        length = params.get("steps") or self._steps.last_epoch_length
        end = step + length * (params["epochs"] - epoch) if length else math.inf
        self._end, self._per_update = end, self._penalties.steps_per_update
        self._too_late = max(COUNT, self.model.steps_per_execution // self._per_update)
        counts = step // self._per_update, end / self._per_update
        if self._controller is None:
            factor = to_float(self._penalties.proximal_scale) or 1.0
            self._controller = SparsityController(target, self.frequency, *counts, factor)
        self._controller.end = counts[1]

    def _controlled(self, step: int) -> float:
        """The factor for a step of a training with a target."""
        assert self._controller is not None and self._penalties is not None
        updates = step // self._per_update
        if self._controller.is_due(updates):
            self._controller.update(updates, self._measure())
        if self._last_updates is None and self._controller.end - updates <= self._too_late:
            self._remember()
        return self._controller.factor

    def _remember(self) -> None:
        """Keeps the weights from before what will be too late to be answered."""
        if self.model is not None and self._penalties is not None:  # on JAX also brings them up
            if self._penalties.are_separable:  # A group would be left in parts.
                self._last_updates = LastUpdates(self._penalties.proximal_weights)

    def _measure(self) -> float:
        # On JAX, reading the model brings its weights up to date.
        if self.model is None or self._penalties is None:
            return math.nan
        return zero_fraction(self._penalties.proximal_weights)


def _check_target(target: Any, weights: Any, every: Any, where: Any) -> None:
    if not is_number(target) or not 0 < target < 1:
        raise invalid_value("target_sparsity", "a number between 0 and 1, both excluded", target)
    for argument, value in (("weights", weights), ("every", every)):
        if value is not None:
            raise invalid_value(argument, "None with a `target_sparsity`", value)
    if where not in (None, "proximal"):
        expected = "None or 'proximal' with a `target_sparsity`: no other penalty makes zeros"
        raise invalid_value("where", expected, where)
