"""Logs what the regularisation of a model does while it trains."""

from __future__ import annotations

import contextlib
import copy
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras

from kerasreg._backends import is_chief
from kerasreg._checks import check_integer, invalid_value
from kerasreg._keras_internals import fellow_callbacks, metric_names
from kerasreg._tensors import to_numpy
from kerasreg.callbacks.copies import next_free_folder
from kerasreg.callbacks.guard import Guard
from kerasreg.callbacks.keras_logs import DEFAULT, NAMES, KerasLogs, check_in_logs
from kerasreg.callbacks.logged_steps import LoggedSteps, begin_log, steps_logged
from kerasreg.callbacks.monitors import blind_monitors
from kerasreg.callbacks.own_numbers import check_numbers
from kerasreg.callbacks.step_counter import StepCounter
from kerasreg.optimizers.of_model import Optimizers
from kerasreg.statistics.loss_split import LossSplit
from kerasreg.tensorboard.event_file import check_log_dir
from kerasreg.tensorboard.point_hook import OnPoint
from kerasreg.tensorboard.run import Options, Run, replaces_points
from kerasreg.tensorboard.show import invitation


class RegularizationLogger(keras.callbacks.Callback):  # type: ignore[misc]
    """Logs sparsity, penalties and weight norms to TensorBoard and to `logs`.

    Charts, one point each `update_freq`; the step is the number of training batches so far:

    | tag | what |
    |---|---|
    | `all/sparsity`, `sparsity/<weight>` | fraction of weights that are exactly zero |
    | `all/near_zero`, `near_zero/<weight>` | fraction below `threshold` in magnitude |
    | `all/dead_units`, `dead_units/<weight>` | output units all of whose weights are zero |
    | `dead_parts/<weight>` | inputs, heads, blocks or slices that are zero, where its penalty \
      zeroes those as a whole; of a pattern n:m the runs that keep to it |
    | `all/dead_groups` | groups that are zero, of penalties with `groups` |
    | `all/l1_norm`, `all/l2_norm`, `all/max_abs`, and for each weight | norms |
    | `nonzero_mean/<weight>`, `nonzero_rms/<weight>` | magnitude of those that are not zero |
    | `all/regularization_loss`, `regularization_loss/<weight>` | the penalty at these weights |
    | `penalty_share/<weight>` | its share of that |
    | `strength/<weight>` | the penalty's first hyper-parameter, times `strength_scale` |
    | `all/optimality_residual`, and for each weight | distance from optimality, when asked for |
    | `all/activation_zeros`, `activation_zeros/<layer>` | fraction of the outputs of ReLU and the \
      like that are zero on `activation_data` |
    | `all/dead_activations`, `dead_activations/<layer>` | units that are zero for all of it |
    | `all/data_loss`, `all/penalty`, `all/total_loss` | Keras's `loss`, split: data + penalty |
    | `all/val_data_loss`, `all/val_penalty`, `all/val_total_loss` | `val_loss`, split |
    | `all/<metric>`, `all/val_<metric>` | Keras's metrics: at the end of an epoch, and with an \
      integer `update_freq` those of the training at each point, as means over the epoch so far |
    | `all/<name>` | numbers of your own, given to `log` |
    | `all/learning_rate`, `dropout_rate/<layer>` | as they are at that step |
    | `all/compacted_parameters`, `all/compacted_multiply_adds` | what `compact` leaves at the end |

    Beside them histograms of the non-zero values (`nonzero/<weight>`, `activations/<layer>`),
    pictures of where the zeros are (`zero_pattern/<weight>`, drawn when their number has changed),
    text pages with the configuration and, at the end, the reports on sparsity and on compaction, a
    layout for Custom Scalars, a row for HPARAMS, and what the Sparsity tab shows. A weight is named
    by its path without the model's own name; layers without a name of their own are numbered anew
    in each model.

    `data_loss` and `penalty` are means over the batches of the epoch, as Keras's `loss` is, so
    `data_loss + penalty == loss`; the penalty is all that layers add to the loss, with penalties
    on activities and `add_loss`. The weights change meanwhile: `regularization_loss` is that of
    the weights as they are now, in the loss and by `Proximal`. The split is logged only where it
    is exact; a model with a `train_step` of its own is logged without.

    The totals that `in_logs` names also go into `logs`, without `all/`, for `History`,
    `CSVLogger`, `EarlyStopping("sparsity", mode="max")` and the progress bar: put this callback
    before those that read them. What is not named there cannot be monitored:
    `EarlyStopping("near_zero")` never stops, unless `in_logs` has `"near_zero"`. A warning names
    both mistakes when training starts.

    Logging never changes the training and never stops it: where the log cannot be written there
    is one warning. The report on sparsity is of the last epoch, also where `EarlyStopping` restores
    another; that on compaction, which takes up to seconds, of what the training leaves.

    Args:
        log_dir: Folder of this run, or an address as `gs://bucket/run-1`. Runs that are to be
            compared are folders side by side. In the same folder a model goes on after its last
            point when it is fitted again, a resumed run replaces what it overlaps, and another
            one replaces all, with a warning. A deep copy of the logger, as KerasTuner makes one for
            each training, takes the next free folder below it: `log_dir/1`, `log_dir/2`, …
        update_freq: `"epoch"`, or an integer n to log every n batches as well.
        weights: Regular expression, searched for in `variable.path`, that chooses the weights to
            log; `None` for all. The totals are those of the chosen weights.
        threshold: Magnitude below which a weight counts as near zero, in the weight's units.
        histograms: Whether to log histograms.
        optimality_data: `(x, y)` or `(x, y, sample_weight)` to log the optimality residual on,
            from the gradient on all of it: 0 at a stationary point of loss + penalties.
        input_shape: `(height, width)` or `(height, width, channels)` of an image, to draw which of
            its pixels the first `Dense` layer on so many inputs uses.
        hparams: What was chosen for this run, by name, for the HPARAMS tab: booleans, numbers,
            strings or regularizers. Runs that are to be compared need the same names; a strength
            of 0 among them turns the logarithmic axis off. By default `penalty`, `strength` (unless
            it is 0), `optimizer`, `learning_rate` and `dropout` as they are at the start of the
            run; where there are several, as `strength of L1` and `strength of GroupLasso(axis=-1)`.
            `False` for no row.
        verbose: 0 or 1: whether to print, once, how to open TensorBoard.
        in_logs: Which totals go into `logs`, in this order, where they are known: names from the
            table without `all/`, of those that are measured of the weights, or a part of a loss;
            `"all"` for all of them. One more than the four by default is
            `in_logs=("sparsity", "data_loss", "penalty", "val_data_loss", "near_zero")`.
        activation_data: Inputs, as `model.predict` takes them, to log on which outputs of rectified
            layers are zero: an array of shape `(n, ...)`, or a structure of arrays; some hundred
            samples do. Each point takes one more forward pass of all of them, in inference, that is
            compiled once. A layer counts if its `activation` is zero on an interval, as `relu` is,
            and so does `ReLU`; operations outside of layers are not seen. A unit is a channel of
            the output; a layer with weights that is called twice has the same units in both calls.
        on_point: A function `(step, numbers)` that is called for each point, as for another
            tracker: `numbers` is a dict of floats by tag, all that the charts show at this step,
            without histograms and without what compaction leaves at the end. Where the last batch
            of an epoch has a point already, what is known at the epoch's end comes in a second call
            of the same step. It runs in the thread that trains, which waits for it, and in one
            process of a distributed training. What it raises becomes one warning.

    Raises:
        ValueError: If an argument is invalid; when training starts, if one fits no weight.

    Example:
    >>> logger = kerasreg.RegularizationLogger("tensorboard_logs/run-1", verbose=0)
    >>> history = model.fit(x, y, epochs=2, verbose=0, callbacks=[logger])

    In a training loop of your own:

    >>> logger = kerasreg.RegularizationLogger("tensorboard_logs/run-1", verbose=0)
    >>> logger.set_model(model)
    >>> totals = logger.log(step, {"d_loss": 1.2, "g_loss": 0.7})
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
        input_shape: tuple[int, ...] | None = None,
        hparams: dict[str, Any] | Literal[False] | None = None,
        verbose: int = 1,
        in_logs: Sequence[str] | Literal["all"] = DEFAULT,
        activation_data: Any = None,
        on_point: OnPoint | None = None,
    ) -> None:
        super().__init__()
        self.log_dir = check_log_dir("log_dir", log_dir)
        if update_freq != "epoch":
            expected = '"epoch" or a positive integer'
            update_freq = check_integer("update_freq", update_freq, expected, least=1)
        self.update_freq = update_freq
        self.options = Options(
            weights,
            threshold,
            histograms,
            optimality_data,
            input_shape,
            hparams,
            activation_data,
            on_point,
        )
        if verbose not in (0, 1):
            raise invalid_value("verbose", "0 or 1", verbose)
        self.verbose = verbose
        self.in_logs = check_in_logs("in_logs", in_logs)
        self._invited = False
        self._optimizer: Any = None
        self._steps = StepCounter()
        self._split = LossSplit()
        self._guard = Guard(type(self).__name__)
        self._logs: KerasLogs | None = None
        self._run: Run | None = None
        self._logged: LoggedSteps | None = None
        self._logged_step = -1

    @property
    def async_safe(self) -> bool:
        """Whether Keras may run ahead of this callback within an epoch."""
        return self.update_freq == "epoch"

    def __getstate__(self) -> dict[str, Any]:
        """What a copy gets: no model, no file, and nothing that belongs to a training."""
        nothing = dict.fromkeys(("_model", "_optimizer", "_logs", "_run", "_logged"))
        return vars(self) | nothing | {"_split": LossSplit()}

    def __deepcopy__(self, memo: dict[int, Any]) -> RegularizationLogger:
        """A logger into a folder of its own, the next free one below this one's.

        KerasTuner copies its callbacks for each training.
        """
        # What is logged is shared: data, and a function of another tracker.
        copied = copy.copy(self)
        copied.log_dir = next_free_folder(self.log_dir)
        copied._steps, copied._guard = StepCounter(), Guard(type(self).__name__)
        memo[id(self)] = copied
        return copied

    def set_model(self, model: Any, optimizer: Any = None) -> None:
        """Takes the model to log.

        Args:
            model: The model.
            optimizer: In a training loop of your own, its optimizer, or a list or dict of several,
                in which each `Proximal` is found; by default those that the model holds.

        Raises:
            ValueError: If `weights` matches none of the model's weights, or what is given is no
                optimizer.
        """
        if optimizer is not None:
            Optimizers(model, optimizer)
        if model is not self._model or optimizer is not None:
            self._optimizer = optimizer
        if model is not self._model:  # another model is another run
            self.close()
            self._guard.run_always(self._split.end_fit, self._model)
            self._steps = StepCounter()
        super().set_model(model)
        self._guard.run(self._steps.begin_model, model)
        if model is not None and model.built:
            self.options.check_fit(model)

    def log(self, step: int, numbers: Mapping[str, Any] | None = None) -> dict[str, float]:
        """Logs the weights as they are now, in a training loop of your own.

        Args:
            step: Number of training batches so far; an integer, or a scalar tensor or variable
                like `optimizer.iterations`. Where another loop has logged the model into the same
                folder, and the number begins anew, it is counted from the last point there.
            numbers: More numbers for this point, by name, which becomes the chart `all/<name>`:
                each a real number, or an array, tensor or variable that holds one. NaN and infinity
                are logged as they are. Names of what the logger measures are refused, as
                `sparsity`; those of losses, which it does not see in a loop, are free.

        Returns:
            The totals: `sparsity`, `regularization_loss` and the others, and `numbers` as floats.

        Raises:
            ValueError: If the step is none, or a name or value in `numbers`.
        """
        own = check_numbers("numbers", numbers)
        if isinstance(step, keras.Variable) or keras.ops.is_tensor(step):
            step = to_numpy(step).item()
        step = check_integer("step", step, "a non-negative integer", least=0)
        if self._run is None:
            logged = steps_logged(self.log_dir, self.model)
            self._steps.begin_loop(self.model, step, logged)
        step = self._steps.step = step + self._steps.shift
        self._invite()
        run = self._open(first_step=step)
        if run is None:
            return {}
        self._log_point(run, {}, {})
        self._guard.run(run.end_epoch, step, {}, own)
        self._guard.run(run.flush)  # A loop of one's own may end without `close`.
        return {} if self._guard.failed else {**run.totals, **own}

    def close(self) -> None:
        """Writes the reports and closes the event file, after a loop of your own."""
        run, self._run = self._run, None
        if run is not None:
            self._guard.run(run.finish, self.model, self._steps.step)
            self._guard.run_always(run.close)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Prepares the model's steps to tell data loss and penalty apart."""
        self._guard = Guard(type(self).__name__)
        self._logs = KerasLogs(self.model, self.in_logs)
        fellows = self._guard.run(fellow_callbacks, self) or []
        known = set(NAMES) - (self._guard.run(metric_names, self.model) or set())
        for sentence in blind_monitors(fellows, self, self.in_logs, known):
            warnings.warn(sentence, stacklevel=2)
        self._invite()
        self._steps.begin_fit()
        self._guard.run(self._split.begin_fit, self.model)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Finds the global step, and opens the event file in the first epoch."""
        logged = steps_logged(self.log_dir, self.model)
        self._guard.run(self._steps.begin_epoch, self.model, epoch, self.params or {}, logged)
        self._split.begin_epoch()
        self._logged_step = -1
        if self.model.built:  # A subclassed model may be built by its first batch only.
            self._open()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Logs every `update_freq` batches."""
        before = self._steps.step
        self._steps.end_batch(batch)
        run = self._open()
        if run is None or not isinstance(self.update_freq, int):
            return
        losses: dict[str, float] = {}
        if self._steps.step // self.update_freq > before // self.update_freq:
            losses = self._read_split(logs)
            self._log_point(run, losses, logs or {})
            self._guard.run(run.hand_over, self._steps.step)
        self._tell(run, logs, losses)

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Reads the training loss's parts before a validation starts its own."""
        self._guard.run(self._split.begin_evaluation)

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Reads the validation loss's parts."""
        self._guard.run(self._split.end_evaluation)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Logs, and adds the totals to `logs`."""
        self._guard.run(self._split.end_epoch)
        self._guard.run(self._steps.end_epoch, self.model)
        run = self._open()
        if run is None:
            return
        losses = self._read_split(logs)
        if self._steps.step != self._logged_step:  # unless the last batch has done it
            self._log_point(run, losses, {})
        self._guard.run(run.end_epoch, self._steps.step, losses, logs or {})
        self._tell(run, logs, losses)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Gives the model its own steps back and closes the event file."""
        self._guard.run_always(self._split.end_fit, self.model)
        self.close()

    def _invite(self) -> None:
        if self.verbose and not self._invited and is_chief(self.model):
            self._invited = True
            # Output that goes nowhere, or knows no such characters, is no reason to stop.
            with contextlib.suppress(OSError, ValueError):
                print(invitation(self.log_dir))

    def _open(self, first_step: int | None = None) -> Run | None:
        """The run, opened before its first point; raises if the arguments do not fit the model.

        Returns:
            The run, or `None` where it could not be opened.
        """
        if self._run is None and not self._guard.failed:
            start = self._steps.epoch_start
            first_step = (start + 1 if start else 0) if first_step is None else first_step
            self.options.check_fit(self.model)
            self._logged = self._guard.run(self._begin_log, first_step)
            optimizers = Optimizers(self.model, self._optimizer)
            arguments = (self.log_dir, self.model, first_step, self.options, optimizers)
            self._run = self._guard.run(Run, *arguments, self.params)
        return self._run

    def _begin_log(self, first_step: int) -> LoggedSteps:
        """Goes on in the folder, or else takes it over, and warns of what is replaced there."""
        logged = steps_logged(self.log_dir, self.model)
        if logged is not None:
            return logged
        # Before the warning, so that it comes once, whatever else logs there.
        logged = begin_log(self.log_dir, self.model)
        if self._steps.from_start and replaces_points(self.log_dir, self.model, first_step):
            warnings.warn(
                f"The folder '{self.log_dir}' holds the log of another training, whose points "
                "those of this one replace. Give each run a folder of its own.",
                stacklevel=2,
            )
        return logged

    def _read_split(self, logs: Mapping[str, Any] | None) -> dict[str, float]:
        """The parts of the losses, as far as they are known."""
        if self.model is None:  # Asking for it brings weights and metrics up to date on JAX.
            return {}
        return self._guard.run(self._split.split, logs or {}) or {}

    def _log_point(self, run: Run, losses: Mapping[str, float], logs: Mapping[str, Any]) -> None:
        self._logged_step = self._steps.step
        self._guard.run(run.log, self.model, self._logged_step, losses, logs)
        if self._logged is not None:
            self._logged.add(self._logged_step, self._steps.shift)

    def _tell(self, run: Run, logs: dict[str, Any] | None, losses: Mapping[str, float]) -> None:
        if logs is not None and self._logs is not None and not self._guard.failed:
            self._logs.add(logs, {**run.totals, **losses})
