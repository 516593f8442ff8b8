"""Updates of whole weights, or of pieces that stay in the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from kerasreg._tensors import Tensor
from kerasreg.regularizers.base import Update

# On PyTorch every operation of a penalty is a pass of its own; over a weight of 4M entries each
# goes to the memory and back, over a piece of this size it does not.
PIECE_SIZE = 1 << 17


@dataclass(frozen=True)
class Piece(Update):
    """An update of a weight, or of a piece of it, with the way to give it its new value."""

    assign: Callable[[Tensor], Any]


def whole(
    variable: Any, memory: Any, moments: Sequence[Tensor], step: Callable[..., Tensor]
) -> Iterator[Piece]:
    """The update of a whole weight, as the only piece.

    Args:
        variable: The weight, after the optimizer's update.
        memory: What the penalty remembers of it.
        moments: What the step is computed from.
        step: Computes the step from a scalar that multiplies it and the moments.
    """
    w = ops.stop_gradient(variable.value)
    yield Piece(w, memory, lambda scale: step(scale, *moments), variable.assign)


def in_pieces(
    variable: Any, memory: Any, moments: Sequence[Tensor], step: Callable[..., Tensor]
) -> Iterator[Piece]:
    """The same in pieces where that is faster, for a penalty that acts entry by entry."""
    tensors = [variable.value, *moments, *([] if memory is None else [memory])]
    if keras.backend.backend() != "torch" or not _are_divisible(tensors):
        yield from whole(variable, memory, moments, step)
        return
    size = variable.value.numel()
    flat = [x.detach().view(-1) if x.numel() == size else x for x in tensors]
    for start in range(0, size, PIECE_SIZE):
        parts = [x[start : start + PIECE_SIZE] if x.numel() == size else x for x in flat]
        part, parts = parts[0], parts[1:]
        rest = parts[: len(moments)]
        yield Piece(
            part,
            None if memory is None else parts[-1],
            lambda scale, rest=rest: step(scale, *rest),  # type: ignore[misc]
            part.copy_,
        )


def _are_divisible(tensors: Sequence[Tensor]) -> bool:
    import torch

    return not torch.compiler.is_compiling() and all(
        x.device.type == "cpu" and x.is_contiguous() for x in tensors
    )
