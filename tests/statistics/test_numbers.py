"""Statistics of several weights, and what follows from counts and norms."""

import numpy as np
import pytest

from kerasreg.statistics.host import BlockCounter
from kerasreg.statistics.numbers import BUCKETS, NonZeroHistogram, total_statistics


def count(array):
    return BlockCounter(threshold=0.7).count(array, (1,))


def arrays():
    for seed in range(3):
        w = np.random.default_rng(seed).normal(size=(30, 4)).astype("float32")
        w[np.abs(w) < 0.5] = 0
        w[:, 1] = 0
        yield w


def test_total():
    parts = [count(a) for a in arrays()]
    total, w = total_statistics(parts), np.concatenate(list(arrays())).astype("float64")
    assert (total.size, total.zeros, total.near_zeros) == (
        w.size,
        np.sum(w == 0),
        np.sum(np.abs(w) < 0.7),
    )
    np.testing.assert_allclose(total.l1_norm, np.abs(w).sum(), rtol=1e-6)
    np.testing.assert_allclose(total.l2_norm, np.linalg.norm(w), rtol=1e-6)
    assert total.max_abs == np.abs(w).max()
    assert (total.units, total.dead_units) == (12, sum(p.dead_units for p in parts))
    assert total.dead_units >= 3


def test_total_of_nothing():
    nothing = total_statistics([])
    assert (nothing.size, nothing.sparsity, nothing.near_zero, nothing.max_abs) == (0, 0, 0, 0)


def test_magnitudes_of_what_is_not_zero():
    w = next(arrays())
    found, others = count(w), np.abs(w[w != 0].astype("float64"))
    np.testing.assert_allclose(found.nonzero_mean, others.mean(), rtol=1e-6)
    np.testing.assert_allclose(found.nonzero_rms, np.sqrt(np.mean(others**2)), rtol=1e-6)
    assert found.nonzero_mean <= found.nonzero_rms <= found.max_abs
    dead = count(np.zeros((3, 2), "float32"))
    assert (dead.nonzero_mean, dead.nonzero_rms, dead.sparsity) == (0, 0, 1)


@pytest.mark.parametrize(
    ("largest", "radius"), [(0.3, 0.5), (0.5, 0.5), (1.0, 1.0), (1.0001, 2.0), (1e-40, 2.0**-100)]
)
def test_range(largest, radius):
    histogram = NonZeroHistogram()
    assert histogram.rows().shape == (0, 3)
    histogram.widen(largest)
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
    np.testing.assert_array_equal(histogram.rows()[:, 2], expected)


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
    assert histogram.rows()[[0, -1], 2].tolist() == [2, 3]
    histogram.widen(16.0)
    rows = histogram.rows()
    assert rows[rows[:, 2] > 0].tolist() == [[-5.0, -4.0, 2.0], [4.0, 5.0, 3.0]]
