"""The path of one penalty: what its parts begin with, and what becomes of their rows."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import keras
import numpy as np

from kerasreg._checks import invalid_value
from kerasreg.strength.checkpoint import Checkpoint
from kerasreg.strength.measures import find_mode
from kerasreg.strength.part import SHOWN, Part, PartTrainer, Rows
from kerasreg.strength.plan import Plan
from kerasreg.strength.strengths import find_start, in_order, strength_grid
from kerasreg.strength.training import TOLERANCE, Training

# Optimality residual, relative to the gradient of the penalty, from which on to warn.
FAR = 0.01


class ProgressBar:
    """A bar for all strengths of all parts; it shows nothing where `verbose` is 0.

    Args:
        plan: The arguments of the path.
    """

    def __init__(self, plan: Plan) -> None:
        total = len(plan.penalties) * (1 + len(plan.folds))
        total *= plan.n_strengths if plan.strengths is None else len(plan.strengths)
        self._bar = keras.utils.Progbar(
            total, verbose=plan.verbose, stateful_metrics=SHOWN, unit_name="strength"
        )

    def show(self, done: int, values: Sequence[tuple[str, float]] = ()) -> None:
        """Counts strengths that are done, and shows the numbers of the last."""
        if done:  # Keras's takes zero for a start.
            self._bar.add(done, values)


class PenaltyPath:
    """The path of one penalty.

    Args:
        plan: The arguments of the path.
        number: Which of its penalties.

    Attributes:
        mode: Whether less or more of what is monitored is better, once it is prepared.
        kernel: The place of the first penalised kernel in `model.weights`, from then on.
        input_axes: Its axes that number its inputs.
    """

    kernel: int
    input_axes: tuple[int, ...]

    def __init__(self, plan: Plan, number: int) -> None:
        self._plan = plan
        self._number = number
        self._start = find_start(plan.model, plan.penalties[number], plan.samples, plan.direction)
        self._null_loss = math.inf
        self.mode = plan.mode
        self._strengths = (
            strength_grid(self._start.largest(), plan.n_strengths, plan.min_ratio, plan.direction)
            if plan.strengths is None
            else in_order(plan.strengths, plan.direction)
        )

    def run(self, checkpoint: Checkpoint, bar: ProgressBar) -> tuple[Rows, list[Rows]]:
        """Trains all strengths on all samples, and those that there are rows of in each fold."""
        with PartTrainer(self._plan, self._number) as trainer:
            self._prepare(trainer)
            rows = trainer.follow(self._part(None, self._strengths), checkpoint, bar.show)
            strengths = [row["strength"] for row in rows]
            parts = [self._part(fold, strengths) for fold in range(len(self._plan.folds))]
            return rows, [trainer.follow(part, checkpoint, bar.show) for part in parts]

    def parts(self) -> list[Part]:
        """The part of all samples and those of the folds, which know nothing of each other.

        Of the folds all strengths are trained, though the path may end before.
        """
        with PartTrainer(self._plan, self._number) as trainer:
            self._prepare(trainer)
        folds = [None, *range(len(self._plan.folds))]
        return [self._part(fold, self._strengths) for fold in folds]

    def join(self, rows: Rows, folds: Sequence[Rows]) -> Rows:
        """The rows of the path, with the values of the folds; warns of what has gone wrong."""
        folds = [fold[: len(rows)] for fold in folds]
        self._warn([row for part in (rows, *folds) for row in part])
        sizes = [len(test) for _, test in self._plan.folds]
        for i, row in enumerate(rows):
            row |= {"fold_values": [fold[i]["value"] for fold in folds], "fold_sizes": sizes}
        return rows

    def _part(self, fold: int | None, strengths: Sequence[float]) -> Part:
        start = self._start
        return Part(
            self._number, fold, strengths, start.weights, start.gradient_norm, self._null_loss
        )

    def _prepare(self, trainer: PartTrainer) -> None:
        """Checks what is monitored and validated on, and measures the loss of the null model."""
        plan, null_weights = self._plan, self._start.null_weights
        trainer.training.restart(null_weights or self._start.weights)
        values = trainer.training.measure(plan.samples)
        if null_weights is not None:
            self._null_loss = values["data_loss"]
        if plan.monitor not in values:
            raise invalid_value("monitor", f"one of {sorted(values)}", plan.monitor)
        _check_validation(plan, trainer.training)
        self.mode = find_mode(plan.model, plan.monitor, plan.mode)
        self.kernel = trainer.measures.kernel
        self.input_axes = tuple(trainer.measures.input_axes)

    def _warn(self, trained: Rows) -> None:
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


def _check_validation(plan: Plan, training: Training) -> None:
    """Raises unless the model takes the validation data; now, not after the first strength."""
    if plan.validation is None:
        return
    try:
        training.measure(plan.validation.take(np.arange(1)))
    except Exception as error:  # Each backend has its own.
        expected = f"data that the model can be evaluated on ({error})"
        shapes = keras.tree.map_structure(np.shape, plan.validation.data[:2])
        raise invalid_value("validation_data", expected, shapes) from error
