"""Logs what the regularisation of a model does while it trains."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from kerasreg._checks import (
    check_bool,
    check_integer,
    check_non_negative,
    check_pattern,
    invalid_value,
)
from kerasreg._tensors import to_numpy
from kerasreg.callbacks.loss_split import LossSplit
from kerasreg.callbacks.step_counter import StepCounter
from kerasreg.optimality import Optimality, check_data
from kerasreg.tensorboard.run import Run
from kerasreg.weights import Weight, find_weights


class RegularizationLogger(keras.callbacks.Callback):  # type: ignore[misc]
    """Logs sparsity, penalties and weight norms to TensorBoard and to `logs`.

    Charts, one point each `update_freq`; the step is the number of training batches so far:

    | tag | what |
    |---|---|
    | `all/sparsity`, `sparsity/<weight>` | fraction of weights that are exactly zero |
    | `all/near_zero`, `near_zero/<weight>` | fraction below `threshold` in magnitude |
    | `all/dead_units`, `dead_units/<weight>` | output units all of whose weights are zero |
    | `all/l1_norm`, `all/l2_norm`, `all/max_abs`, and for each weight | norms |
    | `all/regularization_loss`, `regularization_loss/<weight>` | the penalty at these weights |
    | `all/optimality_residual`, and for each weight | distance from optimality, when asked for |
    | `all/data_loss`, `all/penalty`, `all/total_loss` | Keras's `loss`, split: data + penalty |
    | `all/val_data_loss`, `all/val_penalty`, `all/val_total_loss` | `val_loss`, split |
    | `all/learning_rate`, `dropout_rate/<layer>` | as they are at that step |

    Beside them a histogram of the non-zero values of each weight and a text page with the
    configuration. A weight is named by its path without the model's own name.

    `data_loss` and `penalty` are means over the batches of the epoch, as Keras's `loss` is, so
    `data_loss + penalty == loss`; the penalty is all that layers add to the loss, with penalties
    on activities and `add_loss`. The weights change meanwhile: `regularization_loss` is that of
    the weights as they are now, in the loss and by `Proximal`. The split is logged only where it
    is exact; a model with a `train_step` of its own is logged without.

    The totals also go into `logs`, under the same names without `all/`, for `History`,
    `CSVLogger`, `EarlyStopping("sparsity", mode="max")` and the progress bar: put this callback
    before those that read them.

    Logging never changes the training and never stops it: where the log cannot be written there
    is one warning.

    Args:
        log_dir: Folder of this run. Runs that are to be compared are folders side by side.
        update_freq: `"epoch"`, or an integer n to log every n batches as well.
        weights: Regular expression, searched for in `variable.path`, that chooses the weights to
            log; `None` for all. The totals are those of the chosen weights.
        threshold: Magnitude below which a weight counts as near zero, in the weight's units.
        histograms: Whether to log histograms.
        optimality_data: `(x, y)` or `(x, y, sample_weight)` to log the optimality residual on,
            from the gradient on all of it: 0 at a stationary point of loss + penalties.

    Raises:
        ValueError: If an argument is invalid; when training starts, if `weights` matches nothing.

    Example:
    >>> logger = kerasreg.RegularizationLogger("tensorboard_logs/run-1")
    >>> history = model.fit(x, y, epochs=2, verbose=0, callbacks=[logger])

    In a training loop of your own:

    >>> logger = kerasreg.RegularizationLogger("tensorboard_logs/run-1")
    >>> logger.set_model(model)
    >>> totals = logger.log(step)
    >>> logger.close()
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        update_freq: str | int = "epoch",
        weights: str | re.Pattern[str] | None = None,
        threshold: float = 1e-3,
        histograms: bool = True,
        optimality_data: tuple[Any, ...] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(log_dir, (str, os.PathLike)) or not os.fspath(log_dir):
            raise invalid_value("log_dir", "a path", log_dir)
        if update_freq != "epoch":
            expected = '"epoch" or a positive integer'
            update_freq = check_integer("update_freq", update_freq, expected, least=1)
        if weights is not None:
            weights = check_pattern("weights", weights)
        self.log_dir = os.fspath(log_dir)
        self.update_freq = update_freq
        self.weights = weights
        self.threshold = check_non_negative("threshold", threshold)
        self.histograms = check_bool("histograms", histograms)
        self.optimality_data = check_data("optimality_data", optimality_data)
        self._run: Run | None = None
        self._steps = StepCounter()
        self._split = LossSplit()
        self._totals: dict[str, float] = {}
        self._logged_step = -1
        self._failed = False

    @property
    def async_safe(self) -> bool:
        """Whether Keras may run ahead of this callback within an epoch."""
        return self.update_freq == "epoch"

    def set_model(self, model: Any) -> None:
        """Takes the model to log; raises if `weights` matches none of its weights."""
        if model is not self._model:  # another model is another run
            self.close()
            self._steps = StepCounter()
        super().set_model(model)
        if model is not None and model.built:
            find_weights(model, self.weights)

    def log(self, step: int) -> dict[str, float]:
        """Logs the weights as they are now, in a training loop of your own.

        Args:
            step: Number of training batches so far; an integer, or a scalar tensor or variable
                like `optimizer.iterations`.

        Returns:
            The totals: `sparsity`, `regularization_loss` and the others.
        """
        if isinstance(step, keras.Variable) or keras.ops.is_tensor(step):
            step = to_numpy(step).item()
        self._steps.step = check_integer("step", step, "a non-negative integer", least=0)
        self._open(first_step=step)
        self._guard(self._write, {})
        return dict(self._totals)

    def close(self) -> None:
        """Closes the event file, in a training loop of your own."""
        if self._run is not None:
            self._run.close()
        self._run = None
        self._totals = {}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Prepares the model's steps to tell data loss and penalty apart."""
        self._failed = False
        self._steps.begin_fit()
        self._guard(self._split.begin_fit, self.model)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Finds the global step, and opens the event file in the first epoch."""
        self._guard(self._steps.begin_epoch, self.model, epoch, self.params or {})
        self._split.begin_epoch()
        self._logged_step = -1
        if self.model.built:  # A subclassed model may be built by its first batch only.
            self._open()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Logs every `update_freq` batches."""
        before = self._steps.step
        self._steps.end_batch(batch)
        self._open()
        if isinstance(self.update_freq, int):
            losses: dict[str, float] = {}
            if self._steps.step // self.update_freq > before // self.update_freq:
                self._guard(self._read_split, losses, logs or {})
                self._guard(self._write, losses)
            if logs is not None:
                logs.update({**self._totals, **losses})

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Reads the training loss's parts before a validation starts its own."""
        self._guard(self._split.begin_evaluation)

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Reads the validation loss's parts."""
        self._guard(self._split.end_evaluation)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Logs, and adds the totals to `logs`."""
        self._guard(self._split.end_epoch)
        self._guard(self._steps.end_epoch, self.model)
        self._open()
        losses: dict[str, float] = {}
        self._guard(self._read_split, losses, logs or {})
        if self._steps.step != self._logged_step:
            self._guard(self._write, losses)
        else:  # by the last batch; only the validation is new
            self._guard(self._write_validation, losses)
        if logs is not None and not self._failed:
            logs.update({**self._totals, **losses})

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Gives the model its own steps back and closes the event file."""
        self._try(self._split.end_fit, self.model)
        self._try(self.close)

    def _open(self, first_step: int | None = None) -> None:
        """Opens the run before its first point; raises if `weights` matches nothing."""
        if self._run is None and not self._failed:
            start = self._steps.epoch_start
            first_step = (start + 1 if start else 0) if first_step is None else first_step
            self._guard(self._start, find_weights(self.model, self.weights), first_step)

    def _start(self, weights: Sequence[Weight], first_step: int) -> None:
        optimality = Optimality.of(self.model, weights, self.optimality_data)
        measures = (self.threshold, self.histograms, optimality)
        self._run = Run(self.log_dir, self.model, weights, first_step, *measures)

    def _read_split(self, losses: dict[str, float], logs: Mapping[str, Any]) -> None:
        if self.model is not None:  # On JAX, this brings weights and metrics up to date.
            losses.update(self._split.split(logs))

    def _write(self, losses: Mapping[str, float]) -> None:
        assert self._run is not None
        self._totals = self._run.log(self.model, self._steps.step, losses)
        self._logged_step = self._steps.step

    def _write_validation(self, losses: Mapping[str, float]) -> None:
        assert self._run is not None
        validation = {name: value for name, value in losses.items() if name.startswith("val_")}
        self._run.add(self._steps.step, validation)

    def _guard(self, action: Callable[..., None], *args: Any) -> None:
        """Runs a part of the logging, unless one has failed before."""
        if not self._failed:
            self._try(action, *args)

    def _try(self, action: Callable[..., None], *args: Any) -> None:
        """Runs an action; whatever goes wrong in it must not stop the training."""
        try:
            action(*args)
        except Exception as error:
            self._failed = True
            self._totals = {}
            warnings.warn(
                f"RegularizationLogger failed in `{action.__name__}` and logs no more in this "
                f"run; training goes on. {type(error).__name__}: {error}",
                stacklevel=2,
            )
