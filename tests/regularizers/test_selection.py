"""The largest entries, against a stable sort."""

import hypothesis.extra.numpy as arrays
import keras
import numpy as np
import pytest
from helpers.backends import MODES, in_mode, to_numpy
from helpers.marks import slow
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasreg.regularizers.selection import largest


def expected(magnitudes, count):
    """The first `count` entries in the order of size, ties in the order of position."""
    flat = np.concatenate([m.ravel() for m in magnitudes])
    mask = np.zeros(flat.size, bool)
    mask[np.argsort(-flat.astype("float64"), kind="stable")[:count]] = True
    parts = np.split(mask, np.cumsum([m.size for m in magnitudes])[:-1])
    return [part.reshape(m.shape) for part, m in zip(parts, magnitudes, strict=True)]


def check(magnitudes, count, mode="eager"):
    select = in_mode(mode, lambda *args: largest(args[:-1], args[-1]))
    tensors = [keras.ops.convert_to_tensor(m) for m in magnitudes]
    masks = select(*tensors, keras.ops.convert_to_tensor(count, dtype="int32"))
    for mask, right in zip(masks, expected(magnitudes, count), strict=True):
        np.testing.assert_array_equal(to_numpy(mask), right)


@pytest.mark.slow
@settings(deadline=None, max_examples=10, derandomize=True)
@given(
    one=arrays.arrays("float32", (3, 4), elements=st.sampled_from([0.0, 1e-30, 0.5, 1.0, 1e30])),
    other=arrays.arrays("float32", (5,), elements=st.floats(0, 1e6, width=32)),
    count=st.integers(0, 20),
)
def test_takes_the_largest_and_of_equal_ones_the_first(one, other, count):
    check([one, other], count)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("count", "mode"),
    [
        (count, mode) if mode == "eager" or count == 4000 else slow(count, mode)
        for count in (0, 1, 4000, 65_537, 100_000)
        for mode in MODES
    ],
)
def test_many_entries(count, mode):
    values = np.abs(np.random.default_rng(0).normal(size=(250, 400))).astype("float32")
    check([values], count, mode)
    check([np.round(values, 1), np.ones((7,), "float32")], count, mode)


def test_infinite_entries_are_the_largest():
    check([np.array([1.0, np.inf, 0.0, np.inf, 3.0], "float32")], 3)
