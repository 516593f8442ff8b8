"""Compilation and the transformations of the backends: of an operation the same values."""

import numpy as np
import pytest
from helpers.backends import BACKEND, to_numpy
from helpers.mask_words import numpy_mask, numpy_scale, to_state
from keras import ops

from kerasreg.layers.masks import drawing, fusion

RATE = 0.3
jax_only = pytest.mark.skipif(BACKEND != "jax", reason="a transformation of JAX")
tensorflow_only = pytest.mark.skipif(BACKEND != "tensorflow", reason="about TensorFlow's graphs")


def scaled_mask(shape):
    return numpy_scale(RATE) * numpy_mask(1, 2, shape, RATE)


def numbers(shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_compiled_functions_keep_their_arguments_apart():
    @fusion.compiled
    def scale(x, state, factor, negative):
        y = x * factor + 0 * ops.cast(state[0], x.dtype)
        return -y if negative else y

    x = ops.ones((3, 2))
    for factor, negative in [(1.0, False), (2.0, False), (2.0, True), (1.0, True)]:
        y = to_numpy(scale(x, to_state(1), factor, negative))
        np.testing.assert_array_equal(y, -factor if negative else factor)
    assert scale.__name__ == "scale"


@jax_only
def test_jax_vmap_over_states_and_over_inputs():
    import jax

    states = np.stack([to_state(seed, 2, RATE) for seed in range(5)])
    x = numbers((30, 40))
    y = jax.vmap(lambda state: drawing.drop(x, state))(states)
    right = [x * numpy_scale(RATE) * numpy_mask(seed, 2, x.shape, RATE) for seed in range(5)]
    np.testing.assert_allclose(y, right, rtol=2e-7)
    # One state has one mask, whatever is mapped over.
    same = jax.vmap(lambda row: drawing.drop(row, to_state(1, 2, RATE)))(x)
    np.testing.assert_allclose(same, x * scaled_mask((40,)), rtol=2e-7)


@jax_only
def test_jax_forward_mode_and_its_derivatives():
    import jax

    x, state = numbers((30, 40)), to_state(1, 2, RATE)
    mask = scaled_mask(x.shape)
    y, slope = jax.jvp(lambda x: drawing.drop(x, state), (x,), (2 * x,))
    np.testing.assert_allclose(y, x * mask, rtol=2e-7)
    np.testing.assert_allclose(slope, 2 * x * mask, rtol=2e-7)
    vector = x[0]
    hessian = jax.jit(jax.hessian(lambda x: (drawing.drop(x, state) ** 3).sum()))(vector)
    right = np.diag(6 * vector * scaled_mask((40,)) ** 3)
    np.testing.assert_allclose(hessian, right, rtol=1e-6)


@jax_only
def test_jax_draws_again_instead_of_storing_under_remat():
    import jax

    x, state = numbers((30, 40)), to_state(1, 2, RATE)
    cube = jax.checkpoint(lambda x: (drawing.drop(x, state) ** 3).sum())
    right = 3 * x**2 * scaled_mask(x.shape) ** 3
    np.testing.assert_allclose(jax.jit(jax.grad(cube))(x), right, rtol=1e-6)


@pytest.mark.fast_cases(1)
@tensorflow_only
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("signature", [(None, None), (None, 40), (30, 40)])
def test_tensorflow_graphs(signature, jit_compile):
    import tensorflow as tf

    specs = [tf.TensorSpec(signature), tf.TensorSpec((4,), to_state(0).dtype)]

    @tf.function(input_signature=specs, jit_compile=jit_compile)
    def value_and_slopes(x, state):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = drawing.drop(x, state)
                cube = tf.reduce_sum(y**3)
            slope = inner.gradient(cube, x)
        return y, slope, outer.gradient(slope, x)

    for shape in [(30, 40), (7, 40), (1, 40)] if signature[0] is None else [(30, 40)]:
        x, mask = numbers(shape), scaled_mask(shape)
        y, slope, second = value_and_slopes(x, to_state(1, 2, RATE))
        np.testing.assert_allclose(y, x * mask, rtol=2e-7)
        np.testing.assert_allclose(slope, 3 * x**2 * mask**3, rtol=1e-6)
        np.testing.assert_allclose(second, 6 * x * mask**3, rtol=1e-6)


@tensorflow_only
def test_tensorflow_of_unknown_rank_says_so():
    import tensorflow as tf

    spec = [tf.TensorSpec(None)]
    drop = tf.function(lambda x: drawing.drop(x, to_state(1)), input_signature=spec)
    with pytest.raises(ValueError, match="rank"):
        drop(np.ones((2, 3), "float32"))


@tensorflow_only
def test_tensorflow_stores_no_mask():
    """What the gradient of a graph takes from the forward pass: the state, no tensor of bytes."""
    import tensorflow as tf

    @tf.function
    def slope(x, state):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = drawing.drop(x, state)
        return tape.gradient(y, x)

    graph = slope.get_concrete_function(tf.TensorSpec((30, 40)), to_state(1, 2, RATE)).graph
    calls = [op for op in graph.get_operations() if "Call" in op.type]
    outputs = {tuple(output.shape) for op in calls for output in op.outputs}
    assert outputs == {(30, 40)} and len(calls) <= 2
    assert all(output.dtype == tf.float32 for op in calls for output in op.outputs)


@tensorflow_only
def test_tensorflow_traces_once_for_all_sizes_of_a_rank():
    import tensorflow as tf

    traces = []

    @fusion.compiled_mask
    def double(x, state):
        traces.append(x.shape)
        return 2 * x

    for size in range(1, 12):
        x = tf.ones((size, 3))
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = double(x, to_state(1))
        np.testing.assert_array_equal(tape.gradient(y, x), 2 * np.ones((size, 3)))
    assert len(traces) <= 3
