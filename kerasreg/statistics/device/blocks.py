"""How weights are put together for XLA: few reductions, each over one axis of one array.

A large weight is a block by itself, as it lies in memory and as it is spread over devices. Small
ones are padded with zeros to few shapes and stacked, so that hundreds of them make a few blocks.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from kerasreg._tensors import LONG_AXIS, Tensor, to_accumulator

SMALL_SIZE = 1 << 16
# Partial sums of so many elements: their counts fit into a byte, and float32 keeps its digits.
LONGEST_RUN = 128
_SHORTEST_RUN = 32


@dataclass(frozen=True)
class Block:
    """Weights that are reduced together, as an array `(members, *shape)`.

    Args:
        members: The numbers of the weights.
        shape: The shape that each of them gets, padded with zeros at the end of its axes.
        kept: The axes of the array that number units, and that partial results keep.
        axis: The axis of the array that is reduced first.
        run: Number of its elements that are added up at once; it divides the axis.
        shards: Number of parts in which devices hold that axis; each is padded by itself.
        by_unit: For each member the axes that number its units, if these become the first axis.
    """

    members: tuple[int, ...]
    shape: tuple[int, ...]
    kept: tuple[int, ...]
    axis: int
    run: int
    shards: int = 1
    by_unit: tuple[tuple[int, ...], ...] | None = None

    @property
    def unit_size(self) -> int:
        """Number of elements of a unit, the padding included."""
        return math.prod(self.shape) // math.prod(self.shape[axis - 1] for axis in self.kept)

    def gather(self, values: Sequence[Tensor]) -> Tensor:
        """The block's array, its axis `axis` split into runs."""
        arrays = [to_accumulator(values[member]) for member in self.members]
        if self.by_unit is not None:
            arrays = [_as_rows(x, axes) for x, axes in zip(arrays, self.by_unit, strict=True)]
        arrays = [self._padded(x) for x in arrays]
        x = ops.stack(arrays) if len(arrays) > 1 else ops.expand_dims(arrays[0], 0)
        full = (len(arrays), *self.shape)
        runs = full[self.axis] // self.run
        return ops.reshape(x, (*full[: self.axis], runs, self.run, *full[self.axis + 1 :]))

    def _padded(self, x: Tensor) -> Tensor:
        if len(x.shape) != len(self.shape):  # a long vector becomes rows
            missing = math.prod(self.shape) - math.prod(x.shape)
            x = ops.reshape(ops.pad(x, ((0, missing),)) if missing else x, self.shape)
        if tuple(x.shape) == self.shape:
            return x
        axis = self.axis - 1
        before, after = x.shape[:axis], x.shape[axis + 1 :]
        x = ops.reshape(x, (*before, self.shards, x.shape[axis] // self.shards, *after))
        full = (*self.shape[:axis], self.shards, self.shape[axis] // self.shards)
        full = (*full, *self.shape[axis + 1 :])
        widths = [(0, to - size) for to, size in zip(full, x.shape, strict=True)]
        return ops.reshape(ops.pad(x, widths), self.shape)


def blocks_of(
    shapes: Sequence[tuple[int, ...]],
    dtypes: Sequence[str],
    unit_axes: Sequence[tuple[int, ...] | None],
    shard_shapes: Sequence[tuple[int, ...]],
) -> list[Block]:
    """Divides weights into blocks; those without elements are in none.

    Args:
        shapes: Shape of each weight.
        dtypes: Its dtype.
        unit_axes: The axes that number its output units, or `None`.
        shard_shapes: Shape of the part of it that one device holds.

    Returns:
        The blocks, of which small ones have one dtype each.
    """
    blocks, small = [], defaultdict(list)
    for number, (shape, units, shard) in enumerate(
        zip(shapes, unit_axes, shard_shapes, strict=True)
    ):
        size = math.prod(shape)
        if 0 < size <= SMALL_SIZE and shard == shape:
            height = math.prod(shape[axis] for axis in units or ())
            wide = "float64" if dtypes[number] == "float64" else "float32"
            small[_power_of_two(height), _power_of_two(size // height), wide].append(number)
        elif size:
            blocks.append(_large_block(number, shape, units, shard))
    for (height, width, _), members in small.items():
        by_unit = tuple(unit_axes[member] or () for member in members)
        run = min(width, LONGEST_RUN)
        blocks.append(Block(tuple(members), (height, width), (1,), 2, run, by_unit=by_unit))
    return blocks


def _large_block(
    number: int, shape: tuple[int, ...], unit_axes: tuple[int, ...] | None, shard: tuple[int, ...]
) -> Block:
    if len(shape) == 1:
        shape = shard = (-(-shape[0] // LONG_AXIS), LONG_AXIS)
    elif len(shape) == len(unit_axes or ()):
        shape, shard = (*shape, 1), (*shard, 1)
    kept = unit_axes or (_longest(shape, ()),)
    axis = _longest(shape, kept)
    run, shards = _run(shard[axis]), shape[axis] // shard[axis]
    length = -(-shard[axis] // run) * run
    padded = (*shape[:axis], shards * length, *shape[axis + 1 :])
    return Block((number,), padded, tuple(a + 1 for a in kept), axis + 1, run, shards)


def _as_rows(x: Tensor, unit_axes: tuple[int, ...]) -> Tensor:
    """The weight as a matrix with a row for each unit."""
    others = tuple(axis for axis in range(len(x.shape)) if axis not in unit_axes)
    units = math.prod(x.shape[axis] for axis in unit_axes)
    rows = (units, math.prod(x.shape) // units)
    return ops.reshape(ops.transpose(x, (*unit_axes, *others)), rows)


def _longest(shape: tuple[int, ...], but: tuple[int, ...]) -> int:
    return max((axis for axis in range(len(shape)) if axis not in but), key=lambda a: shape[a])


def _run(length: int) -> int:
    """The largest divisor that is a run worth while, else the longest run, which takes padding."""
    if length <= LONGEST_RUN:
        return length
    divisors = (run for run in range(LONGEST_RUN, _SHORTEST_RUN - 1, -1) if length % run == 0)
    return next(divisors, LONGEST_RUN)


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()


def shard_shape(value: Any) -> tuple[int, ...]:
    """Shape of the part of a tensor that one device holds."""
    if keras.backend.backend() == "jax":
        return tuple(value.sharding.shard_shape(value.shape))
    return tuple(value.shape)
