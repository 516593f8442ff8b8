"""The fixed points of `Proximal` are the optima of skglm, on its own objective.

That is `||y - Xw||^2 / (2n) + penalty(w)`. A new penalty is one more row in a table.
"""

import os

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, to_numpy
from helpers.marks import slow
from keras import optimizers
from scipy.optimize import lsq_linear
from sklearn.datasets import load_diabetes

import kerasreg as kr

# Numba compiles for seconds what runs for milliseconds; without, it has another name for `bool`.
os.environ["NUMBA_DISABLE_JIT"] = "1"
import skglm.penalties as sk  # noqa: E402
from skglm.datafits import Quadratic  # noqa: E402
from skglm.estimators import GeneralizedLinearEstimator  # noqa: E402
from skglm.penalties import separable  # noqa: E402
from skglm.solvers import FISTA, AndersonCD  # noqa: E402

separable.bool_ = bool

STEPS = 1000
JIT = BACKEND != "torch"
FACTORS = np.array([1, 2, 0, 1, 0.5, 1, 3, 1, 1, 2])
ALPHAS = np.linspace(0.1, 0.02, 10)


def diabetes():
    x, y = load_diabetes(return_X_y=True)
    return (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()


X, Y = diabetes()


def half_mse(y_true, y_pred):
    return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1) / 2


def fit(penalty, optimizer, start=None):
    """The weights that `Proximal` comes to."""
    model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(1, use_bias=False)])
    if start is not None:
        model.layers[0].kernel.assign(start[:, None])
    model.compile(kr.Proximal(optimizer, penalty), half_mse, jit_compile=JIT)
    x, y = X.astype("float32"), Y.astype("float32")[:, None]
    for _ in range(STEPS):
        model.train_on_batch(x, y)
    return model.get_weights()[0].ravel()


def sgd():
    return optimizers.SGD(optimizers.schedules.CosineDecay(0.2, STEPS), momentum=0.5)


def adam():
    return optimizers.Adam(optimizers.schedules.CosineDecay(0.02, STEPS))


def lion():
    return optimizers.Lion(optimizers.schedules.CosineDecay(0.005, STEPS))


def skglm_fit(penalty):
    if hasattr(penalty, "prox_1d"):
        solver = AndersonCD(
            tol=1e-12, fit_intercept=False, max_epochs=100_000, ws_strategy="fixpoint"
        )
    else:
        solver = FISTA(tol=1e-12, max_iter=100_000, opt_strategy="fixpoint")
    return GeneralizedLinearEstimator(Quadratic(), penalty, solver).fit(X, Y).coef_


def weighted(penalty):
    return kr.Weighted(penalty, FACTORS[:, None])


CONVEX = {
    "lasso": (kr.L1(0.05), sk.L1(0.05)),
    "lasso, positive": (kr.L1(0.05, positive=True), sk.L1(0.05, positive=True)),
    "elastic net, positive": (
        kr.ElasticNet(0.1, 0.7, 0.15, positive=True),
        sk.L1_plus_L2(0.1, 0.7, positive=True),
    ),
    "lasso with factors": (weighted(kr.L1(0.05)), sk.WeightedL1(0.05, FACTORS)),
    "lasso with factors, positive": (
        weighted(kr.L1(0.05, positive=True)),
        sk.WeightedL1(0.05, FACTORS, positive=True),
    ),
    "slope": (kr.SLOPE(ALPHAS), sk.SLOPE(ALPHAS)),
}
NOT_CONVEX = {
    "mcp": (kr.MCP(0.1, 3.0), sk.MCPenalty(0.1, 3.0)),
    "mcp, positive": (kr.MCP(0.1, 3.0, positive=True), sk.MCPenalty(0.1, 3.0, positive=True)),
    "mcp with factors": (weighted(kr.MCP(0.1, 3.0)), sk.WeightedMCPenalty(0.1, 3.0, FACTORS)),
    "scad": (kr.SCAD(0.1, 3.7), sk.SCAD(0.1, 3.7)),
    "log sum": (kr.LogSum(0.05, 0.3), sk.LogSumPenalty(0.05, 0.3)),
    "l0.5": (kr.L0_5(0.02), sk.L0_5(0.02)),
    "l2/3": (kr.L2_3(0.02), sk.L2_3(0.02)),
}
FAST = [
    ("lasso with factors, positive", adam),
    ("slope", sgd),
    ("scad", adam),
]


def cases(table):
    every = [(name, sgd if name == "slope" else adam) for name in table]
    every += [("lasso, positive", lion)] if table is CONVEX else []
    # The rest on PyTorch alone: what is compared are formulas, and these are the same.
    rest = [case for case in every if case not in FAST and BACKEND == "torch"]
    return [*(case for case in every if case in FAST), *(slow(*case) for case in rest)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "optimizer"), cases(CONVEX))
def test_convex_penalties_have_the_same_optimum(name, optimizer):
    penalty, of_skglm = CONVEX[name]
    expected = skglm_fit(of_skglm)
    assert 0 < np.count_nonzero(expected) < 10
    found = fit(penalty, optimizer())
    np.testing.assert_array_equal(found == 0, expected == 0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(("name", "optimizer"), cases(NOT_CONVEX))
def test_other_penalties_come_to_an_optimum_as_good(name, optimizer):
    """By skglm's own distance and value, from where its own optimum is not known."""
    penalty, of_skglm = NOT_CONVEX[name]
    found = fit(penalty, optimizer(), np.linalg.lstsq(X, Y)[0]).astype("float64")
    assert 0 < np.count_nonzero(found) < 10
    value = to_numpy(penalty(found.astype("float32")[:, None]))
    np.testing.assert_allclose(value, of_skglm.value(found), rtol=1e-5)
    grad = X.T @ (X @ found - Y) / len(Y)
    assert np.linalg.norm(of_skglm.subdiff_distance(found, grad, range(10))) < 2e-5

    def objective(w):
        return np.sum((Y - X @ w) ** 2) / (2 * len(Y)) + of_skglm.value(w)

    # There are several optima; none of the two programs looks for the best.
    assert objective(found) <= objective(skglm_fit(of_skglm)) * 1.02


@pytest.mark.parametrize("optimizer", [adam, slow(sgd)])
@pytest.mark.parametrize("bounds", [(-0.05, 0.2), slow((0.0, np.inf))])
def test_least_squares_within_bounds(bounds, optimizer):
    expected = lsq_linear(X, Y, bounds, tol=1e-14).x
    found = fit(kr.Box(*bounds), optimizer())
    np.testing.assert_allclose(found, expected, atol=1e-5)
    at_a_bound = np.isclose(expected[:, None], bounds, atol=1e-9)
    assert 0 < np.count_nonzero(at_a_bound) < 10
    np.testing.assert_array_equal(found[:, None] == np.float32(bounds), at_a_bound)
