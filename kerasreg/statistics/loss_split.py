"""Tells data loss and penalty apart in the `loss` and `val_loss` that Keras reports."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, TypeAlias

import keras
from keras import ops

from kerasreg._backends import strategy_scope
from kerasreg._keras_internals import (
    loss_terms,
    track_metric,
    unscaled_for_distribution,
    untrack_metric,
)
from kerasreg._tensors import to_float

Means: TypeAlias = tuple[float, float]


class LossSplit:
    """Reads data loss and penalty of a training at the moments when they are exact.

    Keras starts all metrics anew for each epoch and each evaluation, so the means of the training
    batches have to be read before a validation begins.
    """

    def __init__(self) -> None:
        self._steps: SplitSteps | None = None
        self._resets = 0
        self._train: Means | None = None
        self._validation: Means | None = None
        self._in_epoch = False

    def begin_fit(self, model: Any) -> None:
        """Attaches to a model whose steps are Keras's own; another one gets no split."""
        self._steps = SplitSteps.within(model)  # of another logger in the same training
        if self._steps is not None and self._steps.in_use:
            self._steps.detach()  # of a training that was cut off
            self._steps = None
        if self._steps is None and SplitSteps.fits(model):
            self._steps = SplitSteps.of(model)
            self._steps.attach()

    def begin_epoch(self) -> None:
        """Begins an epoch, for which Keras has just started its metrics anew."""
        self._train = self._validation = None
        self._in_epoch = True
        self._resets = self._steps.mean.resets if self._steps else 0

    def begin_evaluation(self) -> None:
        """Reads the training batches' means before the evaluation clears them."""
        if self._in_epoch:
            self._train = self._read()

    def end_evaluation(self) -> None:
        """Reads the validation batches' means."""
        if self._in_epoch and self._steps is not None:
            self._validation = self._steps.mean.means()

    def end_epoch(self) -> None:
        """Reads the training batches' means where there was no evaluation."""
        if self._train is None:
            self._train = self._read()
        self._in_epoch = False

    def end_fit(self, model: Any) -> None:
        """Detaches from the model."""
        steps, self._steps = SplitSteps.within(model), None
        if steps is not None:
            steps.detach()

    def split(self, logs: Mapping[str, Any]) -> dict[str, float]:
        """Data loss and penalty of the training batches so far, and of the validation.

        Args:
            logs: Keras's logs, with `loss` and perhaps `val_loss`.

        Returns:
            `data_loss` and `penalty`, which add up to `loss`, and the same with `val_`; without
            those that are not known exactly.
        """
        train = self._read() if self._in_epoch else self._train
        parts: dict[str, float] = {}
        for prefix, means in (("", train), ("val_", self._validation)):
            loss = logs.get(f"{prefix}loss")
            if means is not None and loss is not None:
                data_loss, penalty = _adding_up(float(loss), *means)
                parts |= {f"{prefix}data_loss": data_loss, f"{prefix}penalty": penalty}
        return parts

    def _read(self) -> Means | None:
        # Someone else's `evaluate` in the meantime has started the means anew.
        if self._steps is None or self._steps.mean.resets != self._resets:
            return None
        return self._steps.mean.means()


def _adding_up(loss: float, data_loss: float, penalty: float) -> Means:
    """Corrects the larger part, which costs it no digit, so that the parts add up to the loss."""
    if abs(data_loss) < abs(penalty):
        return data_loss, loss - data_loss
    return loss - penalty, penalty


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
    "make_train_function",
)

# The attribute of the model's own training step that keeps what is traced beside it: not the model,
# which is left as it was, and no longer than until the model is compiled anew.
_KEPT = "_kerasreg_split_steps"


class SplitSteps:
    """Puts a `SplitMean` into a model's training and test steps, and takes it out again.

    The functions that Keras has traced with it are kept for the next time: see `of`.

    Args:
        model: A compiled model that `fits` accepts.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        with strategy_scope(model):
            self.mean = SplitMean()
        self._plain: tuple[Any, Any] = (None, None)
        self._own: tuple[Any, Any] = (None, None)
        self._resets = 0

    @staticmethod
    def fits(model: Any) -> bool:
        """Whether all steps of the model are Keras's own."""
        own = all(getattr(type(model), s, None) is getattr(keras.Model, s, None) for s in _STEPS)
        return own and "compute_loss" not in vars(model)

    @staticmethod
    def of(model: Any) -> SplitSteps:
        """The one that another logger has left with the model's own steps, or a new one."""
        steps = getattr(model.train_function, _KEPT, None)
        if isinstance(steps, SplitSteps) and steps.model is model:
            return steps
        return SplitSteps(model)

    @staticmethod
    def within(model: Any) -> SplitSteps | None:
        """The one that is in a model now."""
        steps = getattr(getattr(model, "compute_loss", None), "__self__", None)
        return steps if isinstance(steps, SplitSteps) else None

    @property
    def in_use(self) -> bool:
        """Whether batches have come since `attach`, of a training that may have been cut off."""
        return self.mean.resets > self._resets

    def attach(self) -> None:
        """Makes the model's training and evaluation average the parts of the loss."""
        model = self.model
        same = self._own[0] is not None and model.train_function is self._plain[0]
        self._plain = (model.train_function, model.test_function)
        with contextlib.suppress(AttributeError):  # where it is no function, or there is none
            setattr(model.train_function, _KEPT, self)
        model.compute_loss = self._compute_loss
        track_metric(model, self.mean)
        if same:
            model.train_function, model.test_function = self._own
        else:  # The model is new to it, or compiled anew.
            model.make_train_function(force=True)
            model.test_function = None
        self._own = (model.train_function, None)
        self._resets = self.mean.resets

    def detach(self) -> None:
        """Gives the model its own steps back."""
        model = self.model
        del model.compute_loss
        untrack_metric(model, self.mean)
        if model.train_function is self._own[0]:
            self._own = (model.train_function, model.test_function)
            model.train_function, model.test_function = self._plain
        else:  # compiled anew meanwhile
            self._own = (None, None)
            model.test_function = None

    def _compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """`keras.Model.compute_loss`, and what it adds up."""
        compiled, additional = loss_terms(self.model, y, y_pred, sample_weight)
        terms = [*compiled, *additional]
        if not terms:  # Keras's own words, or its zero on JAX
            return type(self.model).compute_loss(self.model, x, y, y_pred, sample_weight)
        self.mean.update_state(_total(compiled), _total(additional), _batch_size(x))
        return terms[0] if len(terms) == 1 else ops.sum(terms)


class SplitMean(keras.metrics.Metric):  # type: ignore[misc]
    """Means of data loss and penalty over the same batches, and weights, as Keras's `loss`.

    Keras reports the mean of their sum while the weights change: the penalty at the end of an
    epoch does not tell the data loss, and the difference of two large float32 numbers tells it
    badly. So both are averaged inside the training step, where they are computed. The metric
    shows nothing in the logs and adds nothing to what `evaluate` returns.
    """

    def __init__(self) -> None:
        # float32 whatever `floatx` is: float16 ends counting at 2048.
        super().__init__(name="kerasreg_split", dtype="float32")
        self.data_loss, self.penalty, self.count = (
            self.add_variable((), initializer="zeros", dtype="float32", name=name)
            for name in ("data_loss", "penalty", "count")
        )
        self.resets = 0

    def update_state(self, data_loss: Any, penalty: Any, batch_size: Any) -> None:
        """Adds a batch."""
        weight = ops.cast(batch_size, self.dtype)
        self.data_loss.assign_add(data_loss * weight)
        self.penalty.assign_add(penalty * weight)
        self.count.assign_add(weight)

    def reset_state(self) -> None:
        """Starts new means, and counts that it did."""
        super().reset_state()
        self.resets += 1

    def result(self) -> dict[str, Any]:
        """Nothing, so that no log shows it."""
        return {}

    def means(self) -> tuple[float, float] | None:
        """Mean data loss and penalty so far, or `None` before the first batch."""
        count = to_float(self.count)
        if count == 0:
            return None
        return to_float(self.data_loss) / count, to_float(self.penalty) / count


def _total(losses: list[Any]) -> Any:
    total = ops.zeros((), dtype="float32")
    for loss in losses:
        total += ops.cast(unscaled_for_distribution(ops.stop_gradient(loss)), "float32")
    return total


def _batch_size(x: Any) -> Any:
    """The size by which Keras weights a batch in its own mean of the loss."""
    first = next(leaf for leaf in keras.tree.flatten(x) if leaf is not None)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.shape(first)[0]  # also of ragged tensors, and of those of unknown rank
    return first.shape[0]
