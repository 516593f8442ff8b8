"""What is kept of a model, and what is refused."""

import zipfile

import keras
import numpy as np
import pytest
from helpers.dead_channels import change, compacted, inputs_for, kill, randomize, width
from helpers.processes import in_process
from helpers.random_graphs import relative_error

import kerasreg as kr

layers = keras.layers


def network(**last):
    """Two hidden layers with dead units, one of them in a nested model."""
    inputs = keras.Input((5,), name="given")
    x = layers.Dense(8, "relu", kernel_regularizer=kr.GroupLasso(1e-3), name="first")(inputs)
    x = kr.Dropout(0.3, name="drop")(x)
    inner = keras.Sequential(
        [keras.Input((8,)), layers.Dense(8, "tanh", name="inner")], name="part"
    )
    x = inner(x)
    model = keras.Model(inputs, layers.Dense(2, name="last", **last)(x), name="whole")
    kill(randomize(model).get_layer("first"), zero=[0, 1], constant=[2])
    kill(inner.get_layer("inner"), zero=[0], constant=[1])
    return model


def test_names_flags_and_structure_stay():
    inputs = {"a": keras.Input((3,), name="a"), "b": keras.Input((3,), name="b")}
    x = layers.Dense(6, name="first", trainable=False)(inputs["a"])
    x = layers.Add(name="sum")([x, layers.Dense(6, name="second")(inputs["b"])])
    outputs = {"y": layers.Dense(2, name="y")(x), "z": layers.Dense(1, name="z")(x)}
    model = randomize(keras.Model(inputs, outputs, name="whole"))
    kill(model.get_layer("first"), zero=[0])
    kill(model.get_layer("second"), zero=[0])
    model.compile("sgd", "mse")
    nodes = {layer.name: len(layer._inbound_nodes) for layer in model.layers}
    small = kr.compact(model)
    assert nodes == {layer.name: len(layer._inbound_nodes) for layer in model.layers}
    assert small.name == "whole" and not small.compiled and width(small, "first") == 5
    assert [layer.name for layer in small.layers] == [layer.name for layer in model.layers]
    assert not small.get_layer("first").trainable and small.get_layer("second").trainable
    data = {"a": np.ones((2, 3), "float32"), "b": np.ones((2, 3), "float32")}
    assert set(small(data)) == {"y", "z"}
    assert relative_error(model, small, data) < 1e-6
    initializer = small.get_layer("second").kernel_initializer
    assert isinstance(initializer, keras.initializers.GlorotUniform)


def test_widths_are_rounded_up():
    model = network()
    assert width(compacted(model), "first") == 5
    small = compacted(model, round_to=4)
    assert width(small, "first") == 8 and small.get_layer("part").layers[0].units == 8
    assert width(compacted(model, round_to=3), "first") == 6
    assert width(compacted(model, round_to=100), "first") == 8


def test_layers_are_kept_by_their_paths():
    model = network()
    small = compacted(model, keep="part/.*")
    inner, before = (m.get_layer("part").layers[0] for m in (small, model))
    assert width(small, "first") == 8
    for variable, other in zip(inner.weights, before.weights, strict=True):
        assert np.array_equal(*map(keras.ops.convert_to_numpy, (variable, other)))
    assert width(compacted(model, keep="last"), "first") == 5
    with pytest.raises(ValueError, match="pattern that matches one of\n  first\n"):
        kr.compact(model, keep="inner")


def test_features_that_nobody_reads_can_go():
    model = network()
    change(model.get_layer("first").kernel, [1, 3], 0)
    small = compacted(model)
    assert small.inputs[0].shape[1] == 5 and small.kept_features == {"given": (0, 1, 2, 3, 4)}
    small = compacted(model, drop_inputs=True)
    left = small.kept_features["given"]
    assert small.inputs[0].shape[1] == 3 and left == (0, 2, 4)
    x = inputs_for(model)
    assert np.allclose(*map(keras.ops.convert_to_numpy, (model(x), small(x[:, left]))), atol=1e-5)


def test_files_name_nothing_of_kerasreg(tmp_path):
    model = network()
    small = kr.compact(model)
    small.save(tmp_path / "small.keras")
    loaded = keras.saving.load_model(tmp_path / "small.keras")
    x = inputs_for(model)
    assert np.array_equal(*map(keras.ops.convert_to_numpy, (small(x), loaded(x))))
    with zipfile.ZipFile(tmp_path / "small.keras") as file:
        assert b"kerasreg" not in file.read("config.json")
    kr.compact(model, strip=False).save(tmp_path / "own.keras")
    with zipfile.ZipFile(tmp_path / "own.keras") as file:
        assert b"kerasreg" in file.read("config.json")


@pytest.mark.slow
def test_files_open_in_a_process_without_kerasreg(tmp_path):
    model = network()
    kr.compact(model).save(tmp_path / "small.keras")
    code = """
        import sys, keras
        model = keras.saving.load_model(sys.argv[1])
        assert "kerasreg" not in sys.modules
        print(model.count_params())
    """
    printed = in_process(code, tmp_path / "small.keras").split()[-1]
    assert int(printed) == kr.compact(model).count_params() < model.count_params()


def test_the_small_model_trains_with_its_penalties():
    small = kr.compact(network(), strip=False)
    assert isinstance(small.get_layer("first").kernel_regularizer, kr.GroupLasso)
    assert isinstance(small.get_layer("drop"), kr.Dropout)
    small.compile("sgd", "mse")
    small.fit(np.ones((4, 5), "float32"), np.ones((4, 2), "float32"), verbose=0)
    assert kr.compact(network()).get_layer("first").kernel_regularizer is None


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"round_to": 0}, "round_to"),
        ({"keep": "("}, "keep"),
        ({"drop_inputs": 1}, "drop_inputs"),
        ({"strip": None}, "strip"),
    ],
)
def test_invalid_arguments(arguments, name):
    with pytest.raises(ValueError, match=f"Invalid value for argument `{name}`"):
        kr.compact(network(), **arguments)
