"""How far each optimizer moves a weight for a gradient of one, by the formulas in float64."""

import keras
import numpy as np
import pytest
from helpers.backends import to_numpy
from keras import optimizers

import kerasreg as kr

RATE, STRENGTH = 0.01, 0.03  # so weak that a penalty stays within an optimizer's reach
GRADIENTS = np.random.default_rng(0).normal(size=(5, 2, 3)).astype("float32")


def mean(gradients, beta):
    """The exponential moving average that the optimizers keep."""
    total = 0.0
    for gradient in gradients:
        total = beta * total + (1 - beta) * gradient
    return total


def second_moment(gradients, beta=0.999):
    return mean(np.square(gradients), beta)


def correction(gradients):
    return 1 - 0.999 ** len(gradients)


def summed(step_of, momentum):
    """The sum of the steps so far, as a momentum buffer sums them."""

    def step(gradients):
        total = 0.0
        for count in range(1, len(gradients) + 1):
            total = momentum * total + step_of(gradients[:count])
        return total

    return step


def sgd(gradients):
    return RATE


def adam(gradients):
    v = second_moment(gradients)
    return RATE * np.sqrt(correction(gradients)) / (np.sqrt(v) + 1e-7)


def amsgrad(gradients):
    v = np.max([second_moment(gradients[:i]) for i in range(1, len(gradients) + 1)], axis=0)
    return RATE * np.sqrt(correction(gradients)) / (np.sqrt(v) + 1e-7)


def nadam(gradients):
    return RATE / (np.sqrt(second_moment(gradients) / correction(gradients)) + 1e-7)


def adamax(gradients):
    norm = 0.0
    for gradient in gradients:
        norm = np.maximum(0.999 * norm, np.abs(gradient))
    return RATE / (norm + 1e-7)


def rmsprop(gradients):
    return RATE / np.sqrt(second_moment(gradients, 0.9) + 1e-7)


def centered(gradients):
    variance = second_moment(gradients, 0.9) - mean(gradients, 0.9) ** 2
    return RATE / np.sqrt(variance + 1e-7)


def adagrad(gradients):
    return RATE / np.sqrt(0.1 + np.sum(np.square(gradients), axis=0) + 1e-7)


STEPS = {
    "sgd": (optimizers.SGD, {}, sgd),
    "momentum": (optimizers.SGD, {"momentum": 0.9}, summed(sgd, 0.9)),
    "nesterov": (
        optimizers.SGD,
        {"momentum": 0.9, "nesterov": True},
        lambda gradients: 0.9 * summed(sgd, 0.9)(gradients) + RATE,
    ),
    "adam": (optimizers.Adam, {}, adam),
    "amsgrad": (optimizers.Adam, {"amsgrad": True}, amsgrad),
    "adamw": (optimizers.AdamW, {"weight_decay": 0.0}, adam),
    "nadam": (optimizers.Nadam, {}, nadam),
    "adamax": (optimizers.Adamax, {}, adamax),
    "rmsprop": (optimizers.RMSprop, {}, rmsprop),
    "rmsprop with momentum": (optimizers.RMSprop, {"momentum": 0.5}, summed(rmsprop, 0.5)),
    "rmsprop, centred": (optimizers.RMSprop, {"centered": True}, centered),
    "adagrad": (optimizers.Adagrad, {}, adagrad),
}


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("name", STEPS)
def test_a_penalty_of_slope_one_moves_a_weight_by_the_step(name):
    """Far from zero L1 takes `strength * step` off, beside what the optimizer itself does."""
    cls, arguments, step_of = STEPS[name]
    plain, penalised = (keras.Variable(np.full((2, 3), 4.0), name="kernel") for _ in range(2))
    bare = cls(RATE, **arguments)
    proximal = kr.Proximal(cls(RATE, **arguments), {".*kernel": kr.L1(STRENGTH)})
    for count, gradient in enumerate(GRADIENTS, start=1):
        before = to_numpy(penalised) - to_numpy(plain)
        for optimizer, variable in ((bare, plain), (proximal, penalised)):
            optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        taken = before - (to_numpy(penalised) - to_numpy(plain))
        expected = STRENGTH * step_of(GRADIENTS[:count].astype("float64")) * np.ones((2, 3))
        np.testing.assert_allclose(taken, expected, rtol=1e-3, atol=2e-6)
