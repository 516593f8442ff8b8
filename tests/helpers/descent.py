"""Many updates of an optimizer on a loss with a known gradient, in one program where it helps."""

import keras

from helpers.backends import BACKEND


def descend(optimizer, weights, gradient, steps):
    """Trains weights in place.

    Args:
        optimizer: A Keras optimizer.
        weights: A list of variables.
        gradient: The gradients of a list of tensors, as a list.
        steps: Number of updates.
    """
    optimizer.build(weights)
    if BACKEND == "jax":
        _on_jax(optimizer, weights, gradient, steps)
    elif BACKEND == "tensorflow":
        _on_tensorflow(optimizer, weights, gradient, steps)
    else:
        for _ in range(steps):
            optimizer.apply(gradient([w.value.detach() for w in weights]), weights)


def _on_jax(optimizer, weights, gradient, steps):
    import jax

    def update(_, carried):
        values, state = carried
        return optimizer.stateless_apply(state, gradient(values), values)

    carried = [w.value for w in weights], [v.value for v in optimizer.variables]
    carried = jax.jit(lambda c: jax.lax.fori_loop(0, steps, update, c))(carried)
    for variable, value in zip([*weights, *optimizer.variables], sum(carried, []), strict=True):
        variable.assign(value)


def _on_tensorflow(optimizer, weights, gradient, steps):
    import tensorflow as tf

    def update(i):
        optimizer.apply(gradient([w.value for w in weights]), weights)
        return (i + 1,)

    @tf.function(jit_compile=True)
    def run():
        tf.while_loop(lambda i: i < steps, update, (0,))

    run()


def of_least_squares(x, y):
    """The gradient of `keras.losses.MeanSquaredError` of a linear map, and that map at zero."""
    scale = 2.0 / y.size
    square, product = (scale * x.T.astype("float64") @ z for z in (x, y))
    constants = [keras.ops.convert_to_tensor(z.astype("float32")) for z in (square, product)]

    def gradient(values):
        [w] = values
        return [keras.ops.matmul(constants[0], w) - constants[1]]

    return gradient
