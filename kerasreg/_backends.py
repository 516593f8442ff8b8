"""What differs by backend: compile, differentiate, where memory is, scopes, processes."""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import Callable, Sequence
from typing import Any

import keras
import ml_dtypes
import numpy as np
import numpy.typing as npt
from keras import ops

from kerasreg._keras_internals import all_layers
from kerasreg._tensors import Tensor

_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def compiled(
    function: Callable[..., Any], jit_compile: bool | None = True, **options: Any
) -> Callable[..., Any]:
    """Compiles a function of tensors; on PyTorch, which runs each operation by itself, does not.

    Args:
        function: A function of tensors, or structures of them.
        jit_compile: Whether XLA compiles it on TensorFlow, which else makes it a graph; `None` to
            do as the function around it does.
        **options: What `jax.jit` takes, as `static_argnums` or `out_shardings`; for JAX alone.

    Returns:
        The function, compiled for itself even if it equals one that was compiled before.
    """
    backend = keras.backend.backend()
    # A function of its own: JAX does not trace one again that equals another, and TensorFlow warns
    # of the number of traces of all that share their code.
    own = functools.partial(function)
    if backend == "jax":
        import jax

        return jax.jit(own, **options)
    if backend == "tensorflow":
        import tensorflow as tf

        program: Callable[..., Any] = tf.function(
            own, jit_compile=jit_compile, autograph=False, reduce_retracing=True
        )
        return program
    return function


def compiled_like(model: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function that calls a model as the model's own steps are compiled, or not."""
    if model.run_eagerly:
        return function
    is_jax = keras.backend.backend() == "jax"
    # `jit_compile` of an uncompiled model would make up its mind for good.
    jit_compile = model.jit_compile if model.compiled else is_jax
    jit_compile = jit_compile and all(layer.supports_jit for layer in all_layers(model))
    return function if is_jax and not jit_compile else compiled(function, jit_compile)


def gradient_of(loss: Callable[..., Tensor]) -> Callable[..., Sequence[Tensor]]:
    """The compiled gradient of a function with respect to its first argument, a list of tensors.

    It is zero where the function, of scalar values, does not depend on a tensor.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return compiled(jax.grad(loss))
    if backend == "tensorflow":
        import tensorflow as tf

        def tf_gradient(values: Sequence[Tensor], *args: Any) -> Sequence[Tensor]:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(values)
                result = loss(values, *args)
            return list(tape.gradient(result, values, unconnected_gradients="zero"))

        return compiled(tf_gradient, jit_compile=None)

    import torch

    def torch_gradient(values: Sequence[Tensor], *args: Any) -> Sequence[Tensor]:
        leaves = [value.detach().requires_grad_() for value in values]
        return torch.autograd.grad(loss(leaves, *args), leaves, materialize_grads=True)

    return torch_gradient


def without_gradients() -> contextlib.AbstractContextManager[Any]:
    """A scope in which PyTorch keeps nothing for gradients; the others do so where asked only."""
    if keras.backend.backend() != "torch":
        return contextlib.nullcontext()
    import torch

    return torch.no_grad()


def outside_of_graphs() -> contextlib.AbstractContextManager[Any]:
    """A scope in which variables have values, even while TensorFlow traces a function."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    import tensorflow as tf

    scope: contextlib.AbstractContextManager[Any] = tf.init_scope()
    return scope


def required(x: Tensor, holds: Sequence[Any], message: str) -> Tensor:
    """`x`, where TensorFlow checks while it runs that conditions hold.

    XLA, which cannot raise, makes it NaN where they do not.

    Args:
        x: A tensor.
        holds: Scalar booleans, some of which may be tensors.
        message: What the error says.
    """
    if keras.backend.backend() != "tensorflow":
        return x
    import tensorflow as tf

    all_hold = tf.reduce_all(tf.stack(holds))
    with tf.control_dependencies([tf.debugging.Assert(all_hold, [message])]):
        return tf.where(all_hold, x, tf.constant(float("nan"), x.dtype))


def is_symbolic(x: Any) -> bool:
    """Whether `x` is a tensor without a value, as in a function that is being compiled."""
    # The value of a variable, which may be one.
    x = x.value if isinstance(x, keras.Variable) else x
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return isinstance(x, jax.core.Tracer)
    if backend == "tensorflow":
        import tensorflow as tf

        return bool(tf.is_tensor(x) and not tf.executing_eagerly())
    import torch

    return isinstance(x, torch.Tensor) and torch.compiler.is_compiling()


def is_on_host(x: Tensor) -> bool:
    """Whether the memory of a CPU holds all of a tensor or variable, or of this replica's own."""
    # Not the variable itself, which TensorFlow takes for a tensor.
    value = x.value if isinstance(x, keras.Variable) else x
    if keras.backend.backend() == "jax":
        on_cpu = all(device.platform == "cpu" for device in value.sharding.device_set)
        return on_cpu and bool(value.sharding.is_fully_replicated)
    return "cpu" in str(value.device).lower()


def is_sharded(variable: Any) -> bool:
    """Whether several devices hold a part of a variable each, as `ModelParallel` makes it."""
    value = variable.value
    if keras.backend.backend() == "jax":
        return not value.sharding.is_fully_replicated
    return hasattr(value, "full_tensor")  # A `DTensor` of PyTorch; TensorFlow has none here.


def runs_in_place(*tensors: Tensor) -> bool:
    """Whether PyTorch computes with tensors on a CPU, one operation after the other.

    And without their gradients, so that it may do so in place.
    """
    if keras.backend.backend() != "torch":
        return False
    import torch

    return not torch.compiler.is_compiling() and all(
        isinstance(x, torch.Tensor)
        and x.device.type == "cpu"
        and not (x.requires_grad and torch.is_grad_enabled())
        for x in tensors
    )


def computes_on_cpu() -> bool:
    """Whether JAX or TensorFlow has nothing but the CPU of this process to compute on."""
    if keras.distribution.distribution() is not None:
        return False
    if keras.backend.backend() == "jax":
        import jax

        return bool(jax.default_backend() == "cpu")
    import tensorflow as tf

    return all(device.device_type == "CPU" for device in tf.config.list_logical_devices())


def host_view(x: Tensor) -> npt.NDArray[Any]:
    """The present value of a tensor or variable, without a copy where a CPU's memory holds it.

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
            return np.asarray(memoryview(tf.bitcast(x, tf.uint16))).view(_BFLOAT16)
        return np.asarray(memoryview(x))  # `x.numpy()` copies.
    return np.asarray(x)


def host_views(variables: Sequence[Any]) -> list[npt.NDArray[Any]]:
    """The `host_view` of each of several variables."""
    return [host_view(variable) for variable in variables]


def dense(x: Tensor) -> Tensor:
    """A gradient as a tensor, also where TensorFlow has slices of an embedding."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.convert_to_tensor(x)
    return x


def masked(x: Tensor, mask: Tensor) -> Tensor:
    """A gradient where the mask is true, 0 elsewhere; slices of an embedding stay slices."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if isinstance(x, tf.IndexedSlices):
            values = tf.where(tf.gather(mask, x.indices), x.values, tf.zeros_like(x.values))
            return tf.IndexedSlices(values, x.indices, x.dense_shape)
    return ops.where(mask, x, ops.zeros_like(x))


def replica_count() -> int:
    """How many replicas of a TensorFlow strategy compute gradients of their own."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    within = tf.distribute.has_strategy() and tf.distribute.get_replica_context() is not None
    return int(tf.distribute.get_strategy().num_replicas_in_sync) if within else 1


def summed_over_replicas(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Tensors, each summed over the replicas of a TensorFlow strategy; elsewhere as they are."""
    if not tensors or replica_count() == 1:
        return list(tensors)
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return list(context.all_reduce(tf.distribute.ReduceOp.SUM, list(tensors)))


def strategy_scope(model: Any) -> contextlib.AbstractContextManager[Any]:
    """The scope to make variables in that belong to a model's TensorFlow strategy, if any."""
    strategy = getattr(model, "distribute_strategy", None)
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def process_rank() -> int:
    """The number of this process among those of a distributed training on JAX or PyTorch."""
    if keras.backend.backend() == "jax":
        import jax

        return int(jax.process_index())
    from torch import distributed

    several = distributed.is_available() and distributed.is_initialized()
    return int(distributed.get_rank()) if several else 0


def is_chief(model: Any) -> bool:
    """Whether this process, the first of a distributed training, is the one that writes."""
    if keras.backend.backend() == "tensorflow":
        return bool(model.distribute_strategy.extended.should_save_summary)
    return process_rank() == 0


def seed_everything(seed: int) -> None:
    """Seeds the random numbers of Python, NumPy and the backend, by which Keras shuffles.

    As `keras.utils.set_random_seed` does, which elsewhere takes seconds to import TensorFlow.
    """
    random.seed(seed)
    np.random.seed(seed)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.random.set_seed(seed)
    elif backend == "torch":
        import torch

        torch.manual_seed(seed)


def float_settings() -> dict[str, Any]:
    """What the backend's floats depend on in this process, for `set_float_settings` in another."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        names = ("jax_enable_x64", "jax_default_matmul_precision")
        return {name: getattr(jax.config, name) for name in names}
    if backend == "tensorflow":
        import tensorflow as tf

        return {"tf32": tf.config.experimental.tensor_float_32_execution_enabled()}
    import torch

    return {
        "matmul": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def set_float_settings(settings: dict[str, Any]) -> None:
    """Lets the backend compute as it does in the process of `float_settings`."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        for name, value in settings.items():
            jax.config.update(name, value)  # type: ignore[no-untyped-call]
    elif backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(settings["tf32"])
    else:
        import torch

        torch.set_float32_matmul_precision(settings["matmul"])
        torch.use_deterministic_algorithms(settings["deterministic"])
