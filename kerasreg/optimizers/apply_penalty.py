"""Applies a penalty to its weights, in the way that is fast on the backend.

Under XLA a penalty is one pass over a weight. Elsewhere each of its operations is a pass of its
own, to the memory and back; so for penalties that act entry by entry a TensorFlow graph gets a
part compiled by XLA, and PyTorch on a CPU takes a weight in pieces that stay in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._backends import compiled
from kerasreg._tensors import Tensor
from kerasreg.regularizers import Penalty
from kerasreg.regularizers.base import Update

PIECE_SIZE = 1 << 18


def apply_penalty(
    penalty: Penalty,
    variables: Sequence[Any],
    updates: Sequence[Update],
    count: Tensor,
    strength_scale: Tensor,
) -> None:
    """Gives all weights that a penalty acts on the values that its `update` returns.

    The updates, one a weight, have the same `step_size`; the rest is as for `Penalty.update`.
    A penalty, but no constraint, moves a weight no farther than the optimizer could have.
    """
    if penalty.is_separable and _is_eager_torch():
        pieces = [piece for update in updates for piece in _pieces(update)]
        for piece, w in zip(pieces, _updated(penalty, pieces, count, strength_scale), strict=True):
            piece.w.copy_(w)
        return
    if penalty.is_separable and _in_plain_tensorflow_graph():
        results = _update_compiled(penalty, updates, count, strength_scale)
    else:
        results = list(_updated(penalty, updates, count, strength_scale))
    for variable, w in zip(variables, results, strict=True):
        variable.assign(w)


def _updated(
    penalty: Penalty, updates: Sequence[Update], count: Tensor, strength_scale: Tensor
) -> Iterator[Tensor]:
    """The weights after the penalty's `update`, where it acts."""
    for update, w in zip(updates, penalty.update(updates, count, strength_scale), strict=True):
        if not penalty.is_constraint:
            w = update.within_reach(w)
        yield w if update.acts is None else _where(update.acts, w, update.w)


def _where(acts: Tensor, w: Tensor, before: Tensor) -> Tensor:
    """One weight or the other, by a scalar."""
    if _is_eager_torch() and acts.device.type == "cpu":  # Nothing waits for it, and it is no pass.
        return w if acts else before
    return ops.where(acts, w, before)


def _is_eager_torch() -> bool:
    if keras.backend.backend() != "torch":
        return False
    import torch

    return not torch.compiler.is_compiling()


def _pieces(update: Update) -> Iterator[Update]:
    """The update in parts that are views of the weight; itself where it cannot be divided."""
    memory = [] if update.memory is None else [update.memory]
    tensors = [update.w, *memory, *update.moments]
    if not all(x.device.type == "cpu" and x.is_contiguous() for x in tensors):
        yield update
        return
    size = update.w.numel()
    flat = [x.detach().view(-1) if x.numel() == size else x for x in tensors]
    for start in range(0, size, PIECE_SIZE):
        w, *others = (x[start : start + PIECE_SIZE] if x.numel() == size else x for x in flat)
        remembered = others.pop(0) if memory else None
        yield Update(w, remembered, others, update.step_size, update.reach, update.acts)


def _in_plain_tensorflow_graph() -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return bool(tf.inside_function() and not tf.distribute.has_strategy())


def _update_compiled(
    penalty: Penalty, updates: Sequence[Update], count: Tensor, strength_scale: Tensor
) -> list[Tensor]:
    """The penalty's `update` of all weights, in one function that XLA compiles."""
    import tensorflow as tf

    def update(inputs: Any, count: Tensor, strength_scale: Tensor) -> list[Tensor]:
        step_size = updates[0].step_size
        inside = [
            Update(w, memory, moments, step_size, reach, acts)
            for w, memory, moments, reach, acts in inputs
        ]
        return list(_updated(penalty, inside, count, strength_scale))

    inputs = [(u.w, u.memory, u.moments, u.reach, u.acts) for u in updates]
    tensors = tf.nest.map_structure(
        lambda x: None if x is None else tf.convert_to_tensor(x), (inputs, count, strength_scale)
    )
    results: list[Tensor] = compiled(update)(*tensors)
    return results
