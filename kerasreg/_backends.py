"""What differs by backend, once: compile, differentiate, where memory is, the scope, who writes."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import ml_dtypes
import numpy as np
import numpy.typing as npt
from keras import ops

from kerasreg._keras_internals import (
    all_layers,
)
from kerasreg._tensors import Tensor

_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def host_view(x: Tensor) -> npt.NDArray[Any]:
    """The present value of a tensor or variable; in the memory of a CPU, that memory itself.

    It is to be read at once: the next training step may write there.
    """
    x = ops.convert_to_tensor(x)
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        x = x.detach().cpu()
        if x.dtype == torch.bfloat16:  # which NumPy knows by way of ml_dtypes only
            return np.asarray(x.view(torch.int16).numpy()).view(_BFLOAT16)
        return np.asarray(x.numpy())
    if backend == "tensorflow":
        import tensorflow as tf

        x = tf.convert_to_tensor(x)
        if "CPU" not in x.device:
            with tf.device("CPU"):
                x = tf.identity(x)
        if x.dtype == tf.bfloat16:
            return np.from_dlpack(tf.bitcast(x, tf.uint16)).view(_BFLOAT16)
        return np.from_dlpack(x)
    return np.asarray(x)


def is_on_host(variable: Any) -> bool:
    """Whether the memory of one CPU holds the whole value; that of this process's own replica."""
    value = variable.value
    backend = keras.backend.backend()
    if backend == "torch":
        on_cpu: bool = value.device.type == "cpu"
        return on_cpu
    if backend == "tensorflow":
        return "CPU" in value.device
    devices = value.sharding.device_set
    on_cpus = all(device.platform == "cpu" for device in devices)
    return on_cpus and bool(len(devices) == 1 or value.sharding.is_fully_replicated)


def gradient_of(loss: Callable[..., Tensor]) -> Callable[..., Sequence[Tensor]]:
    """The gradient with respect to the first argument, a list of tensors; each as a tensor."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        gradient: Callable[..., Sequence[Tensor]] = jax.jit(jax.grad(loss))
        return gradient
    if backend == "tensorflow":
        import tensorflow as tf

        def tf_gradient(values: Sequence[Tensor], *args: Any) -> Sequence[Tensor]:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(values)
                result = loss(values, *args)
            return list(tape.gradient(result, values, unconnected_gradients="zero"))

        return tf.function(tf_gradient, reduce_retracing=True)  # type: ignore[no-any-return]

    import torch

    def torch_gradient(values: Sequence[Tensor], *args: Any) -> Sequence[Tensor]:
        leaves = [value.detach().requires_grad_() for value in values]
        return torch.autograd.grad(loss(leaves, *args), leaves, materialize_grads=True)

    return torch_gradient


def compile_as(model: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function in the way in which the model is."""
    backend = keras.backend.backend()
    if backend == "torch" or model.run_eagerly:
        return function
    # An uncompiled model would remember that it was asked.
    jit_compile = model.jit_compile if model.compiled else backend == "jax"
    jit_compile = jit_compile and all(layer.supports_jit for layer in all_layers(model))
    if backend == "jax":
        import jax

        # A function of its own, for JAX does not trace one again that equals another.
        compiled: Callable[..., Any] = jax.jit(lambda *args: function(*args))
        return compiled if jit_compile else function
    import tensorflow as tf

    # A partial one, for TensorFlow warns of the number of traces of all that share their code.
    options = {"jit_compile": jit_compile, "autograph": False, "reduce_retracing": True}
    return tf.function(functools.partial(function), **options)  # type: ignore[no-any-return]


def strategy_scope(model: Any) -> Any:
    strategy = getattr(model, "distribute_strategy", None)  # TensorFlow only
    return strategy.scope() if strategy is not None else contextlib.nullcontext()


def is_tensor_on_host(matrix: Tensor) -> bool:
    """Whether this process has all of the matrix in the memory of a CPU."""
    if keras.backend.backend() == "jax":
        whole: bool = matrix.is_fully_replicated
        return whole and all(device.platform == "cpu" for device in matrix.devices())
    if isinstance(matrix, keras.Variable):  # which TensorFlow takes for a tensor
        matrix = matrix.value
    return "cpu" in str(matrix.device).lower()


def is_chief(model: Any) -> bool:
    """Whether this process is the one that writes; the others only take part in computing.

    Args:
        model: The model, which on TensorFlow knows the strategy that it was made in.

    Returns:
        Whether it is the first of a distributed training's processes, or the only one.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return bool(jax.process_index() == 0)
    if backend == "torch":
        from torch import distributed

        several = distributed.is_available() and distributed.is_initialized()
        return not several or bool(distributed.get_rank() == 0)
    return bool(model.distribute_strategy.extended.should_save_summary)
