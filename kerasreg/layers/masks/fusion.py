"""Compiles an operation into one pass over its input, whatever surrounds it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

import keras
from keras import ops

from kerasreg import _backends
from kerasreg._tensors import Tensor

Operation = Callable[..., Tensor]


def compiled(function: Operation) -> Operation:
    """Compiles a function of a tensor, the state of a mask and hashable Python values.

    On TensorFlow XLA compiles it in eager mode and in plain graphs too, once for each shape of the
    tensor, in about 0.1 s. What PyTorch does instead is in `torch_words`.
    """
    if keras.backend.backend() == "torch":
        return function

    # One for each rank, which TensorFlow would forget where shapes differ.
    @functools.cache
    def of_rank(rank: int, *arguments: Any) -> Operation:
        return _backends.compiled(lambda x, state: function(x, state, *arguments))

    @functools.wraps(function)
    def call(x: Tensor, state: Tensor, *arguments: Any) -> Tensor:
        # A variable would be one of the function's own, of one shape for ever.
        x = ops.convert_to_tensor(x)
        return of_rank(len(x.shape), *arguments)(x, state)

    return call


def compiled_mask(function: Operation) -> Operation:
    """Compiles a function that is linear in the tensor and acts entry by entry, as masks do.

    Its gradient is the function itself, which in TensorFlow draws the mask anew instead of
    storing it.
    """
    fast = compiled(function)
    if keras.backend.backend() != "tensorflow":
        return fast
    import tensorflow as tf

    @functools.cache
    def with_gradient(*arguments: Any) -> Operation:
        def apply(x: Tensor, state: Tensor) -> tuple[Tensor, Callable[[Tensor], Any]]:
            y = fast(x, state, *arguments)
            return y, lambda dy: (with_gradient(*arguments)(dy, state), None)

        return cast(Operation, tf.custom_gradient(apply))

    @functools.wraps(function)
    def call(x: Tensor, state: Tensor, *arguments: Any) -> Tensor:
        return with_gradient(*arguments)(x, state)

    return call
