"""The range of a histogram, and how its buckets merge."""

import numpy as np
import pytest

from kerasreg.nonzero_histogram import BUCKETS, NonZeroHistogram


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
