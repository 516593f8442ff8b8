"""Trains a model at one strength after another, and leaves it as it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kerasreg._backends import strategy_scope
from kerasreg._keras_internals import (
    bring_up_to_date,
    forget_compiled_steps,
    innermost_optimizer,
    seed_states,
    unbuilt_copy,
)
from kerasreg._tensors import to_float, to_numpy
from kerasreg.optimizers import Proximal
from kerasreg.statistics.loss_split import SplitSteps
from kerasreg.statistics.optimality import Optimality, total_residual
from kerasreg.strength.samples import Arrays, Samples

# Optimality residual, relative to the gradient at zero, at which to stop; float32 reaches 1e-7.
TOLERANCE = 1e-6

# Training steps on all samples that are one epoch of `fit`.
STEPS_PER_ROUND = 50


class FullBatch(keras.utils.PyDataset):  # type: ignore[misc]
    """All samples as one batch, several times an epoch, as each epoch of `fit` has an overhead.

    Args:
        samples: The samples.
        steps: Training steps an epoch.
    """

    def __init__(self, samples: Samples, steps: int) -> None:
        super().__init__()
        self.samples = samples
        self._batch = keras.tree.map_structure(keras.ops.convert_to_tensor, samples.data)
        self._steps = steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> Any:
        return self._batch


class Convergence(keras.callbacks.Callback):  # type: ignore[misc]
    """Stops when the optimality conditions of loss + penalty hold, within `TOLERANCE`.

    Args:
        optimality: The optimality of a compiled model with `Proximal`.
        samples: What it is trained on.
        scale: Norm of the gradient where the weights are zero.
    """

    def __init__(self, optimality: Optimality, samples: Samples, scale: float) -> None:
        super().__init__()
        self._optimality = optimality
        self._data = samples.data
        self._scale = scale or 1.0
        self.residual = float("inf")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures the residual."""
        model = self.model  # On JAX, this brings the weights up to date.
        self.residual = total_residual(self._optimality.residuals(self._data)) / self._scale
        if self.residual <= TOLERANCE:
            model.stop_training = True


class Training:
    """A context in which a model has `Proximal` around a fresh copy of its optimizer.

    Weights and the optimizer's moments go on from one strength to the next; a learning rate's
    schedule starts anew at each.

    Args:
        model: A built and compiled model.
        penalty: A penalty, or a dict of penalties, as for `Proximal`.
        batch_size: Samples a batch; `None` for all at once.
    """

    def __init__(self, model: Any, penalty: Any, batch_size: int | None) -> None:
        self.model = model
        self._batch_size = batch_size
        inner = unbuilt_copy(innermost_optimizer(model.optimizer))
        with strategy_scope(model):
            # All samples at once have no noise, and no need for averages.
            hold = batch_size is not None
            self._proximal = Proximal(inner, penalty, hold_zeros=hold)
            self._optimizer: Any = self._proximal
            if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
                self._optimizer = keras.optimizers.LossScaleOptimizer(self._proximal)
            self._optimizer.build(model.trainable_variables)
        has_schedule = isinstance(inner.get_config()["learning_rate"], dict)
        self._first_rate = None if has_schedule else to_float(self._proximal.learning_rate)
        self._full_batch: FullBatch | None = None
        self._split = SplitSteps(model) if SplitSteps.fits(model) else None
        self._before = (model.optimizer, getattr(model, "history", None), self.weights)
        self._seeds = _values(seed_states(model))
        self._fresh_optimizer = _values(self._optimizer.variables)

    def __enter__(self) -> Training:
        """Gives the model the new optimizer."""
        self.model.optimizer = self._optimizer
        forget_compiled_steps(self.model)
        return self

    def __exit__(self, *exception: Any) -> None:
        """Gives the model back what it had."""
        self._detach()
        bring_up_to_date(self.model)  # after a training that was cut off
        self.model.optimizer, self.model.history, weights = self._before
        self.restart(weights)
        self.model.stop_training = False
        forget_compiled_steps(self.model)

    def restart(self, weights: Arrays) -> None:
        """Resets weights, random generators and optimizer, to begin a pass along the strengths."""
        self.state = [*weights, *self._seeds, *self._fresh_optimizer]

    @property
    def weights(self) -> Arrays:
        """The model's weights as they are, in the order of `model.weights`."""
        return _values(self.model.weights)

    @property
    def state(self) -> Arrays:
        """The values of all variables that the next strength begins with."""
        return _values(self._variables)

    @state.setter
    def state(self, values: Arrays) -> None:
        # The folder of an earlier version has none of the variables that came later, the last.
        for variable, value in zip(self._variables, values, strict=False):
            # Nor the last word of a mask's state, which follows from the rate.
            if value.shape != tuple(variable.shape):
                value = np.concatenate([value, to_numpy(variable.value)[len(value) :]])
            variable.assign(value)

    @property
    def _variables(self) -> list[Any]:
        return [*self.model.weights, *seed_states(self.model), *self._optimizer.variables]

    def fit(
        self,
        strength_scale: float,
        samples: Samples,
        epochs: int,
        callbacks: Sequence[Any],
        validation: Samples | None,
    ) -> None:
        """Trains at one strength for `epochs` passes over the samples at most.

        After each epoch the callbacks get what the model does on `validation`.
        """
        self._proximal.strength_scale = strength_scale
        if self._first_rate is None:
            self._proximal.iterations.assign(0)
        else:  # A callback may have changed it.
            self._proximal.learning_rate = self._first_rate
        if self._batch_size is None:
            rounds = -(-epochs // STEPS_PER_ROUND)
            # One for all strengths, as TensorFlow keeps each.
            if self._full_batch is None or self._full_batch.samples is not samples:
                self._full_batch = FullBatch(samples, -(-epochs // rounds))
            data = {"x": self._full_batch, "epochs": rounds}
        else:
            data = {**vars(samples), "epochs": epochs, "batch_size": self._batch_size}
        if validation is not None:
            data["validation_data"] = validation.data
            data["validation_batch_size"] = self._batch_size or validation.size
        self._attach()
        self.model.fit(**data, callbacks=list(callbacks), verbose=0)

    def measure(self, samples: Samples) -> dict[str, float]:
        """The model's metrics on samples, with `data_loss`, its loss without penalties."""
        self._attach()
        # Without gradients there is room for more samples at once.
        size = 4 * self._batch_size if self._batch_size else samples.size
        values = self.model.evaluate(**vars(samples), batch_size=size, return_dict=True, verbose=0)
        means = self._split.mean.means() if self._split else None
        loss = values.pop("loss")
        values = {"data_loss": means[0] if means else loss, **values}
        return {name: float(value) for name, value in values.items()}

    def _attach(self) -> None:
        """Lets the model tell data loss and penalty apart; a logger may have ended that."""
        self._detach()
        if self._split is not None:
            self._split.attach()

    def _detach(self) -> None:
        if self._split is not None and SplitSteps.within(self.model) is not None:
            self._split.detach()


def _values(variables: Sequence[Any]) -> Arrays:
    return [to_numpy(variable).copy() for variable in variables]
