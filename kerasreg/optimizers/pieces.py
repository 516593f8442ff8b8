"""Weights in pieces that stay in the cache, for penalties that act on each slice by itself.

A penalty on groups reads its weight several times. Piece by piece only the first time is from the
memory.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

import keras
from keras import ops

from kerasreg._tensors import Tensor, cast_like
from kerasreg.regularizers import Penalty
from kerasreg.regularizers.update import Hold, Update

Result: TypeAlias = tuple[Tensor, Tensor | None]
"""A weight after a penalty's update, and its averaged gradient where zeros are held."""

PIECE_SIZE = 1 << 18
# Of shorter runs of memory the processor would fetch more than there is in them.
LEAST_RUN = 64


class Cut(NamedTuple):
    """How a weight is divided: along an axis, into pieces of a length, or less for the last."""

    axis: int
    length: int


def find_cut(penalty: Penalty, w: Tensor) -> Cut | None:
    """How to divide a weight, or `None` where that is not possible or not worth it."""
    shape = tuple(w.shape)
    size = math.prod(shape)
    axes = penalty.divisible_axes(w)
    if size <= 2 * PIECE_SIZE or not axes:
        return None
    axis = max(axes, key=lambda axis: shape[axis])
    run = math.prod(shape[axis + 1 :])
    length = max(PIECE_SIZE * shape[axis] // size, -(-LEAST_RUN // run))
    return Cut(axis, length) if length < shape[axis] else None


def contiguous_parts(update: Update, cut: Cut) -> Iterator[tuple[Tensor, Update]]:
    """The update in parts on PyTorch, each with the view of the weight that it is a part of.

    They are contiguous, as along others an operation takes many times as long.
    """
    shape, hold = update.w.shape, update.hold
    if cut.axis > 0 and hold is not None:  # Parts of the averaged gradient would be copies.
        mean = hold.new_mean()
        hold.mean.copy_(mean)
        update = replace(update, hold=replace(hold, mean=mean, gradient=None))

    def view(x: Any, start: int) -> Any:
        return x.detach().narrow(cut.axis, start, min(cut.length, shape[cut.axis] - start))

    def part(start: int, x: Any) -> Any:
        return view(x, start).contiguous() if has_shape(x, shape) else x

    for start in range(0, shape[cut.axis], cut.length):
        yield view(update.w, start), with_tensors(update, functools.partial(part, start))


def one_by_one(function: Callable[[Update], Result], update: Update, cut: Cut) -> Result:
    """A function of the update that returns its `Result`, in a loop that XLA compiles."""
    shape, hold = update.w.shape, update.hold
    before = update.w, None if hold is None else hold.mean

    def put(result: Result, start: Any, length: int) -> Result:
        starts: list[Any] = [0] * len(shape)
        starts[cut.axis] = start
        sizes = [*shape[: cut.axis], length, *shape[cut.axis + 1 :]]

        def part(x: Any) -> Any:
            return ops.slice(x, starts, sizes) if has_shape(x, shape) else x

        # From the result so far, so that it is written where it is read.
        w, mean = result
        current = replace(update, w=w, hold=hold and replace(hold, mean=mean))
        new_w, new_mean = function(with_tensors(current, part))
        w = ops.slice_update(w, starts, new_w)
        return w, None if mean is None else ops.slice_update(
            mean, starts, cast_like(new_mean, mean)
        )

    whole, rest = divmod(shape[cut.axis], cut.length)
    result = _loop(whole, lambda i, result: put(result, i * cut.length, cut.length), before)
    return put(result, whole * cut.length, rest) if rest else result


def _loop(count: int, body: Callable[[Any, Result], Result], result: Result) -> Result:
    """A loop over results; TensorFlow's has no room for `None`."""
    if result[1] is not None:
        looped: Result = ops.fori_loop(0, count, body, result)
        return looped
    return ops.fori_loop(0, count, lambda i, w: body(i, (w, None))[0], result[0]), None


def has_shape(x: Tensor | None, shape: Sequence[int]) -> bool:
    """Whether a tensor of an update has an entry for each of its weight."""
    return x is not None and tuple(x.shape) == tuple(shape)


def tensors_of(update: Update) -> tuple[Any, ...]:
    """All tensors of an update, in a structure; `None` for those that are not there."""
    hold = update.hold
    of_hold = None if hold is None else (hold.zero, hold.gradient, hold.mean, hold.rate)
    others = update.reach, update.acts, update.saliency
    return update.w, update.memory, list(update.moments), *others, of_hold


def with_tensors(update: Update, function: Callable[[Any], Any]) -> Update:
    """The update with what a function makes of each of its tensors."""
    memory, hold = update.memory, update.hold
    return replace(
        update,
        w=function(update.w),
        memory=None if memory is None else keras.tree.map_structure(function, memory),
        moments=[function(moment) for moment in update.moments],
        reach=function(update.reach),
        acts=function(update.acts),
        saliency=function(update.saliency),
        hold=hold and Hold(*map(function, (hold.zero, hold.gradient, hold.mean, hold.rate))),
    )


def of_tensors(update: Update, tensors: Sequence[Any]) -> Update:
    """The update with other tensors, in the structure of `tensors_of`."""
    w, memory, moments, reach, acts, saliency, of_hold = tensors
    hold = None if of_hold is None else Hold(*of_hold)
    others = update.step_size, reach, acts, hold, update.path, saliency
    return Update(w, memory, moments, *others)
