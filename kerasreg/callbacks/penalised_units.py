"""What the penalties of a training set to zero as a whole, in all of their weights."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from keras import ops

from kerasreg._backends import compiled
from kerasreg._tensors import Tensor, cast_like, to_numpy
from kerasreg.regularizers import Penalty
from kerasreg.regularizers.structures import Entries, Tiles
from kerasreg.statistics.measurement import count_nonzero

Sizes: TypeAlias = npt.NDArray[np.float64]


class PenalisedUnits:
    """Single weights or groups of them, as each penalty has it; each of them counts as one.

    Args:
        targets: Weights, each with its penalty.

    Attributes:
        count: How many units there are.
        are_known: Whether all penalties say what their units are; else weights are counted.
    """

    def __init__(self, targets: Sequence[tuple[Any, Penalty]]) -> None:
        of_penalty: dict[Penalty, list[Any]] = defaultdict(list)
        for variable, penalty in targets:
            of_penalty[penalty].append(variable)
        self._families = [_Family(p, variables) for p, variables in of_penalty.items()]
        self.count = sum(family.count for family in self._families)
        self.are_known = all(family.is_known for family in self._families)

    @property
    def are_groups(self) -> bool:
        """Whether some are more than a single weight: those hardly ever come back from zero."""
        return any(not family.structure.are_entries for family in self._families)

    @functools.cached_property
    def in_groups(self) -> npt.NDArray[np.bool_]:
        """Which of the units, in the order of `sizes`, are more than a single weight."""
        return np.concatenate(
            [np.full(f.count, not f.structure.are_entries) for f in self._families]
        )

    def zero_fraction(self) -> float:
        """The fraction of units that are zero now."""
        return sum(family.count_zeros() for family in self._families) / self.count

    def sizes(self) -> Sizes:
        """The root mean square of each unit's weights now.

        Of several groups with parts in the same weights the largest counts as infinitely large, so
        that no layer dies.
        """
        return np.concatenate([family.sizes() for family in self._families])

    def values(self) -> list[Tensor]:
        """Copies of all weights."""
        variables = (v for family in self._families for v in family.variables)
        return [ops.copy(ops.stop_gradient(v.value)) for v in variables]

    def replace(self, chosen: npt.NDArray[np.bool_], values: Sequence[Any]) -> None:
        """Gives the weights of some units other values.

        Args:
            chosen: Which of the units, in the order of `sizes`.
            values: For each weight, in the order of `values`, tensors of its shape, or scalars.
        """
        new, start = iter(values), 0
        for family in self._families:
            part = chosen[start : start + family.count]
            start += family.count
            family.replace(part, [next(new) for _ in family.variables])


class _Family:
    """The units of the weights that one penalty acts on."""

    def __init__(self, penalty: Penalty, variables: list[Any]) -> None:
        self.variables = variables
        shapes = [tuple(v.shape) for v in variables]
        structure = penalty.structure(shapes, [v.path for v in variables])
        self.is_known = structure is not None
        self.structure = structure or Tiles("weights", [Entries()] * len(shapes), shapes)
        sizes = self.structure.pool_sizes()
        self._ends, self.count = np.cumsum(sizes)[:-1], sum(sizes)
        self._norms = compiled(self._norms_of)

    def count_zeros(self) -> int:
        """How many units are zero now."""
        if self.structure.are_entries:
            return self.count - sum(map(count_nonzero, self.variables))
        return int(np.count_nonzero(self.sizes() == 0))

    def sizes(self) -> Sizes:
        """The sizes of units as `PenalisedUnits` has them."""
        norms = self._norms([ops.stop_gradient(v.value) for v in self.variables])
        sizes: Sizes = _joined(norms).astype("float64") / self._roots
        if not self.structure.are_entries:
            for pool in np.split(sizes, self._ends):  # which are views
                if pool.size > 1 and pool.any():
                    pool[pool.argmax()] = np.inf
        return sizes

    def replace(self, chosen: npt.NDArray[np.bool_], values: Sequence[Any]) -> None:
        """Gives the weights of chosen units other values."""
        left = [
            [ops.convert_to_tensor(part.reshape(tuple(x.shape))) for x in pool]
            for part, pool in zip(np.split(~chosen, self._ends), self._ones, strict=True)
        ]
        each = zip(self.variables, self.structure.masks(left), values, strict=True)
        for variable, stays, value in each:
            now = ops.stop_gradient(variable.value)
            value = cast_like(ops.convert_to_tensor(value), now)
            variable.assign(ops.where(stays, now, value))

    def _norms_of(self, values: Sequence[Tensor]) -> list[list[Tensor]]:
        return self.structure.pools([ops.abs(ops.cast(w, "float32")) for w in values])

    @functools.cached_property
    def _ones(self) -> list[list[Tensor]]:
        """The norms of units of ones: the roots of how many weights they have."""
        ones: list[list[Tensor]] = self._norms([ops.ones(v.shape) for v in self.variables])
        return ones

    @functools.cached_property
    def _roots(self) -> Any:
        return _joined(self._ones)


def _joined(pools: Sequence[Sequence[Tensor]]) -> Any:
    return np.concatenate([to_numpy(x).ravel() for pool in pools for x in pool])
