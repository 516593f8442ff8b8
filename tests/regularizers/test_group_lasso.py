"""What only the group lasso can get wrong."""

import keras
import numpy as np
import pytest

import kerasreg as kr


@pytest.mark.parametrize(("shape", "axis"), [((3, 4), 2), ((3, 4), -3), ((5,), -2), ((), -1)])
def test_axis_out_of_range(shape, axis):
    with pytest.raises(ValueError, match="Invalid value for argument `axis`. Expected.*Received"):
        kr.GroupLasso(0.1, axis=axis)(np.ones(shape, "float32"))


def test_axis_out_of_range_names_the_weight():
    layer = keras.layers.Dense(3, kernel_regularizer=kr.GroupLasso(0.1, axis=2), name="narrow")
    model = keras.Sequential([keras.Input((4,)), layer])
    with pytest.raises(ValueError, match="`axis` of GroupLasso on weight `.*narrow/kernel`"):
        _ = model.losses


@pytest.mark.parametrize("axis", [1.0, True, "0", None])
def test_bad_axis(axis):
    with pytest.raises(ValueError, match="Invalid value for argument `axis`. Expected an integer"):
        kr.GroupLasso(0.1, axis=axis)


@pytest.mark.parametrize("size_scaling", [1, None, "yes"])
def test_bad_size_scaling(size_scaling):
    with pytest.raises(ValueError, match="Invalid value for argument `size_scaling`. Expected"):
        kr.GroupLasso(0.1, size_scaling=size_scaling)
