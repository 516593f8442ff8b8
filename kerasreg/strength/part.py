"""Trains one part of a path: a penalty's strengths on all samples, or on those of a fold."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerasreg._backends import seed_everything
from kerasreg.callbacks import RegularizationLogger
from kerasreg.callbacks.logged_steps import begin_log
from kerasreg.statistics.optimality import Optimality
from kerasreg.statistics.weights import find_weights
from kerasreg.strength.checkpoint import Checkpoint
from kerasreg.strength.max_strength import main_strength
from kerasreg.strength.measures import Measures
from kerasreg.strength.plan import Plan
from kerasreg.strength.samples import Arrays
from kerasreg.strength.strengths import is_over
from kerasreg.strength.training import Convergence, Training

# What the progress bar shows of a row.
SHOWN = ("strength", "data_loss", "sparsity")

Rows = list[dict[str, Any]]

# Takes the number of strengths that are done, and what there is to show of the last one.
Show = Callable[[int, Sequence[tuple[str, float]]], None]


@dataclass(frozen=True)
class Part:
    """What one part needs to be trained, in this process or in another.

    Args:
        number: Which of the plan's penalties.
        fold: Which of its folds; `None` for all samples.
        strengths: In the order of training.
        weights: The model's weights to begin with.
        gradient_norm: Norm of the gradient where the weights are zero.
        null_loss: The loss there, infinite if unknown.
    """

    number: int
    fold: int | None
    strengths: Sequence[float]
    weights: Arrays
    gradient_norm: float
    null_loss: float

    @property
    def name(self) -> str:
        """What a checkpoint calls it."""
        return f"{self.number}" if self.fold is None else f"{self.number}-fold-{self.fold}"

    def describe(self, plan: Plan) -> str:
        """What a message calls it."""
        samples = "all samples" if self.fold is None else f"fold {self.fold + 1}"
        several = f" of {len(plan.folds)}" if self.fold is not None else ""
        return f"{plan.labels[self.number]}, {samples}{several}"


class PartTrainer:
    """A context in which the parts of one penalty are trained, one after the other.

    Args:
        plan: The arguments of the path.
        number: Which of its penalties.

    Attributes:
        training: Trains the model.
        measures: Knows the first penalised kernel.
    """

    measures: Measures

    def __init__(self, plan: Plan, number: int) -> None:
        self._plan = plan
        self._penalty = plan.penalties[number]
        self._label = plan.labels[number]
        self._number = number
        self._optimality: Optimality | None = None
        self.training = Training(plan.model, self._penalty, plan.batch_size)

    def __enter__(self) -> PartTrainer:
        """Gives the model the penalty."""
        self.training.__enter__()
        self.measures = Measures(self._plan.model)
        if self._plan.is_linear:  # One for all parts, as it compiles the gradient.
            self._optimality = Optimality(self._plan.model, find_weights(self._plan.model))
        return self

    def __exit__(self, *exception: Any) -> None:
        """Gives the model back what it had."""
        self.training.__exit__(*exception)

    def follow(self, part: Part, checkpoint: Checkpoint, show: Show) -> Rows:
        """Trains the strengths of a part, from where an earlier run has stopped.

        Returns:
            A row for each.
        """
        plan, training, is_main = self._plan, self.training, part.fold is None
        samples, strengths = plan.samples, part.strengths
        if part.fold is not None:
            train, test = plan.folds[part.fold]
            samples, held_out = samples.take(train), samples.take(test)
        # Of a fold that was trained beside the path there may be more than the path has.
        rows = checkpoint.rows(part.name)[: len(strengths)]
        show(len(rows), ())
        training.restart(part.weights)
        if 0 < len(rows) < len(strengths):
            training.state = checkpoint.state(part.name)
        convergence = []
        if self._optimality is not None:
            convergence = [Convergence(self._optimality, samples, part.gradient_norm)]
        for strength in strengths[len(rows) :]:
            if is_main and is_over(rows, plan.direction, part.null_loss):
                break
            callbacks = [*plan.callbacks, *convergence]
            scale = strength / main_strength(self._penalty)
            # The order of the samples is the same whatever was trained before.
            words = f"{plan.seed} {part.name} {len(rows)}"
            seed_everything(zlib.crc32(words.encode()))
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
            checkpoint.add(part.name, row, training, is_main and plan.keep_weights)
            rows.append(row)
            show(1, [(key, row[key]) for key in SHOWN] if is_main else ())
        show(len(strengths) - len(rows), ())
        return rows

    def _describe(self) -> dict[str, Any]:
        """What a row says of the model as it is."""
        plan = self._plan
        values = self.training.measure(plan.samples)
        row = {"data_loss": values.pop("data_loss"), "val_data_loss": None, "metrics": values}
        if plan.validation is not None:
            held_out = self.training.measure(plan.validation)
            row["val_data_loss"] = held_out.pop("data_loss")
            values |= {f"val_{name}": value for name, value in held_out.items()}
        return {"penalty": self._label, **row, **self.measures()}

    def _logger(self, log_dir: str, strength: float) -> RegularizationLogger:
        folder = Path(log_dir) / f"{self._label} {strength:.6g}"
        hparams = self._plan.hparams(self._number, strength)
        begin_log(str(folder), self._plan.model)  # What was cut off there is trained anew.
        return RegularizationLogger(folder, hparams=hparams, verbose=0)
