"""The gradient of a model's loss on a data set."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._backends import gradient_of
from kerasreg._keras_internals import build_loss
from kerasreg._tensors import Tensor
from kerasreg.regularizers import Penalty

# PyTorch adds the samples of a batch up one by one: in float32, over 1000 of them, to 2e-6.
BATCH_SIZE = 256


class LossGradient:
    """The gradient of a compiled model's loss, in inference mode, without touching the model.

    The loss is that of `compile` and all that layers add, without kerasreg's penalties on weights.
    At the optimum its gradient balances that of those penalties.

    Over many samples it is taken in batches, if the loss is a mean over samples.

    Args:
        model: A built and compiled Keras model.
        keep_penalties_on: Weights whose penalty in the loss counts as part of it.
    """

    def __init__(self, model: Any, keep_penalties_on: Sequence[Any] = ()) -> None:
        self._model = model
        self.variables = list(model.trainable_variables)
        kept = {id(variable) for variable in keep_penalties_on}
        self._left_out = [
            v for v in self.variables if isinstance(v.regularizer, Penalty) and id(v) not in kept
        ]
        self._gradient = gradient_of(self._loss)
        # The loss of a data set is then the mean of those of its batches, weighted by size.
        takes_means = all(map(_takes_mean, keras.tree.flatten(model.loss)))
        self._batch_size = BATCH_SIZE if takes_means else None
        self._is_built = False
        # A model of one's own may do without this argument, as Keras allows.
        parameters = inspect.signature(model.compute_loss).parameters
        self._training = {"training": False} if "training" in parameters else {}

    def __call__(
        self, x: Any, y: Any, sample_weight: Any = None, at: Sequence[Tensor] | None = None
    ) -> list[Tensor]:
        """The mean gradient over the samples.

        Args:
            x: Array of inputs, or a structure of arrays.
            y: Array of targets, or a structure of arrays.
            sample_weight: Array of weights of the samples, or `None`.
            at: Where to take it: a tensor for each of `variables`; `None` for their values.

        Returns:
            A tensor for each of `variables`.
        """
        if not self._is_built:
            x0, y0 = _batch((x, y), 0, 1)
            build_loss(self._model, y0, lambda: self._model(x0, training=False))
            self._is_built = True
        size = len(keras.tree.flatten(x)[0])
        batch_size = self._batch_size or size
        values = [ops.convert_to_tensor(v) for v in (self.variables if at is None else at)]
        # As arguments, for what a compiled function only refers to is a constant in it.
        others = [ops.convert_to_tensor(v) for v in self._model.non_trainable_variables]
        total: list[Tensor] = [ops.zeros_like(value) for value in values]
        for start in range(0, size, batch_size):
            batch = _batch((x, y, sample_weight), start, batch_size)
            share = min(batch_size, size - start) / size
            gradients = self._gradient(values, others, *batch)
            total = [t + share * g for t, g in zip(total, gradients, strict=True)]
        return total

    def _loss(
        self,
        values: Sequence[Tensor],
        others: Sequence[Tensor],
        x: Any,
        y: Any,
        sample_weight: Any,
    ) -> Tensor:
        # In this scope nothing that the model assigns, metrics among it, reaches a variable.
        variables = [*self.variables, *self._model.non_trainable_variables]
        mapping = list(zip(variables, [*values, *others], strict=True))
        with keras.StatelessScope(state_mapping=mapping, collect_losses=True):
            y_pred = self._model(x, training=False)
            # Not subtracted afterwards: a loss of the model's own may be without them.
            with _without_regularizers(self._left_out):
                return self._model.compute_loss(x, y, y_pred, sample_weight, **self._training)


@contextlib.contextmanager
def _without_regularizers(variables: Sequence[Any]) -> Iterator[None]:
    regularizers = [variable.regularizer for variable in variables]
    for variable in variables:
        variable.regularizer = None
    try:
        yield
    finally:
        for variable, regularizer in zip(variables, regularizers, strict=True):
            variable.regularizer = regularizer


def _takes_mean(loss: Any) -> bool:
    """Whether the loss of a data set is the mean of those of its batches, weighted by size."""
    if callable(loss) and not hasattr(loss, "reduction"):  # A function may add its samples up.
        return str(getattr(loss, "__module__", "")).startswith("keras.")
    return bool(getattr(loss, "reduction", "mean") in ("sum_over_batch_size", "mean"))


def _batch(data: Any, start: int, size: int) -> Any:
    return keras.tree.map_structure(
        lambda a: None if a is None else ops.convert_to_tensor(a[start : start + size]), data
    )
