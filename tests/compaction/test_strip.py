"""The same model in plain Keras."""

import zipfile

import keras
import numpy as np
import pytest
from helpers.dead_channels import inputs_for, randomize
from helpers.processes import in_process
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


@keras.saving.register_keras_serializable("kerasreg_tests")
class Around(layers.Wrapper):
    """A layer of a user's around one that its configuration has."""

    def call(self, x, training=False):
        return self.layer(x, training=training)

    def compute_output_shape(self, shape):
        return self.layer.compute_output_shape(shape)


@keras.saving.register_keras_serializable("kerasreg_tests")
class Makes(layers.Layer):
    """A layer of a user's that makes one of kerasreg and a penalty by itself."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.drop = kr.Dropout(0.5, name="drop")

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), name="scale", regularizer=kr.L1(0.1))

    def call(self, x, training=False):
        return self.drop(x, training=training) * self.scale

    def compute_output_shape(self, shape):
        return shape


def part(layer):
    """A model around a layer, for a wrapper."""
    return keras.Sequential([keras.Input((4,)), layer], name="part")


def penalised(cls, *args, **options):
    kinds = ("kernel", "bias", *options.pop("kinds", ()))
    return cls(*args, **options, **{f"{kind}_regularizer": kr.L1(0.1) for kind in kinds})


def rnn(cls, **options):
    return penalised(cls, 3, kinds=["recurrent"], **options)


INSIDE = {
    "time": lambda: layers.TimeDistributed(kr.Dropout(0.2, seed=3)),
    "time of a model": lambda: layers.TimeDistributed(part(kr.AlphaDropout(0.2))),
    "time of weights": lambda: layers.TimeDistributed(
        kr.DropConnect(penalised(layers.Dense, 3), 0.2, scaling="inference")
    ),
    "both directions": lambda: layers.Bidirectional(rnn(layers.LSTM, return_sequences=True)),
    "of both": lambda: kr.DropConnect(layers.Bidirectional(rnn(layers.GRU)), 0.3),
    "cells": lambda: layers.RNN([rnn(layers.GRUCell), rnn(layers.LSTMCell)]),
    "own": lambda: Around(kr.GaussianDropout(0.2, name="drop"), name="own"),
    "own of own": lambda: Around(Around(kr.DropConnect(layers.Dense(3), 0.2, name="drop"))),
    "frozen": lambda: penalised(layers.Dense, 3, "relu", trainable=False),
    "activity": lambda: layers.ActivityRegularization(0.1),
    "of the output": lambda: layers.Dense(3, activity_regularizer=kr.L2(0.1)),
    "separable": lambda: layers.SeparableConv1D(
        3, 2, depthwise_regularizer=kr.L1(0.1), pointwise_regularizer=kr.L2(0.1)
    ),
    "normalization": lambda: layers.BatchNormalization(gamma_regularizer=kr.L1(0.1)),
    "policy": lambda: penalised(layers.Dense, 3, dtype="mixed_bfloat16"),
}


def saved(model, folder):
    model.save(folder / "model.keras")
    with zipfile.ZipFile(folder / "model.keras") as file:
        return file.read("config.json").decode()


@pytest.mark.fast_cases(1)
@pytest.mark.filterwarnings("ignore:What plain Keras has no layer for")
@pytest.mark.parametrize("name", INSIDE)
def test_nothing_of_kerasreg_is_left(name, tmp_path):
    x = inputs = keras.Input((5, 4), name="given")
    outputs = {"a": INSIDE[name]()(x), "b": layers.Dense(2, name="b")(x)}
    model = randomize(keras.Model({"given": inputs}, outputs, name="whole"))
    plain = kr.strip(model)
    config = saved(plain, tmp_path)
    assert "kerasreg>" not in config and "kerasreg." not in config
    # Names of layers of one's own are of no interest here.
    assert [layer.name for layer in plain.layers] == [layer.name for layer in model.layers]
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    data = {"given": inputs_for(model)}
    tolerance = 1e-6 if name == "time of weights" else 0
    assert relative_error(model, plain, data) <= tolerance
    assert relative_error(plain, loaded, data) == 0
    for old, new in zip(model.weights, plain.weights, strict=True):
        assert old.trainable == new.trainable and old.dtype == new.dtype
    for old, new in zip(model.layers, plain.layers, strict=True):
        assert old.dtype_policy == new.dtype_policy and old.trainable == new.trainable


def test_attention_has_no_penalties_left(tmp_path):
    x = inputs = keras.Input((5, 4))
    y = penalised(layers.MultiHeadAttention, 2, 3)(x, x)
    model = randomize(keras.Model(inputs, penalised(layers.GroupQueryAttention, 3, 2, 1)(y, y)))
    plain = kr.strip(model)
    assert "kerasreg" not in saved(plain, tmp_path)
    assert relative_error(model, plain, inputs_for(model)) == 0


def test_what_a_layer_makes_by_itself_is_named():
    x = inputs = keras.Input((4,))
    model = keras.Model(inputs, Around(Makes(name="makes"), name="own")(x))
    with pytest.warns(UserWarning, match="What plain Keras") as caught:
        plain = kr.strip(model)
    (warning,) = [each for each in caught if "What plain Keras" in str(each.message)]
    lines = str(warning.message).splitlines()
    assert "own/makes/drop: stays a layer that needs kerasreg, Dropout" in lines[1]
    assert "own/makes/scale: L1" in lines[2]
    assert not plain.losses and model.losses
    assert relative_error(model, plain, inputs_for(model)) == 0


def test_a_subclass_with_another_formula_stays():
    class Scaled(kr.Dropout):
        def _infer(self, inputs):
            return inputs * 3

    model = around(Scaled(0.5, name="x"))
    with pytest.warns(UserWarning, match="x: stays a layer that needs kerasreg, Scaled"):
        plain = kr.strip(model)
    assert relative_error(model, plain, inputs_for(model)) == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:What plain Keras has no layer for")
def test_opens_where_kerasreg_cannot_be_imported(tmp_path):
    x = inputs = keras.Input((5, 4))
    for name in set(INSIDE) - {"own", "own of own", "policy", "of both", "cells"}:
        x = layers.Dense(4)(INSIDE[name]()(x))
    model = randomize(keras.Model(inputs, x))
    data, plain = inputs_for(model), kr.strip(model)
    plain.save(tmp_path / "plain.keras")
    np.save(tmp_path / "data.npy", data)
    np.save(tmp_path / "outputs.npy", keras.ops.convert_to_numpy(plain(data)))
    code = """
        import pathlib, sys
        sys.modules["kerasreg"] = None
        import keras, numpy as np

        folder = pathlib.Path(sys.argv[1])
        model = keras.saving.load_model(folder / "plain.keras")
        outputs = keras.ops.convert_to_numpy(model(np.load(folder / "data.npy")))
        assert np.array_equal(outputs, np.load(folder / "outputs.npy"))
        print("equal")
    """
    assert "equal" in in_process(code, tmp_path)
