"""Compiles an operation into one pass over its input, whatever surrounds it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

import keras
from keras import ops

from kerasreg import _backends
from kerasreg._tensors import Tensor
from kerasreg.layers.masks import shape_history

Operation = Callable[..., Tensor]


def compiled(function: Operation) -> Operation:
    """Compiles a function of a tensor, the state of a mask and hashable Python values.

    On TensorFlow XLA compiles it in eager mode and in plain graphs too, for a shape that repeats:
    see `shape_history`. What PyTorch does instead is in `torch_words`.
    """
    backend = keras.backend.backend()
    if backend == "torch":
        return function
    if backend == "tensorflow":
        return shape_history.compiled_for_repeats(function)

    @functools.cache
    def of(*arguments: Any) -> Operation:
        return _backends.compiled(lambda x, state: function(x, state, *arguments))

    @functools.wraps(function)
    def call(x: Tensor, state: Tensor, *arguments: Any) -> Tensor:
        return of(*arguments)(ops.convert_to_tensor(x), state)

    return call


def compiled_mask(function: Operation, slope: Operation | None = None) -> Operation:
    """Compiles a function that acts entry by entry and is affine in the tensor, as masks are.

    TensorFlow's gradient draws the mask anew instead of storing it.

    Args:
        function: A function of a tensor, the state of a mask and hashable Python values.
        slope: The gradient, as such a function of the gradient of what comes after and the same
            arguments, itself from `compiled_mask`; by default `function`, which then is linear.
    """
    fast = compiled(function)
    if keras.backend.backend() != "tensorflow":
        return fast
    import tensorflow as tf

    @functools.cache
    def with_gradient(*arguments: Any) -> Operation:
        def apply(x: Tensor, state: Tensor) -> tuple[Tensor, Callable[[Tensor], Any]]:
            # Or TensorFlow would make a gradient of its own besides.
            y = fast(tf.stop_gradient(x), state, *arguments)
            return y, lambda dy: ((slope or call)(dy, state, *arguments), None)

        return cast(Operation, tf.custom_gradient(apply))

    @functools.wraps(function)
    def call(x: Tensor, state: Tensor, *arguments: Any) -> Tensor:
        return with_gradient(*arguments)(x, state)

    return call
