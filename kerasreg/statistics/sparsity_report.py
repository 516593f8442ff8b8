"""Reports how sparse each weight of a model is."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kerasreg._checks import check_built
from kerasreg.optimizers.of_model import Optimizers
from kerasreg.statistics.loss_only import loss_only
from kerasreg.statistics.measurement import statistics_of
from kerasreg.statistics.noisy_penalties import noisy_penalties
from kerasreg.statistics.numbers import Measured, Parts, Statistics, total_statistics
from kerasreg.statistics.tables import html_table, text_table
from kerasreg.statistics.weights import Weight, describe_penalties, find_weights

COLUMNS = ("path", "shape", "parameters", "zeros", "sparsity", "dead units", "penalty")


@dataclass(frozen=True)
class ReportRow:
    """One weight of a report, or all of them.

    Args:
        path: `variable.path`, or `"total"`.
        shape: Shape of the weight; empty in the total.
        parameters: Number of weights.
        zeros: Number of weights that are exactly zero.
        sparsity: `zeros / parameters`.
        dead_units: Number of output units all of whose weights are zero.
        units: Number of output units; 0 where there are none, as in a bias.
        penalty: The regularizer in words, empty where there is none.
        parts: How many inputs, heads, blocks or slices are zero, where the penalty zeroes those as
            a whole, or how many runs keep to `n:m`; else `None`.
    """

    path: str
    shape: tuple[int, ...]
    parameters: int
    zeros: int
    sparsity: float
    dead_units: int
    units: int
    penalty: str
    parts: Parts | None = None

    def cells(self) -> tuple[str, ...]:
        """The row as strings, in the order of the columns."""
        dead = [f"{self.dead_units:,} of {self.units:,}"] if self.units else []
        dead += [] if self.parts is None else [str(self.parts)]
        return (
            self.path,
            " × ".join(map(str, self.shape)),
            f"{self.parameters:,}",
            f"{self.zeros:,}",
            f"{self.sparsity:.2%}",
            ", ".join(dead),
            self.penalty,
        )


@dataclass(frozen=True)
class SparsityReport:
    """The table that `sparsity_report` returns, for `print` and for notebooks.

    Args:
        rows: A `ReportRow` for each weight.
        total: The `ReportRow` of all weights together.
        notes: Sentences on penalties that make few zeros or none, and what to do.
        groups: The `Parts` of each penalty on groups of several weights.
    """

    rows: tuple[ReportRow, ...]
    total: ReportRow
    notes: tuple[str, ...] = ()
    groups: tuple[Parts, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """What is said below the table: of groups of several weights, and the notes."""
        return (*(f"{each.penalty}: {each} are zero." for each in self.groups), *self.notes)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data: `{"rows": [...], "total": {...}, "notes": [...], ...}`."""
        as_data = dataclasses.asdict(self)
        return as_data | {name: list(as_data[name]) for name in ("rows", "notes", "groups")}

    def __str__(self) -> str:
        cells = [row.cells() for row in self.rows]
        table = text_table(COLUMNS, cells, self.total.cells(), "<<>>>><")
        return "\n".join([table, *(f"\n{line}" for line in self.lines)])

    def _repr_html_(self) -> str:
        cells = [row.cells() for row in self.rows]
        return html_table(COLUMNS, cells, self.total.cells(), self.lines)


def sparsity_report(
    model: Any, weights: str | re.Pattern[str] | None = None, optimizer: Any = None
) -> SparsityReport:
    """Reports how sparse each weight of a model is.

    A weight counts as zero if it is exactly zero, and a unit as dead if all weights that lead to
    it are: a column of a `Dense` kernel, a filter of a convolution. Inputs, heads, blocks and other
    slices are counted beside units where a penalty acts that zeroes them as a whole, and the runs
    that keep to a pattern `n:m`; groups that span several weights have a line below the table.

    A weight is counted as its layer computes with it: unpacked and scaled after `quantize`, and
    with the product of its factors where LoRA is enabled; the factors have rows of their own, which
    are not in the total.

    Args:
        model: A built Keras model or layer.
        weights: Regular expression, searched for in `variable.path`, that chooses the weights;
            `None` for all. What is never trained, as the averages of `BatchNormalization`, has a
            row only where the pattern names it: `"moving_mean"`.
        optimizer: The optimizer of a training loop of your own, or a list or dict of several, to
            name the penalties of each `Proximal`; by default those that the model holds.

    Returns:
        A `SparsityReport` with `.rows`, `.total`, `.groups`, `.notes` and `.to_dict()`. Notes
        say where penalties make no zeros, as all of them act in the loss, or a penalty of
        `Proximal` makes few because the gradients of minibatches are noisy.

    Raises:
        ValueError: If the model is not built, no path matches, or what is given is no optimizer.

    Example:
    >>> layer = keras.layers.Dense(4, kernel_initializer="zeros")
    >>> report = kerasreg.sparsity_report(keras.Sequential([keras.Input((3,)), layer]))
    >>> print(report)
    path ... penalty
    ...
    total ... 16 ... 16 ... 100.00% ... 4 of 4
    >>> report.total.sparsity
    1.0
    """
    check_built(model)
    found = find_weights(model, weights, optimizers=Optimizers(model, optimizer))
    return report_of(found, statistics_of(found, threshold=0.0)()())


def report_of(weights: Sequence[Weight], measured: Measured) -> SparsityReport:
    """The report of weights that have been measured."""

    def row(
        path: str, shape: Sequence[int], n: Statistics, penalty: str, parts: Parts | None = None
    ) -> ReportRow:
        counts = (n.size, n.zeros, n.sparsity, n.dead_units, n.units)
        return ReportRow(path, tuple(shape), *counts, penalty, parts)

    rows = tuple(
        row(weight.variable.path, weight.variable.shape, numbers, describe_penalties(weight), parts)
        for weight, numbers, parts in zip(weights, measured.statistics, measured.parts, strict=True)
    )
    counted = itertools.compress(measured.statistics, measured.counts)
    total = row("total", (), total_statistics(counted), "")
    optimizers = weights[0].optimizers if weights else None
    noisy = noisy_penalties(optimizers.proximals() if optimizers else [])
    notes = (*loss_only(weights), *noisy)
    return SparsityReport(rows, total, notes, tuple(measured.groups))
