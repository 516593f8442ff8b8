"""Penalties on groups find the optima that skglm finds on its own objective for linear models."""

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND
from helpers.marks import slow
from keras import ops, optimizers
from skglm.datafits import QuadraticGroup, QuadraticMultiTask
from skglm.penalties import (
    L2_1,
    BlockMCPenalty,
    BlockSCAD,
    WeightedGroupL2,
    WeightedL1GroupL2,
)
from skglm.solvers import GroupBCD, MultiTaskBCD

import kerasreg as kr

# What skglm compiles is slower on slices of columns; that is all that this says.
pytestmark = pytest.mark.filterwarnings("ignore:.*is faster on contiguous arrays")

STEPS = 1500
GROUPS, SIZE, TASKS = 6, 4, 3

OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(optimizers.schedules.CosineDecay(0.05, STEPS), momentum=0.9),
    "adam": lambda: optimizers.Adam(optimizers.schedules.CosineDecay(0.02, STEPS)),
}
EITHER = ["adam"]


def half_of_squares(y, y_pred):
    """What skglm minimises the mean of."""
    return 0.5 * ops.sum(ops.square(y - y_pred), axis=-1)


def data(outputs):
    """Columns that are standardised and correlated, of which one group in two counts."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, GROUPS * SIZE)) + 0.5 * rng.normal(size=(200, 1))
    x = (x - x.mean(0)) / x.std(0)
    w = rng.normal(size=(GROUPS, SIZE, outputs)) * (np.arange(GROUPS) % 2)[:, None, None]
    y = x @ w.reshape(-1, outputs) + rng.normal(size=(200, outputs))
    return x.astype("float32"), (y - y.mean(0)).astype("float32")


def fit(layer, x, y, optimizer, penalty):
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    optimizer = kr.Proximal(OPTIMIZERS[optimizer](), penalty)
    model.compile(optimizer, half_of_squares, jit_compile=BACKEND != "torch")
    for _ in range(STEPS):
        model.train_on_batch(x, y)
    return np.asarray(ops.convert_to_numpy(model.get_weights()[0]))


def check(found, expected):
    assert 0 < np.count_nonzero(expected) < expected.size
    np.testing.assert_array_equal(found == 0, expected == 0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def of_groups(penalty, **options):
    """Skglm's coefficients of one target, with groups of consecutive columns."""
    x, y = (np.asfortranarray(a, "float64") for a in data(1))
    bounds = np.arange(0, GROUPS * SIZE + 1, SIZE, dtype="int32")
    places = np.arange(GROUPS * SIZE, dtype="int32")
    weights = np.full(GROUPS, np.sqrt(SIZE))
    solver, datafit = GroupBCD(1000, tol=1e-10, **options), QuadraticGroup(bounds, places)
    found = solver.solve(x, y.ravel(), datafit, penalty(bounds, places, weights))[0]
    return found.reshape(GROUPS, SIZE, 1)


def fit_groups(optimizer, penalty):
    """The same by a layer whose kernel has an axis that numbers the groups."""
    x, y = data(1)
    layer = keras.layers.EinsumDense("bgi,gio->bo", (1,))
    return fit(layer, x.reshape(-1, GROUPS, SIZE), y, optimizer, penalty)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", EITHER)
@pytest.mark.parametrize("positive", [slow(False), True])
def test_group_lasso(positive, optimizer):
    expected = of_groups(
        lambda bounds, places, weights: WeightedGroupL2(0.2, weights, bounds, places, positive)
    )
    assert not positive or np.any((expected == 0) & np.any(expected, axis=1, keepdims=True))
    check(fit_groups(optimizer, kr.GroupLasso(0.2, axis=0, positive=positive)), expected)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", EITHER)
def test_sparse_group_lasso(optimizer):
    expected = of_groups(
        lambda bounds, places, weights: WeightedL1GroupL2(
            0.3, 0.5 * weights, 0.5 * np.ones(GROUPS * SIZE), bounds, places
        ),
        ws_strategy="fixpoint",
    )
    assert np.any((expected == 0) & np.any(expected, axis=1, keepdims=True))
    check(fit_groups(optimizer, kr.SparseGroupLasso(0.3, l1_ratio=0.5, axis=0)), expected)


def of_tasks(penalty):
    x, y = (np.asfortranarray(a, "float64") for a in data(TASKS))
    solver = MultiTaskBCD(1000, 10_000, tol=1e-10, fit_intercept=False)
    datafit = QuadraticMultiTask()
    datafit.initialize(x, y)
    return solver.solve(x, y, datafit, penalty)[0]


def fit_tasks(optimizer, penalty):
    return fit(keras.layers.Dense(TASKS), *data(TASKS), optimizer, penalty)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", EITHER)
def test_group_lasso_of_several_targets(optimizer):
    penalty = kr.GroupLasso(0.4, axis=0, size_scaling=False)
    check(fit_tasks(optimizer, penalty), of_tasks(L2_1(0.4)))


CONCAVE = [
    (kr.BlockMCP(0.4, gamma=3.0, axis=0, size_scaling=False), BlockMCPenalty(0.4, 3.0)),
    (kr.BlockSCAD(0.4, gamma=3.7, axis=0, size_scaling=False), BlockSCAD(0.4, 3.7)),
]


def objective(x, y, w, penalty):
    return np.sum((y - x @ w) ** 2) / (2 * len(x)) + penalty.value(w)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", EITHER)
@pytest.mark.parametrize(("penalty", "of_skglm"), CONCAVE, ids=["mcp", "scad"])
def test_concave_penalties_reach_an_optimum_that_is_no_worse(penalty, of_skglm, optimizer):
    x, y = (a.astype("float64") for a in data(TASKS))
    found, expected = fit_tasks(optimizer, penalty).astype("float64"), of_tasks(of_skglm)
    gradient = x.T @ (x @ found - y) / len(x)
    distance = of_skglm.subdiff_distance(found, gradient, np.arange(x.shape[1], dtype="int32"))
    assert np.max(distance) < 1e-4
    assert 0 < np.count_nonzero(found) < found.size
    assert objective(x, y, found, of_skglm) <= objective(x, y, expected, of_skglm) + 1e-4
