"""The same model in plain Keras."""

import keras
import numpy as np
import pytest
from helpers.dead_channels import inputs_for, randomize
from helpers.random_graphs import relative_error

import kerasreg as kr

layers = keras.layers

PLAIN = [
    (kr.Dropout(0.3, noise_shape=(None, 1, 1, 4), seed=3, name="x"), layers.Dropout),
    (kr.AlphaDropout(0.2, name="x"), layers.AlphaDropout),
    (kr.GaussianDropout(0.2, name="x"), layers.GaussianDropout),
    (kr.SpatialDropout2D(0.2, seed=1, name="x"), layers.SpatialDropout2D),
]
OTHERS = [
    (kr.Dropout(0.3, scaling="inference", name="x"), layers.Rescaling),
    (kr.DropPath(0.2, name="x"), layers.Identity),
    (kr.DropBlock2D(0.2, 2, name="x"), layers.Identity),
    (kr.DropConnect(layers.Dense(4), 0.4, name="x"), layers.Dense),
    (kr.DropConnect(layers.Dense(4), 0.4, scaling="inference", name="x"), layers.Dense),
]


def around(layer):
    x = inputs = keras.Input((3, 3, 4))
    x = layers.Conv2D(4, 1, kernel_regularizer=kr.GroupLasso(0.1), name="conv")(x)
    return randomize(keras.Model(inputs, layer(x), name="whole"))


@pytest.mark.parametrize(("layer", "cls"), PLAIN)
def test_dropouts_become_those_of_keras(layer, cls):
    model = around(layer)
    plain = kr.strip(model)
    new = plain.get_layer("x")
    assert type(new) is cls and new.rate == layer.rate and new.seed == layer.seed
    assert getattr(new, "noise_shape", None) == getattr(layer, "noise_shape", None)
    assert relative_error(model, plain, inputs_for(model)) == 0
    assert plain.get_layer("conv").kernel_regularizer is None
    assert model.get_layer("conv").kernel_regularizer is not None


@pytest.mark.parametrize(("layer", "cls"), OTHERS)
def test_what_keras_cannot_express_is_named(layer, cls):
    model = around(layer)
    with pytest.warns(UserWarning, match="(?s)no layer for.*x: drops .* in training any more"):
        plain = kr.strip(model)
    assert type(plain.get_layer("x")) is cls
    # The classical forms multiply in another order.
    tolerance = 1e-6 if getattr(layer, "scaling", "training") == "inference" else 0
    assert relative_error(model, plain, inputs_for(model)) <= tolerance


def test_weights_are_identical():
    model = around(layers.Dense(3, bias_regularizer=kr.L1(0.1)))
    plain = kr.strip(model)
    assert plain.name == "whole"
    for old, new in zip(model.weights, plain.weights, strict=True):
        assert np.array_equal(*map(keras.ops.convert_to_numpy, (old, new)))
