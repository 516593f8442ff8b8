"""The fixed points of `Proximal` are the optima that scikit-learn finds, whatever the optimizer."""

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND
from helpers.marks import slow
from keras import optimizers
from sklearn.datasets import load_breast_cancer, load_diabetes, make_regression
from sklearn.linear_model import ElasticNet, LogisticRegression, MultiTaskLasso

import kerasreg as kr

STEPS = 1000
JIT = BACKEND != "torch"

OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(decay(0.1)),
    "momentum": lambda: optimizers.SGD(decay(0.02), momentum=0.9),
    "nesterov": lambda: optimizers.SGD(decay(0.02), momentum=0.9, nesterov=True),
    "adam": lambda: optimizers.Adam(decay(0.02)),
    "amsgrad": lambda: optimizers.Adam(decay(0.02), amsgrad=True),
    "adamw": lambda: optimizers.AdamW(decay(0.02), weight_decay=0.0),
    "nadam": lambda: optimizers.Nadam(decay(0.02)),
    "adamax": lambda: optimizers.Adamax(decay(0.05)),
    "rmsprop": lambda: optimizers.RMSprop(decay(0.01)),
    "rmsprop with momentum": lambda: optimizers.RMSprop(decay(0.002), momentum=0.9),
    "rmsprop, centred": lambda: optimizers.RMSprop(decay(0.002), centered=True, epsilon=1e-3),
    "adagrad": lambda: optimizers.Adagrad(decay(0.5)),
}


def decay(rate):
    return optimizers.schedules.CosineDecay(rate, STEPS)


def standardised(x, y):
    x, y = (x - x.mean(0)) / x.std(0), (y - y.mean(0)) / y.std(0)
    return x.astype("float32"), y.reshape(len(y), -1).astype("float32")


DATA = {
    "diabetes": lambda: standardised(*load_diabetes(return_X_y=True)),
    "breast_cancer": lambda: standardised(*load_breast_cancer(return_X_y=True)),
    "made": lambda: standardised(*make_regression(200, 30, n_informative=8, random_state=0)),
}


def fit(x, y, optimizer, penalty, loss="mse"):
    model = keras.Sequential([keras.Input(x.shape[1:]), keras.layers.Dense(y.shape[1])])
    model.compile(kr.Proximal(optimizer, penalty), loss, jit_compile=JIT)
    for _ in range(STEPS):
        model.train_on_batch(x, y)
    return np.asarray(keras.ops.convert_to_numpy(model.get_weights()[0]))


def check(found, expected, atol=1e-5):
    np.testing.assert_array_equal(found == 0, expected == 0)
    np.testing.assert_allclose(found, expected, atol=atol)


def sklearn_fit(x, y, alpha, l1_ratio):
    model = ElasticNet(alpha, l1_ratio=l1_ratio, tol=1e-12, max_iter=1_000_000)
    coefficients = model.fit(x.astype("float64"), y.astype("float64")).coef_.reshape(-1, 1)
    assert 0 < np.count_nonzero(coefficients) < coefficients.size
    return coefficients


FAST = ["adam"]  # test_steps.py has the step sizes of all of them


@pytest.mark.parametrize("name", [name if name in FAST else slow(name) for name in OPTIMIZERS])
def test_lasso_with_every_optimizer(name):
    x, y = DATA["diabetes"]()
    penalty = kr.ElasticNet.from_sklearn(0.05, 1.0)
    check(fit(x, y, OPTIMIZERS[name](), penalty), sklearn_fit(x, y, 0.05, 1.0))


@pytest.mark.parametrize(("name", "l1_ratio"), [slow("sgd", 0.5), slow("adam", 0.9)])
def test_elastic_net(name, l1_ratio):
    x, y = DATA["diabetes"]()
    penalty = kr.ElasticNet.from_sklearn(0.1, l1_ratio)
    check(fit(x, y, OPTIMIZERS[name](), penalty), sklearn_fit(x, y, 0.1, l1_ratio))


@pytest.mark.slow
@pytest.mark.parametrize("data", ["breast_cancer", "made"])
def test_other_data(data):
    x, y = DATA[data]()
    penalty = kr.ElasticNet.from_sklearn(0.1, 0.8)
    # breast_cancer's columns are nearly dependent, which takes momentum.
    optimizer = optimizers.SGD(decay(0.02), momentum=0.97)
    check(fit(x, y, optimizer, penalty), sklearn_fit(x, y, 0.1, 0.8), atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", [slow("sgd"), "adam"])
def test_group_lasso_is_the_multi_task_lasso(name):
    x, y = DATA["diabetes"]()
    rng = np.random.default_rng(0)
    _, y = standardised(x, np.hstack([y, x @ rng.normal(size=(10, 2)) + rng.normal(size=y.shape)]))
    reference = MultiTaskLasso(0.3, tol=1e-12, max_iter=1_000_000)
    expected = reference.fit(x.astype("float64"), y.astype("float64")).coef_.T
    assert 0 < np.count_nonzero(np.any(expected, axis=1)) < 10
    penalty = kr.GroupLasso(2 * 0.3 / 3, axis=0, size_scaling=False)
    check(fit(x, y, OPTIMIZERS[name](), penalty), expected)


@pytest.mark.slow
def test_logistic_regression():
    x, _ = DATA["breast_cancer"]()
    y = load_breast_cancer().target.astype("float32")[:, None]
    x = x[:, [1, 4, 5, 7, 8, 9, 11, 14, 17, 18]]  # not those that are nearly the same column
    strength = 0.05
    model = LogisticRegression(
        C=1 / (len(x) * strength), l1_ratio=1.0, solver="saga", tol=1e-8, max_iter=1_000_000
    )
    expected = model.fit(x.astype("float64"), y.ravel()).coef_.T
    assert 0 < np.count_nonzero(expected) < 10
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    optimizer = optimizers.SGD(decay(0.2), momentum=0.97)
    check(fit(x, y, optimizer, kr.L1(strength), loss), expected, atol=2e-5)
