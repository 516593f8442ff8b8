"""What the device measures, against NumPy on the whole array in float64."""

import threading

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, to_numpy
from helpers.marks import slow

import kerasreg as kr
from kerasreg.statistics.device import DeviceStatistics, blocks, pieces
from kerasreg.statistics.numbers import BUCKETS, LEAST_EXPONENT, Statistics
from kerasreg.statistics.weights import Weight

# shape, axes of the output units
CASES = [
    ((), None),
    ((7,), None),
    ((1, 1), (1,)),
    ((0, 3), (1,)),
    ((300, 40), (1,)),
    ((40, 300), (0,)),
    ((3, 3, 5, 6), (3,)),
    ((3, 3, 5, 6), (2, 3)),
    ((5, 2, 3), (0, 2)),
    ((4, 5), (0, 1)),
    ((70001,), None),
    ((300, 301), None),
    ((260, 270), (0, 1)),
    ((8209, 9), (1,)),  # a prime number of rows: no run divides it
    ((17, 4200), (1,)),
    ((3, 3, 130, 60), (3,)),
    ((3, 3, 60, 130), (2,)),
]
DTYPES = ["float32", "float16", "bfloat16"]
THRESHOLD = 0.7


def make_weight(value, unit_axes=None, dtype="float32", **others):
    variable = keras.Variable(np.asarray(value), dtype=dtype, name="w")
    return Weight(variable, "w", unit_axes, **others)


def sparse_values(shape, seed=0):
    w = np.random.default_rng(seed).normal(size=shape)
    w[np.abs(w) < 0.5] = -0.0
    if len(shape) > 1 and min(shape) > 1:
        w[..., 1] = 0
        w[..., 1, :] = 0  # a unit of each kind is dead
    return w


def expected_statistics(w, unit_axes, threshold=THRESHOLD):
    others = tuple(axis for axis in range(w.ndim) if axis not in (unit_axes or ()))
    alive = np.any(w != 0, axis=others) if unit_axes else np.ones(0)
    return Statistics(
        size=w.size,
        zeros=np.sum(w == 0),
        near_zeros=np.sum((np.abs(w) < threshold) | (w == 0)),
        l1_norm=pytest.approx(np.sum(np.abs(w)), rel=1e-6, nan_ok=True),
        l2_norm=pytest.approx(np.sqrt(np.sum(w**2)), rel=1e-6, nan_ok=True),
        max_abs=pytest.approx(np.max(np.abs(w), initial=0.0), rel=0, nan_ok=True),
        units=alive.size,
        dead_units=np.sum(alive == 0),
    )


def expected_histogram(w, radius=None):
    w = w[np.isfinite(w) & (w != 0)]
    if w.size == 0:
        return np.zeros((0, 3))
    radius = radius or 2.0 ** max(np.ceil(np.log2(np.abs(w).max())), LEAST_EXPONENT)
    half = BUCKETS // 2
    steps = np.minimum(np.floor(np.abs(w) / radius * half), half - 1).astype(int)
    numbers = np.where(w < 0, half - 1 - steps, half + steps)
    first, last = numbers.min(), numbers.max()
    edges = np.linspace(-radius, radius, BUCKETS + 1)[first : last + 2]
    edges[0], edges[-1] = w.min(), w.max()
    return np.stack([edges[:-1], edges[1:], np.bincount(numbers)[first:]], axis=1)


def check(weights, measured, threshold=THRESHOLD):
    for weight, statistics, histogram in zip(
        weights, measured.statistics, measured.histograms, strict=True
    ):
        w = to_numpy(weight.variable.value)
        assert statistics == expected_statistics(w, weight.unit_axes, threshold), w.shape
        np.testing.assert_array_equal(histogram, expected_histogram(w))


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("dtype", "cases"),
    [
        ("float32", CASES[1::6]),
        ("bfloat16", CASES[4:5]),
        slow("float32", CASES),
        slow("bfloat16", CASES[4::4]),
        slow("float16", CASES[4::4]),
    ],
    ids=lambda value: value if isinstance(value, str) else len(value),
)
def test_against_numpy(dtype, cases):
    weights = [make_weight(sparse_values(shape), axes, dtype) for shape, axes in cases]
    check(weights, DeviceStatistics(weights, THRESHOLD, histograms=True)()())


@pytest.mark.slow
def test_without_histograms():
    weights = [make_weight(sparse_values(shape), axes) for shape, axes in CASES[:6]]
    measured = DeviceStatistics(weights, THRESHOLD, histograms=False)()()
    assert measured.histograms == []
    for weight, statistics in zip(weights, measured.statistics, strict=True):
        assert statistics == expected_statistics(to_numpy(weight.variable.value), weight.unit_axes)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "jax", reason="JAX has no float64 by default")
def test_float64_keeps_its_digits():
    values = sparse_values((300, 301)), sparse_values((5, 4))
    weights = [make_weight(value, (1,), "float64") for value in values]
    weights.append(make_weight(sparse_values((5, 4)), (1,)))
    measured = DeviceStatistics(weights, THRESHOLD, histograms=True)()()
    check(weights, measured)
    for value, statistics in zip(values, measured.statistics[:2], strict=True):
        assert statistics.l1_norm == pytest.approx(np.abs(value).sum(), rel=1e-14)


def test_many_equal_terms_do_not_drift():
    weight = make_weight(np.full((3000, 100), 0.1), (1,))
    (statistics,) = DeviceStatistics([weight], THRESHOLD, histograms=False)()().statistics
    w = to_numpy(weight.variable.value)
    assert statistics.l1_norm == pytest.approx(w.sum(), rel=1e-6)
    assert statistics.l2_norm == pytest.approx(np.sqrt((w**2).sum()), rel=1e-6)


@pytest.mark.slow
def test_broken_weights():
    weights = [make_weight([1.0, 0.0])]
    for bad, shapes in {np.nan: [(5, 4), (300, 301)], np.inf: [(5, 4)], -np.inf: [(5, 4)]}.items():
        for shape in shapes:
            values = sparse_values(shape)
            values[0, 0], values[-1, -1] = bad, 0.25
            weights.append(make_weight(values, (1,)))
    measured = DeviceStatistics(weights, THRESHOLD, histograms=True)()()
    check(weights, measured)
    assert measured.statistics[0].max_abs == 1


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("threshold", [0.0, 0.1, slow(0.7), slow(1.5)])
def test_threshold_is_compared_as_in_float64(threshold):
    around = np.float32(threshold) + np.float32(1e-7) * np.arange(-3, 4)
    weights = [make_weight([*around, 0.0, -0.0])]
    check(weights, DeviceStatistics(weights, threshold, histograms=True)()(), threshold)


@pytest.mark.parametrize("size", [40, slow(70000)])
def test_buckets_hold_their_inner_edge(size):
    edges = np.arange(-16, 17) / 16.0
    exact = edges.astype("float32")
    around = np.concatenate([exact, np.nextafter(exact, exact * 2), np.nextafter(exact, -exact)])
    around = np.append(around, [1e-45, -1e-45])  # in which XLA sees zeros
    values = np.resize(around.clip(-1, 1), size)
    weights = [make_weight(values)]
    check(weights, DeviceStatistics(weights, THRESHOLD, histograms=True)()())


@pytest.mark.parametrize("dtype", ["float32", slow("bfloat16"), slow("float16")])
@pytest.mark.parametrize("shape", [(20, 3), slow((300, 301))])
def test_histograms_reach_from_the_least_to_the_greatest(shape, dtype):
    w = np.random.default_rng(1).uniform(0.1, 0.2515, shape)
    w[::3] = 0
    weights = [make_weight(v, (1,), dtype) for v in (w, -w, w - 0.15, w * 0, w * 0 + 0.2)]
    check(weights, DeviceStatistics(weights, THRESHOLD, histograms=True)()())


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("tiny", [[1e-45, 3e-40], [-3e-40, -1e-45], [-1e-45, 1e-30]])
def test_histograms_of_tiny_numbers(tiny):
    """In which XLA sees zeros."""
    weights = [make_weight([0.0, *tiny])]
    (found,) = DeviceStatistics(weights, THRESHOLD, histograms=True)()().histograms
    expected = expected_histogram(np.float32(tiny).astype("float64"))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("size", [3, slow(70000)])
def test_histogram_range_never_shrinks(size):
    weight = make_weight(np.zeros(size))
    measure = DeviceStatistics([weight], THRESHOLD, histograms=True)
    assert measure()().histograms[0].shape == (0, 3)
    for value, radius in ((0.3, 0.5), (-1.0, 1.0), (0.1, 1.0), (1.5, 2.0), (3e38, 2.0**128)):
        values = np.full(size, value, "float32")
        values[0] = 0
        weight.variable.assign(values)
        expected = expected_histogram(to_numpy(weight.variable.value), radius)
        np.testing.assert_array_equal(measure()().histograms[0], expected)


@pytest.mark.slow
def test_small_and_large_weights_are_divided_alike(monkeypatch):
    """The same numbers whatever the limits, which only decide who is measured with whom."""
    weights = [make_weight(sparse_values((40, 30), seed), (1,)) for seed in range(5)]
    together = DeviceStatistics(weights, THRESHOLD, histograms=True)()()
    monkeypatch.setattr(blocks, "SMALL_SIZE", 0)
    monkeypatch.setattr(pieces, "SMALL_SIZE", 0)
    monkeypatch.setattr(pieces, "PIECE_SIZE", 70)
    apart = DeviceStatistics(weights, THRESHOLD, histograms=True)()()
    check(weights, together)
    check(weights, apart)


@pytest.mark.slow
def test_weights_at_the_time_of_the_call():
    weight = make_weight(sparse_values((300, 301)), (1,))
    before = to_numpy(weight.variable.value).copy()
    measure = DeviceStatistics([weight], THRESHOLD, histograms=True)
    measure()()
    fetch = measure()
    weight.variable.assign(np.full((300, 301), 7.0))
    found = []
    thread = threading.Thread(target=lambda: found.append(fetch()))
    thread.start()
    thread.join()
    assert found[0].statistics == [expected_statistics(before, (1,))]
    np.testing.assert_array_equal(found[0].histograms[0], expected_histogram(before))


def test_no_weights():
    assert DeviceStatistics([], THRESHOLD, histograms=True)()().statistics == []
    empty = [make_weight(np.zeros((0, 3)), (1,))]
    check(empty, DeviceStatistics(empty, THRESHOLD, histograms=True)()())


class PerUnit(keras.regularizers.Regularizer):
    def __call__(self, w):
        return keras.ops.sum(w * w, axis=0)


PENALTIES = [
    kr.L1(0.1),
    kr.L2(0.1),
    kr.ElasticNet(0.5, 0.1, 0.2),
    kr.GroupLasso(0.1),
    kr.GroupLasso(0.1, axis=0),
    kr.MCP(0.1, gamma=5.0),
    keras.regularizers.L1(0.1),
    keras.regularizers.L2(0.1),
    keras.regularizers.L1L2(0.1, 0.2),
    keras.regularizers.OrthogonalRegularizer(0.1),
    PerUnit(),
]


@pytest.mark.slow
def test_penalties():
    weights = [make_weight(sparse_values((30, 7), seed)) for seed in range(len(PENALTIES))]
    expected = []
    for weight, penalty in zip(weights, PENALTIES, strict=True):
        weight.variable.regularizer = penalty
        expected.append(to_numpy(keras.ops.sum(penalty(weight.variable.value))))
    measure = DeviceStatistics(weights, THRESHOLD, histograms=False)
    np.testing.assert_allclose(measure()().penalties, expected, rtol=1e-6)
    weights[0].variable.regularizer = PENALTIES[3]  # another one is computed anew
    weights[1].variable.regularizer = None
    expected[0] = to_numpy(PENALTIES[3](weights[0].variable.value))
    expected[1] = 0
    np.testing.assert_allclose(measure()().penalties, expected, rtol=1e-6)


@pytest.mark.slow
def test_penalties_after_the_step_are_scaled_and_constraints_have_no_value():
    scale, other = (keras.Variable(2.0, dtype="float32") for _ in range(2))
    penalties = [kr.L1(0.1), kr.MCP(0.1, gamma=5.0), kr.TopK(0.5), None]

    class Optimizers:
        def penalties_on(self, variable):
            """Two of the first, each scaled by an optimizer of its own."""
            (place,) = (i for i, w in enumerate(weights) if w.variable is variable)
            found = [] if penalties[place] is None else [(penalties[place], scale)]
            return found + [(penalties[0], other)] * (place == 0)

    weights = [make_weight(sparse_values((30, 7)), optimizers=Optimizers()) for _ in penalties]
    for weight in weights:
        weight.variable.regularizer = kr.GroupLasso(0.2)
    w = weights[0].variable.value
    smooth, l1, mcp = (float(to_numpy(p(w))) for p in (kr.GroupLasso(0.2), *penalties[:2]))
    measure = DeviceStatistics(weights, THRESHOLD, histograms=False)
    for factor in (2.0, 3.0):
        scale.assign(factor)
        other.assign(5.0 * factor)
        expected = [smooth + 6.0 * factor * l1, smooth + factor * mcp, smooth, smooth]
        fetch = measure()
        scale.assign(100.0)
        np.testing.assert_allclose(fetch().penalties, expected, rtol=1e-6)


def test_frozen_weights_have_a_penalty_that_does_not_act():
    weight = make_weight(sparse_values((30, 7)))
    weight.variable.regularizer = kr.GroupLasso(0.2)
    weight.variable.trainable = False
    assert DeviceStatistics([weight], THRESHOLD, histograms=False)()().penalties == [0.0]
