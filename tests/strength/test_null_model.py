"""L-BFGS finds the minima of convex functions from their gradients."""

import numpy as np
import pytest
from scipy.special import expit, logsumexp, softmax

from kerasreg.strength.null_model import minimise

RNG = np.random.default_rng(0)
ROOT = RNG.normal(size=(20, 20))
QUADRATIC = ROOT @ ROOT.T + 0.1 * np.eye(20)
TARGET = RNG.normal(size=20) * 100
SHARES = RNG.dirichlet(np.ones(10))
SAMPLES = np.sort(RNG.normal(size=101)) * 30


def saturated(b):
    """The slope of a cross-entropy that is cut off, as Keras cuts that of probabilities."""
    p = expit(b)
    return np.where((p > 1e-7) & (p < 1 - 1e-7), p - 0.9, 0.0)


CASES = {
    "quadratic": (lambda b: QUADRATIC @ (b - TARGET), 20, TARGET, 1e-3),
    "far away": (lambda b: 2 * (b - 1e6), 1, [1e6], 1e-3),
    "logistic": (lambda b: expit(b) - 0.99, 1, [np.log(99)], 1e-6),
    "cut off": (saturated, 1, [np.log(9)], 1e-6),
    "median": (lambda b: np.mean(np.sign(b - SAMPLES))[None], 1, [SAMPLES[50]], 1e-3),
    "at the start": (lambda b: b, 3, [0, 0, 0], 0),
}


@pytest.mark.parametrize("name", CASES)
def test_minimum(name):
    slope, size, expected, atol = CASES[name]
    np.testing.assert_allclose(minimise(slope, np.zeros(size)), expected, atol=atol)


def test_a_flat_direction():
    found = minimise(lambda b: softmax(b) - SHARES, np.zeros(10))
    np.testing.assert_allclose(found - logsumexp(found), np.log(SHARES), atol=1e-6)


def test_noise_of_float32_is_no_obstacle():
    calls = []

    def slope(b):
        calls.append(1)
        return (expit(b.astype("float32")) - np.float32(0.123)).astype("float64")

    np.testing.assert_allclose(expit(minimise(slope, np.zeros(1))), 0.123, atol=1e-7)
    assert len(calls) < 100
