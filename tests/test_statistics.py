"""Counts and norms against NumPy on the whole array in float64."""

import keras
import numpy as np
import pytest
from backends import to_numpy

from kerasreg.statistics import (
    BLOCK_SIZE,
    NonZeroHistogram,
    total_statistics,
    weight_statistics,
)
from kerasreg.weights import Weight

CASES = [
    ((7,), None),
    ((300, 40), (1,)),
    ((3, 3, 5, 6), (3,)),
    ((3, 3, 5, 6), (2,)),
    ((3, 3, 5, 6), (2, 3)),
    ((5, 2, 3), (1, 2)),
    ((BLOCK_SIZE // 8 + 5, 17), (1,)),
    ((BLOCK_SIZE * 2 + 1,), None),
]


def make_weight(value, unit_axes=None, dtype="float32"):
    variable = keras.Variable(np.asarray(value), dtype=dtype, name="w")
    return Weight(variable, "w", unit_axes)


def sparse_values(shape, seed=0):
    w = np.random.default_rng(seed).normal(size=shape)
    w[np.abs(w) < 0.5] = 0
    if len(shape) > 1:
        w[..., 1] = 0
        w[..., 1, :] = 0  # a unit of each kind is dead
    return w.astype("float32")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("shape", "unit_axes"), CASES)
def test_against_numpy(shape, unit_axes, dtype):
    weight = make_weight(sparse_values(shape), unit_axes, dtype)
    w = to_numpy(weight.variable.value)
    found = weight_statistics(weight, threshold=0.7)
    assert found.size == w.size
    assert found.zeros == np.sum(w == 0) > 0
    assert found.near_zeros == np.sum(np.abs(w) < 0.7)
    assert found.sparsity == np.mean(w == 0)
    assert found.near_zero == np.mean(np.abs(w) < 0.7)
    np.testing.assert_allclose(found.l1_norm, np.sum(np.abs(w)), rtol=1e-12)
    np.testing.assert_allclose(found.l2_norm, np.sqrt(np.sum(w**2)), rtol=1e-12)
    assert found.max_abs == np.max(np.abs(w))
    if unit_axes is None:
        assert found.units == found.dead_units == 0
    else:
        others = tuple(axis for axis in range(w.ndim) if axis not in unit_axes)
        alive = np.any(w != 0, axis=others)
        assert found.units == alive.size
        assert found.dead_units == np.sum(~alive) > 0


def test_exact_zeros_are_near_zero_whatever_the_threshold():
    assert weight_statistics(make_weight([0.0, 1e-8, 1.0]), threshold=0.0).near_zeros == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_broken_weights(bad):
    w = np.ones((4, 3), "float32")
    w[0], w[1, 1] = 0, bad
    found = weight_statistics(make_weight(w, (1,)), threshold=0.5)
    assert (found.zeros, found.near_zeros, found.dead_units) == (3, 3, 0)
    np.testing.assert_equal(found.max_abs, abs(bad))
    np.testing.assert_equal(found.l1_norm, abs(bad))
    np.testing.assert_equal(found.l2_norm, abs(bad))
    buckets = NonZeroHistogram().count(make_weight(w).variable)
    assert buckets[:, 2].sum() == 8


def test_total():
    arrays = [sparse_values((30, 4), seed) for seed in range(3)]
    parts = [weight_statistics(make_weight(a, (1,)), 0.7) for a in arrays]
    total, w = total_statistics(parts), np.concatenate(arrays).astype("float64")
    assert (total.size, total.zeros, total.near_zeros) == (
        w.size,
        np.sum(w == 0),
        np.sum(np.abs(w) < 0.7),
    )
    np.testing.assert_allclose(total.l1_norm, np.abs(w).sum())
    np.testing.assert_allclose(total.l2_norm, np.linalg.norm(w))
    assert total.max_abs == np.abs(w).max()
    assert (total.units, total.dead_units) == (12, sum(p.dead_units for p in parts))
    nothing = total_statistics([])
    assert (nothing.size, nothing.sparsity, nothing.max_abs) == (0, 0.0, 0.0)


@pytest.mark.parametrize("shape", [(50,), (300, 500)])
def test_histogram_counts_the_non_zero_weights(shape):
    w = sparse_values(shape)
    buckets = NonZeroHistogram().count(make_weight(w).variable)
    edges = np.append(buckets[:, 0], buckets[-1, 1])
    counts, _ = np.histogram(w[w != 0], bins=edges)
    np.testing.assert_array_equal(buckets[:, 2], counts)
    assert buckets[:, 2].sum() == np.count_nonzero(w)
    np.testing.assert_array_equal(buckets[1:, 0], buckets[:-1, 1])
    assert edges[-1] == -edges[0] == 2 ** np.ceil(np.log2(np.abs(w).max()))


def test_histogram_range_never_shrinks():
    histogram = NonZeroHistogram()
    weight = make_weight([0.0, 0.0, 0.0])
    assert histogram.count(weight.variable).shape == (0, 3)
    for value, radius in ((0.3, 0.5), (-1.0, 1.0), (0.1, 1.0), (1.5, 2.0)):
        weight.variable.assign(np.array([0, value, value], "float32"))
        buckets = histogram.count(weight.variable)
        assert (buckets[0, 0], buckets[-1, 1]) == (-radius, radius)
        (full,) = np.flatnonzero(buckets[:, 2])
        assert buckets[full, 0] <= value <= buckets[full, 1] and buckets[full, 2] == 2
