"""TopK, KeepZeros and Box as functions of a weight."""

import itertools

import keras
import numpy as np
import pytest
from helpers.backends import to_numpy

import kerasreg as kr

SUPPORTS = [kr.KeepZeros(), kr.TopK(0.5), kr.TopK(0.9, scope="global", end_step=10)]
BOXES = [kr.Box(), kr.Box(-0.5, 0.25), kr.Box(0.1, np.inf), kr.Box(-np.inf, 0.0), kr.Box(0.5, 0.5)]
CONSTRAINTS = SUPPORTS + BOXES


def best_support(w, step, count):
    """The cheapest projection on `count` non-zeros, by trying all of them."""
    flat, steps = w.ravel().astype("float64"), np.broadcast_to(step, w.shape).ravel()
    costs = {}
    for support in itertools.combinations(range(flat.size), count):
        z = np.zeros_like(flat)
        z[list(support)] = flat[list(support)]
        costs[support] = (np.sum((z - flat) ** 2 / (2 * steps)), z)
    return min(costs.values(), key=lambda pair: pair[0])[1].reshape(w.shape)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("sparsity", [0.0, 0.25, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_the_prox_of_top_k_is_the_nearest_sparse_weight(seed, sparsity):
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(3, 4)).astype("float32")
    count = int((1 - sparsity) * w.size + 1e-9)
    for step in (np.float32(0.7), rng.uniform(0.01, 4, size=w.shape).astype("float32")):
        z = to_numpy(kr.TopK(sparsity).prox(w, step))
        np.testing.assert_array_equal(z, best_support(w, step, count))


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("constraint", SUPPORTS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_a_step_of_zero_leaves_the_weight(constraint, dtype):
    w = keras.ops.cast(np.random.default_rng(0).normal(size=(3, 4)), dtype)
    for step in (0.0, np.zeros((3, 4), "float32")):
        z = constraint.prox(w, step)
        assert keras.backend.standardize_dtype(z.dtype) == dtype
        np.testing.assert_array_equal(to_numpy(z), to_numpy(w))


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize(("size", "sparsity"), [(10, 0.9), (5, 0.8), (100, 0.55), (7, 0.3)])
def test_rounding_costs_no_weight(size, sparsity):
    z = to_numpy(kr.TopK(sparsity).prox(np.arange(1, size + 1, dtype="float32"), 1.0))
    assert np.count_nonzero(z) == {10: 1, 5: 1, 100: 45, 7: 4}[size]


@pytest.mark.parametrize(("size", "sparsity"), [(10, 0.95), (400, 0.999), (1, 0.5)])
def test_one_weight_is_kept_at_least(size, sparsity):
    z = to_numpy(kr.TopK(sparsity).prox(np.arange(1, size + 1, dtype="float32"), 1.0))
    assert z[-1] == size and np.count_nonzero(z) == 1


def test_values_are_those_of_an_indicator():
    w = np.array([1.0, 0.0, 0.0, 2.0], "float32")
    assert float(to_numpy(kr.TopK(0.5)(w))) == 0
    assert float(to_numpy(kr.TopK(0.6)(w))) == np.inf
    assert float(to_numpy(kr.KeepZeros()(w))) == 0


@pytest.mark.parametrize("constraint", SUPPORTS)
def test_optimality_is_asked_of_the_support_only(constraint):
    w, grad = np.array([1.0, 0, 0, 2], "float32"), np.array([3.0, 50, -50, 4], "float32")
    assert float(to_numpy(constraint.subdifferential_distance(w, grad))) == 5


@pytest.mark.parametrize("box", BOXES)
def test_a_box_is_a_projection(box):
    w = np.linspace(-2, 2, 41).astype("float32")
    for step in (0.0, 2.0, np.random.default_rng(0).uniform(0, 3, 41).astype("float32")):
        z = to_numpy(box.prox(w, step))
        np.testing.assert_allclose(z, np.minimum(np.maximum(w, box.lower), box.upper), rtol=1e-6)
    assert float(to_numpy(box(w))) == np.inf
    assert float(to_numpy(box(z.astype("float32")))) == 0


@pytest.mark.parametrize(
    ("w", "grad", "expected"),
    [
        ([0.5, 0.5], [3, -4], 5),  # inside: the gradient itself
        ([0.0, 0.0], [3, -4], 4),  # at the lower bound: what would raise the weight
        ([1.0, 1.0], [3, -4], 3),  # at the upper one: what would lower it
        ([0.0, 1.0], [3, -4], 0),
    ],
)
def test_the_optimality_of_a_box(w, grad, expected):
    distance = kr.Box().subdifferential_distance(np.float32(w), np.float32(grad))
    assert float(to_numpy(distance)) == expected
    both = kr.Box(0.5, 0.5).subdifferential_distance(np.full(2, 0.5, "float32"), np.float32(grad))
    assert float(to_numpy(both)) == 0


def test_what_a_box_answers():
    assert [box.has_kink for box in BOXES] == [True, False, False, True, False]
    assert {box.main_strength for box in BOXES} == {None}
    assert keras.regularizers.get("kerasreg>Box") == kr.Box()


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ((np.nan, 1.0), "lower"),
        ((np.inf, np.inf), "lower"),
        (("0", 1.0), "lower"),
        ((0.0, None), "upper"),
        ((0.0, True), "upper"),
        ((-np.inf, -np.inf), "upper"),
        ((1.0, 0.5), "upper"),
    ],
)
def test_bad_bounds(arguments, argument):
    with pytest.raises(ValueError, match=f"argument `{argument}`. Expected.*Received: {argument}="):
        kr.Box(*arguments)


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_configuration_round_trips(constraint):
    assert keras.regularizers.get(keras.regularizers.serialize(constraint)) == constraint


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_a_constraint_is_no_term_of_a_loss(constraint):
    layer = keras.layers.Dense(2, kernel_regularizer=constraint, name="small")
    model = keras.Sequential([keras.Input((3,)), layer])
    with pytest.raises(ValueError, match="weight `.*small/kernel`.*give .* to `Proximal`"):
        _ = model.losses


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"sparsity": -0.1}, "sparsity"),
        ({"sparsity": 1.5}, "sparsity"),
        ({"sparsity": 50}, "sparsity"),
        ({"sparsity": "0.5"}, "sparsity"),
        ({"sparsity": np.nan}, "sparsity"),
        ({"initial_sparsity": 0.6, "end_step": 9}, "initial_sparsity"),
        ({"initial_sparsity": 0.2}, "initial_sparsity"),
        ({"initial_sparsity": -1}, "initial_sparsity"),
        ({"scope": "model"}, "scope"),
        ({"saliency": None}, "saliency"),
        ({"begin_step": -1}, "begin_step"),
        ({"begin_step": 1.5}, "begin_step"),
        ({"end_step": -1}, "end_step"),
        ({"begin_step": 10, "end_step": 10}, "end_step"),
        ({"frequency": 0}, "frequency"),
        ({"frequency": True}, "frequency"),
        ({"power": 0}, "power"),
        ({"power": np.inf}, "power"),
    ],
)
def test_bad_arguments(arguments, argument):
    with pytest.raises(ValueError, match=f"argument `{argument}`. Expected.*Received: {argument}="):
        kr.TopK(**{"sparsity": 0.5, **arguments})
