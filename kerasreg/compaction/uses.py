"""How values depend on each other: which of them a value needs.

A use answers `needed(live)`: the values that are needed for those that are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from kerasreg.compaction.channels import Bools, Floats, Ints, any_of

NOTHING: Ints = np.zeros(0, np.int64)


class Use(Protocol):
    """Values that are computed from others."""

    reason: str
    """Who uses the values and why, for the report."""

    def needed(self, live: Bools) -> Ints:
        """The values that are needed for those that are live, shape `(n,)`."""


@dataclass(eq=False)
class Edge:
    """Each output needs the input at its place.

    Args:
        outputs: Values, shape `(n,)`.
        inputs: Values, shape `(n,)`.
        reason: For the report.
    """

    outputs: Ints
    inputs: Ints
    reason: str

    def needed(self, live: Bools) -> Ints:
        """The inputs of the live outputs."""
        return self.inputs[live[self.outputs]]


@dataclass(eq=False)
class Mix:
    """Each output needs all inputs.

    Args:
        outputs: Values.
        inputs: Values.
        reason: For the report.
    """

    outputs: Ints
    inputs: Ints
    reason: str

    def needed(self, live: Bools) -> Ints:
        """All inputs, if an output is live."""
        return self.inputs if live[self.outputs].any() else NOTHING


@dataclass(eq=False)
class Bias:
    """Where the sum of folded constants goes.

    Args:
        layer: The layer that has the bias, or can have one.
        variable: The bias, `None` where there is none yet.
        attribute: The attribute of the graph's layer that holds it, as `"cell.bias"`.
        shape: Its shape, or that of the part that the sum goes to.
        part: Which part that is.
        allowed: Whether one can be added.
        spread: The shape of the sum, if it is added to several numbers each.
    """

    layer: Any
    variable: Any
    attribute: str
    shape: tuple[int, ...]
    part: Any = ...
    allowed: bool = True
    spread: tuple[int, ...] | None = None


@dataclass(eq=False)
class Read:
    """A kernel through which outputs are linear in inputs, in all calls of its layer.

    A constant input is *folded* into the bias: the outputs need it no longer. One that cannot be,
    as the border of a padded image does not see it, is *merged* with another constant of the same
    input: for all of them one is needed.

    Args:
        owner: The layer of the graph that it belongs to.
        kernel: The variable.
        weights: Returns its numbers, or the part that this is about, with the inputs along the
            first axis, the outputs along the second and what is summed over along the third; for
            some kernels a copy, which is not to be kept.
        bias: Where folded constants go.
        folds: Whether constants other than zero can be folded.
        merges: Whether those that cannot be folded can be merged.
        reason: For the report.
        place: Finds that part in an array of the kernel's shape.
        obstacle: Why constants cannot be folded, for the report.
    """

    owner: Any
    kernel: Any
    weights: Callable[[], Any]
    bias: Bias
    folds: bool
    merges: bool
    reason: str
    place: Any
    obstacle: str = ""
    nonzero: Bools = field(init=False)
    foldable: Bools = field(init=False)
    mergeable: Bools = field(init=False)
    calls: list[tuple[Ints, Ints]] = field(default_factory=list)
    known: Floats = field(init=False)
    representative: int | None = None

    def __post_init__(self) -> None:
        self.nonzero = (self.weights() != 0).any(axis=2)
        self.folds = self.folds and (self.bias.variable is not None or self.bias.allowed)

    def constants(self, numbers: Floats) -> Floats:
        """What the outputs are without a bias where all that they read is known, else NaN.

        Args:
            numbers: The inputs, shape `(inputs,)`, NaN where they are not constant.

        Returns:
            Shape `(outputs,)`.
        """
        usable = ~np.isnan(numbers) & (self.folds or numbers == 0)
        nonzero = usable & (numbers != 0)
        total = self.weights()[nonzero].sum(axis=2, dtype=np.float64)
        sums = np.asarray(numbers[nonzero] @ total, np.float64)
        sums[self.nonzero[~usable].any(axis=0)] = np.nan
        return sums

    def settle(self, constants: Floats) -> None:
        """Takes in what all calls together know of the inputs; before `needed`."""
        known = constants[self.calls[0][0]]
        for inputs, _ in self.calls[1:]:
            known = np.where(constants[inputs] == known, known, np.nan)
        self.known = known
        self.foldable = ~np.isnan(known) & (self.folds | (known == 0))
        self.mergeable = ~np.isnan(known) & ~self.foldable & self.merges

    def used_rows(self, live: Bools) -> Bools:
        """The inputs with a weight to an output that is live in any call, shape `(inputs,)`."""
        return np.asarray(self.nonzero[:, self.live_columns(live)].any(axis=1), bool)

    def live_columns(self, live: Bools) -> Bools:
        """The outputs that are live in any call, shape `(outputs,)`."""
        return any_of([live[outputs] for _, outputs in self.calls])

    def kept_rows(self, live: Bools) -> Bools:
        """The inputs that are read as they are, shape `(inputs,)`."""
        kept: Bools = self.used_rows(live) & ~self.foldable & ~self.mergeable
        if self.representative is not None:
            kept[self.representative] = True
        return kept

    def needed(self, live: Bools) -> Ints:
        """The inputs of the live outputs that are not folded, in all calls."""
        kept = self.kept_rows(live)
        return np.concatenate([inputs[kept] for inputs, _ in self.calls])

    def choose_representative(self, live: Bools, alive: Bools) -> bool:
        """Chooses the constant that takes over the weights of the others, if there are any.

        Args:
            live: Which values are needed anyhow.
            alive: Which have a width that stays anyhow.

        Returns:
            Whether it has changed.
        """
        candidates = np.flatnonzero(self.used_rows(live) & self.mergeable).tolist()
        if self.representative is not None or not candidates:
            return False

        def rank(row: int) -> tuple[bool, bool]:
            places = [inputs[row] for inputs, _ in self.calls]
            return (not live[places].all(), not alive[places].all())

        self.representative = min(candidates, key=rank)
        return True

    def fold(self, array: Any, live: Bools) -> Floats:
        """Writes what is left of the kernel into an array.

        Args:
            array: The kernel, changed in place.
            live: Which values are needed.

        Returns:
            What is to be added to the bias, shape `(outputs,)`.
        """
        weights, columns, used = self.weights(), self.live_columns(live), self.used_rows(live)
        folded = used & self.foldable & (self.known != 0)
        total = weights[folded].sum(axis=2, dtype=np.float64)
        sums = np.where(columns, self.known[folded] @ total, 0)
        left = np.where(self.kept_rows(live)[:, None, None] & columns[:, None], weights, 0)
        if self.representative is not None:
            one = self.representative
            merged = np.flatnonzero(used & self.mergeable)
            factors = self.known[merged] / self.known[one]
            taken_over = np.tensordot(factors, weights[merged].astype(np.float64), 1)
            left[one] = np.where(columns[:, None], taken_over, 0)
        view = self.place(array)
        view[...] = left.reshape(view.shape)
        return np.asarray(sums, np.float64)
