"""Structures of weights each of which is divided by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from keras import ops

from kerasreg._tensors import Tensor, slice_axes, slice_norms
from kerasreg.regularizers.structures.structure import Alive, Structure, combined, first_largest


class Tiling(Protocol):
    """How a weight is divided into units."""

    def number(self, shape: Sequence[int]) -> int:
        """How many units a weight of that shape has."""

    def norms(self, x: Tensor) -> Tensor:
        """The Euclidean norm of each unit, in a shape of their own."""

    def alive(self, x: Alive) -> Alive:
        """Which units have an entry that is true, from booleans for each entry."""

    def axes_of(self, shape: Sequence[int]) -> tuple[int, ...] | None:
        """The axes that number the units, if each is a slice."""

    def counts(self, shape: Sequence[int]) -> Any:
        """How many entries each unit has, an array that broadcasts to the shape of `norms`."""

    def spread(self, of_units: Tensor, shape: Sequence[int]) -> Tensor:
        """For each entry of a weight what its unit has."""


@dataclass(frozen=True)
class Entries:
    """Each entry is a unit."""

    def number(self, shape: Sequence[int]) -> int:
        """The number of entries."""
        return math.prod(shape)

    def norms(self, x: Tensor) -> Tensor:
        """The entries."""
        return x

    def alive(self, x: Alive) -> Alive:
        """The same."""
        return x

    def axes_of(self, shape: Sequence[int]) -> tuple[int, ...]:
        """All axes."""
        return tuple(range(len(shape)))

    def counts(self, shape: Sequence[int]) -> Any:
        """One."""
        return 1

    def spread(self, of_units: Tensor, shape: Sequence[int]) -> Tensor:
        """The same."""
        return of_units


@dataclass(frozen=True)
class Slices:
    """Each slice along some axes is a unit.

    Args:
        axes: The axes that number the slices, counted from 0 and sorted.
    """

    axes: tuple[int, ...]

    def number(self, shape: Sequence[int]) -> int:
        """The number of slices."""
        return math.prod(shape[axis] for axis in self.axes)

    def norms(self, x: Tensor) -> Tensor:
        """The norm of each slice, the axes within it kept as 1."""
        return slice_norms(x, self.axes)

    def alive(self, x: Alive) -> Alive:
        """Which slices have an entry that is true."""
        alive: Alive = np.any(x, axis=slice_axes(x.ndim, self.axes))
        return alive

    def axes_of(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The axes that number the slices."""
        return self.axes

    def counts(self, shape: Sequence[int]) -> Any:
        """The size of a slice."""
        return math.prod(size for axis, size in enumerate(shape) if axis not in self.axes)

    def spread(self, of_units: Tensor, shape: Sequence[int]) -> Tensor:
        """The same for all entries of a slice."""
        return ops.broadcast_to(of_units, shape)


@dataclass(frozen=True)
class Blocks:
    """Each block is a unit; those at the end of an axis have what is left of it.

    Args:
        block: The lengths of a block along the last axes.
    """

    block: tuple[int, ...]

    def number(self, shape: Sequence[int]) -> int:
        """The number of blocks."""
        return math.prod(self._grid(shape))

    def norms(self, x: Tensor) -> Tensor:
        """The norm of each block, in the grid of the blocks."""
        lengths, grid = self._lengths(x.shape), self._grid(x.shape)
        missing = [g * b - size for g, b, size in zip(grid, lengths, x.shape, strict=True)]
        if any(missing):
            x = ops.pad(x, [(0, each) for each in missing])
        x = ops.reshape(x, [n for pair in zip(grid, lengths, strict=True) for n in pair])
        return ops.reshape(slice_norms(x, range(0, 2 * len(grid), 2)), grid)

    def alive(self, x: Alive) -> Alive:
        """Which blocks have an entry that is true."""
        for axis, length in enumerate(self._lengths(x.shape)):
            x = x if length == 1 else combined(x, axis, length, np.logical_or, np.bool_)
        return x

    def axes_of(self, shape: Sequence[int]) -> None:
        """None: a block is a part of a slice."""

    def counts(self, shape: Sequence[int]) -> Any:
        """The size of each block."""
        counts: Any = np.ones((1,) * len(shape))
        for axis, (length, size) in enumerate(zip(self._lengths(shape), shape, strict=True)):
            along = np.minimum(length, size - np.arange(0, size, length))
            counts = counts * along.reshape([-1 if i == axis else 1 for i in range(len(shape))])
        return counts

    def spread(self, of_units: Tensor, shape: Sequence[int]) -> Tensor:
        """The same for all entries of a block."""
        lengths, grid = self._lengths(shape), self._grid(shape)
        apart = [n for g in grid for n in (g, 1)]
        pairs = [n for pair in zip(grid, lengths, strict=True) for n in pair]
        padded = [g * b for g, b in zip(grid, lengths, strict=True)]
        whole = ops.reshape(ops.broadcast_to(ops.reshape(of_units, apart), pairs), padded)
        return whole[tuple(slice(size) for size in shape)]

    def _lengths(self, shape: Sequence[int]) -> list[int]:
        return [*(1,) * (len(shape) - len(self.block)), *self.block]

    def _grid(self, shape: Sequence[int]) -> list[int]:
        return [-(-size // b) for size, b in zip(shape, self._lengths(shape), strict=True)]


class Tiles(Structure):
    """Units of weights that are each divided by itself.

    Args:
        word: What a unit is called, in the plural.
        tilings: How each weight is divided.
        shapes: The shapes of the weights.
        costs: If units of all weights compete with each other, by how much they gain for what
            they cost: the cost of an entry of each weight. The largest unit of each weight is
            kept, so that no layer vanishes. `None` if each weight is a pool.
    """

    def __init__(
        self,
        word: str,
        tilings: Sequence[Tiling],
        shapes: Sequence[Sequence[int]],
        costs: Sequence[float] | None = None,
    ) -> None:
        self.word, self._tilings, self._shapes, self._costs = word, tilings, shapes, costs
        if costs is not None and not self.are_entries:
            self.least = len(shapes)

    @property
    def are_entries(self) -> bool:
        """Whether each entry is a unit."""
        return all(isinstance(tiling, Entries) for tiling in self._tilings)

    def pool_sizes(self) -> list[int]:
        """The number of units of each weight, or of all."""
        each = zip(self._tilings, self._shapes, strict=True)
        numbers = [tiling.number(shape) for tiling, shape in each]
        return numbers if self._costs is None else [sum(numbers)]

    def pools(self, sizes: Sequence[Tensor]) -> list[list[Tensor]]:
        """One pool for each weight, or one for all."""
        norms = [tiling.norms(x) for tiling, x in zip(self._tilings, sizes, strict=True)]
        if self._costs is None:
            return [[each] for each in norms]
        each = zip(norms, self._tilings, self._shapes, self._costs, strict=True)
        gains = [gain(norm, tiling.counts(shape) * cost) for norm, tiling, shape, cost in each]
        if not self.are_entries:
            gains = [ops.where(first_largest(x), float("inf"), x) for x in gains]
        return [gains]

    def count(self, alive: Sequence[Alive]) -> int:
        """How many units are zero."""
        each = zip(self._tilings, alive, strict=True)
        return self.number() - sum(int(np.count_nonzero(tiling.alive(x))) for tiling, x in each)

    def axes(self) -> list[tuple[int, ...] | None]:
        """The axes of slices, all axes where each entry is a unit; of blocks none."""
        each = zip(self._tilings, self._shapes, strict=True)
        return [tiling.axes_of(shape) for tiling, shape in each]

    def masks(self, chosen: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """The entries of units."""
        flat = [mask for pool in chosen for mask in pool]
        each = zip(self._tilings, flat, self._shapes, strict=True)
        return [tiling.spread(mask, shape) for tiling, mask, shape in each]


def gain(norms: Tensor, costs: Any) -> Tensor:
    """The root of squared norm by cost, which has the order of what is gained by what it costs."""
    roots = np.sqrt(np.asarray(costs, "float64"))
    if roots.size == 1 and roots == 1:
        return norms
    # What costs nothing is kept before all else.
    factors = (1.0 / np.where(roots > 0, roots, 1e-9)).astype("float32")
    return norms * ops.convert_to_tensor(factors)
