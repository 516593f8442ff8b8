"""Structures whose units have parts in several weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from keras import ops

from kerasreg._tensors import Tensor
from kerasreg.regularizers.group_sums import GroupSums
from kerasreg.regularizers.groups import Groups, labels_of_weights
from kerasreg.regularizers.structures.structure import Alive, Structure, first_largest
from kerasreg.regularizers.structures.tiles import gain


class JointGroups(Structure):
    """Groups of slices of several weights; what is in no group is kept.

    Groups with parts in the same weights, as the channels of one residual stream, make a pool.

    Args:
        groups: The groups.
        shapes: The shapes of the weights.
        paths: Their paths.
        costs: If all groups compete with each other, by how much they gain for what they cost: the
            cost of an entry of each weight. The largest group of each pool is kept, so that no
            layer vanishes. `None` if they compete within pools only.
    """

    word = "groups"

    def __init__(
        self,
        groups: Groups,
        shapes: Sequence[Sequence[int]],
        paths: Sequence[str],
        costs: Sequence[float] | None = None,
    ) -> None:
        self._shapes = [tuple(shape) for shape in shapes]
        self._labels = labels_of_weights(groups, tuple(zip(paths, self._shapes, strict=True)))
        self._number = len(groups)
        self._sums = GroupSums(self._labels, self._shapes, self._number)
        self._costs = None if costs is None else self._costs_of_groups(costs)
        self._pools = self._places()
        if costs is not None:
            self.least = len(self._pools)

    def pool_sizes(self) -> list[int]:
        """The number of groups with parts in the same weights, or of all."""
        numbers = [len(places) for places in self._pools]
        return numbers if self._costs is None else [sum(numbers)]

    def pools(self, sizes: Sequence[Tensor]) -> list[list[Tensor]]:
        """The groups with parts in the same weights, or all."""
        norms = self._sums.norms(sizes)
        if self._costs is None:
            return [[ops.take(norms, places, axis=0)] for places in self._pools]
        gains = gain(norms, self._costs)
        parts = [ops.take(gains, places, axis=0) for places in self._pools]
        return [[ops.where(first_largest(x), float("inf"), x) for x in parts]]

    def masks(self, chosen: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """The entries of groups, and those of none."""
        flat = [mask for pool in chosen for mask in pool]
        numbers = np.concatenate(self._pools)
        # Behind them what entries of no group get.
        placed = np.full(self._number + 1, len(numbers), "int32")
        placed[numbers] = np.arange(len(numbers))
        every = ops.concatenate([*flat, ops.ones((1,), dtype="bool")])
        spread = self._sums.spread(ops.take(every, placed, axis=0))
        return [ops.broadcast_to(m, s) for m, s in zip(spread, self._shapes, strict=True)]

    def count(self, alive: Sequence[Alive]) -> int:
        """How many groups are zero in all weights."""
        # Behind the groups what entries of none belong to.
        found = np.zeros(self._number + 1, bool)
        for x, labels in zip(alive, self._labels, strict=True):
            within = tuple(i for i, size in enumerate(labels.shape) if size < x.shape[i])
            found[labels[np.any(x, axis=within, keepdims=True)]] = True
        return self.number() - int(np.count_nonzero(found[:-1]))

    def axes(self) -> list[tuple[int, ...] | None]:
        """None: a group has parts in several weights."""
        return [None] * len(self._shapes)

    def _places(self) -> list[npt.NDArray[np.int32]]:
        """The numbers of the groups of each pool."""
        parts = np.zeros((len(self._labels), self._number), bool)
        for row, labels in zip(parts, self._labels, strict=True):
            row[labels[labels >= 0]] = True
        present = np.flatnonzero(parts.any(axis=0)).astype("int32")
        _, kinds = np.unique(parts[:, present], axis=1, return_inverse=True)
        kinds = kinds.ravel()
        return [present[kinds == kind] for kind in range(kinds.max(initial=-1) + 1)]

    def _costs_of_groups(self, costs: Sequence[float]) -> npt.NDArray[np.float64]:
        total = np.zeros(self._number + 1)
        for labels, shape, cost in zip(self._labels, self._shapes, costs, strict=True):
            repeats = int(np.prod(shape)) // max(labels.size, 1)
            ids = np.where(labels < 0, self._number, labels).ravel()
            total += cost * repeats * np.bincount(ids, minlength=self._number + 1)
        return total
