"""Goes through the strengths of one penalty, on all samples and on those of each fold."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasreg._checks import invalid_value
from kerasreg.callbacks import RegularizationLogger
from kerasreg.callbacks.logged_steps import begin_log
from kerasreg.statistics.optimality import Optimality
from kerasreg.statistics.weights import find_weights
from kerasreg.strength.checkpoint import Checkpoint
from kerasreg.strength.max_strength import main_strength
from kerasreg.strength.measures import Measures, find_mode
from kerasreg.strength.plan import Plan
from kerasreg.strength.strengths import find_start, in_order, is_over, strength_grid
from kerasreg.strength.training import TOLERANCE, Convergence, Training

# Optimality residual, relative to the gradient of the penalty, from which on to warn.
FAR = 0.01

# What the progress bar shows of a row.
SHOWN = ("strength", "data_loss", "sparsity")

Rows = list[dict[str, Any]]


def progress_bar(plan: Plan) -> keras.utils.Progbar:
    """A bar for all strengths of all passes; it shows nothing where `verbose` is 0."""
    total = len(plan.penalties) * (1 + len(plan.folds))
    total *= plan.n_strengths if plan.strengths is None else len(plan.strengths)
    return keras.utils.Progbar(
        total, verbose=plan.verbose, stateful_metrics=SHOWN, unit_name="strength"
    )


class PenaltyPath:
    """The path of one penalty.

    Args:
        plan: The arguments of the path.
        number: Which of its penalties.
        checkpoint: Keeps the rows.
        bar: Shows how many strengths are done.

    Attributes:
        mode: Whether less or more of what is monitored is better, once `run` has returned.
        measures: Knows the first penalised kernel, from then on.
    """

    measures: Measures

    def __init__(
        self, plan: Plan, number: int, checkpoint: Checkpoint, bar: keras.utils.Progbar
    ) -> None:
        self._plan = plan
        self._number = number
        self._checkpoint = checkpoint
        self._bar = bar
        self._penalty = plan.penalties[number]
        self._start = find_start(plan.model, self._penalty, plan.samples, plan.direction)
        self._null_loss = math.inf
        self._optimality: Optimality | None = None
        self.mode = plan.mode
        self._strengths = (
            strength_grid(self._start.largest(), plan.n_strengths, plan.min_ratio, plan.direction)
            if plan.strengths is None
            else in_order(plan.strengths, plan.direction)
        )
        self._training = Training(plan.model, self._penalty, plan.batch_size)

    def run(self) -> Rows:
        """Trains all strengths; returns a row for each, with the values of the folds."""
        plan = self._plan
        with self._training:
            self._prepare()
            rows = self._follow(self._strengths)
            strengths = [row["strength"] for row in rows]
            folds = [self._follow(strengths, fold) for fold in range(len(plan.folds))]
        self._warn(rows, folds)
        sizes = [len(test) for _, test in plan.folds]
        for i, row in enumerate(rows):
            row |= {"fold_values": [fold[i]["value"] for fold in folds], "fold_sizes": sizes}
        return rows

    def _prepare(self) -> None:
        """Checks what is monitored and validated on, and measures the loss of the null model."""
        plan, null_weights = self._plan, self._start.null_weights
        self._training.restart(null_weights or self._start.weights)
        values = self._training.measure(plan.samples)
        if null_weights is not None:
            self._null_loss = values["data_loss"]
        if plan.monitor not in values:
            raise invalid_value("monitor", f"one of {sorted(values)}", plan.monitor)
        if plan.validation is not None:
            try:  # Now, and not after the first strength.
                self._training.measure(plan.validation.take(np.arange(1)))
            except Exception as error:  # Each backend has its own.
                expected = f"data that the model can be evaluated on ({error})"
                shapes = keras.tree.map_structure(np.shape, plan.validation.data[:2])
                raise invalid_value("validation_data", expected, shapes) from error
        self.mode = find_mode(plan.model, plan.monitor, plan.mode)
        self.measures = Measures(plan.model)
        if plan.is_linear:  # One for all passes, as it compiles the gradient.
            self._optimality = Optimality(plan.model, find_weights(plan.model))

    def _follow(self, strengths: Sequence[float], fold: int | None = None) -> Rows:
        """Trains on all samples, or those of a fold, from where an earlier run has stopped."""
        plan, training, is_main = self._plan, self._training, fold is None
        name, samples = f"{self._number}", plan.samples
        if fold is not None:
            name, (train, test) = f"{name}-fold-{fold}", plan.folds[fold]
            samples, held_out = samples.take(train), samples.take(test)
        rows = self._checkpoint.rows(name)
        self._show(len(rows))
        training.restart(self._start.weights)
        if 0 < len(rows) < len(strengths):
            training.state = self._checkpoint.state(name)
        convergence = []
        if self._optimality is not None:
            convergence = [Convergence(self._optimality, samples, self._start.gradient_norm)]
        for strength in strengths[len(rows) :]:
            if is_main and is_over(rows, plan.direction, self._null_loss):
                break
            callbacks = [*plan.callbacks, *convergence]
            scale = strength / main_strength(self._penalty)
            with contextlib.ExitStack() as stack:
                if is_main and plan.log_dir is not None:  # First, so that others find its numbers.
                    # Closed also where it is cut off: a second run may take its folder at once.
                    log = contextlib.closing(self._logger(plan.log_dir, strength))
                    callbacks.insert(0, stack.enter_context(log))
                watched = plan.validation if is_main and callbacks != convergence else None
                training.fit(scale, samples, plan.epochs, callbacks, watched)
            row: dict[str, Any] = {"strength": strength}
            if is_main:
                row |= self._describe()
            else:
                row["value"] = training.measure(held_out)[plan.monitor]
            if convergence:
                row["residual"] = convergence[0].residual
            self._checkpoint.add(name, row, training, is_main and plan.keep_weights)
            rows.append(row)
            self._show(1, [(key, row[key]) for key in SHOWN] if is_main else ())
        self._show(len(strengths) - len(rows))
        return rows

    def _describe(self) -> dict[str, Any]:
        """What a row says of the model as it is."""
        plan = self._plan
        values = self._training.measure(plan.samples)
        row = {"data_loss": values.pop("data_loss"), "val_data_loss": None, "metrics": values}
        if plan.validation is not None:
            held_out = self._training.measure(plan.validation)
            row["val_data_loss"] = held_out.pop("data_loss")
            values |= {f"val_{name}": value for name, value in held_out.items()}
        return {"penalty": plan.labels[self._number], **row, **self.measures()}

    def _show(self, done: int, values: Sequence[tuple[str, float]] = ()) -> None:
        if done:  # The bar takes zero for a start.
            self._bar.add(done, values)

    def _logger(self, log_dir: str, strength: float) -> RegularizationLogger:
        folder = Path(log_dir) / f"{self._plan.labels[self._number]} {strength:.6g}"
        hparams = self._plan.hparams(self._number, strength)
        begin_log(str(folder), self._plan.model)  # What was cut off there is trained anew.
        return RegularizationLogger(folder, hparams=hparams, verbose=0)

    def _warn(self, rows: Rows, folds: Sequence[Rows]) -> None:
        trained = [row for part in (rows, *folds) for row in part]
        endless = [
            row["strength"]
            for row in trained
            if not math.isfinite(row["data_loss" if "data_loss" in row else "value"])
        ]
        if endless:
            warnings.warn(
                f"At strength {endless[0]:.4g} the loss, or what is monitored on a fold, is not "
                "finite; take a smaller learning rate.",
                stacklevel=5,
            )
            return
        # Of the largest strength the penalty's gradient is 1, by the same measure as residuals.
        largest = (self._plan.is_linear and self._start.largest()) or math.inf
        bounds = [max(10 * TOLERANCE, FAR * row["strength"] / largest) for row in trained]
        pairs = zip(trained, bounds, strict=True)
        far = [row["strength"] for row, bound in pairs if row.get("residual", 0.0) > bound]
        if far:
            warnings.warn(
                f"{len(far)} of {len(trained)} trainings have not converged, the first of them at "
                f"strength {far[0]:.4g}: what is left of their gradients is more than {FAR:.0%} of "
                f"the penalty's. Take more epochs_per_strength than {self._plan.epochs}, an "
                "optimizer such as SGD with momentum, inputs of the same scale, or a smaller "
                "learning rate.",
                stacklevel=5,
            )
