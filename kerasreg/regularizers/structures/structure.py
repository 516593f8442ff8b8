"""The base class of what weights lose together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from keras import ops

from kerasreg._tensors import Tensor
from kerasreg.regularizers.selection import largest

Alive: TypeAlias = npt.NDArray[np.bool_]
"""Which entries of a weight, or which units of it, are not zero."""


class Structure:
    """The units of several weights, of which the largest are kept: of each pool so many.

    A unit is what is kept or dropped as a whole. The units of one pool compete with each other.
    """

    word: str
    """What a unit is called, in the plural."""

    least: int = 1
    """How many units of a pool are kept, unless none is to be."""

    @property
    def are_entries(self) -> bool:
        """Whether each entry is a unit."""
        return False

    def pool_sizes(self) -> list[int]:
        """The number of units of each pool."""
        raise NotImplementedError

    def pools(self, sizes: Sequence[Tensor]) -> list[list[Tensor]]:
        """How large the units are, pool by pool.

        Args:
            sizes: For each weight how large its entries are, non-negative and in float32.

        Returns:
            For each pool tensors with a number for each of its units.
        """
        raise NotImplementedError

    def masks(self, chosen: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """The entries of units: a boolean tensor of the shape of each weight.

        Args:
            chosen: Booleans in the places of what `pools` returns.
        """
        raise NotImplementedError

    def choose(self, sizes: Sequence[Tensor], kept: Callable[[int, int], Tensor]) -> list[Tensor]:
        """The entries of the largest units: a boolean tensor of the shape of each weight.

        Args:
            sizes: As for `pools`.
            kept: How many units are kept, an integer scalar, of so many and with that `least`.
        """
        counts = [kept(size, self.least) for size in self.pool_sizes()]
        pools = zip(self.pools(sizes), counts, strict=True)
        return self.masks([largest(pool, count) for pool, count in pools])

    def holds(self, sizes: Sequence[Tensor], kept: Callable[[int, int], int]) -> Tensor:
        """Whether no pool has more units that are not zero than are kept, as a scalar boolean."""
        pools = zip(self.pools(sizes), self.pool_sizes(), strict=True)
        within = [_count_alive(pool) <= kept(size, self.least) for pool, size in pools]
        return ops.all(ops.stack(within))

    def number(self) -> int:
        """How many units there are."""
        return sum(self.pool_sizes())

    def count(self, alive: Sequence[Alive]) -> int:
        """How many units are zero.

        In NumPy, so that a log has it in little more time than reading the weights takes.

        Args:
            alive: Which entries of each weight are not zero.
        """
        raise NotImplementedError

    def axes(self) -> list[tuple[int, ...] | None]:
        """The axes of each weight that number its units, where those are slices of it."""
        raise NotImplementedError


def _count_alive(pool: Sequence[Tensor]) -> Tensor:
    return sum(ops.sum(ops.cast(units != 0, "int32")) for units in pool)


def combined(
    x: npt.NDArray[Any], axis: int, length: int, combine: np.ufunc, dtype: npt.DTypeLike
) -> npt.NDArray[Any]:
    """What each `length` neighbours along an axis make together; at its end there may be fewer.

    In a fraction of the time of `ufunc.reduceat`, which looks at one after the other.
    """
    parts = np.moveaxis(x, axis, 0)
    total = parts[::length].astype(dtype)
    for place in range(1, min(length, len(parts))):
        part = parts[place::length]
        combine(total[: len(part)], part, out=total[: len(part)])
    return np.moveaxis(total, 0, axis)


def first_largest(x: Tensor) -> Tensor:
    """Where the largest entry of a tensor is, the first of equal ones."""
    place = ops.argmax(ops.reshape(x, (-1,)))
    numbers = ops.arange(math.prod(x.shape), dtype="int32")
    return ops.reshape(numbers == ops.cast(place, "int32"), x.shape)
