"""Sums over groups of entries of several tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from keras import ops

from kerasreg._tensors import Tensor, accurate_sum
from kerasreg.regularizers.groups import Labels


class GroupSums:
    """What the entries of each group add up to; entries of no group are the last one together.

    Args:
        labels: For each tensor the groups of its entries, in a shape that broadcasts to its own.
        shapes: The shapes of the tensors.
        count: The number of groups.
    """

    def __init__(
        self, labels: Sequence[Labels], shapes: Sequence[Sequence[int]], count: int
    ) -> None:
        self._labels = [np.where(each < 0, count, each).astype(np.int32) for each in labels]
        self._count = count + 1
        sizes = np.zeros(self._count)
        for each, shape in zip(self._labels, shapes, strict=True):
            repeats = int(np.prod(shape)) // max(each.size, 1)
            sizes += repeats * np.bincount(each.ravel(), minlength=self._count)
        self.sizes = np.maximum(sizes, 1.0)
        self.is_group = np.arange(self._count) < count

    def of_each(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """The sums over the entries of each tensor."""
        return [
            ops.segment_sum(ops.reshape(_sum_to(x, ids.shape), (-1,)), ids.ravel(), self._count)
            for x, ids in zip(parts, self._labels, strict=True)
        ]

    def total(self, parts: Sequence[Tensor]) -> Tensor:
        """The sums over the entries of all tensors."""
        first, *others = self.of_each(parts)
        for other in others:
            first = first + other
        return first

    def largest(self, parts: Sequence[Tensor]) -> Tensor:
        """The largest entry of each group."""
        result = None
        for x, ids in zip(parts, self._labels, strict=True):
            within = tuple(i for i, size in enumerate(ids.shape) if size < x.shape[i])
            x = ops.max(x, axis=within, keepdims=True) if within else x
            of_tensor = ops.segment_max(ops.reshape(x, (-1,)), ids.ravel(), self._count)
            result = of_tensor if result is None else ops.maximum(result, of_tensor)
        return result

    def spread(self, of_groups: Tensor) -> list[Tensor]:
        """For each tensor the number of each entry's group; it broadcasts to the tensor."""
        return [ops.take(of_groups, ids, axis=0) for ids in self._labels]

    def norms(self, parts: Sequence[Tensor]) -> Tensor:
        """The Euclidean norm of each group, scaled as `slice_norms`, so that it stays in range."""
        largest = ops.relu(self.largest([ops.abs(x) for x in parts]))
        usable = ops.logical_and(largest > 0, largest < float("inf"))
        scale = ops.where(usable, largest, ops.ones_like(largest))
        scaled = zip(parts, self.spread(scale), strict=True)
        return ops.sqrt(self.total([ops.square(x / s) for x, s in scaled])) * scale


def _sum_to(x: Tensor, shape: Sequence[int]) -> Tensor:
    """The sum along those axes that have the size 1 in `shape`."""
    for axis, size in enumerate(shape):
        if size < x.shape[axis]:
            x = accurate_sum(x, axis)
    return x
