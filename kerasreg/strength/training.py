"""Trains a model at one strength after another, and leaves it as it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy.typing as npt

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
from kerasreg.strength.samples import Samples


class FullBatch(keras.utils.PyDataset):  # type: ignore[misc]
    """All samples as one batch, several times an epoch, as each epoch of `fit` has an overhead.

    Args:
        samples: The samples.
        steps: Training steps an epoch.
    """

    def __init__(self, samples: Samples, steps: int) -> None:
        super().__init__()
        self.samples = samples
        parts = (samples.x, samples.y, samples.sample_weight)
        tensors = keras.tree.map_structure(
            lambda a: None if a is None else keras.ops.convert_to_tensor(a), parts
        )
        self._batch = tensors if samples.sample_weight is not None else tensors[:2]
        self._steps = steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> Any:
        return self._batch


class Convergence(keras.callbacks.Callback):  # type: ignore[misc]
    """Stops when the optimality conditions of loss + penalty hold, within a tolerance.

    Args:
        optimality: The optimality of a compiled model with `Proximal`.
        samples: What it is trained on.
        tolerance: Norm of the residual, relative to `scale`, at which to stop.
        scale: Norm of the gradient where the weights are zero.
    """

    def __init__(
        self, optimality: Optimality, samples: Samples, tolerance: float, scale: float
    ) -> None:
        super().__init__()
        self._optimality = optimality
        self._data = (samples.x, samples.y, samples.sample_weight)
        self._tolerance = tolerance
        self._scale = scale or 1.0
        self.residual = float("inf")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures the residual."""
        model = self.model  # On JAX, this brings the weights up to date.
        self.residual = total_residual(self._optimality.residuals(self._data)) / self._scale
        if self.residual <= self._tolerance:
            model.stop_training = True


Values = list[npt.NDArray[Any]]

# Training steps on all samples that are one epoch of `fit`.
STEPS_PER_ROUND = 50


class Training:
    """A context in which a model has `Proximal` around a fresh copy of its optimizer.

    All strengths are trained with the same compiled training step: the strength is a variable of
    `Proximal`. The optimizer's moments are kept from one strength to the next, as the weights are;
    a learning rate's schedule starts anew at each.

    Args:
        model: A built and compiled model.
        penalty: A penalty, or a dict of penalties, as for `Proximal`.
        batch_size: Samples a batch; `None` for all at once.
    """

    def __init__(self, model: Any, penalty: Any, batch_size: int | None) -> None:
        self.model = model
        self._batch_size = batch_size
        inner = unbuilt_copy(innermost_optimizer(model.optimizer))
        self._has_schedule = isinstance(inner.get_config()["learning_rate"], dict)
        with strategy_scope(model):
            self.proximal = Proximal(inner, penalty)
            self._optimizer: Any = self.proximal
            if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
                self._optimizer = keras.optimizers.LossScaleOptimizer(self.proximal)
            self._optimizer.build(model.trainable_variables)
        self._fresh_optimizer = _values(self._optimizer.variables)
        self._first_rate = None if self._has_schedule else to_float(self.proximal.learning_rate)
        self._full_batch: FullBatch | None = None
        self._split = SplitSteps(model) if SplitSteps.fits(model) else None
        self._before: tuple[Any, Any, Values] | None = None
        self._seeds: Values = []

    def __enter__(self) -> Training:
        """Gives the model the new optimizer."""
        history = getattr(self.model, "history", None)
        self._before = (self.model.optimizer, history, _values(_state(self.model)))
        self._seeds = _values(seed_states(self.model))
        self.model.optimizer = self._optimizer
        forget_compiled_steps(self.model)
        return self

    def __exit__(self, *exception: Any) -> None:
        """Gives the model back what it had."""
        assert self._before is not None
        self._detach()
        optimizer, history, values = self._before
        bring_up_to_date(self.model)  # after a training that was cut off
        _assign(_state(self.model), values)
        self.model.optimizer = optimizer
        self.model.stop_training = False
        self.model.history = history
        forget_compiled_steps(self.model)

    def restart(self, weights: Sequence[Any]) -> None:
        """Resets weights, random generators and optimizer, to begin a pass along the strengths."""
        _assign(self.model.weights, weights)
        _assign(seed_states(self.model), self._seeds)
        _assign(self._optimizer.variables, self._fresh_optimizer)

    @property
    def weights(self) -> Values:
        """The model's weights as they are, in the order of `model.weights`."""
        return _values(self.model.weights)

    @property
    def state(self) -> Values:
        """The values of all variables that the next strength begins with."""
        return _values(self._variables)

    @state.setter
    def state(self, values: Sequence[Any]) -> None:
        _assign(self._variables, values)

    @property
    def _variables(self) -> list[Any]:
        return [*_state(self.model), *self._optimizer.variables]

    def fit(
        self,
        scale: float,
        samples: Samples,
        epochs: int,
        callbacks: Sequence[Any],
        validation: Samples | None,
    ) -> None:
        """Trains at one strength.

        Args:
            scale: What the penalties are multiplied by.
            samples: The samples to train on.
            epochs: Passes over them, at most.
            callbacks: Keras callbacks.
            validation: Samples to validate on after each epoch, for the callbacks.
        """
        self.proximal.strength_scale = scale
        if self._first_rate is None:
            self.proximal.iterations.assign(0)
        else:  # A callback may have changed it.
            self.proximal.learning_rate = self._first_rate
        data: dict[str, Any] = {"epochs": epochs}
        if self._batch_size is None:
            rounds = -(-epochs // STEPS_PER_ROUND)
            data = {"x": self._all_at_once(samples, -(-epochs // rounds)), "epochs": rounds}
        else:
            data |= {**vars(samples), "batch_size": self._batch_size}
        if validation is not None:
            data |= {
                "validation_data": tuple(p for p in vars(validation).values() if p is not None),
                "validation_batch_size": self._batch_size or validation.size,
            }
        self._attach()
        self.model.fit(**data, callbacks=list(callbacks), verbose=0)

    def _all_at_once(self, samples: Samples, steps: int) -> FullBatch:
        """The samples as one batch; the same for all strengths, as TensorFlow keeps each."""
        if self._full_batch is None or self._full_batch.samples is not samples:
            self._full_batch = FullBatch(samples, steps)
        return self._full_batch

    def measure(self, samples: Samples) -> dict[str, float]:
        """The model's metrics on samples, with `data_loss`, its loss without penalties."""
        self._attach()
        # Without gradients there is room for more samples at once.
        size = 4 * self._batch_size if self._batch_size else samples.size
        values = self.model.evaluate(**vars(samples), batch_size=size, return_dict=True, verbose=0)
        means = self._split.mean.means() if self._split else None
        loss = values.pop("loss")
        metrics = {name: float(value) for name, value in values.items()}
        return {"data_loss": float(means[0] if means else loss), **metrics}

    def _attach(self) -> None:
        """Lets the model tell data loss and penalty apart; a logger may have ended that."""
        self._detach()
        if self._split is not None:
            self._split.attach()

    def _detach(self) -> None:
        if self._split is not None and SplitSteps.within(self.model) is not None:
            self._split.detach()


def _state(model: Any) -> list[Any]:
    """The model's weights, and the states of its random generators."""
    return [*model.weights, *seed_states(model)]


def _values(variables: Sequence[Any]) -> Values:
    return [to_numpy(variable).copy() for variable in variables]


def _assign(variables: Sequence[Any], values: Sequence[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
