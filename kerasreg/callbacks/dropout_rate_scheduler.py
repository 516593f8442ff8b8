"""Changes the rate of dropouts while a model trains."""

from __future__ import annotations

import re
import weakref
from typing import Any

import keras

from kerasreg._checks import check_pattern, invalid_value
from kerasreg._keras_internals import all_layers, forget_compiled_steps
from kerasreg.callbacks.scheduler import Every, Schedule, Scheduler
from kerasreg.layers.dropout_rates import LiveRate, live_rate

# A step that was compiled while a dropout's rate was 0 leaves it out. For each model, the dropouts
# for which its step has been compiled anew.
_traced_live: weakref.WeakKeyDictionary[Any, weakref.WeakSet[Any]] = weakref.WeakKeyDictionary()


class DropoutRateScheduler(Scheduler):
    """Sets the rate of kerasreg's dropouts from a schedule, without compiling anything anew.

    A layer of one's own joins by `kerasreg.layers.dropout_rates.live_rate`.

    The rate may start at 0, go to 0 and come back. `RegularizationLogger` shows it as
    `dropout_rate/<layer>`. At the end of the training the layers keep their last rate.

    Source: Morerio et al., Curriculum Dropout, 2017, for a rate that grows; Liu et al., Dropout
    Reduces Underfitting, 2023, for one that ends early.

    Args:
        schedule: Function of the epoch or the step, both counted from 0 in each `fit`, or from
            `initial_epoch` on, that returns the rate; or a
            `keras.optimizers.schedules.LearningRateSchedule`, a function of the step.
        layers: Regular expression, searched for in the layer's path, that chooses the dropouts;
            `None` for all of kerasreg's.
        every: `"epoch"` or `"step"`: when to ask the schedule, and for which of them. By default
            the step for a `LearningRateSchedule`, and the epoch for a function. Within one
            execution of `steps_per_execution` the rate stays as it is.

    Raises:
        ValueError: If an argument is invalid; when training starts, if the model has no such
            layer; during training, if the schedule returns no rate between 0 and 1.

    Example:
    >>> scheduler = kerasreg.DropoutRateScheduler(lambda epoch: min(0.1 * epoch, 0.5))
    >>> dropping = keras.Sequential([kerasreg.Dropout(0.0), keras.layers.Dense(1)])
    >>> dropping.compile("sgd", "mse")
    >>> history = dropping.fit(x, y, epochs=2, verbose=0, callbacks=[scheduler])
    >>> dropping.layers[0].rate
    0.1
    """

    def __init__(
        self,
        schedule: Schedule | keras.optimizers.schedules.LearningRateSchedule,
        layers: str | re.Pattern[str] | None = None,
        every: Every | None = None,
    ) -> None:
        super().__init__(schedule, every)
        self.layers = None if layers is None else check_pattern("layers", layers)
        self._found: list[tuple[Any, LiveRate]] = []

    def set_model(self, model: Any, optimizer: Any = None) -> None:
        """Finds the dropouts, before Keras compiles the model's steps."""
        super().set_model(model, optimizer)
        if model is not None:
            self._found = self._find(model)
            stale = {layer for layer, rate in self._found if rate.allow_changes()}
            known = _traced_live.setdefault(model, weakref.WeakSet())
            if not stale <= set(known):
                known.update(stale)
                forget_compiled_steps(model)

    def _set(self, number: float) -> None:
        # On JAX, reading `self.model` copies the state of the training into the layers, and what is
        # then changed in them back into the state.
        if self.model is not None and any(rate.rate != number for _, rate in self._found):
            for _, rate in self._found:
                rate.rate = number

    def _expected(self, number: float | None) -> str | None:
        if number is None or not 0 <= number <= 1:
            return "a rate between 0 and 1"
        refusing = [layer.name for layer, rate in self._found if not rate.accepts(number)]
        return f"for layer '{refusing[0]}' a rate below 1" if refusing else None

    def _find(self, model: Any) -> list[tuple[Any, LiveRate]]:
        rates = ((layer, live_rate(layer)) for layer in all_layers(model))
        dropouts = [(layer, rate) for layer, rate in rates if rate is not None]
        names = [(layer.path or layer.name).removeprefix(f"{model.name}/") for layer, _ in dropouts]
        found = [
            dropout
            for dropout, name in zip(dropouts, names, strict=True)
            if self.layers is None or self.layers.search(name)
        ]
        if not found:
            expected = (
                f"a pattern found in one of kerasreg's dropout layers in the model, {names}"
                if dropouts
                else "None, and a built model with dropout layers of kerasreg; those of Keras "
                "cannot change their rate once they are compiled"
            )
            received = None if self.layers is None else self.layers.pattern
            raise invalid_value("layers", expected, received, f" of model '{model.name}'")
        return found
