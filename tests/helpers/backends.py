"""Gradients and compilation, each in the words of the active backend."""

import keras
import numpy as np

BACKEND = keras.backend.backend()

# PyTorch compiles by generating and building C++, half a minute a function: see test_torch_compile.
MODES = ("eager",) if BACKEND == "torch" else ("eager", "compiled")
# JAX without it runs each operation by itself, as PyTorch does, and takes many times as long.
JIT_COMPILE = {"torch": (False,), "tensorflow": (False, True), "jax": (True,)}[BACKEND]


def to_numpy(x):
    """The value as a NumPy array in float64."""
    return np.asarray(keras.ops.convert_to_numpy(x)).astype("float64")


def in_mode(mode, function):
    """The function itself, or compiled by XLA."""
    if mode == "eager":
        return function
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True)
    import jax

    return jax.jit(function)


def gradient(function):
    """The function `x -> d function(x) / dx` of a scalar function."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        def tf_gradient(x):
            x = tf.convert_to_tensor(x)
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = function(x)
            return tape.gradient(value, x)

        return tf_gradient
    if BACKEND == "jax":
        import jax

        return jax.grad(function)

    def torch_gradient(x):
        x = keras.ops.convert_to_tensor(x).detach().requires_grad_()
        function(x).backward()
        return x.grad

    return torch_gradient
