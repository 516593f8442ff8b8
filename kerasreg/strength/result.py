"""What is known of a model that was trained at one strength."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from kerasreg._checks import check_built, check_integer, invalid_value


@dataclass(frozen=True)
class Row:
    """One strength of a path.

    Args:
        index: Its place in the path.
        penalty: Name of the penalty.
        strength: Strength of the penalty: its first hyper-parameter.
        data_loss: The loss on the training data, without penalties; with those of its layers where
            a model has a `train_step` or `compute_loss` of its own.
        val_data_loss: That on the validation data, `None` without.
        sparsity: Fraction of the penalised weights that is exactly zero.
        dead_units: Number of output units all of whose penalised weights are zero.
        used_inputs: Number of input features, or channels, whose weights in the first kernel with a
            penalty are not all zero.
        residual: How far a linear model is from its optimum: the distance of minus the gradient
            from the penalty's subdifferential, relative to the gradient at zero; else `None`. Where
            inputs are nearly dependent, coefficients are less precise than that.
        metrics: The model's compiled metrics, also with `val_`.
        fold_values: What the choice is made by, on each fold's held-out samples.
        fold_sizes: Number of those.
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
        """Mean over the held-out samples of all folds; `None` without folds."""
        if not self.fold_values:
            return None
        return float(np.average(self.fold_values, weights=self.fold_sizes))

    @property
    def fold_error(self) -> float | None:
        """Standard error of that mean, from how much the folds differ, as in glmnet."""
        if not self.fold_values:
            return None
        squares = np.square(np.asarray(self.fold_values) - self.fold_mean)
        variance = np.average(squares, weights=self.fold_sizes)
        return math.sqrt(variance / (len(self.fold_values) - 1))

    def to_dict(self) -> dict[str, Any]:
        """The row as plain data: the metrics beside the rest, and the folds' mean and error."""
        values = dataclasses.asdict(self)
        metrics, folds = values.pop("metrics"), values.pop("fold_values")
        del values["fold_sizes"]
        means = {"fold_mean": self.fold_mean, "fold_error": self.fold_error} if folds else {}
        return {k: v for k, v in {**values, **metrics, **means}.items() if v is not None}


Arrays = Sequence[npt.NDArray[Any]]


@dataclass(frozen=True)
class Path:
    """What `regularization_path` returns: a `Row` for each strength, in the order of training.

    Args:
        rows: A row for each strength that was trained.
        monitor: What the choice is made by.
        mode: Whether less of it is better, `"min"`, or more, `"max"`.
        weights: For each row a function that returns its weights; `None` if they were not kept.
        weight_names: The name of each of these weights.
        kernel: Which of them is the first kernel with a penalty.
        input_axes: The axes of that kernel that number its inputs.
    """

    rows: tuple[Row, ...]
    monitor: str
    mode: str
    weights: tuple[Callable[[], Arrays], ...] | None
    weight_names: tuple[str, ...]
    kernel: int = 0
    input_axes: tuple[int, ...] = (0,)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def strengths(self) -> list[float]:
        """The strengths, in the order in which they were trained."""
        return [row.strength for row in self.rows]

    @property
    def best(self) -> Row:
        """The row with the best monitored value: over the folds, or on the validation data.

        Of several, the sparsest.

        Raises:
            ValueError: If there are neither folds nor validation data, or no value is finite.
        """
        best = min(self.rows, key=lambda row: (self._badness(row), -row.sparsity))
        if not math.isfinite(self.value_of(best)):
            raise ValueError(
                f"There is no best strength: `{self.monitor}` on the held-out samples is not "
                "finite at any. A smaller learning rate may help."
            )
        return best

    @property
    def one_standard_error(self) -> Row:
        """The sparsest row that is within one standard error of the best: glmnet's `lambda.1se`.

        Source: Breiman, Friedman, Olshen & Stone, Classification and Regression Trees, 1984.

        Raises:
            ValueError: If there are no folds.
        """
        best = self.best
        if best.fold_error is None:
            expected = "folds, as one standard error is that of the mean over them"
            raise invalid_value("folds", expected, None)
        limit = self._badness(best) + best.fold_error
        return max(
            (row for row in self.rows if self._badness(row) <= limit),
            key=lambda row: (row.penalty == best.penalty, row.strength),
        )

    def restore(self, model: Any, row: int | Row) -> None:
        """Gives a model the weights that it had at one strength.

        Args:
            model: The model, or one with the same layers.
            row: The row, or its index.

        Raises:
            ValueError: If the weights were not kept, there is no such row, or the model does not
                have such weights.
        """
        check_built(model)
        arrays = self.weights_of(row)
        shapes = [tuple(array.shape) for array in arrays]
        if shapes != [tuple(weight.shape) for weight in model.weights]:
            expected = f"a model with the weights of this path, of shapes {shapes}"
            raise invalid_value("model", expected, model)
        model.set_weights(arrays)

    def weights_of(self, row: int | Row) -> Arrays:
        """The weights at one strength, in the order of `weight_names` and `model.weights`."""
        if self.weights is None:
            raise ValueError(
                "The weights of this path were not kept. Expected `keep_weights=True` in "
                "`regularization_path`."
            )
        expected = f"one of the {len(self.rows)} rows, or its index"
        if isinstance(row, Row):
            if row not in self.rows:
                raise invalid_value("row", f"{expected}, of this path", row)
            return self.weights[row.index]()
        if not -len(self.rows) <= check_integer("row", row, expected) < len(self.rows):
            raise invalid_value("row", expected, row)
        return self.weights[row]()

    def to_pandas(self) -> Any:
        """The rows as a `pandas.DataFrame`, if pandas is installed."""
        import pandas as pd

        return pd.DataFrame([row.to_dict() for row in self.rows]).set_index("index")

    def plot(self, ax: Any = None, names: Sequence[str] | None = None) -> Any:
        """Draws the path with matplotlib: coefficients of a linear model, else loss and sparsity.

        Args:
            ax: The `matplotlib` axes to draw on; `None` for new ones.
            names: Names of the input features, for the coefficients.

        Returns:
            The axes.
        """
        from kerasreg.strength.plot import plot_path  # Only here, as matplotlib is optional.

        return plot_path(self, ax, names)

    def __str__(self) -> str:
        titles = list(dict.fromkeys(key for row in self.rows for key in row.to_dict()))
        lines = [[row.to_dict().get(title, "") for title in titles] for row in self.rows]
        cells = [titles, *([_short(cell) for cell in line] for line in lines)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join(
            "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
            for line in cells
        )

    def has_choice(self) -> bool:
        """Whether there is something to choose the best strength by."""
        return bool(self.rows) and self._value(self.rows[0]) is not None

    def value_of(self, row: Row) -> float:
        """The monitored value of a row: its mean over the folds, or that on validation data.

        Raises:
            ValueError: If there are neither.
        """
        value = self._value(row)
        if value is None:
            expected = "validation data, or `folds`, to choose a strength by"
            raise invalid_value("validation_data", expected, None)
        return value

    def _value(self, row: Row) -> float | None:
        if row.fold_values:
            return row.fold_mean
        return row.val_data_loss if self.monitor == "data_loss" else row.metrics.get(self._metric)

    @property
    def _metric(self) -> str:
        return f"val_{self.monitor}"

    def _badness(self, row: Row) -> float:
        value = self.value_of(row)
        signed = value if self.mode == "min" else -value
        return float("inf") if signed != signed else signed  # NaN is the worst.


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
