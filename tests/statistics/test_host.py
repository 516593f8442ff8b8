"""Counts and norms against NumPy on the whole array in float64."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kerasreg.statistics.host import BLOCK_SIZE, BlockCounter, NonZeroHistogram, by_unit
from kerasreg.statistics.numbers import BUCKETS

CASES = [
    ((), None),
    ((7,), None),
    ((0, 3), (1,)),
    ((300, 40), (1,)),
    ((3, 3, 5, 6), (3,)),
    ((3, 3, 5, 6), (2,)),
    ((3, 3, 5, 6), (2, 3)),
    ((3, 4, 5, 6), (0, 2)),
    ((5, 2, 3), (1, 2)),
    ((BLOCK_SIZE // 8 + 5, 17), (1,)),
    ((BLOCK_SIZE * 2 + 1,), None),
    ((2, BLOCK_SIZE + 3), (1,)),
    ((2, 3, BLOCK_SIZE + 3), (1,)),
]
DTYPES = ["float32", "float16", "float64", ml_dtypes.bfloat16]


def sparse_values(shape, dtype="float32", seed=0):
    w = np.random.default_rng(seed).normal(size=shape)
    w = np.where(np.abs(w) < 0.5, 0.0, w)
    if len(shape) > 1 and w.size:
        w[..., 1] = 0
        w[..., 1, :] = 0  # a unit of each kind is dead
    return w.astype(dtype)


def check(values, unit_axes, threshold):
    found = BlockCounter(threshold).count(values, unit_axes)
    w = values.astype("float64")
    assert found.size == w.size
    assert found.zeros == np.sum(w == 0)
    assert found.near_zeros == np.sum((np.abs(w) < threshold) | (w == 0))
    np.testing.assert_allclose(found.l1_norm, np.sum(np.abs(w)), rtol=1e-6)
    np.testing.assert_allclose(found.l2_norm, np.sqrt(np.sum(w**2)), rtol=1e-6)
    np.testing.assert_equal(found.max_abs, np.max(np.abs(w), initial=0))
    if unit_axes is None:
        assert found.units == found.dead_units == 0
    else:
        others = tuple(axis for axis in range(w.ndim) if axis not in unit_axes)
        alive = np.any(w != 0, axis=others)
        assert (found.units, found.dead_units) == (alive.size, np.sum(~alive))
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "unit_axes"), CASES)
def test_against_numpy(shape, unit_axes, dtype):
    found = check(sparse_values(shape, dtype), unit_axes, threshold=0.7)
    if unit_axes and found.size:
        assert found.dead_units > 0


@pytest.mark.parametrize("threshold", [0.0, 1e-30, 0.1, 0.7, float(np.float32(0.7)), 1e30])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_thresholds_are_exact(threshold, dtype):
    """Also for the numbers next to it, in a dtype that does not have it."""
    near = np.asarray(threshold, dtype)
    neighbours = [np.nextafter(near, np.asarray(end, dtype)) for end in (-np.inf, np.inf)]
    values = np.array([0, -0.0, 1, near, -near, *neighbours, near * 2], dtype)
    check(values, None, threshold)


@pytest.mark.parametrize("scale", [1e-300, 1e-38, 1e-20, 1e20, 1e38, 1e300])
def test_norms_neither_overflow_nor_vanish(scale):
    dtype = "float64" if not 1e-39 < scale < 1e39 else "float32"
    values = (np.random.default_rng(0).uniform(0.1, 1, 5000) * scale).astype(dtype)
    found = BlockCounter(1e-3).count(values, None)
    norm = np.linalg.norm(values.astype("float64") / scale) * scale
    if 1e-100 < scale < 1e100:  # whose squares float64 has
        np.testing.assert_allclose(found.l2_norm, norm, rtol=1e-6)
    np.testing.assert_allclose(found.l1_norm, values.astype("float64").sum(), rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_broken_weights(bad):
    w = np.ones((4, 3), "float32")
    w[0], w[1, 1] = 0, bad
    histogram = NonZeroHistogram()
    found = BlockCounter(0.5).count(w, (1,), histogram)
    assert (found.zeros, found.near_zeros, found.dead_units) == (3, 3, 0)
    for number in (found.max_abs, found.l1_norm, found.l2_norm):
        np.testing.assert_equal(number, abs(bad))
    assert histogram.rows()[:, 2].sum() == 8
    w[:] = bad
    assert BlockCounter(0.5).count(w, (1,), histogram).max_abs == abs(bad) or np.isnan(bad)
    assert histogram.rows()[:, 2].sum() == 0


def expected_rows(values, radius):
    """By magnitude on both sides, up to and without the outer edge; between the extremes."""
    w = values.astype("float64").ravel()
    w = w[np.isfinite(w) & (w != 0)]
    bucket = np.minimum(np.floor(np.abs(w) / radius * 16), 15).astype(int)
    number = np.where(w < 0, 15 - bucket, 16 + bucket)
    first, last = number.min(), number.max()
    edges = np.linspace(-radius, radius, 33)[first : last + 2]
    edges[0], edges[-1] = w.min(), w.max()
    return np.stack([edges[:-1], edges[1:], np.bincount(number)[first:]], axis=1)


@pytest.mark.slow
@given(
    arrays.arrays(
        st.sampled_from(["float16", "float32", "float64"]),
        st.integers(1, 40),
        elements={"allow_nan": True, "allow_infinity": True},
    )
)
@settings(deadline=None, max_examples=300)
def test_histograms_of_any_values(values):
    histogram = NonZeroHistogram()
    BlockCounter(1e-3).count(values, None, histogram)
    finite = np.abs(values[np.isfinite(values)].astype("float64"))
    if not finite.any():
        assert histogram.rows().shape == (0, 3)
        return
    assert histogram.radius >= min(finite.max(), 2.0**1022)
    assert histogram.radius / 2 < finite.max() or histogram.radius == 2.0**-100
    np.testing.assert_array_equal(histogram.rows(), expected_rows(values, histogram.radius))


@pytest.mark.parametrize("size", [1, 50, BLOCK_SIZE + 1, 5 * BLOCK_SIZE + 3])
def test_histograms_of_growing_values(size):
    """The range grows from block to block, as if it had been known from the start."""
    values = sparse_values((size,)) * np.linspace(0.01, 100, size).astype("float32")
    values[::7] *= -0.0
    values[-1] = 300.5
    histogram = NonZeroHistogram()
    BlockCounter(1e-3).count(values, None, histogram)
    assert histogram.radius == 512
    np.testing.assert_array_equal(histogram.rows(), expected_rows(values, 512))


SIGNS = {
    "positive": np.abs,
    "negative": lambda w: -np.abs(w),
    "one of the other sign": lambda w: np.where(np.arange(w.size) == w.size - 2, -w, np.abs(w)),
    "equal": lambda w: np.full_like(w, -0.25),
    "denormal": lambda w: (np.arange(w.size) % 3 + 1).astype(f"u{w.itemsize}").view(w.dtype),
}


@pytest.mark.fast_cases(24)
@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("size", [1, 2 * BLOCK_SIZE + 3])
def test_histograms_reach_from_the_least_to_the_greatest(sign, dtype, zeros, size):
    w = np.random.default_rng(1).uniform(0.1, 0.2515, size).astype(dtype)
    values = np.asarray(SIGNS[sign](w)).astype(dtype)
    if zeros and size > 1:
        values[::3] = 0
    histogram = NonZeroHistogram()
    for _ in range(2):  # The second measures anew.
        BlockCounter(1e-3).count(values, None, histogram)
        np.testing.assert_array_equal(
            histogram.rows(), expected_rows(values, histogram.radius), strict=True
        )
        values = (values / 2).astype(dtype) if sign != "denormal" else values


def test_no_copy_of_the_weight():
    array = np.zeros((4, 6, 5))
    for axes in ((0,), (1,), (2,), (0, 1), (1, 2), None):
        assert np.shares_memory(by_unit(array, axes), array)
    assert by_unit(array, (0, 2)).shape == (6, 20, 1)


@pytest.mark.parametrize(
    ("largest", "radius"), [(0.3, 0.5), (0.5, 0.5), (1.0, 1.0), (1.0001, 2.0), (1e-40, 2.0**-100)]
)
def test_range(largest, radius):
    histogram = NonZeroHistogram()
    assert histogram.rows().shape == (0, 3)
    histogram.widen(largest)
    assert histogram.rows().shape == (0, 3)
    histogram.add(np.ones(BUCKETS, dtype=int))
    histogram.reach(-radius, radius)
    rows = histogram.rows()
    assert (rows[0, 0], rows[-1, 1]) == (-radius, radius)
    np.testing.assert_array_equal(rows[1:, 0], rows[:-1, 1])
    np.testing.assert_allclose(np.diff(rows[:, 0]), 2 * radius / BUCKETS)


@pytest.mark.parametrize("doublings", [1, 2, 3, 4, 5, 40])
def test_wider_buckets_hold_what_the_narrow_ones_held(doublings):
    rng = np.random.default_rng(0)
    values = rng.uniform(-1, 1, 1000)
    histogram = NonZeroHistogram()
    histogram.widen(1.0)
    histogram.add(np.histogram(values, BUCKETS, (-1, 1))[0])
    radius = 2.0**doublings
    histogram.widen(radius)
    expected, _ = np.histogram(values, BUCKETS, (-radius, radius))
    np.testing.assert_array_equal(histogram.rows()[:, 2], expected[expected > 0])


def test_the_range_never_shrinks():
    histogram = NonZeroHistogram()
    for largest, radius in ((0.3, 0.5), (1.0, 1.0), (0.1, 1.0), (1.5, 2.0)):
        histogram.clear()
        histogram.widen(largest)
        assert histogram.radius == radius


def test_values_at_the_ends_move_to_the_next_bucket():
    histogram = NonZeroHistogram()
    histogram.widen(4.0)
    histogram.add(np.zeros(BUCKETS, dtype=int), at_edges=(2, 3))
    histogram.reach(-4.0, 4.0)
    assert histogram.rows()[[0, -1], 2].tolist() == [2, 3]
    histogram.widen(16.0)
    rows = histogram.rows()
    assert rows[rows[:, 2] > 0].tolist() == [[-4.0, -4.0, 2.0], [4.0, 4.0, 3.0]]
