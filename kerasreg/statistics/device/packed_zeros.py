"""Hands over which entries of weights are not zero, a bit each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from keras import ops

from kerasreg._backends import compiled
from kerasreg._tensors import Tensor
from kerasreg.statistics.device.sharding import everywhere

Shape = tuple[int, ...]


class PackedZeros:
    """Packs which entries are not zero into bytes, in one program where there is a compiler.

    So little leaves the device, and lies on each device that shares in a weight.
    """

    def __init__(self) -> None:
        self._shapes: list[Shape] | None = None
        self._program: Callable[[list[Tensor]], Tensor]

    def __call__(self, values: Sequence[Tensor]) -> Tensor:
        """Starts to pack tensors, at least one; returns a vector of bytes."""
        shapes = [tuple(value.shape) for value in values]
        if shapes != self._shapes:
            self._shapes = shapes
            self._program = compiled(_pack, out_shardings=everywhere(values))
        return self._program(list(values))


def _pack(values: list[Tensor]) -> Tensor:
    return ops.concatenate([ops.reshape(_bytes_of(x), (-1,)) for x in values])


def _bytes_of(x: Tensor) -> Tensor:
    """The bits of eight neighbours along the last axis in a byte, the first one the least."""
    alive = ops.cast(x != 0, "uint8")
    *others, length = x.shape
    count = -(-length // 8)
    if length % 8:
        alive = ops.pad(alive, [*[(0, 0)] * len(others), (0, 8 * count - length)])
    alive = ops.reshape(alive, (*others, count, 8))
    total = alive[..., 0]
    for place in range(1, 8):
        total = total + alive[..., place] * 2**place
    return total


def unpacked(packed: npt.NDArray[np.uint8], shapes: Sequence[Shape]) -> list[npt.NDArray[np.bool_]]:
    """Which entries of tensors of these shapes are not zero, from what `PackedZeros` returns."""
    grids = [(*shape[:-1], -(-shape[-1] // 8)) for shape in shapes]
    parts = np.split(packed, list(itertools.accumulate(map(math.prod, grids)))[:-1])
    return [
        np.unpackbits(part.reshape(grid), -1, shape[-1], "little").view(np.bool_)
        for part, grid, shape in zip(parts, grids, shapes, strict=True)
    ]
