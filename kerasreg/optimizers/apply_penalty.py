"""Applies a penalty to its weights, in the way that is fast on the backend.

Under XLA a penalty is one pass over a weight. Elsewhere each of its operations is a pass of its
own, to the memory and back; so for penalties that act entry by entry a TensorFlow graph gets a
part compiled by XLA, and PyTorch on a CPU takes a weight in pieces that stay in the cache.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from kerasreg._backends import compiled
from kerasreg._tensors import Tensor
from kerasreg.regularizers import Penalty
from kerasreg.regularizers.base import Update

PIECE_SIZE = 1 << 18


@dataclass(frozen=True)
class Pending:
    """A weight after the optimizer's update and before the penalty.

    Args:
        variable: The weight.
        memory: What the penalty remembers of it.
        moments: What its step is computed from.
        step: Computes the step from a scalar that multiplies it and the moments.
    """

    variable: Any
    memory: Any
    moments: list[Tensor]
    step: Callable[..., Tensor]


def apply_penalty(
    penalty: Penalty, pending: Sequence[Pending], count: Tensor, strength_scale: Tensor
) -> None:
    """Gives the weights the values that the penalty's `update` returns.

    Args:
        penalty: The penalty.
        pending: All weights that it acts on.
        count: Number of updates so far, this one included.
        strength_scale: Scalar that multiplies the penalty's strength.
    """
    if penalty.is_separable and _in_plain_tensorflow_graph():
        _apply_compiled(penalty, pending, count, strength_scale)
        return
    under_way: deque[Callable[[Tensor], Any]] = deque()

    def updates() -> Iterator[Update]:
        for weight in pending:
            for update, assign in _split(weight) if penalty.is_separable else _whole(weight):
                under_way.append(assign)
                yield update

    for w in penalty.update(updates(), count, strength_scale):
        under_way.popleft()(w)


def _update(w: Tensor, memory: Any, moments: Sequence[Tensor], step: Callable[..., Tensor]) -> Any:
    return Update(w, memory, lambda scale: step(scale, *moments))


def _whole(weight: Pending) -> Iterator[tuple[Update, Callable[[Tensor], Any]]]:
    w = ops.stop_gradient(weight.variable.value)
    yield _update(w, weight.memory, weight.moments, weight.step), weight.variable.assign


def _in_plain_tensorflow_graph() -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return bool(tf.inside_function() and not tf.distribute.has_strategy())


def _apply_compiled(
    penalty: Penalty, pending: Sequence[Pending], count: Tensor, strength_scale: Tensor
) -> None:
    """All weights in one function that XLA compiles."""
    import tensorflow as tf

    def update(inputs: Any, count: Tensor, strength_scale: Tensor) -> list[Tensor]:
        updates = [
            _update(w, memory, moments, weight.step)
            for (w, memory, moments), weight in zip(inputs, pending, strict=True)
        ]
        return list(penalty.update(updates, count, strength_scale))

    inputs = [(weight.variable.value, weight.memory, weight.moments) for weight in pending]
    tensors = tf.nest.map_structure(
        lambda x: None if x is None else tf.convert_to_tensor(x), (inputs, count, strength_scale)
    )
    results = compiled(update)(*tensors)
    for weight, w in zip(pending, results, strict=True):
        weight.variable.assign(w)


def _split(weight: Pending) -> Iterator[tuple[Update, Callable[[Tensor], Any]]]:
    """On PyTorch the update in pieces, which are views of the weight."""
    memory = [] if weight.memory is None else [weight.memory]
    tensors = [weight.variable.value, *weight.moments, *memory]
    if keras.backend.backend() != "torch" or not _are_divisible(tensors):
        yield from _whole(weight)
        return
    size = weight.variable.value.numel()
    flat = [x.detach().view(-1) if x.numel() == size else x for x in tensors]
    for start in range(0, size, PIECE_SIZE):
        parts = [x[start : start + PIECE_SIZE] if x.numel() == size else x for x in flat]
        w, moments = parts[0], parts[1 : 1 + len(weight.moments)]
        yield _update(w, parts[-1] if memory else None, moments, weight.step), w.copy_


def _are_divisible(tensors: Sequence[Tensor]) -> bool:
    import torch

    return not torch.compiler.is_compiling() and all(
        x.device.type == "cpu" and x.is_contiguous() for x in tensors
    )
