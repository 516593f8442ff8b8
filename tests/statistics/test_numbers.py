"""Statistics of several weights, and what follows from counts and norms."""

import numpy as np

from kerasreg.statistics.host import BlockCounter
from kerasreg.statistics.numbers import total_statistics


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
