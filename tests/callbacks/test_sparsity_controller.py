"""The controller reaches its target on plants of any lag, and does not oscillate."""

import math

import keras
import numpy as np
import pytest

from kerasreg.callbacks.sparsity_controller import RANGE, SparsityController
from kerasreg.statistics.measurement import zero_fraction

STEPS = 1000


def simulate(target, lag, slope, away=4.0, steps=STEPS, end=None):
    """The sparsity of each step, whose logit follows the factor's logarithm with a lag.

    The right factor is `away` e-folds from the first.
    """
    controller = SparsityController(
        target, 10, 0, steps if end is None else end, strength_scale=0.5
    )
    first = math.log(target / (1 - target)) - slope * away
    logit, sparsities, measured = -14.0, [], 0
    for step in range(steps):
        sparsities.append(1 / (1 + math.exp(-logit)))
        if controller.is_due(step):
            controller.update(step, sparsities[-1])
            measured += 1
        logit += (first + slope * math.log(controller.strength_scale / 0.5) - logit) / lag
    return np.array(sparsities), controller, measured


@pytest.mark.parametrize("target", [0.5, 0.9, 0.98])
@pytest.mark.parametrize("slope", [0.5, 1.0])
@pytest.mark.parametrize("lag", [10.0, 30.0, 100.0])
def test_reaches_and_holds_the_target(target, slope, lag):
    sparsity, controller, measured = simulate(target, lag, slope)
    assert np.abs(sparsity[-50:] - target).max() < 0.02
    assert np.abs(sparsity[-1] - target) < 0.01
    assert sparsity.max() < target + 0.25 * (1 - target)
    turns = np.diff(np.sign(np.diff(sparsity[STEPS // 10 :])))
    assert np.count_nonzero(turns) <= 4, "it rises, and does not oscillate"
    assert measured < STEPS / 5 and not controller.is_at_bound


def test_starts_from_a_strength_that_is_far_too_large():
    sparsity, *_ = simulate(0.5, 30.0, 1.0, away=-5.0)
    assert sparsity.max() > 0.9 and abs(sparsity[-1] - 0.5) < 0.01


def test_zeros_that_are_there_at_any_strength():
    controller = SparsityController(0.5, 10, 0, 10 * STEPS, strength_scale=1.0)
    for step in range(200):  # of the 1500 in which the target rises
        controller.update(step, min(step, 0.3))
    assert math.exp(-2.01) < controller.strength_scale < 1


def test_of_a_training_of_unknown_length():
    sparsity, *_ = simulate(0.9, 30.0, 1.0, end=math.inf)
    assert np.abs(sparsity[-100:] - 0.9).max() < 0.01


@pytest.mark.parametrize(("away", "factor"), [(30.0, RANGE), (-30.0, 0.5 / RANGE)])
def test_bounds(away, factor):
    _, controller, _ = simulate(0.5, 10.0, 1.0, away=away)
    assert controller.is_at_bound
    np.testing.assert_allclose(controller.strength_scale, factor)


def test_a_factor_left_over_from_a_schedule_is_no_bound():
    controller = SparsityController(0.5, 10, 0, STEPS, strength_scale=1e-8)
    for step in range(STEPS):
        controller.update(step, 0.0)
    np.testing.assert_allclose(controller.strength_scale, RANGE)


def test_the_target_rises_as_soon_as_the_end_is_known():
    factors = []
    for end in (math.inf, 20 * STEPS):
        controller = SparsityController(0.9, 10, 0, math.inf, strength_scale=1.0)
        for step in range(0, 500, 10):
            if step == 100:
                controller.end = end
            controller.update(step, 0.6)
        factors.append(controller.strength_scale)
    assert factors[1] < 0.1 * factors[0]


def test_zero_fraction():
    variables = [keras.Variable(np.eye(4), dtype=dtype) for dtype in ("float32", "bfloat16")]
    assert zero_fraction([*variables, keras.Variable(np.ones(8))]) == 24 / 40
