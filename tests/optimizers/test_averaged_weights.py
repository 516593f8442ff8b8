"""`use_ema`: the averaged weights have the zeros of the optimum, too."""

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, JIT_COMPILE, to_numpy
from helpers.descent import descend, of_least_squares
from helpers.marks import first_is_fast, slow
from keras import optimizers
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Lasso

import kerasreg as kr

STEPS, ATOL = (600, 1e-4) if BACKEND == "torch" else (2000, 5e-6)


def decay(rate):
    return optimizers.schedules.CosineDecay(rate, STEPS)


OPTIMIZERS = {
    "adam": lambda **k: optimizers.Adam(decay(0.02), **k),
    "sgd": lambda **k: optimizers.SGD(decay(0.1), **k),
    "momentum": lambda **k: optimizers.SGD(decay(0.02), momentum=0.9, **k),
    "nesterov": lambda **k: optimizers.SGD(decay(0.02), momentum=0.9, nesterov=True, **k),
    "nadam": lambda **k: optimizers.Nadam(decay(0.02), **k),
    "adamax": lambda **k: optimizers.Adamax(decay(0.05), **k),
    "rmsprop": lambda **k: optimizers.RMSprop(decay(0.01), **k),
    "rmsprop with momentum": lambda **k: optimizers.RMSprop(decay(0.002), momentum=0.9, **k),
    "adagrad": lambda **k: optimizers.Adagrad(decay(0.5), **k),
    "lamb": lambda **k: optimizers.Lamb(decay(0.2), **k),
    "adadelta": lambda **k: optimizers.Adadelta(decay(30.0), **k),
    "ftrl": lambda **k: optimizers.Ftrl(decay(0.5), **k),
}


def standardised(x, y):
    return (x - x.mean(0)) / x.std(0), ((y - y.mean(0)) / y.std(0))[:, None]


def lasso(optimizer, constraint=None):
    x, y = standardised(*load_diabetes(return_X_y=True))
    weight = keras.Variable(np.full((10, 1), 0.2, "float32"), name="kernel")
    weight.constraint = constraint
    proximal = kr.Proximal(optimizer, kr.L1(0.1))
    descend(proximal, [weight], of_least_squares(x, y), STEPS)
    proximal.finalize_variable_values([weight])
    model = Lasso(0.05, tol=1e-12, max_iter=1_000_000, positive=constraint is not None)
    return to_numpy(weight.value), model.fit(x, y).coef_[:, None]


@pytest.mark.parametrize("name", ["adam", *[slow(name) for name in [*OPTIMIZERS][1:]]])
def test_lasso(name):
    found, expected = lasso(OPTIMIZERS[name](use_ema=True, ema_momentum=0.97))
    np.testing.assert_array_equal(found == 0, expected == 0)
    np.testing.assert_allclose(found, expected, atol=ATOL)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adam", "momentum", "ftrl"])
def test_averages_that_overwrite_the_weights(name):
    """By which the rates of earlier updates, which were larger, move the optimum a little."""
    options = {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 20}
    found, expected = lasso(OPTIMIZERS[name](**options))
    np.testing.assert_array_equal(found == 0, expected == 0)
    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.slow
def test_non_negative():
    found, expected = lasso(OPTIMIZERS["adam"](use_ema=True), keras.constraints.NonNeg())
    np.testing.assert_array_equal(found == 0, expected == 0)
    np.testing.assert_allclose(found, expected, atol=20 * ATOL)


def updated(optimizer, weights, gradients):
    for gradient in gradients:
        given = [None if g is None else keras.ops.convert_to_tensor(g) for g in gradient]
        optimizer.apply(given, weights)


def average(values, momentum):
    mean = values[0]
    for value in values[1:]:
        mean = momentum * mean + (1 - momentum) * value
    return mean


@pytest.mark.parametrize("accumulated", [None, 2])
def test_it_is_the_prox_of_the_average_with_the_averaged_rate(accumulated):
    """Of the weights before the penalty; while gradients accumulate they rest."""
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(6, 2, 3)).astype("float32")
    weight = keras.Variable(np.ones((2, 3), "float32"), name="kernel")
    rates = optimizers.schedules.PiecewiseConstantDecay([1], [0.2, 0.1])
    inner = optimizers.SGD(
        rates, use_ema=True, ema_momentum=0.8, gradient_accumulation_steps=accumulated
    )
    optimizer = kr.Proximal(inner, kr.L1(0.3), hold_zeros=False)
    z, seen, used = np.ones((2, 3)), [], []
    for i in range(0, 6, accumulated or 1):
        rate = 0.2 if i + (accumulated or 1) <= 2 else 0.1  # Keras's schedules count batches
        for j in range(accumulated or 1):
            updated(optimizer, [weight], [[gradients[i + j]]])
            happens = j + 1 == (accumulated or 1)
            used.append(rate if happens else 0.0)
            seen.append(z)
        seen[-1] = z - rate * gradients[i : i + (accumulated or 1)].mean(0)
        z = np.sign(seen[-1]) * np.maximum(np.abs(seen[-1]) - 0.3 * rate, 0)
    optimizer.finalize_variable_values([weight])
    first = (accumulated or 1) - 1  # before the second update Keras keeps the latest alone
    mean, rate = (average(x[first:], 0.8) for x in (seen, used))
    expected = np.sign(mean) * np.maximum(np.abs(mean) - 0.3 * rate, 0)
    np.testing.assert_allclose(to_numpy(weight.value), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("penalty", [kr.KeepZeros(), kr.TopK(0.5, frequency=2)])
@pytest.mark.parametrize("overwrite", [None, 3])
@pytest.mark.parametrize("name", ["adam", slow("ftrl"), slow("lamb")])
def test_constraints_hold_for_the_average(name, overwrite, penalty):
    start = np.where(np.arange(12) % 2, np.arange(12), 0).reshape(4, 3).astype("float32")
    weight = keras.Variable(start, name="kernel")
    inner = OPTIMIZERS[name](use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=overwrite)
    optimizer = kr.Proximal(inner, penalty)
    for gradient in np.random.default_rng(0).normal(size=(7, 4, 3)).astype("float32"):
        updated(optimizer, [weight], [[gradient]])
        assert np.count_nonzero(to_numpy(weight.value)) == 6
    optimizer.finalize_variable_values([weight])
    assert np.count_nonzero(to_numpy(weight.value)) == 6
    if isinstance(penalty, kr.KeepZeros):
        np.testing.assert_array_equal(to_numpy(weight.value) == 0, start == 0)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_what_the_loss_does_not_reach_is_left_alone():
    """Adam's step size without gradients is the learning rate by epsilon."""
    weights = [keras.Variable(np.ones((2, 2), "float32"), name=name) for name in ("a", "b")]
    optimizer = kr.Proximal(optimizers.Adam(0.01, use_ema=True), {".*": kr.L1(0.01)})
    optimizer.build(weights)
    missing = np.zeros((2, 2), "float32") if BACKEND == "jax" else None
    updated(optimizer, weights, [[np.ones((2, 2), "float32"), missing]] * 3)
    optimizer.finalize_variable_values(weights)
    assert np.all(to_numpy(weights[0].value) < 1) and np.all(to_numpy(weights[1].value) == 1)


def test_no_average_moves_farther_than_the_optimizer_could_have():
    """The penalty has seen a row without gradients three times only."""
    weight = keras.Variable(np.ones((2, 2), "float32"), name="kernel")
    optimizer = kr.Proximal(optimizers.Adam(0.01, use_ema=True), kr.L1(0.01))
    updated(optimizer, [weight], [[np.array([[1, 1], [0, 0]], "float32")]] * 3)
    optimizer.finalize_variable_values([weight])
    assert np.all(to_numpy(weight.value) > 1 - 3 * 7.3 * 0.01)


@pytest.mark.parametrize("jit_compile", first_is_fast(JIT_COMPILE))
@pytest.mark.parametrize("name", [slow("adam"), "momentum"])
def test_a_training_that_was_saved_goes_on_as_it_would_have(name, jit_compile, tmp_path):
    x, y = (a.astype("float32") for a in standardised(*load_diabetes(return_X_y=True)))
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(1)])
    inner = OPTIMIZERS[name](use_ema=True, ema_momentum=0.8)
    model.compile(kr.Proximal(inner, kr.L1(0.4)), "mse", jit_compile=jit_compile)
    for _ in range(3):
        model.train_on_batch(x, y)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    weights = []
    for each in (model, loaded):
        each.fit(x, y, batch_size=len(x), epochs=3, shuffle=False, verbose=0)
        weights.append(each.get_weights()[0])
    np.testing.assert_allclose(*weights, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(weights[0] == 0, weights[1] == 0)
