"""What `regularization_path` returns: its rows, the choice among them, and their weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kerasreg._checks import check_built, check_integer, invalid_value
from kerasreg.statistics.tables import html_table
from kerasreg.strength.path_row import PathRow
from kerasreg.strength.samples import Arrays


@dataclass(frozen=True)
class Path:
    """What `regularization_path` returns: a `PathRow` for each strength, in the order of training.

    Args:
        rows: A row for each strength that was trained.
        monitor: The name of the loss or metric that a strength is chosen by.
        mode: Whether less of it is better, `"min"`, or more, `"max"`.
        weights: For each row a function that returns its weights; `None` if they were not kept.
        weight_names: The name of each of these weights.
        kernel: Which of them is the first kernel with a penalty.
        input_axes: The axes of that kernel that number its inputs.
    """

    rows: tuple[PathRow, ...]
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
    def best(self) -> PathRow:
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
    def one_standard_error(self) -> PathRow:
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

    def restore(self, model: Any, row: int | PathRow) -> None:
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

    def weights_of(self, row: int | PathRow) -> Arrays:
        """The weights at one strength, in the order of `weight_names` and `model.weights`."""
        if self.weights is None:
            raise ValueError(
                "The weights of this path were not kept. Expected `keep_weights=True` in "
                "`regularization_path`."
            )
        expected = f"one of the {len(self.rows)} rows, or its index"
        if isinstance(row, PathRow):
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

        Raises:
            ValueError: If there are names and no coefficients to draw, or not as many.
        """
        from kerasreg.strength import plot  # Only here, as matplotlib is optional.

        coefficients = self._coefficients()
        if coefficients is not None:
            return plot.plot_coefficients(self.rows, coefficients, self._choices(), ax, names)
        if names is not None:
            expected = (
                "None, as coefficients are drawn for a linear model with one penalty whose weights "
                "were kept"
            )
            raise invalid_value("names", expected, names)
        choices, kind = self._choices(), "training"
        values = [row.trained_value(self.monitor) for row in self.rows]
        if choices:
            values, kind = [self.value_of(row) for row in self.rows], "held-out"
        return plot.plot_values(self.rows, values, f"{kind} {self.monitor}", choices, ax)

    def _cells(self) -> list[list[str]]:
        """The titles of the columns, then the rows, as strings."""
        rows = [row.to_dict() for row in self.rows]
        titles = list(dict.fromkeys(key for row in rows for key in row))
        return [titles, *([_short(row.get(title, "")) for title in titles] for row in rows)]

    def _repr_html_(self) -> str:
        titles, *rows = self._cells()
        choices = [
            f"{name}: {row.penalty}, strength {_short(row.strength)}"
            for name, row in self._choices().items()
        ]
        return html_table(titles, rows, None, choices)

    def __str__(self) -> str:
        cells = self._cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join(
            "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
            for line in cells
        )

    def has_choice(self) -> bool:
        """Whether there is something to choose the best strength by."""
        return bool(self.rows) and self.rows[0].held_out_value(self.monitor) is not None

    def value_of(self, row: PathRow) -> float:
        """The monitored value of a row: its mean over the folds, or that on validation data.

        Raises:
            ValueError: If there are neither.
        """
        value = row.held_out_value(self.monitor)
        if value is None:
            expected = "validation data, or `folds`, to choose a strength by"
            raise invalid_value("validation_data", expected, None)
        return value

    def _badness(self, row: PathRow) -> float:
        """The monitored value with the sign with which less is better; NaN is the worst."""
        value = self.value_of(row)
        return math.inf if math.isnan(value) else value if self.mode == "min" else -value

    def _choices(self) -> dict[str, PathRow]:
        """The rows that a plot or a table marks, by the names of the marks."""
        if not self.has_choice() or not any(math.isfinite(self.value_of(r)) for r in self.rows):
            return {}
        best = self.best
        if not best.fold_values:
            return {"best": best}
        sparser = self.one_standard_error
        if sparser.index == best.index:
            return {"best, one standard error": best}
        return {"best": best, "one standard error": sparser}

    def _coefficients(self) -> npt.NDArray[np.float64] | None:
        """The kernels of a linear model, of shape `(rows, features, outputs)`.

        `None` without them, and for several penalties, whose lines would cross.
        """
        one_penalty = len({row.penalty for row in self.rows}) == 1
        if self.weights is None or self.rows[0].residual is None or not one_penalty:
            return None
        kernels = np.stack([self.weights_of(row)[self.kernel] for row in self.rows])
        axes = [axis + 1 for axis in self.input_axes]
        features = math.prod(kernels.shape[axis] for axis in axes)
        features_first = np.moveaxis(kernels.astype("float64"), axes, range(1, 1 + len(axes)))
        return features_first.reshape(len(kernels), features, -1)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
