"""The mean over batches of |w * gradient|, against the formula."""

import keras
import numpy as np
import pytest
from helpers.backends import to_numpy
from keras import layers

import kerasreg as kr
from kerasreg.pruning.batches import batches
from kerasreg.pruning.saliency import of_gradients

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 6)).astype("float32")
Y = (X @ RNG.normal(size=(6, 2))).astype("float32")
PENALTY = kr.TopK(0.5, saliency="taylor")


def expected(w, b, x, y, batch_size, weights=None):
    weights = np.ones(len(x)) if weights is None else weights
    found = []
    for start in range(0, len(x), batch_size):
        part = slice(start, start + batch_size)
        error = (x[part] @ w + b - y[part]) * weights[part, None]
        found.append(np.abs(w * (x[part].T @ error) / len(error)))  # a mean over two outputs
    return np.mean(found, axis=0)


def linear(**kwargs):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(2, **kwargs)])
    model.compile("sgd", "mse")
    return model


WEIGHTS = RNG.uniform(size=20).astype("float32")
DATA = {
    "arrays": ((X, Y, 8), None),
    "one batch": ((X, Y, 20), None),
    "batches with weights": (
        ([(X[i : i + 8], Y[i : i + 8], WEIGHTS[i : i + 8]) for i in (0, 8, 16)], None, 1),
        WEIGHTS,
    ),
}


@pytest.mark.parametrize("name", DATA)
def test_a_linear_model(name):
    (x, y, size), weights = DATA[name]
    x = iter(x) if isinstance(x, list) else x
    model = linear(kernel_regularizer=kr.L2(3.0))  # no part of the loss here
    w, b = (v.astype("float64") for v in model.get_weights())
    kernel = model.layers[0].kernel
    found = of_gradients(model, [(kernel, PENALTY)], batches(x, y, size))
    right = expected(w, b, X, Y, 20 if size == 20 else 8, weights)
    np.testing.assert_allclose(to_numpy(found[id(kernel)]), right, rtol=1e-4, atol=1e-7)


def test_what_the_loss_does_not_need_goes():
    model = linear()
    model.set_weights([np.float32([[9, 9], [9, 9], [9, 9], [1, 1], [1, 1], [1, 1]]), np.zeros(2)])
    kr.prune(model, PENALTY, X * [0, 0, 0, 1, 1, 1], Y)
    np.testing.assert_array_equal(to_numpy(model.layers[0].kernel.value)[:, 0], [0, 0, 0, 1, 1, 1])


class OwnLoss(keras.Model):
    """A model whose loss is its own, and needs no targets."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2, use_bias=False)

    def call(self, x):
        return self.dense(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return keras.ops.mean(keras.ops.square(y_pred))


def test_a_loss_of_ones_own():
    model = OwnLoss()
    model.compile("sgd")
    model(X)
    [w] = model.get_weights()
    found = of_gradients(model, [(model.weights[0], PENALTY)], batches(X, None, 8))
    right = expected(w, 0.0, X, np.zeros_like(Y), 8)
    np.testing.assert_allclose(to_numpy(found[id(model.weights[0])]), right, rtol=1e-4, atol=1e-7)
