"""How PyTorch reads weights: large ones in pieces, small ones many at a time."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kerasreg._tensors import Tensor

SMALL_SIZE = 1 << 14
# Elements of small weights that are taken together; each is a partial result by itself.
MANY_SIZE = 1 << 18
# Elements of a large weight that are taken together: one temporary array of them has 16 MB.
PIECE_SIZE = 1 << 22
# Partial sums of so many elements keep float32's digits.
LONGEST_RUN = 128

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Piece:
    """What is reduced at once, along one axis.

    Args:
        members: Numbers of the weights: several small ones, flat and as a column, or a large one.
        place: The part of the large one.
        axis: The axis of that part along which it is reduced.
        run: Number of elements of the axis that make one partial result.
    """

    members: tuple[int, ...]
    place: tuple[slice, ...] | None = None
    axis: int = 0
    run: int = 1

    def take(self, values: Sequence[Tensor]) -> Tensor:
        """The elements; the axis after `axis` is the one to reduce."""
        if self.place is None:
            import torch

            flat = torch.cat([_wide(values[m]).reshape(-1) for m in self.members])
            return flat.unsqueeze(1)
        part = _wide(values[self.members[0]][self.place])
        return part.unflatten(self.axis, (-1, self.run))

    def units(self, numbers: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
        """The number of the unit that each partial result is of, from the `unit_numbers`."""
        if self.place is None:
            return np.concatenate([numbers[m].reshape(-1) for m in self.members])
        part = numbers[self.members[0]][self.place]
        first_of_runs = (slice(None),) * self.axis + (slice(None, None, self.run),)
        return np.ascontiguousarray(part[first_of_runs]).reshape(-1)


def pieces_of(
    shapes: Sequence[Shape], dtypes: Sequence[str], unit_axes: Sequence[Shape | None]
) -> list[Piece]:
    """Divides weights into pieces; those without elements are in none."""
    pieces: list[Piece] = []
    small: defaultdict[bool, list[int]] = defaultdict(list)
    for number, (shape, units) in enumerate(zip(shapes, unit_axes, strict=True)):
        size, together = math.prod(shape), small[dtypes[number] == "float64"]
        if size > SMALL_SIZE:
            pieces.extend(_large_pieces(number, shape, units or ()))
        elif size:
            if sum(math.prod(shapes[m]) for m in together) + size > MANY_SIZE:
                pieces.append(Piece(tuple(together)))
                together.clear()
            together.append(number)
    return pieces + [Piece(tuple(together)) for together in small.values() if together]


def _large_pieces(number: int, shape: Shape, unit_axes: Shape) -> list[Piece]:
    axes = sorted(range(len(shape)), key=lambda axis: (axis in unit_axes, -shape[axis]))
    axis = axes[0]
    # Where all axes number units, each element is a partial result.
    run = 1 if axis in unit_axes else min(shape[axis], LONGEST_RUN)
    steps = list(shape)
    for other in axes:
        least = run if other == axis else 1
        excess = -(-math.prod(steps) // PIECE_SIZE)
        steps[other] = max(least, steps[other] // excess // least * least)
    starts = [range(0, length, step) for length, step in zip(shape, steps, strict=True)]
    pieces: list[Piece] = []
    for corner in np.ndindex(*map(len, starts)):
        place = [
            slice(s[i], min(s[i] + step, length))
            for s, i, step, length in zip(starts, corner, steps, shape, strict=True)
        ]
        pieces.extend(Piece((number,), tuple(p), axis, r) for p, r in _runs(place, axis, run))
    return pieces


def _runs(place: list[slice], axis: int, run: int) -> list[tuple[list[slice], int]]:
    """The part in which runs are whole, and what is left over."""
    start, stop = place[axis].start, place[axis].stop
    whole = start + (stop - start) // run * run
    parts = [(slice(start, whole), run), (slice(whole, stop), stop - whole)]
    return [
        ([*place[:axis], part, *place[axis + 1 :]], length)
        for part, length in parts
        if part.stop > part.start
    ]


def _wide(x: Tensor) -> Tensor:
    """The tensor in what sums are taken in; Keras would also move it to its default device."""
    return x if x.dtype.itemsize >= 4 and x.is_floating_point() else x.float()


def unit_numbers(shape: Shape, unit_axes: Shape | None, first: int) -> npt.NDArray[np.int64]:
    """The number of the unit of each element of a weight, counted from `first`."""
    lengths = [length if a in (unit_axes or ()) else 1 for a, length in enumerate(shape)]
    numbers = first + np.arange(math.prod(lengths), dtype=np.int64)
    return np.broadcast_to(numbers.reshape(lengths), shape)
