"""Gradients that accumulate, against the same optimizer on their mean."""

import keras
import numpy as np
import pytest
from helpers.backends import JIT_COMPILE, to_numpy
from helpers.marks import first_is_fast
from keras import optimizers

import kerasreg as kr
from kerasreg.optimizers.steps import StepRule, step_rule

STEPS = 3
OPTIMIZERS = {
    "nadam": lambda **k: optimizers.Nadam(0.05, **k),
    "sgd": lambda **k: optimizers.SGD(0.3, **k),
    "momentum": lambda **k: optimizers.SGD(0.1, momentum=0.9, nesterov=True, **k),
    "adam": lambda **k: optimizers.Adam(0.05, **k),
    "amsgrad": lambda **k: optimizers.Adam(0.05, amsgrad=True, **k),
    "adamw": lambda **k: optimizers.AdamW(0.05, **k),
    "adamax": lambda **k: optimizers.Adamax(0.05, **k),
    "rmsprop": lambda **k: optimizers.RMSprop(0.05, **k),
    "rmsprop, centred": lambda **k: optimizers.RMSprop(0.02, centered=True, momentum=0.5, **k),
    "adagrad": lambda **k: optimizers.Adagrad(0.1, **k),
}
PENALTIES = [
    kr.L1(0.3),
    kr.L2(0.3),
    kr.ElasticNet(1.0, 0.2, 0.2),
    kr.MCP(0.3, gamma=3.0),
    kr.GroupLasso(0.3),
    kr.TopK(0.5, frequency=2),
    kr.TopK(0.5, saliency="metric", frequency=1),
    kr.TopK(0.5, scope="global", frequency=1),
    kr.KeepZeros(),
]
# Each optimizer with a third of the penalties, each penalty with a third of the optimizers.
PAIRS = [
    pytest.param(name, penalty, id=f"{name}, {penalty!r}")
    for i, name in enumerate(OPTIMIZERS)
    for j, penalty in enumerate(PENALTIES)
    if (i + j) % 3 == 0
]
START = np.random.default_rng(0).normal(size=(4, 3)).astype("float32") * (np.arange(3) > 0)
GRADIENTS = np.random.default_rng(1).normal(size=(4 * STEPS, 4, 3)).astype("float32")


def train(optimizer, gradients):
    """The weight after each call."""
    variable = keras.Variable(START, name="kernel")
    values = []
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        values.append(to_numpy(variable.value).copy())
    return values


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(("name", "penalty"), PAIRS)
def test_between_updates_nothing_moves_and_all_is_as_on_the_mean(name, penalty):
    make = OPTIMIZERS[name]
    means = GRADIENTS.reshape(-1, STEPS, 4, 3).mean(1)
    expected = np.repeat([START, *train(kr.Proximal(make(), penalty), means)], STEPS, axis=0)
    accumulating = kr.Proximal(make(gradient_accumulation_steps=STEPS), penalty)
    values = np.stack(train(accumulating, GRADIENTS))
    np.testing.assert_allclose(values, expected[1 : len(values) + 1], rtol=2e-4, atol=2e-6)
    np.testing.assert_array_equal(values == 0, expected[1 : len(values) + 1] == 0)
    assert np.any(values[-1] == 0) or isinstance(penalty, kr.L2 | kr.MCP | kr.GroupLasso)


class NoEpsilon(optimizers.Adagrad):
    """An optimizer whose step is not finite before its first update."""


class _NoEpsilon(StepRule):
    slots = ("_accumulators",)

    def step_size(self, rate, correction, moments):
        return rate / keras.ops.sqrt(moments[0])


def test_a_rule_of_ones_own_that_divides_by_zero_before_the_first_update():
    step_rule.register(NoEpsilon)(_NoEpsilon)
    inner = NoEpsilon(0.1, initial_accumulator_value=0.0, gradient_accumulation_steps=2)
    values = train(kr.Proximal(inner, kr.L1(0.1)), GRADIENTS[:2])
    np.testing.assert_array_equal(values[0], START)
    assert np.all(np.isfinite(values[1])) and np.any(values[1] != START)


@pytest.mark.parametrize("jit_compile", first_is_fast(JIT_COMPILE))
def test_in_a_compiled_step(jit_compile):
    """As a user trains, with Nadam, whose bias correction is zero before the first update."""
    x, y = GRADIENTS.reshape(-1, 6)[:24], GRADIENTS.reshape(-1, 2)[:24]
    weights = []
    for steps, batch in ((None, 12), (3, 4)):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)])
        inner = optimizers.Nadam(0.05, gradient_accumulation_steps=steps)
        model.compile(kr.Proximal(inner, kr.L1(0.05)), "mse", jit_compile=jit_compile)
        before = model.get_weights()[0]
        for start in range(0, len(x), batch):
            model.train_on_batch(x[start : start + batch], y[start : start + batch])
            if steps and start + batch < 12:
                np.testing.assert_array_equal(model.get_weights()[0], before)
        weights.append(model.get_weights()[0])
    np.testing.assert_allclose(*weights, atol=1e-6)
