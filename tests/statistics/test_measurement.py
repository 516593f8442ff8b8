"""Weights are measured where they are, and as they are now."""

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, to_numpy
from helpers.models import Subclassed, classifier, kitchen_sink

from kerasreg._backends import host_view
from kerasreg.statistics.measurement import statistics_of
from kerasreg.statistics.weights import Weight, find_weights


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64", "int8"])
def test_host_view(dtype):
    if BACKEND == "jax" and dtype == "float64":
        pytest.skip("JAX has no float64 by default")
    values = np.arange(-3, 3).reshape(2, 3)
    variable = keras.Variable(values, dtype=dtype, trainable=False)
    with np.errstate(all="raise"):
        view = host_view(variable)
    assert view.dtype.name == variable.dtype
    np.testing.assert_array_equal(view.astype("float64"), values)


def test_host_view_is_no_copy():
    variable = keras.Variable(np.ones((64, 64)))
    address = host_view(variable).__array_interface__["data"][0]
    for _ in range(3):
        assert host_view(variable).__array_interface__["data"][0] == address
    if BACKEND == "torch":
        assert address == variable.value.data_ptr()


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("build", [classifier, kitchen_sink, Subclassed])
def test_every_weight_of_a_model(build):
    model = build()
    if not model.built:
        model(np.ones((2, 5), "float32"))
    weights = find_weights(model)
    measured = statistics_of(weights, threshold=0.1, histograms=True)()()
    for weight, found, rows in zip(weights, measured.statistics, measured.histograms, strict=True):
        w = to_numpy(weight.variable.value)
        assert (found.size, found.zeros) == (w.size, np.sum(w == 0))
        assert rows[:, 2].sum() == w.size - found.zeros
        np.testing.assert_allclose(found.l2_norm, np.linalg.norm(w), rtol=1e-6)


def test_it_hands_over_what_was_when_it_was_called():
    variable = keras.Variable(np.ones((2, 3), "float32"))
    statistics = statistics_of([Weight(variable, "w", (1,))], threshold=0.5)
    before = statistics()
    variable.assign(np.zeros((2, 3), "float32"))
    assert before().statistics[0].zeros == 0
    assert statistics()().statistics[0].dead_units == 3
