"""The largest strength against the formulas of glmnet and scikit-learn."""

import keras
import numpy as np
import pytest
from helpers.backends import to_numpy
from helpers.models import classifier, data
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import enet_path, lasso_path

import kerasreg as kr

BINARY = keras.losses.BinaryCrossentropy(from_logits=True)
CATEGORICAL = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def standardised(x):
    return (x - x.mean(0)) / x.std(0)


def linear(x, loss="mse", units=1, activation=None, **dense):
    layer = keras.layers.Dense(units, activation, **dense)
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    model.compile("sgd", loss)
    return model


def diabetes():
    x, y = load_diabetes(return_X_y=True)
    return standardised(x), y


def breast_cancer():
    x, y = load_breast_cancer(return_X_y=True)
    return standardised(x), y


def correlations(x, y):
    """`|x_c^T y_c| / n` of each feature."""
    return np.abs((x - x.mean(0)).T @ (y - y.mean(0))) / len(x)


def test_lasso_against_scikit_learn():
    x, y = diabetes()
    largest = lasso_path(x, y - y.mean(), alphas=1)[0][0]
    penalty = kr.ElasticNet.from_sklearn(1.0, 1.0)
    assert kr.max_strength(linear(x), x, y, penalty) == pytest.approx(largest, rel=1e-6)
    assert kr.max_strength(linear(x), x, y, kr.L1()) == pytest.approx(2 * largest, rel=1e-6)


@pytest.mark.parametrize("ratio", [0.1, 0.5])
def test_elastic_net_against_scikit_learn(ratio):
    x, y = diabetes()
    largest = enet_path(x, y - y.mean(), l1_ratio=ratio, alphas=1)[0][0]
    penalty = kr.ElasticNet.from_sklearn(0.3, ratio)
    assert kr.max_strength(linear(x), x, y, penalty) == pytest.approx(largest, rel=1e-6)


@pytest.mark.parametrize(
    ("loss", "activation"), [(BINARY, None), (keras.losses.BinaryCrossentropy(), "sigmoid")]
)
def test_logistic_regression(loss, activation):
    x, y = breast_cancer()
    found = kr.max_strength(linear(x, loss, activation=activation), x, y, kr.L1())
    assert found == pytest.approx(correlations(x, y).max(), rel=1e-6)


@pytest.mark.slow
def test_multinomial_regression_and_groups_of_inputs():
    x, y = load_digits(return_X_y=True)
    x, one_hot = x / 16, np.eye(10)[y]
    expected = correlations(x, one_hot)
    model = linear(x, CATEGORICAL, units=10)
    assert kr.max_strength(model, x, y, kr.L1()) == pytest.approx(expected.max(), rel=1e-6)
    groups = kr.GroupLasso(axis=0)
    norms = np.linalg.norm(expected, axis=1).max() / np.sqrt(10)
    assert kr.max_strength(model, x, y, groups) == pytest.approx(norms, rel=1e-6)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("loss", "activation", "residual"),
    [
        ("poisson", "exponential", lambda y: y - y.mean()),
        ("mae", None, lambda y: np.sign(y - np.median(y))),
    ],
)
def test_other_losses(loss, activation, residual):
    x, y = diabetes()
    y = y[:441] / 100  # of an odd number of samples the median is one
    x = standardised(x[:441])
    expected = np.abs(x.T @ residual(y)).max() / len(y)
    found = kr.max_strength(linear(x, loss, activation=activation), x, y, kr.L1())
    assert found == pytest.approx(expected, rel=2e-2 if loss == "mae" else 1e-6)


def test_inputs_off_their_mean_and_sample_weights():
    x, y = diabetes()
    x = x + 3
    weight = np.random.default_rng(0).uniform(0.5, 2, len(x))
    center = np.average(y, weights=weight)
    # Keras divides the weighted loss by the number of samples.
    expected = 2 * np.abs((x * weight[:, None]).T @ (y - center)).max() / len(x)
    found = kr.max_strength(linear(x), x, y, kr.L1(), sample_weight=weight)
    assert found == pytest.approx(expected, rel=2e-6)


@pytest.mark.slow
def test_another_penalty_in_the_loss():
    x, y = diabetes()
    values = [
        kr.max_strength(linear(x + 1.0, bias_regularizer=penalty), x + 1.0, y + 9.0, kr.L1())
        for penalty in (kr.L2(0.5), keras.regularizers.L2(0.5), None)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    assert values[0] != pytest.approx(values[2], rel=1e-2)


def test_a_loss_of_ones_own_that_is_no_mean():
    x, y = diabetes()
    x, y = np.tile(x, (3, 1)), np.tile(y, 3)  # more than a batch
    sums = linear(x, lambda y, p: keras.ops.sum((y - p) ** 2))
    expected = len(x) * kr.max_strength(linear(x), x, y, kr.L1())
    assert kr.max_strength(sums, x, y, kr.L1()) == pytest.approx(expected, rel=1e-4)


def test_without_a_bias():
    x, y = diabetes()
    expected = 2 * np.abs(x.T @ y).max() / len(x)
    assert kr.max_strength(linear(x, use_bias=False), x, y, kr.L1()) == pytest.approx(expected)


def test_of_several_penalties_the_first_and_the_others_in_proportion():
    x, y = diabetes()
    model = linear(x)
    both = {".*kernel": kr.L1(0.5), ".*bias": kr.L1(1e3)}
    assert kr.max_strength(model, x, y, both) == pytest.approx(
        kr.max_strength(linear(x, use_bias=False), x, y, kr.L1()), rel=1e-5
    )
    both = {".*kernel": kr.L1(0.5), ".*bias": kr.L1(1e-3)}
    expected = 0.5 * 2 * abs(y.mean()) / 1e-3
    assert kr.max_strength(model, x, y, both) == pytest.approx(expected, rel=1e-6)


def test_convolution_and_other_layers_around_one():
    x = np.random.default_rng(0).normal(size=(50, 6, 6, 1))
    y = x[:, 2:, 2:, 0].mean((1, 2)) + np.random.default_rng(1).normal(size=50)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Dropout(0.5),
            layers.Conv2D(1, 3),
            layers.GlobalAveragePooling2D(),
        ]
    )
    model.compile("sgd", "mse")
    patches = np.stack(
        [x[:, i : i + 4, j : j + 4, 0].mean((1, 2)) for i in range(3) for j in range(3)], axis=1
    )
    expected = 2 * correlations(patches, y).max()
    assert kr.max_strength(model, x, y, kr.L1()) == pytest.approx(expected, rel=1e-5)


def test_a_deep_model_by_layer_at_its_present_weights():
    x, y = data()
    model = classifier(penalties=False)
    found = kr.max_strength(model, x, y, {".*first/kernel": kr.L1(), ".*last/kernel": kr.L1()})
    assert list(found) == ["classifier/first/kernel", "classifier/last/kernel"]
    assert repr(found).startswith("CurrentStrengths({")
    kernel, step = model.get_layer("last").kernel, 1e-2
    slopes = []
    start = to_numpy(kernel)
    for index in np.ndindex(*start.shape):
        losses = []
        for sign in (1, -1):
            moved = start.copy()
            moved[index] += sign * step
            kernel.assign(moved)
            losses.append(to_numpy(CATEGORICAL(y, model(x))))
        slopes.append((losses[0] - losses[1]) / (2 * step))
    assert found["classifier/last/kernel"] == pytest.approx(np.abs(slopes).max(), rel=1e-3)


def test_the_model_stays_as_it_is():
    x, y = diabetes()
    model = linear(x)
    before = model.get_weights()
    kr.max_strength(model, x, y, kr.L1())
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not model.optimizer.built or int(model.optimizer.iterations) == 0


def bare(compiled=True):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    if compiled:
        model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize(
    ("model", "penalty", "message"),
    [
        (lambda: bare(False), kr.L1(), "`model`.*compiled"),
        (lambda: keras.Sequential([keras.layers.Dense(1)]), kr.L1(), "`model`.*built"),
        (bare, kr.L2(), "`penalty`.*kink"),
        (bare, kr.ElasticNet(1.0, 0.0, 1.0), "`penalty`.*kink"),
        (bare, kr.L1(0.0), "`penalty`.*positive strength"),
        (bare, {".*kernel": kr.L1(), ".*bias": kr.MCP(0.0)}, "`penalty`.*positive strength"),
        (bare, kr.TopK(0.5), "`penalty`.*have a strength"),
        (bare, kr.KeepZeros(), "`penalty`.*have a strength"),
        (bare, {".*nothing": kr.L1()}, "`penalty`.*patterns that match"),
        (bare, "l1", "`penalty`"),
    ],
)
def test_errors(model, penalty, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        kr.max_strength(model(), np.ones((4, 2)), np.ones(4), penalty)
