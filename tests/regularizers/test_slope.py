"""The sorted lasso, and the isotonic regression in it."""

import keras
import numpy as np
import pytest
from helpers.backends import MODES, in_mode, to_numpy
from helpers.marks import first_is_fast
from helpers.references import nearest_falling as by_formula
from helpers.references import reference
from keras import optimizers
from scipy.optimize import minimize

import kerasreg as kr
from kerasreg.regularizers.isotonic import nearest_falling

RNG = np.random.default_rng(0)
VECTORS = {
    "falling": np.linspace(5, 1, 20),
    "rising": np.linspace(1, 5, 20),
    "level": np.ones(20),
    "random": RNG.normal(size=50),
    "saw": np.tile([1.0, 3.0, 2.0], 17) + np.linspace(0, 4, 51),
    "one late leap": np.append(np.linspace(5, 1, 19), 50.0),
    "one": np.array([2.0]),
}


@pytest.mark.parametrize("mode", first_is_fast(MODES))
@pytest.mark.parametrize("name", VECTORS)
def test_isotonic_regression(name, mode):
    x = VECTORS[name].astype("float32")
    starts = np.arange(len(x)) == 0
    found = to_numpy(in_mode(mode, nearest_falling)(x, starts))
    np.testing.assert_allclose(found, by_formula(x.astype("float64")), rtol=1e-5, atol=1e-6)


def test_each_run_by_itself():
    x = np.float32([1, 3, 2, 5, 4, 6])
    starts = np.array([True, False, False, True, False, False])
    np.testing.assert_allclose(to_numpy(nearest_falling(x, starts)), [2, 2, 2, 5, 5, 5])


@pytest.mark.parametrize("step", [0.3, 2.0])
def test_the_prox_is_the_minimiser(step):
    """By a search that knows the value alone."""
    penalty = kr.SLOPE(np.linspace(1, 0.1, 5))
    w = np.array([2.0, -1.9, 0.3, 1.2, -0.1])
    searched = reference(penalty)

    def objective(z):
        return np.sum((z - w) ** 2) / (2 * step) + searched.value(z)

    starts = [w, np.zeros(5), w / 2]
    options = {"xatol": 1e-10, "fatol": 1e-13, "maxiter": 40_000, "maxfev": 40_000}
    best = min(minimize(objective, x, method="Nelder-Mead", options=options).fun for x in starts)
    z = to_numpy(penalty.prox(w.astype("float32"), step))
    assert objective(z) <= best + 1e-6


def test_equal_weights_share_their_numbers():
    """At weights of one size the subdifferential holds every order, and what lies between."""
    penalty = kr.SLOPE([3.0, 2.0, 1.0])
    w = np.float32([1, -1, 0])
    for grad in ([-3, 2, 0.5], [-2, 3, -1], [-2.5, 2.5, 1]):
        assert float(to_numpy(penalty.subdifferential_distance(w, np.float32(grad)))) < 1e-6
    for grad in ([-3.5, 1.5, 0], [-2.5, 2.5, 1.5], [2.5, 2.5, 0]):
        assert float(to_numpy(penalty.subdifferential_distance(w, np.float32(grad)))) > 0.4


@pytest.mark.parametrize(
    "bad", [[1.0, 2.0], [-1.0], [], [[1.0, 1.0]], 1.0, None, [np.nan], "alphas"], ids=repr
)
def test_bad_numbers(bad):
    with pytest.raises(ValueError, match="argument `alphas`. Expected .* Received: alphas="):
        kr.SLOPE(bad)


def test_a_weight_of_another_size():
    penalty = kr.SLOPE(np.ones(5))
    with pytest.raises(ValueError, match=r"as many numbers as a weight of shape \(2, 3\)"):
        penalty(np.ones((2, 3), "float32"))
    layer = keras.layers.Dense(2, name="dense")
    layer.build((None, 3))
    with pytest.raises(ValueError, match="`alphas` of SLOPE on weight `dense/kernel`"):
        kr.Proximal(optimizers.SGD(), penalty).build(layer.trainable_variables)


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize(
    "inner",
    ["adam", "rmsprop", "adagrad", "adadelta", "adafactor", "ftrl", "lion", optimizers.Lamb()],
)
def test_optimizers_with_a_step_for_each_weight_are_refused(inner):
    for penalty in (kr.SLOPE([2.0, 1.0]), {".*": kr.SLOPE([2.0, 1.0])}):
        with pytest.raises(ValueError, match="that SLOPE.* can follow. \\w+ (has|mixes|moves)"):
            kr.Proximal(inner, penalty)
    for penalty in (kr.L1(0.1), kr.SLOPE([2.0, 1.0])):
        kr.Proximal(optimizers.SGD(momentum=0.9), penalty)
    kernel = keras.Variable(np.ones((2, 1), "float32"), name="kernel")
    with pytest.raises(ValueError, match="that SLOPE.* can follow. Muon "):
        kr.Proximal(optimizers.Muon(), kr.SLOPE([2.0, 1.0])).build([kernel])


def test_a_step_for_each_weight_has_no_formula():
    with pytest.raises(ValueError, match="argument `step`. Expected a scalar for SLOPE"):
        kr.SLOPE([2.0, 1.0]).prox(np.ones(2, "float32"), np.ones(2, "float32"))


@pytest.mark.slow
def test_max_strength_and_a_path():
    x = RNG.normal(size=(50, 4)).astype("float32")
    y = (x @ [2.0, 1.0, 0.0, 0.0]).astype("float32")[:, None]
    penalty = kr.SLOPE([1.0, 0.7, 0.4, 0.1])
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(optimizers.SGD(0.1), "mse")
    slopes = np.sort(np.abs(2 / 50 * (x - x.mean(0)).T @ (y - y.mean())).ravel())[::-1]
    expected = np.max(np.cumsum(slopes) / np.cumsum(penalty.alphas))
    np.testing.assert_allclose(kr.max_strength(model, x, y, penalty), expected, rtol=1e-5)
    path = kr.regularization_path(model, penalty, x, y, n_strengths=2, min_ratio=0.1, verbose=0)
    assert path.rows[0].sparsity == 1 > path.rows[-1].sparsity
