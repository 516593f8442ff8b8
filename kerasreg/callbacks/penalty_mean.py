"""Splits the loss that Keras reports into data loss and penalty, exactly."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
from keras import ops

from kerasreg._keras_internals import track_metric, untrack_metric
from kerasreg._tensors import to_float

# A model that overrides one of these decides for itself what its loss contains, and on JAX which
# state its step carries: adding to it there could break training.
_STEPS = (
    "train_step",
    "test_step",
    "compute_loss",
    "compute_loss_and_updates",
    "stateless_compute_loss",
    "get_metrics_result",
    "reset_metrics",
    "metrics",
)


class PenaltyMean(keras.metrics.Mean):  # type: ignore[misc]
    """Mean of the penalty over the same batches, with the same weights, as Keras's `loss`.

    Keras reports the mean of data loss + penalty while the weights change; the penalty at the end
    of the epoch does not tell the data loss. So the penalty is averaged inside the training step,
    where it is already computed. The metric shows nothing in the logs and adds nothing to what
    `evaluate` returns.
    """

    def __init__(self) -> None:
        super().__init__(name="kerasreg_penalty")
        self.resets = 0
        self._model: Any = None

    def attach(self, model: Any) -> bool:
        """Makes the model's steps average the penalty.

        Args:
            model: A compiled model that is about to train.

        Returns:
            Whether the model allows it: it does if its steps are Keras's own.
        """
        detach_penalty_mean(model)  # An interrupted run may have left one.
        cls = type(model)
        if any(getattr(cls, s, None) is not getattr(keras.Model, s, None) for s in _STEPS):
            return False
        compute_loss = model.compute_loss

        def compute_loss_and_average_penalty(
            x: Any = None, y: Any = None, y_pred: Any = None, *args: Any, **kwargs: Any
        ) -> Any:
            loss = compute_loss(x, y, y_pred, *args, **kwargs)
            self._update(model.losses, x)
            return loss

        compute_loss_and_average_penalty.penalty_mean = self  # type: ignore[attr-defined]
        self._model = model
        model.compute_loss = compute_loss_and_average_penalty
        track_metric(model, self)
        _rebuild_steps(model)
        return True

    def detach(self) -> None:
        """Gives the model its own steps back."""
        if self._model is not None:
            model, self._model = self._model, None
            del model.compute_loss
            untrack_metric(model, self)
            _rebuild_steps(model)

    def result(self) -> dict[str, Any]:
        """Nothing, so that no log shows it."""
        return {}

    def reset_state(self) -> None:
        """Starts a new mean, and counts that it did."""
        super().reset_state()
        self.resets += 1

    def mean(self) -> float | None:
        """The mean so far, or `None` before the first batch."""
        total, count = to_float(self.total), to_float(self.count)
        return total / count if count else None

    def _update(self, losses: list[Any], x: Any) -> None:
        first = next(leaf for leaf in keras.tree.flatten(x) if leaf is not None)
        penalty = ops.zeros((), dtype="float32")
        for loss in losses:
            penalty += ops.cast(ops.sum(loss), "float32")
        # Weighted by the batch, as Keras weights its own loss.
        self.update_state(ops.stop_gradient(penalty), sample_weight=ops.shape(first)[0])


def detach_penalty_mean(model: Any) -> None:
    """Removes a `PenaltyMean` that a run left on the model, if there is one."""
    left_behind = getattr(model.compute_loss, "penalty_mean", None)
    if left_behind is not None:
        left_behind.detach()


def penalty_mean_for(model: Any) -> PenaltyMean | None:
    """A `PenaltyMean` attached to the model, or `None` if its steps are not Keras's own."""
    strategy = getattr(model, "distribute_strategy", None)  # TensorFlow only
    with strategy.scope() if strategy is not None else contextlib.nullcontext():
        mean = PenaltyMean()
    return mean if mean.attach(model) else None


def _rebuild_steps(model: Any) -> None:
    model.make_train_function(force=True)
    model.test_function = None
