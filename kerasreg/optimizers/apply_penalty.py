"""Applies a penalty to its weights, in the way that is fast on the backend.

Under XLA a penalty that acts entry by entry is one pass over a weight. Elsewhere each of its
operations is a pass of its own, to the memory and back; so a TensorFlow graph gets a part compiled
by XLA, and PyTorch on a CPU takes a weight in pieces that stay in the cache. So does XLA on a CPU
for a penalty that acts group by group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._backends import compiled, computes_on_cpu, is_symbolic, runs_in_place
from kerasreg._tensors import Tensor
from kerasreg.optimizers.pieces import (
    PIECE_SIZE,
    Cut,
    Result,
    contiguous_parts,
    find_cut,
    has_shape,
    of_tensors,
    one_by_one,
    tensors_of,
    with_tensors,
)
from kerasreg.regularizers import Penalty
from kerasreg.regularizers.update import Update


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
    if not updates:  # as where the penalty is part of all gradients
        return None
    is_divisible = _is_divisible(penalty, updates)
    if is_divisible and _is_eager_torch():
        for update in updates:
            for place, piece in _pieces(penalty, update):
                [(w, mean)] = _updated(penalty, [piece], count, strength_scale)
                place.copy_(w)
                if piece.hold is not None and mean is not piece.hold.mean:
                    piece.hold.mean.copy_(mean)
        return None
    if is_divisible and _in_plain_tensorflow_graph():
        return _update_compiled(penalty, updates, count, strength_scale)
    if keras.backend.backend() == "jax" and is_symbolic(updates[0].w):
        return _updated_by_xla(penalty, updates, count, strength_scale)
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
            w = _with_zeros(w, rests, update.w)
        yield (w if update.acts is None else _where(update.acts, w, update.w)), mean


def _resting(
    penalty: Penalty, updates: Sequence[Update], strength_scale: Tensor
) -> Iterator[tuple[Tensor | None, Tensor | None]]:
    """The averaged gradient of each weight, and which of its zeros stay; `None` for none."""
    is_divisible = _is_divisible(penalty, updates)
    for part in [[update] for update in updates] if is_divisible else [updates]:
        holds = [update.hold for update in part if update.hold is not None]
        means = [hold.new_mean() for hold in holds]
        zeros = [hold.zero for hold in holds]
        if any(map(_may_have_zeros, zeros)):
            paths = [update.path for update in part if update.hold is not None]
            resting = penalty.resting(zeros, means, strength_scale, paths)
        else:
            resting = iter([None] * len(holds))
        found = zip(means, resting, strict=True)
        for update in part:
            yield (None, None) if update.hold is None else next(found)


def _may_have_zeros(zero: Tensor) -> bool:
    """Whether any entry is true; where only the device knows, it may be."""
    if runs_in_place(zero):
        from kerasreg.regularizers.torch_prox import any_true

        return any_true(zero)
    return True


def _with_zeros(w: Tensor, mask: Tensor, before: Tensor) -> Tensor:
    """`w` with zeros where a mask is true; on PyTorch in place, unless its memory is `before`'s."""
    if runs_in_place(w, mask) and w.data_ptr() != before.data_ptr():
        from kerasreg.regularizers.torch_prox import set_zero

        return set_zero(w, mask)
    return ops.where(mask, ops.zeros_like(w), w)


def _is_divisible(penalty: Penalty, updates: Sequence[Update]) -> bool:
    """Whether the penalty acts on each weight by itself, and on parts of it."""
    return penalty.is_separable or all(penalty.divisible_axes(update.w) for update in updates)


def _where(acts: Tensor, w: Tensor, before: Tensor) -> Tensor:
    """One weight or the other, by a scalar."""
    if _is_eager_torch() and acts.device.type == "cpu":  # Nothing waits for it, and it is no pass.
        return w if acts else before
    return ops.where(acts, w, before)


def _is_shapeless(penalty: Penalty) -> bool:
    """Whether a weight may be taken as a vector."""
    return penalty.is_separable and not penalty.needs_whole


def _is_eager_torch() -> bool:
    if keras.backend.backend() != "torch":
        return False
    import torch

    return not torch.compiler.is_compiling()


def _pieces(penalty: Penalty, update: Update) -> Iterator[tuple[Tensor, Update]]:
    """The update in parts, each with its place in the weight; whole where it cannot be divided."""
    shape = update.w.shape
    tensors = [x for x in keras.tree.flatten(tensors_of(update)) if x is not None]
    if not all(x.device.type == "cpu" for x in tensors):
        yield update.w, update
    elif _is_shapeless(penalty) and all(x.is_contiguous() for x in tensors):
        flat = with_tensors(update, lambda x: x.detach().view(-1) if has_shape(x, shape) else x)
        yield from contiguous_parts(flat, Cut(0, PIECE_SIZE))
    elif cut := find_cut(penalty, update.w):
        yield from contiguous_parts(update, cut)
    else:
        yield update.w, update


def _in_plain_tensorflow_graph() -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return bool(tf.inside_function() and not tf.distribute.has_strategy())


def _update_compiled(
    penalty: Penalty, updates: Sequence[Update], count: Tensor, strength_scale: Tensor
) -> list[Result]:
    """The penalty's `update` of all weights, in one function that XLA compiles."""
    import tensorflow as tf

    def update(inputs: Any, count: Tensor, strength_scale: Tensor) -> list[Result]:
        inside = [of_tensors(u, tensors) for u, tensors in zip(updates, inputs, strict=True)]
        return _updated_by_xla(penalty, inside, count, strength_scale)

    tensors = tf.nest.map_structure(
        lambda x: None if x is None else tf.convert_to_tensor(x),
        ([tensors_of(u) for u in updates], count, strength_scale),
    )
    results: list[Result] = compiled(update)(*tensors)
    return results


def _updated_by_xla(
    penalty: Penalty, updates: Sequence[Update], count: Tensor, strength_scale: Tensor
) -> list[Result]:
    """As `_updated`; what cannot be one pass over a weight is done piece by piece on a CPU."""
    cuts = [find_cut(penalty, update.w) for update in updates]
    if penalty.is_separable or not (any(cuts) and computes_on_cpu()):
        return list(_updated(penalty, updates, count, strength_scale))

    def updated(update: Update) -> Result:
        return next(_updated(penalty, [update], count, strength_scale))

    return [
        one_by_one(updated, update, cut) if cut else updated(update)
        for update, cut in zip(updates, cuts, strict=True)
    ]
