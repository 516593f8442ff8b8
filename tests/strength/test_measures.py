"""Whether less or more of a metric is better."""

import keras
import numpy as np
import pytest

from kerasreg.strength.measures import find_mode


def mine(y_true, y_pred):
    return keras.ops.mean(y_pred)


@pytest.fixture(scope="module")
def model():
    result = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    result.compile("sgd", "mse", metrics=["accuracy", "mean_absolute_error", "r2_score", mine])
    result.evaluate(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    return result


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize(
    ("monitor", "mode", "expected"),
    [
        ("data_loss", "auto", "min"),
        ("accuracy", "auto", "max"),
        ("mean_absolute_error", "auto", "min"),
        ("r2_score", "auto", "max"),
        ("accuracy", "min", "min"),
        ("mine", "max", "max"),
    ],
)
def test_find_mode(model, monitor, mode, expected):
    assert find_mode(model, monitor, mode) == expected


def test_a_metric_of_ones_own(model):
    with pytest.raises(ValueError, match="`mode`.*'min' or 'max'.*'mine'"):
        find_mode(model, "mine", "auto")
