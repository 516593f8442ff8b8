"""The norm of a group after its proximal operator, against float64."""

import math

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, MODES, in_mode, to_numpy
from helpers.marks import first_is_fast
from scipy.optimize import brentq

from kerasreg.regularizers import secular_equation
from kerasreg.regularizers.prox import group_soft_threshold
from kerasreg.regularizers.secular_equation import shrunken_norm


def exact_norm(w, t):
    """The root for one group, by bisection in float64; 0 where there is none."""
    w, t = (np.asarray(x, "float64") for x in (w, t))

    def excess(log_s):
        return np.sum((w / (math.exp(log_s) + t)) ** 2) - 1

    top = math.log(np.linalg.norm(w))
    if np.all(t > 0) and np.sum((w / t) ** 2) <= 1:
        return 0.0
    return math.exp(brentq(excess, top - 80, top + 1e-9, xtol=1e-14))


def groups(spread, shrinkage, seed=0, shape=(64, 300)):
    """Weights and thresholds: their logarithms of that spread, scaled by how far groups vanish.

    At a shrinkage of 1 a group is about to vanish.
    """
    rng = np.random.default_rng(seed)
    w, t = rng.normal(size=shape), np.exp(spread * rng.normal(size=shape))
    t *= shrinkage * np.sqrt(np.sum((w / t) ** 2, axis=1, keepdims=True))
    return w.astype("float32"), t.astype("float32")


@pytest.mark.fast_cases(7)
@pytest.mark.parametrize("mode", first_is_fast(MODES))
@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("shrinkage", [1e-4, 0.1, 0.5, 0.9])
def test_groups_have_all_digits(spread, shrinkage, mode):
    w, t = groups(spread, shrinkage)
    tensors = map(keras.ops.convert_to_tensor, (w, t))
    norm = to_numpy(in_mode(mode, lambda w, t: shrunken_norm(w, t, (0,)))(*tensors))[:, 0]
    expected = np.array([exact_norm(*pair) for pair in zip(w, t, strict=True)])
    z, exact = (w * s[:, None] / (s[:, None] + t) for s in (norm, expected))
    difference = np.linalg.norm(z - exact, axis=1)
    # Close to where a group vanishes, what is left of it has the rounding of what it was.
    assert np.max(difference / np.linalg.norm(exact, axis=1)) < 4e-7 / (1 - shrinkage)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0])
def test_groups_vanish_exactly(spread, axis):
    w, t = groups(spread, 1.1)
    if axis == 1:
        w, t = w.T.copy(), t.T.copy()
    assert not np.any(to_numpy(group_soft_threshold(w, t, axis)))


@pytest.mark.fast_cases(11)
@pytest.mark.parametrize("shrinkage", [1e-6, 0.1, 0.5, 0.9, 0.99, 1.0, 1.1])
@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0])
def test_few_evaluations_are_enough(spread, shrinkage, monkeypatch):
    place, name = secular_equation, "_sums"
    if BACKEND == "torch":
        from kerasreg.regularizers import torch_prox

        place, name = torch_prox, "secular_sums"
    evaluations, sums = [], getattr(place, name)

    def counting(*args):
        evaluate = sums(*args)

        def counted(norm):
            evaluations.append(norm)
            return evaluate(norm)

        return counted

    monkeypatch.setattr(place, name, counting)
    w, t = map(keras.ops.convert_to_tensor, groups(spread, shrinkage))
    with_python_loops(monkeypatch)
    shrunken_norm(w, t, (0,))
    # The first is at the group's own norm, next to which the root is where little is lost.
    assert len(evaluations) <= (1 if shrinkage < 1e-5 and spread <= 1 else 1 + 6)


def with_python_loops(monkeypatch):
    """So that each evaluation is seen."""

    def while_loop(cond, body, loop_vars, maximum_iterations):
        for _ in range(maximum_iterations):
            if not bool(cond(*loop_vars)):
                break
            loop_vars = body(*loop_vars)
        return loop_vars

    monkeypatch.setattr(secular_equation.ops, "while_loop", while_loop)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e-10, 1e10, 1e18])
def test_weights_far_from_one(scale):
    w, t = groups(1.0, 0.5)
    z = to_numpy(group_soft_threshold(w, t, 0))
    scaled = [(x.astype("float64") * scale).astype("float32") for x in (w, t)]
    np.testing.assert_allclose(to_numpy(group_soft_threshold(*scaled, 0)) / scale, z, rtol=1e-4)


def test_a_small_weight_without_a_threshold_among_huge_ones():
    w = np.array([[1e-3, 5.0, -3.0], [0.0, 5.0, -3.0]], "float32")
    t = np.array([[0.0, 1e6, 1e6], [0.0, 1e6, 1e6]], "float32")
    z = to_numpy(group_soft_threshold(w, t, 0))
    assert z[0, 0] == w[0, 0] and not np.any(z[1])
    np.testing.assert_allclose(z[0, 1:], [5e-9, -3e-9], rtol=1e-4)


@pytest.mark.parametrize("shrinkage", [1e-4, 0.5, 0.9, 1.1])
def test_without_a_question_to_the_device_it_is_the_same(shrinkage, monkeypatch):
    w, t = map(keras.ops.convert_to_tensor, groups(3.0, shrinkage))
    asked = to_numpy(shrunken_norm(w, t, (0,)))
    monkeypatch.setattr(secular_equation, "runs_in_place", lambda *_: False)
    monkeypatch.setattr(secular_equation, "_waits_for_answers", lambda x: True)
    np.testing.assert_allclose(to_numpy(shrunken_norm(w, t, (0,))), asked, rtol=3e-6)
