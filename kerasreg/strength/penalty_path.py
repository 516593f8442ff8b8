"""Goes through the strengths of one penalty, on all samples and on those of each fold."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasreg._checks import invalid_value
from kerasreg.callbacks import RegularizationLogger
from kerasreg.statistics.optimality import Optimality
from kerasreg.statistics.weights import find_weights
from kerasreg.strength.checkpoint import Checkpoint
from kerasreg.strength.max_strength import main_strength
from kerasreg.strength.measures import Measures, check_measured, find_mode
from kerasreg.strength.plan import Plan
from kerasreg.strength.samples import Samples
from kerasreg.strength.strengths import find_start, in_order, is_over, strength_grid
from kerasreg.strength.training import Convergence, Training

# Optimality residuals, relative to the gradient at zero, at which to stop; float32 reaches 1e-7.
TOLERANCE = 1e-6
# Those from which on to warn, relative to the gradient of the penalty.
FAR = 0.01

# What the progress bar shows of a row.
SHOWN = ("strength", "data_loss", "sparsity")

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Part:
    """One pass along the strengths, on all samples or on those of a fold.

    Args:
        name: Its name in the checkpoint.
        samples: The samples to train on.
        describe: Measures the model after a strength, for the row.
        is_main: Whether it is the path itself, which is logged and whose weights are kept.
    """

    name: str
    samples: Samples
    describe: Callable[[], dict[str, Any]]
    is_main: bool = False


def progress_bar(plan: Plan) -> keras.utils.Progbar:
    """A bar for all strengths of all parts; it shows nothing where `verbose` is 0."""
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
        kernel: What a `Path` says of the first penalised kernel, from then on.
    """

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
        self.kernel: dict[str, Any] = {}
        self._strengths = (
            strength_grid(self._start.largest(), plan.n_strengths, plan.min_ratio, plan.direction)
            if plan.strengths is None
            else in_order(plan.strengths, plan.direction)
        )

    def run(self) -> Rows:
        """Trains all strengths; returns a row for each, with the values of the folds."""
        plan = self._plan
        with Training(plan.model, self._penalty, plan.batch_size) as training:
            self._prepare(training)
            rows = self._follow(training, self._main(training), self._strengths)
            strengths = [row["strength"] for row in rows]
            folds = [
                self._follow(training, self._fold(training, i), strengths)
                for i in range(len(plan.folds))
            ]
        self._warn(rows, folds)
        sizes = [len(test) for _, test in plan.folds]
        for i, row in enumerate(rows):
            row |= {"fold_values": [fold[i]["value"] for fold in folds], "fold_sizes": sizes}
        return rows

    def _prepare(self, training: Training) -> None:
        """Checks what is monitored and validated on, and measures the loss of the null model."""
        plan, start = self._plan, self._start
        if start.null_weights is not None:
            training.restart(start.null_weights)
        values = training.measure(plan.samples)
        check_measured(plan.monitor, values)
        if plan.validation is not None:
            _check_validation(training, plan.validation)
        self.mode = find_mode(plan.model, plan.monitor, plan.mode)
        if start.null_weights is not None:
            self._null_loss = values["data_loss"]

    def _main(self, training: Training) -> Part:
        plan, measures = self._plan, Measures(self._plan.model)
        self.kernel = {"kernel": measures.kernel, "input_axes": measures.input_axes}

        def describe() -> dict[str, Any]:
            values = training.measure(plan.samples)
            row = {"data_loss": values.pop("data_loss"), "val_data_loss": None, "metrics": values}
            if plan.validation is not None:
                held_out = training.measure(plan.validation)
                row["val_data_loss"] = held_out.pop("data_loss")
                values |= {f"val_{name}": value for name, value in held_out.items()}
            return {"penalty": plan.labels[self._number], **row, **measures()}

        return Part(f"{self._number}", plan.samples, describe, is_main=True)

    def _fold(self, training: Training, i: int) -> Part:
        plan = self._plan
        train, test = plan.folds[i]
        held_out = plan.samples.take(test)
        return Part(
            f"{self._number}-fold-{i}",
            plan.samples.take(train),
            lambda: {"value": training.measure(held_out)[plan.monitor]},
        )

    def _follow(self, training: Training, part: Part, strengths: Sequence[float]) -> Rows:
        """Trains at one strength after the other, from where an earlier run has stopped."""
        plan = self._plan
        rows = self._checkpoint.rows(part.name)
        self._show(len(rows))
        training.restart(self._start.weights)
        if 0 < len(rows) < len(strengths):
            training.state = self._checkpoint.state(part.name)
        convergence = self._convergence(part.samples)
        for strength in strengths[len(rows) :]:
            if part.is_main and is_over(rows, plan.direction, self._null_loss):
                break
            scale = strength / main_strength(self._penalty)
            callbacks = self._callbacks(part, strength, convergence)
            watched = plan.validation if part.is_main and callbacks != convergence else None
            training.fit(scale, part.samples, plan.epochs, callbacks, watched)
            row = {"strength": strength, **part.describe()}
            if convergence:
                row["residual"] = convergence[0].residual
            self._checkpoint.add(part.name, row, training, part.is_main)
            rows.append(row)
            self._show(1, row)
        self._show(len(strengths) - len(rows))
        return rows

    def _show(self, done: int, row: Mapping[str, Any] | None = None) -> None:
        """Shows that further strengths are done, and the row of the last one."""
        if done:
            shown = row if row is not None and all(name in row for name in SHOWN) else {}
            self._bar.add(done, [(name, shown[name]) for name in SHOWN if shown])

    def _convergence(self, samples: Samples) -> list[Convergence]:
        if not self._plan.is_linear:
            return []
        if self._optimality is None:  # One for all parts, as it compiles the gradient.
            self._optimality = Optimality(self._plan.model, find_weights(self._plan.model))
        return [Convergence(self._optimality, samples, TOLERANCE, self._start.gradient_norm)]

    def _callbacks(
        self, part: Part, strength: float, convergence: Sequence[Convergence]
    ) -> list[Any]:
        """The logger first, so that the others find its numbers in the logs."""
        plan = self._plan
        logger = []
        if part.is_main and plan.log_dir is not None:
            folder = Path(plan.log_dir) / f"{plan.labels[self._number]} {strength:.6g}"
            hparams = plan.hparams(self._number, strength)
            logger = [RegularizationLogger(folder, hparams=hparams, verbose=0)]
        return [*logger, *plan.callbacks, *convergence]

    def _warn(self, rows: Rows, folds: Sequence[Rows]) -> None:
        trained = [row for part in (rows, *folds) for row in part]
        endless = [row["strength"] for row in trained if not math.isfinite(_value(row))]
        if endless:
            warnings.warn(
                f"At strength {endless[0]:.4g} the loss, or what is monitored on a fold, is not "
                "finite; take a smaller learning rate.",
                stacklevel=4,
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
                stacklevel=4,
            )


def _check_validation(training: Training, validation: Samples) -> None:
    """Raises now, and not after the first strength, if the model cannot take the data."""
    try:
        training.measure(validation.take(np.arange(1)))
    except Exception as error:  # Each backend has its own.
        expected = f"data that the model can be evaluated on ({error})"
        shapes = keras.tree.map_structure(np.shape, (validation.x, validation.y))
        raise invalid_value("validation_data", expected, shapes) from error


def _value(row: dict[str, Any]) -> float:
    """What a row of the path, or of a fold, says of its loss."""
    return float(row["data_loss"] if "data_loss" in row else row["value"])
