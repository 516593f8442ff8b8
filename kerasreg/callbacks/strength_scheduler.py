"""Changes the strength of penalties while a model trains."""

from __future__ import annotations

import math
import re
import warnings
from typing import Any, Literal, TypeAlias

import keras
import numpy as np

from kerasreg._checks import check_choice, check_integer, check_pattern, invalid_value, is_number
from kerasreg.callbacks.scaled_penalties import ScaledPenalties
from kerasreg.callbacks.scheduler import Every, Schedule, Scheduler
from kerasreg.callbacks.sparsity_target import SparsityTarget
from kerasreg.optimizers.of_model import Optimizers

Where: TypeAlias = Literal["loss", "proximal"]

_LARGEST = float(np.finfo("float32").max)


class StrengthScheduler(Scheduler):
    """Multiplies the strengths of penalties by a number, while a model trains.

    The number, `strength_scale`, is that of a schedule, or the one at which `target_sparsity` is
    reached; 0 turns penalties off, and 1 is their own strength. It acts on the penalties that the
    model's `Proximal` applies, and on those of kerasreg and L1, L2 and L1L2 of Keras on weights in
    the loss. Give each penalty one scheduler. `RegularizationLogger` shows it as
    `all/strength_scale`, and the strengths as `strength/<weight>`; put it, and other callbacks
    that read the weights, behind this one.

    For penalties in the loss, a model that has trained before compiles its training step once more
    at the first use, and never again. A layer that several models share has one `strength_scale`
    in all of them; on TensorFlow compile the others, also a model around this one, anew after its
    first use.

    At the end of the training the last `strength_scale` stays, also for the next training and
    through `compile`; `StrengthScheduler(lambda epoch: 1.0)` resets it. It is saved with
    `Proximal`, but not for penalties in the loss: a loaded or cloned model has their own strengths.

    With `target_sparsity` the `strength_scale` of `Proximal` answers the sparsity that is measured,
    between a ten-thousandth and 10,000 times the penalties' own strength (or the first
    `strength_scale`, where that lies outside). The target rises over the first 15 % of the
    training, and is held from then on. High targets take some 500 updates to be met without loss.

    The last ten updates come too late for an answer; what they change away from the target is
    undone. If zeros are still missing then, but no more than a tenth of the weights that are left,
    the smallest become zero. So the target is met to the weight, except in three cases: the
    penalties are mostly L2; one of your own does not say by `structure` what it sets to zero; or
    the end is not known, as with one epoch of a generator. A warning says where it is missed. Where
    `EarlyStopping` ends the training or restores other weights, the sparsity is another.

    With `GroupLasso`, `BlockMCP` and `BlockSCAD` groups are counted instead of weights, and the
    target is met to the group; weights in no group do not count. Groups shrink together and hardly
    ever come back from zero, so the `strength_scale` also answers those that would be zero in 50
    updates if they went on to shrink as they do. Where more become zero than the target between two
    measurements, or the last unit of a layer, the largest of them get their earlier values back.

    Sources: Sonderby et al., Ladder Variational Autoencoders, 2016 (warm-up of a penalty);
    Astrom & Hagglund, PID Controllers, 1995 (feedback); Zhu & Gupta, To Prune, or Not to Prune,
    2017 (a target that rises).

    Args:
        schedule: Function of the epoch or the step, both counted from 0 in each `fit`, or from
            `initial_epoch` on, that returns the `strength_scale`; or a
            `keras.optimizers.schedules.LearningRateSchedule`, a function of the step.
        target_sparsity: Instead of a schedule, fraction of zeros in (0, 1) among the weights on
            which `Proximal` has a penalty that makes zeros, all together; where it makes zeros of
            whole groups, among those, each of which counts as one.
        weights: Regular expression, searched for in `variable.path`, that chooses the weights
            whose penalties in the loss are scaled, and no others: those of `Proximal` are left
            alone. `None` for all.
        every: `"epoch"` or `"step"`: when to ask the schedule, and for which of them. By default
            the step for a `LearningRateSchedule`, and the epoch for a function. Within one
            execution of `steps_per_execution` it stays as it is.
        where: `"loss"` or `"proximal"`, to scale only penalties there; `None` for both.
        frequency: With `target_sparsity` only, the number of steps between two measurements; near
            both ends of a training there are more. Each counts the zeros of all those weights, on
            JAX brings the model up to date, and of weights in groups makes a copy.

    Raises:
        ValueError: If an argument is invalid; when training starts, if the model is not built
            (on TensorFlow `fit` builds it after that: begin it with `keras.Input`), or has no such
            penalty, or one that cannot be scaled; during training, if the schedule returns no
            finite, non-negative number.

    Example:
    >>> warm_up = kerasreg.StrengthScheduler(lambda epoch: min(1.0, epoch / 10))
    >>> history = model.fit(x, y, epochs=2, verbose=0, callbacks=[warm_up])

    Half of the weights zero, whatever strength that takes:

    >>> adam = keras.optimizers.Adam(0.01)
    >>> penalties = kerasreg.detach_regularizers(model)  # of the layers
    >>> model.compile(kerasreg.Proximal(adam, kerasreg.L1(1e-3)), model.loss)
    >>> half = kerasreg.StrengthScheduler(target_sparsity=0.5)
    >>> history = model.fit(x, y, batch_size=8, epochs=30, verbose=0, callbacks=[half])

    Half of the channels that `kerasreg.compact` can take out:

    >>> penalty = kerasreg.GroupLasso(1e-3, groups=kerasreg.coupled_groups(model))
    >>> model.compile(kerasreg.Proximal(keras.optimizers.Adam(0.01), penalty), model.loss)
    >>> half = kerasreg.StrengthScheduler(target_sparsity=0.5)
    """

    def __init__(
        self,
        schedule: Schedule | keras.optimizers.schedules.LearningRateSchedule | None = None,
        target_sparsity: float | None = None,
        weights: str | re.Pattern[str] | None = None,
        every: Every | None = None,
        where: Where | None = None,
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
        self.where = None if where is None else check_choice("where", where, Where)
        self.weights = None if weights is None else check_pattern("weights", weights)
        if self.where == "proximal" and weights is not None:
            raise invalid_value("weights", 'None with where="proximal"', weights)
        self.frequency = check_integer("frequency", frequency, "a positive integer", least=1)
        self._penalties: ScaledPenalties | None = None
        self._strength_scale: float | None = None
        self._target: SparsityTarget | None = None

    def set_model(self, model: Any, optimizer: Any = None) -> None:
        """Finds the penalties, before Keras compiles the model's steps.

        Args:
            model: The model.
            optimizer: In a training loop of your own, its optimizer, or a list of several; by
                default those that the model holds.
        """
        super().set_model(model, optimizer)
        if model is not None:
            where = self.where if self.weights is None else "loss"
            optimizers = Optimizers(model, self._optimizer)
            self._penalties = ScaledPenalties(model, where, self.weights, optimizers)
            if self.target_sparsity is not None and self._penalties.units is None:
                expected = (
                    "a model with a penalty by `Proximal` that makes zeros, as kerasreg.L1; one "
                    "that is not the model's own optimizer has to be built before"
                )
                raise invalid_value("model", expected, model.name)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Takes note that the next epoch is the first."""
        super().on_train_begin(logs)
        self._strength_scale = self._target = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the epoch's `strength_scale`."""
        super().on_epoch_begin(epoch, logs)
        if self.target_sparsity is not None and self._penalties is not None:
            if self._target is None:
                arguments = self.target_sparsity, self.frequency
                self._target = SparsityTarget(self.model, self._penalties, *arguments)
            params = self.params or {}
            length = params.get("steps") or self._steps.last_epoch_length
            self._target.begin_epoch(
                self._steps, length, (params.get("epochs") or math.inf) - epoch
            )

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Counts the steps, and after the last one holds the target."""
        super().on_train_batch_end(batch, logs)
        if self._target is not None:
            self._target.end_batch(self._steps.step)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Warns if the target was missed."""
        shortcoming = None if self._target is None else self._target.shortcoming()
        if shortcoming is not None:
            warnings.warn(shortcoming, stacklevel=2)

    def _expected(self, number: float | None) -> str | None:
        valid = number is not None and 0 <= number <= _LARGEST
        return None if valid else "a finite, non-negative number within float32's range"

    def _set(self, number: float) -> None:
        # Each epoch also the same number again: another scheduler of the same penalties may have
        # changed it, and the later of the two wins. Not each step: to read `self.model` on JAX
        # copies the state of the training, which takes its time.
        is_new = number != self._strength_scale or self.every == "epoch"
        if is_new and self.model is not None and self._penalties is not None:
            self._strength_scale = number
            self._penalties.assign(number)

    def _controlled(self, step: int) -> float:
        """The schedule of a training with a target."""
        assert self._target is not None
        return self._target.strength_scale(step)


def _check_target(target: Any, weights: Any, every: Any, where: Any) -> None:
    if not is_number(target) or not 0 < target < 1:
        raise invalid_value("target_sparsity", "a number between 0 and 1, both excluded", target)
    for argument, value in (("weights", weights), ("every", every)):
        if value is not None:
            raise invalid_value(argument, "None with a `target_sparsity`", value)
    if where not in (None, "proximal"):
        expected = "None or 'proximal' with a `target_sparsity`: no other penalty makes zeros"
        raise invalid_value("where", expected, where)
