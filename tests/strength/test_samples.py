"""Inputs and targets are checked to belong together."""

import keras
import numpy as np
import pytest

from kerasreg.strength.samples import Samples

X, Y = np.zeros((6, 3)), np.zeros(6)


@pytest.mark.parametrize(
    ("x", "y", "sample_weight", "message"),
    [
        (X, Y[:5], None, r"argument `y`\. Expected arrays of 6 samples, as in `x`.*\(5,\)"),
        (X, Y, Y[:2], r"argument `sample_weight`.*6 samples"),
        ({"a": X, "b": X[:2]}, Y, None, "argument `x`.*6 samples"),
        (X[:0], Y[:0], None, "argument `x`.*at least one sample"),
        (3.0, Y, None, "argument `x`.*at least one sample"),
        (X, None, None, "argument `y`.*array"),
        (None, Y, None, "argument `x`"),
        ([], Y, None, "argument `x`"),
        (np.array(["a", None]), Y, None, "argument `x`"),
    ],
)
def test_errors(x, y, sample_weight, message):
    with pytest.raises(ValueError, match=message):
        Samples.of(x, y, sample_weight)


def test_the_prefix_names_the_argument():
    with pytest.raises(ValueError, match="`validation_y`.*as in `validation_x`"):
        Samples.of(X, Y[:1], prefix="validation_")


def test_arrays_of_keras_own_precision():
    samples = Samples.of(keras.ops.ones((6, 3)), list(range(6)), np.ones(6, "float16"))
    assert samples.x.dtype == samples.sample_weight.dtype == "float32"
    assert samples.y.tolist() == list(range(6)) and samples.y.dtype.kind == "i"
    assert samples.size == 6


def test_some_of_the_samples():
    samples = Samples.of({"a": np.arange(6.0), "b": X}, np.arange(6))
    some = samples.take(np.array([4, 1]))
    assert some.x["a"].tolist() == [4, 1] and some.x["b"].shape == (2, 3)
    assert some.y.tolist() == [4, 1] and some.sample_weight is None
