"""The hash on PyTorch, which runs every operation by itself.

On a CPU a tensor is taken in pieces that stay in the cache, by operations in place. They are all
on integers, the mask too: PyTorch's comparisons to booleans, and what it does with booleans, take
four times as long.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from kerasreg._tensors import Tensor
from kerasreg.layers.masks.counter_hash import (
    FACTORS,
    ROW_SALT,
    SHIFTS,
    SIGN,
    hashed_words,
    keys_int,
    leading_axes,
    to_signed,
)

PIECE_SIZE = 1 << 18
SMALL_SIZE = 1 << 14
# Of each step after the first: the distance of the shift, and the factor.
_STEPS = list(zip(SHIFTS[1:], (*FACTORS[1:], None), strict=True))
_INTEGERS = {2: "int16", 4: "int32", 8: "int64"}
_scratch = threading.local()
Masks: TypeAlias = Iterable[tuple[int, Tensor]]
"""Pieces of a mask as 0 and 1, each with the index where it starts."""


def random_words(state: Tensor, shape: Sequence[Any]) -> Tensor:
    """Independent uniform int32 words; on a GPU those of PyTorch's own generator.

    There the hash would take a pass over the memory for each of its operations.
    """
    import torch

    if torch.compiler.is_compiling() or state.device.type == "meta":
        return hashed_words(state, shape)
    if state.device.type != "cpu":
        # Hashed, for some generators take only the last 32 bits.
        key0, key1 = keys_int(*state.tolist()[:2])
        seed = (key0 & 0x7FFFFFFF) << 32 | key1
        generator = torch.Generator(state.device).manual_seed(seed)
        words = torch.empty(tuple(shape), dtype=torch.int32, device=state.device)
        return words.random_(-SIGN, SIGN, generator=generator)
    if 0 < math.prod(shape) <= SMALL_SIZE:
        ((_, piece),) = _pieces(state.tolist(), shape)
        return piece.view(tuple(shape))
    words = torch.empty(tuple(shape), dtype=torch.int32)
    flat = words.view(-1)
    for start, piece in _pieces(state.tolist(), words.shape):
        flat[start : start + len(piece)].copy_(piece)
    return words


def divides(x: Tensor) -> bool:
    """Whether `drop` can take a tensor in pieces."""
    import torch

    plain = isinstance(x, torch.Tensor) and not torch.compiler.is_compiling()
    return plain and x.device.type == "cpu" and x.is_floating_point() and x.itemsize in _INTEGERS


def drop(x: Tensor, state: Tensor, rescale: bool) -> Tensor:
    """Sets elements to zero, by a mask that is kept as bytes for the backward pass."""
    import torch

    words = state.tolist()
    # Of the 2^32 words the state's third counts those that drop an element.
    keeping = 2**32 - (words[2] & 0xFFFFFFFF)
    exact: float = keeping
    if x.itemsize == 8:
        exact -= to_signed(words[3]) / 2**32
    scale = (0.0 if keeping == 1 else 2**32 / exact) if rescale else 1.0
    threshold = to_signed(words[2] ^ SIGN)
    if x.numel() <= SMALL_SIZE:
        return torch.where(random_words(state, x.shape) >= threshold, x * scale, 0.0)
    masks = ((start, piece.ge_(threshold)) for start, piece in _pieces(words, x.shape))
    if not (x.requires_grad and torch.is_grad_enabled()):
        return _apply(x, scale, masks)
    return _drop_function()(x, torch.empty(x.shape, dtype=torch.int8), masks, scale)


def _pieces(state: Sequence[int], shape: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
    """The words of a tensor one piece after the other, each with the index where it starts."""
    key0, key1 = keys_int(*state[:2])
    rows = leading_axes(shape)
    length = math.prod(shape[rows:])
    for row in range(math.prod(shape[:rows])):
        key = key1 + row * ROW_SALT & 0xFFFFFFFF
        for start in range(0, length, PIECE_SIZE):
            size = min(PIECE_SIZE, length - start)
            yield row * length + start, _hash_piece(start ^ key0, key, size)


def _hash_piece(key0: int, key1: int, size: int) -> Tensor:
    """The hash of `key0` and an index below `PIECE_SIZE`, in memory that the next piece reuses."""
    import torch

    # The first step is linear in the bits: that of the index is looked up.
    first = key0 ^ key0 >> SHIFTS[0]
    if size <= SMALL_SIZE:
        return torch.from_numpy(_hash_array(np.uint32(first), np.uint32(key1), size))
    table, words, shifted = (x[:size] for x in _buffers())
    torch.bitwise_xor(table, to_signed(first), out=words)
    key = torch.tensor(to_signed(key1), dtype=torch.int32)
    torch.add(key, words, alpha=to_signed(FACTORS[0]), out=words)
    for distance, factor in _STEPS:
        torch.bitwise_right_shift(words, distance, out=shifted)
        # PyTorch's shift repeats the sign.
        words.bitwise_xor_(shifted.bitwise_and_((1 << (32 - distance)) - 1))
        if factor is not None:
            words.mul_(to_signed(factor))
    return words


def _hash_array(first: np.uint32, key1: np.uint32, size: int) -> Any:
    """The same by NumPy, whose operations have less overhead."""
    words = _first_step()[:size] ^ first
    words *= np.uint32(FACTORS[0])
    words += key1
    for distance, factor in _STEPS:
        words ^= words >> np.uint32(distance)
        if factor is not None:
            words *= np.uint32(factor)
    return words.view("int32")


@functools.cache
def _first_step() -> Any:
    """The first step of the hash of every index in a piece."""
    index = np.arange(PIECE_SIZE, dtype="uint32")
    return index ^ index >> np.uint32(SHIFTS[0])


def _buffers() -> tuple[Tensor, Tensor, Tensor]:
    """The table of the first step and memory of the calling thread."""
    if not hasattr(_scratch, "buffers"):
        import torch

        # Tensors made in inference mode could not be written to outside of it.
        with torch.inference_mode(False):
            # A copy, for PyTorch aligns its memory better than NumPy does.
            table = torch.from_numpy(_first_step().view("int32")).clone()
            _scratch.buffers = table, table.clone(), table.clone()
    buffers: tuple[Tensor, Tensor, Tensor] = _scratch.buffers
    return buffers


def _apply(x: Tensor, scale: float, masks: Masks) -> Tensor:
    """`x * mask * scale`, with zeros also where `x` is not finite."""
    import torch

    x = x.contiguous()
    y = torch.empty_like(x)
    integers = getattr(torch, _INTEGERS[x.itemsize])
    scaled = y.view(-1)
    source, target = x.view(-1).view(integers), scaled.view(integers)
    for start, mask in masks:
        part = slice(start, start + len(mask))
        torch.mul(source[part], mask.to(integers), out=target[part])
        if scale != 1.0:
            scaled[part].mul_(scale)
    return y


@functools.cache
def _drop_function() -> Any:
    import torch

    class Drop(torch.autograd.Function):
        @staticmethod
        def forward(x: Tensor, stored: Tensor, masks: Masks, scale: float) -> Tensor:
            flat = stored.view(-1)
            # In here, as `torch.func` does not follow what is done in place.
            for start, mask in masks:
                flat[start : start + len(mask)].copy_(mask)
            pieces = enumerate(flat.split(PIECE_SIZE))
            return _apply(x, scale, ((i * PIECE_SIZE, piece) for i, piece in pieces))

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(inputs[1])
            ctx.scale = inputs[3]

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            return _drop_function()(dy, ctx.saved_tensors[0], (), ctx.scale), None, None, None

    return Drop.apply
