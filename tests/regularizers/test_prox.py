"""The proximal operators where a metric is badly scaled."""

import hypothesis.extra.numpy as arrays
import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, to_numpy
from helpers.references import reference
from hypothesis import given, settings
from hypothesis import strategies as st

import kerasreg as kr
from kerasreg.regularizers.prox import group_soft_threshold, soft_threshold


def test_soft_threshold():
    w = np.array([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0], "float32")
    z = to_numpy(soft_threshold(w, 1.0))
    np.testing.assert_array_equal(z, [-2, 0, 0, 0, 0, 0, 2])
    assert not np.any(np.signbit(z[1:]))


def test_group_soft_threshold_shortens_by_the_threshold():
    w = np.array([[3.0, 0.3], [4.0, 0.4]], "float32")
    z = to_numpy(group_soft_threshold(w, 1.0, axis=1))
    np.testing.assert_allclose(z, [[2.4, 0], [3.2, 0]], rtol=1e-6)
    same = to_numpy(group_soft_threshold(w, np.ones((2, 2), "float32"), axis=1))
    np.testing.assert_allclose(same, z, rtol=1e-6, atol=1e-7)


# A weight, and the step of each of its entries.
extreme = given(
    w=arrays.arrays("float32", (8, 2), elements=st.floats(-10, 10, width=32)),
    exponents=arrays.arrays("float32", (8, 2), elements=st.floats(-8, 4, width=32)),
)


@settings(deadline=None, max_examples=30, derandomize=True)
@extreme
def test_group_prox_in_a_metric_of_twelve_orders_of_magnitude(w, exponents):
    check_group_prox(w, exponents)


@pytest.mark.slow
@settings(deadline=None, max_examples=100 if BACKEND == "jax" else 200, derandomize=True)
@extreme
def test_group_prox_in_many_such_metrics(w, exponents):
    check_group_prox(w, exponents)


def check_group_prox(w, exponents):
    step = np.float32(10.0) ** exponents
    penalty = kr.GroupLasso(1.0, size_scaling=False)
    z, expected = to_numpy(penalty.prox(w, step)), reference(penalty).prox(w, step)
    np.testing.assert_allclose(z, expected, rtol=1e-4, atol=1e-5 * np.abs(w).max())


@pytest.mark.parametrize("axis", [0, 1])
def test_zero_groups_stay_zero_and_finite(axis):
    w = np.zeros((3, 4), "float32")
    w[1, 1] = 1
    for threshold in (0.5, np.full((3, 4), 0.5, "float32")):
        z = to_numpy(group_soft_threshold(w, threshold, axis))
        assert np.all(np.isfinite(z)) and np.count_nonzero(z) == 1


FORMULAS = [
    kr.L1(0.3, positive=True),
    kr.ElasticNet(0.5, 0.2, 0.3, positive=True),
    kr.MCP(0.3, gamma=2.0),
    kr.MCP(0.3, gamma=2.0, positive=True),
    kr.SCAD(0.3),
    kr.SCAD(0.5, gamma=2.1),
    kr.LogSum(0.3),
    kr.LogSum(0.3, epsilon=3.0),
    kr.L0_5(0.3),
    kr.L2_3(0.3),
]


@pytest.mark.fast_cases(3)
@pytest.mark.filterwarnings("ignore:Explicitly requested dtype.*float64:UserWarning")
@pytest.mark.parametrize("penalty", FORMULAS, ids=str)
def test_no_search_finds_a_better_point(penalty):
    """In float64, for steps short and long: from `gamma` or `gamma - 1` on, others are right."""
    rng = np.random.default_rng(0)
    w, step = rng.normal(size=150) * 10 ** rng.uniform(-3, 1, 150), 10 ** rng.uniform(-3, 3, 150)
    tensor = keras.ops.convert_to_tensor(w, dtype="float64")
    if keras.backend.standardize_dtype(tensor.dtype) != "float64":
        pytest.skip("JAX has no float64 unless it is switched on for the process")
    searched = reference(penalty)

    def objective(z):
        return (z - w) ** 2 / (2 * step) + searched.term(z)

    z = to_numpy(penalty.prox(tensor, keras.ops.convert_to_tensor(step, dtype="float64")))
    assert not penalty.positive or np.all(z >= 0)
    assert np.all(objective(z) <= objective(searched.prox(w, step)) + 1e-9)
    for one in (0.05, 1.0, 1.5, 3.0, 30.0):
        step = np.full_like(w, one)
        z = to_numpy(penalty.prox(tensor, one))
        assert np.all(objective(z) <= objective(searched.prox(w, step)) + 1e-9)


@pytest.mark.parametrize(
    ("penalty", "step", "limit", "ends"),
    [
        (kr.L0_5(1.0), 1.0, 1.5, (0.0, 1.0)),
        (kr.L2_3(1.0), 1.0, 2 * (2 / 3) ** 0.75, (0.0, (2 / 3) ** 0.75)),
        (kr.MCP(1.0, gamma=0.25), 1.0, 0.5, (0.0, 0.5)),
        (kr.SCAD(1.0, gamma=2.5), 2.0, 2.75, (0.75, 2.75)),
    ],
    ids=str,
)
def test_where_a_penalty_that_is_not_convex_leaps(penalty, step, limit, ends):
    w = np.array([limit * (1 - 1e-5), limit * (1 + 1e-5)], "float32")
    np.testing.assert_allclose(to_numpy(penalty.prox(w, step)), ends, rtol=1e-4)
