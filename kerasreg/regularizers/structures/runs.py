"""The structure `n:m`: of every m neighbours n are kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from keras import ops

from kerasreg._tensors import Tensor
from kerasreg.regularizers.structures.structure import Alive, Structure, combined

# In short runs all pairs are compared, which is faster than to sort them, but takes XLA minutes to
# compile where there are a hundred distances.
LONGEST_COMPARED = 16


def sorted_ranks(runs: Tensor, axis: int) -> Tensor:
    """The place of each entry of a run in descending order; of equal ones the first is ahead."""
    return ops.argsort(ops.argsort(-runs, axis=axis), axis=axis)


class Runs(Structure):
    """Runs of neighbours along an axis, of each of which so many entries are kept.

    A run at the end of an axis may be shorter, and is treated as if zeros followed.

    Args:
        most: How many entries of a run are kept in the end, n.
        length: The length of a run, m.
        axes: For each weight the axis that runs lie along, counted from 0.
        shapes: The shapes of the weights.
    """

    def __init__(
        self, most: int, length: int, axes: Sequence[int], shapes: Sequence[Sequence[int]]
    ) -> None:
        self.word = f"runs of {most}:{length}"
        self._most, self._length, self._axes, self._shapes = most, length, axes, shapes

    def pool_sizes(self) -> list[int]:
        """The length of a run, for each weight."""
        return [self._length] * len(self._axes)

    def choose(self, sizes: Sequence[Tensor], kept: Callable[[int, int], Tensor]) -> list[Tensor]:
        """The largest entries of each run; of equal ones the first."""
        count = kept(self._length, self.least)
        return [self._chosen(x, axis, count) for x, axis in zip(sizes, self._axes, strict=True)]

    def holds(self, sizes: Sequence[Tensor], kept: Callable[[int, int], int]) -> Tensor:
        """Whether no run has more entries that are not zero than are kept."""
        most = [ops.max(self._alive(x, axis)) for x, axis in zip(sizes, self._axes, strict=True)]
        return ops.max(ops.stack(most)) <= kept(self._length, self.least)

    def number(self) -> int:
        """How many runs there are."""
        each = zip(self._shapes, self._axes, strict=True)
        return sum(
            -(-shape[axis] // self._length) * math.prod([*shape[:axis], *shape[axis + 1 :]])
            for shape, axis in each
        )

    def count(self, alive: Sequence[Alive]) -> int:
        """How many runs keep to `n:m`."""
        dtype = np.min_scalar_type(self._length)
        entries = (
            combined(x, axis, self._length, np.add, dtype)
            for x, axis in zip(alive, self._axes, strict=True)
        )
        return sum(int(np.count_nonzero(each <= self._most)) for each in entries)

    def axes(self) -> list[tuple[int, ...] | None]:
        """None: a run is a part of a slice."""
        return [None] * len(self._axes)

    def _alive(self, x: Tensor, axis: int) -> Tensor:
        """How many entries of each run are not zero."""
        runs = self._runs(ops.cast(x != 0, "int32"), axis, 0)
        return ops.sum(runs, axis=axis + 1)

    def _chosen(self, x: Tensor, axis: int, count: Tensor) -> Tensor:
        # What is no number is not to be hidden by a zero.
        runs = self._runs(ops.where(ops.isnan(x), float("inf"), x), axis, -1.0)
        short = self._length <= LONGEST_COMPARED
        rank = self._compared_ranks(runs, axis + 1) if short else sorted_ranks(runs, axis + 1)
        kept = rank < ops.cast(count, rank.dtype)
        mask = ops.reshape(kept, [*x.shape[:axis], -1, *x.shape[axis + 1 :]])
        return mask[(slice(None),) * axis + (slice(x.shape[axis]),)]

    def _compared_ranks(self, runs: Tensor, axis: int) -> Tensor:
        """How many of its run are ahead of an entry, each compared to each."""
        before, rank = (slice(None),) * axis, 0
        for distance in range(1, self._length):
            # Of two equal entries the earlier one is ahead.
            is_larger = runs[(*before, slice(distance, None))] > runs[(*before, slice(-distance))]
            is_larger = ops.cast(is_larger, "int8")
            for ahead, widths in ((is_larger, (0, distance)), (1 - is_larger, (distance, 0))):
                pairs = [(0, 0)] * len(runs.shape)
                pairs[axis] = widths
                rank = rank + ops.pad(ahead, pairs)
        return rank

    def _runs(self, x: Tensor, axis: int, fill: float) -> Tensor:
        """The runs along an axis of their own, behind the one that numbers them."""
        missing = -x.shape[axis] % self._length
        if missing:
            widths = [(0, missing if i == axis else 0) for i in range(len(x.shape))]
            x = ops.pad(x, widths, constant_values=fill)
        return ops.reshape(x, [*x.shape[:axis], -1, self._length, *x.shape[axis + 1 :]])
