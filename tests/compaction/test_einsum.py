"""`EinsumDense` over several axes."""

import keras
import pytest
from helpers.dead_channels import change, compacted, kill, randomize, width
from helpers.marks import first_is_fast

layers = keras.layers

# The equation, the shape of the output, the axes of the bias, and what of six channels before it
# stays; of the last axis of its output one of four channels is read by nobody, or zero.
EQUATIONS = {
    "heads": ("abc,cde->abde", (5, 3, 4), "de", 4),
    "heads in another order": ("abc,edc->abde", (5, 3, 4), "de", 4),
    "heads without bias": ("abc,cde->abde", (5, 3, 4), None, 4),
    "bias of one axis": ("abc,cde->abde", (5, 3, 4), "e", 5),
    "bias of positions": ("abc,cd->abd", (5, 4), "bd", 4),
    "ellipsis": ("...c,cde->...de", (3, 4), "de", 4),
    "weights of each position": ("abc,bcd->abd", (5, 4), "d", 5),
    "sum over positions": ("abc,cd->ad", (4,), "d", 5),
    "positions as well": ("abc,bcd->ad", (4,), "d", 4),
    "positions to channels": ("abc,bcd->ad", (4,), None, 4),
    "factors": ("abc,c->abc", (5, 6), "c", 3),
    "factors of positions": ("abc,bc->abc", (5, 6), None, 4),
    "turned": ("abc,cd->adb", (4, 5), None, 5),
    "turned with bias": ("abc,cd->adb", (4, 5), "d", 4),
}


@pytest.mark.parametrize("name", first_is_fast(EQUATIONS))
def test_what_is_summed_over_and_what_is_new(name):
    equation, shape, bias, left = EQUATIONS[name]
    inputs = keras.Input((5, 3))
    x = layers.Dense(6, name="first")(inputs)
    x = layers.EinsumDense(equation, shape, bias_axes=bias, name="einsum")(x)
    wide = layers.Dense(3, name="last")(x) if "turned" not in name else layers.Flatten()(x)
    model = randomize(keras.Model(inputs, wide))
    kill(model.get_layer("first"), zero=[0], constant=[1])
    if "turned" in name:
        assert width(compacted(model), "first") == left
        return
    change(model.get_layer("last").kernel, 2, 0)
    small = compacted(model)
    assert width(small, "first") == left
    last = small.get_layer("last").kernel.shape[0]
    assert last == (left if "factors" in name else 3)


def test_both_axes_of_heads_are_read():
    inputs = keras.Input((5, 3))
    x = layers.Dense(6, name="first")(inputs)
    x = layers.EinsumDense("abc,cde->abde", (5, 2, 4), name="split")(x)
    x = layers.Activation("relu")(x)
    x = layers.EinsumDense("abde,dec->abc", (5, 6), bias_axes="c", name="joined")(x)
    model = randomize(keras.Model(inputs, layers.Dense(2, name="last")(x)))
    split, joined = model.get_layer("split"), model.get_layer("joined")
    change(split.kernel, (..., 1), 0)
    change(joined.kernel, (slice(None), 2), 0)
    change(model.get_layer("last").kernel, 3, 0)
    small = compacted(model)
    assert width(small, "split") == 2 and width(small, "joined") == 5
    # One head that needs a channel keeps it for all.
    change(joined.kernel, (0, 2, 0), 0.4)
    assert width(compacted(model), "split") == 3


def test_channels_that_all_heads_need_alone():
    inputs = keras.Input((5, 3))
    x = layers.Dense(6, name="first")(inputs)
    x = layers.EinsumDense("abc,cde->abde", (5, 2, 4), name="split")(x)
    model = randomize(keras.Model(inputs, layers.Dense(3, name="last")(x)))
    change(model.get_layer("split").kernel, (slice(3), slice(None), slice(1, None)), 0)
    change(model.get_layer("last").kernel, 0, 0)
    small = compacted(model)
    assert (width(small, "first"), width(small, "split")) == (3, 3)
