"""Applies a penalty to its weights, in the way that is fast on the backend.

Under XLA a penalty is one pass over a weight. Elsewhere each of its operations is a pass of its
own, to the memory and back; so for penalties that act entry by entry a TensorFlow graph gets a
part compiled by XLA, and PyTorch on a CPU takes a weight in pieces that stay in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import keras
from keras import ops

from kerasreg._backends import compiled
from kerasreg._tensors import Tensor
from kerasreg.regularizers import Penalty
from kerasreg.regularizers.base import Hold, Update

PIECE_SIZE = 1 << 18

Result: TypeAlias = tuple[Tensor, Tensor | None]


def apply_penalty(
    penalty: Penalty,
    updates: Sequence[Update],
    count: Tensor,
    strength_scale: Tensor,
) -> list[Result] | None:
    """The values of all weights that a penalty acts on, and of their averaged gradients.

    The updates, one a weight, have the same `step_size`; the rest is as for `Penalty.update`.
    A penalty, but no constraint in it, moves a weight no farther than the optimizer could have.

    Returns:
        A pair for each weight, the average `None` where zeros are not held; on PyTorch `None` where
        the weights have these values already.
    """
    if penalty.is_separable and not penalty.needs_whole and _is_eager_torch():
        pieces = [piece for update in updates for piece in _pieces(update)]
        results = _updated(penalty, pieces, count, strength_scale)
        for piece, (w, mean) in zip(pieces, results, strict=True):
            piece.w.copy_(w)
            if piece.hold is not None:
                piece.hold.mean.copy_(mean)
        return None
    if penalty.is_separable and _in_plain_tensorflow_graph():
        return _update_compiled(penalty, updates, count, strength_scale)
    return list(_updated(penalty, updates, count, strength_scale))


def _updated(
    penalty: Penalty, updates: Sequence[Update], count: Tensor, strength_scale: Tensor
) -> Iterator[Result]:
    """The weights after the penalty's `update`, where it acts, and their averaged gradients."""
    new = penalty.update(updates, count, strength_scale)
    resting = _resting(penalty, updates, strength_scale)
    for update, w, (mean, rests) in zip(updates, new, resting, strict=True):
        if not penalty.is_constraint:
            w = penalty.allowed(update.within_reach(w))
        if rests is not None:
            w = ops.where(rests, ops.zeros_like(w), w)
        yield (w if update.acts is None else _where(update.acts, w, update.w)), mean


def _resting(
    penalty: Penalty, updates: Sequence[Update], strength_scale: Tensor
) -> Iterator[tuple[Tensor | None, Tensor | None]]:
    """The averaged gradient of each weight, and which of its zeros stay; `None` for no rule."""
    for part in [[update] for update in updates] if penalty.is_separable else [updates]:
        holds = [update.hold for update in part if update.hold is not None]
        means = [hold.new_mean() for hold in holds]
        resting = penalty.resting([hold.zero for hold in holds], means, strength_scale)
        found = zip(means, resting, strict=True)
        for update in part:
            yield (None, None) if update.hold is None else next(found)


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
    tensors = [x for x in keras.tree.flatten(_inputs(update)) if x is not None]
    if not all(x.device.type == "cpu" and x.is_contiguous() for x in tensors):
        yield update
        return
    size = update.w.numel()

    def part(x: Any, start: int) -> Any:
        divided = x is not None and x.numel() == size
        return x.detach().view(-1)[start : start + PIECE_SIZE] if divided else x

    for start in range(0, size, PIECE_SIZE):
        parts = keras.tree.map_structure(lambda x, start=start: part(x, start), _inputs(update))
        yield _with_inputs(update, parts)


def _inputs(update: Update) -> tuple[Any, ...]:
    """All tensors of an update, in a structure."""
    hold = update.hold
    of_hold = None if hold is None else (hold.zero, hold.gradient, hold.mean, hold.rate)
    return update.w, update.memory, list(update.moments), update.reach, update.acts, of_hold


def _with_inputs(update: Update, inputs: tuple[Any, ...]) -> Update:
    """The update of other tensors, of the structure of `_inputs`."""
    w, memory, moments, reach, acts, of_hold = inputs
    hold = None if of_hold is None else Hold(*of_hold)
    return Update(w, memory, moments, update.step_size, reach, acts, hold)


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

    def update(inputs: Any, count: Tensor, strength_scale: Tensor) -> list[Result]:
        inside = [_with_inputs(u, tensors) for u, tensors in zip(updates, inputs, strict=True)]
        return list(_updated(penalty, inside, count, strength_scale))

    tensors = tf.nest.map_structure(
        lambda x: None if x is None else tf.convert_to_tensor(x),
        ([_inputs(u) for u in updates], count, strength_scale),
    )
    results: list[Result] = compiled(update)(*tensors)
    return results
