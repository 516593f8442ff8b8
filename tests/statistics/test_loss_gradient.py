"""The gradient of the whole loss, against formulas and finite differences."""

import keras
import numpy as np
import pytest
from helpers.backends import to_numpy
from helpers.models import classifier, data

import kerasreg as kr
from kerasreg.statistics.loss_gradient import LossGradient


@pytest.fixture(params=[64, 2500], ids=["one batch", "three batches"])
def regression(request):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(request.param, 5)).astype("float32")
    return x, (x @ rng.normal(size=(5, 2)) + 1).astype("float32")


def linear_model(**kwargs):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2, **kwargs)])
    model.compile("sgd", "mse")
    return model


def mse_gradient(model, x, y, sample_weight=1.0):
    w, b = (v.astype("float64") for v in model.get_weights())
    error = (x.astype("float64") @ w + b - y) * np.reshape(sample_weight, (-1, 1))
    return x.T @ error / len(x), error.mean(0)  # Keras averages over the two outputs as well


def test_linear_regression(regression):
    x, y = regression
    model = linear_model()
    for ours, right in zip(LossGradient(model)(x, y), mse_gradient(model, x, y), strict=True):
        np.testing.assert_allclose(to_numpy(ours), right, rtol=1e-4, atol=1e-6)


def test_sample_weights(regression):
    x, y = regression
    weights = np.random.default_rng(1).uniform(0, 2, len(x)).astype("float32")
    model = linear_model()
    expected = mse_gradient(model, x, y, weights)
    for ours, right in zip(LossGradient(model)(x, y, weights), expected, strict=True):
        np.testing.assert_allclose(to_numpy(ours), right, rtol=1e-4, atol=1e-6)


@pytest.mark.fast_cases(1)
def test_penalties_of_kerasreg_are_left_out_but_where_they_are_kept(regression):
    x, y = regression
    model = linear_model(kernel_regularizer=kr.L2(0.3), bias_regularizer=keras.regularizers.L2(0.1))
    kernel, bias = mse_gradient(model, x, y)
    w, b = model.get_weights()
    for kept, penalty in (((), 0.0), ([model.layers[0].kernel], 0.6 * w)):
        ours = LossGradient(model, keep_penalties_on=kept)(x, y)
        np.testing.assert_allclose(to_numpy(ours[0]), kernel + penalty, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(to_numpy(ours[1]), bias + 0.2 * b, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_everything_that_layers_add_is_in_the_loss():
    """Activity penalties, batch normalisation and dropout as in `evaluate`."""
    x, y = data()
    model = classifier(penalties=False)
    model.get_layer("first").activity_regularizer = kr.L2(0.5)
    model.fit(x, y, epochs=2, verbose=0)
    gradient = [to_numpy(g) for g in LossGradient(model)(x, y)]
    kernel = model.get_layer("first").kernel
    number = [v is kernel for v in model.trainable_variables].index(True)
    # Along the gradient itself, where the loss changes most: other slopes may be next to nothing.
    direction = gradient[number] / np.linalg.norm(gradient[number])
    place = [v is kernel for v in model.weights].index(True)
    weights = model.get_weights()
    losses = []
    for size in (1e-2, -1e-2):
        moved = [w + size * direction if i == place else w for i, w in enumerate(weights)]
        model.set_weights(moved)
        losses.append(model.evaluate(x, y, verbose=0, batch_size=len(x))[0])
    slope = (losses[0] - losses[1]) / 2e-2
    np.testing.assert_allclose(np.sum(gradient[number] * direction), slope, rtol=1e-2)


@pytest.mark.slow
def test_the_model_stays_as_it_is():
    x, y = data()
    model = classifier()
    model.fit(x, y, verbose=0)
    before = [to_numpy(v.value) for v in (*model.variables, *model.metrics_variables)]
    LossGradient(model)(x, y)
    after = [to_numpy(v.value) for v in (*model.variables, *model.metrics_variables)]
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


class WithUnused(keras.layers.Layer):
    def build(self, input_shape):
        self.unused = self.add_weight(shape=(3,), name="unused")
        self.gain = self.add_weight(shape=(), name="gain", initializer="ones")

    def call(self, x):
        return x * self.gain


def test_a_weight_without_influence_has_a_gradient_of_zero():
    model = keras.Sequential([keras.Input((2,)), WithUnused()])
    model.compile("sgd", "mse")
    unused, gain = LossGradient(model)(np.ones((4, 2), "float32"), np.zeros((4, 2), "float32"))
    np.testing.assert_array_equal(to_numpy(unused), np.zeros(3))
    np.testing.assert_allclose(to_numpy(gain), 2.0)


def test_state_that_changes_between_two_calls_counts():
    """What a compiled function only refers to would be a constant in it."""
    x, y = data()
    layers = [keras.layers.BatchNormalization(momentum=0.5), keras.layers.Dense(1, name="last")]
    model = keras.Sequential([keras.Input((6,)), *layers])
    model.compile(keras.optimizers.SGD(0.05), "mse")
    gradient = LossGradient(model)
    first = [to_numpy(g) for g in gradient(x, y)]
    model.fit(x * 3 + 1, y, epochs=3, verbose=0)
    again, fresh = ([to_numpy(g) for g in f(x, y)] for f in (gradient, LossGradient(model)))
    for a, b in zip(again, fresh, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    assert not np.allclose(again[-2], first[-2], rtol=1e-2)


@pytest.mark.parametrize("reduction", ["sum", "mean_with_sample_weight"])
def test_losses_that_are_no_mean_over_samples(reduction):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2500, 5)).astype("float32")
    y = (x @ rng.normal(size=(5, 2))).astype("float32")
    weights = (rng.uniform(size=2500) * (np.arange(2500) < 1300)).astype("float32")
    model = linear_model()
    model.compile("sgd", keras.losses.MeanSquaredError(reduction=reduction))
    total = {"sum": 1.0, "mean_with_sample_weight": weights.sum()}[reduction]
    expected = [len(x) / total * part for part in mse_gradient(model, x, y, weights)]
    for ours, right in zip(LossGradient(model)(x, y, weights), expected, strict=True):
        np.testing.assert_allclose(to_numpy(ours), right, rtol=1e-3, atol=1e-4)


class OwnLoss(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(2)

    def call(self, x):
        return self.dense(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return keras.ops.mean(keras.ops.square(y - y_pred))


def test_a_loss_of_ones_own_without_the_argument_training(regression):
    x, y = regression
    model = OwnLoss()
    model.compile("sgd")
    model(x[:2])
    for ours, right in zip(LossGradient(model)(x, y), mse_gradient(model, x, y), strict=True):
        np.testing.assert_allclose(to_numpy(ours), right, rtol=1e-4, atol=1e-6)
