"""What is known of a model that was trained at one strength."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class PathRow:
    """One strength of a path.

    Args:
        index: Its place in the path.
        penalty: Name of the penalty.
        strength: Strength of the penalty: its first hyper-parameter.
        data_loss: The loss on the training data, without penalties. For a model with a
            `train_step` or `compute_loss` of its own, with the penalties of its layers.
        val_data_loss: The same loss on the validation data; `None` without validation data.
        sparsity: Fraction of the penalised weights that is exactly zero.
        dead_units: Number of output units all of whose penalised weights are zero.
        used_inputs: Number of input features, or channels, whose weights in the first kernel with a
            penalty are not all zero.
        residual: How far a linear model is from its optimum: the distance of minus the gradient
            from the penalty's subdifferential, relative to the norm of the gradient at zero. `None`
            for other models. Where inputs are nearly dependent, coefficients are less precise than
            that.
        metrics: The model's compiled metrics, those on the validation data with `val_`.
        fold_values: What is monitored, on each fold's held-out samples.
        fold_sizes: Number of held-out samples of each fold.
    """

    index: int
    penalty: str
    strength: float
    data_loss: float
    val_data_loss: float | None
    sparsity: float
    dead_units: int
    used_inputs: int
    residual: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    fold_values: Sequence[float] = ()
    fold_sizes: Sequence[int] = ()

    @property
    def fold_mean(self) -> float | None:
        """Mean of what is monitored over all held-out samples; `None` without folds."""
        if not self.fold_values:
            return None
        return float(np.average(self.fold_values, weights=self.fold_sizes))

    @property
    def fold_error(self) -> float | None:
        """Standard error of `fold_mean`, from how much the folds differ, as in glmnet."""
        if not self.fold_values:
            return None
        squares = np.square(np.asarray(self.fold_values) - self.fold_mean)
        variance = np.average(squares, weights=self.fold_sizes)
        return math.sqrt(variance / (len(self.fold_values) - 1))

    def held_out_value(self, monitor: str) -> float | None:
        """What is monitored: its mean over the folds, or its value on the validation data."""
        if self.fold_values:
            return self.fold_mean
        if monitor == "data_loss":
            return self.val_data_loss
        return self.metrics.get(f"val_{monitor}")

    def trained_value(self, monitor: str) -> float:
        """What is monitored, on the training data."""
        return self.data_loss if monitor == "data_loss" else self.metrics[monitor]

    def to_dict(self) -> dict[str, Any]:
        """The row as plain data: its metrics as entries, and of the folds mean and error."""
        values = dataclasses.asdict(self)
        metrics, folds = values.pop("metrics"), values.pop("fold_values")
        del values["fold_sizes"]
        means = {"fold_mean": self.fold_mean, "fold_error": self.fold_error} if folds else {}
        return {k: v for k, v in {**values, **metrics, **means}.items() if v is not None}
