"""Names that are the same each time a model is built."""

import keras
import pytest

import kerasreg as kr
from kerasreg.statistics.names import Dropouts, LayerNames
from kerasreg.statistics.weights import find_weights

layers = keras.layers


def sequential():
    return keras.Sequential(
        [keras.Input((3,)), layers.Dense(4), kr.Dropout(0.1), layers.Dense(2), kr.Dropout(0.2)]
    )


def functional():
    inputs = keras.Input((4, 3))
    late, early = layers.Dense(3), layers.Dense(3)
    x = early(layers.Bidirectional(layers.LSTM(2))(inputs))
    return keras.Model(inputs, late(keras.Sequential([layers.Dense(5)])(x)))


def named():
    inner = keras.Sequential([layers.Dense(4, name="dense_7"), layers.Dense(4)], name="block")
    return keras.Sequential([keras.Input((3,)), layers.Dense(4, name="first"), inner])


NAMES = {
    sequential: ["dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"],
    named: [
        "first/kernel",
        "first/bias",
        "block/dense/kernel",
        "block/dense/bias",
        "block/dense_1/kernel",
        "block/dense_1/bias",
    ],
}


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("build", [sequential, functional, named])
def test_models_that_are_built_again_overlay_each_other(build):
    found = []
    for waste in range(3):
        for _ in range(waste):
            layers.Dense(1), kr.Dropout(0.5), layers.LSTM(1), keras.Sequential()
        model = build()
        found.append([weight.name for weight in find_weights(model)])
        found[-1] += list(Dropouts(model, LayerNames(model)).rates())
    if build is not named:
        assert found[0] == found[1] == found[2]
    assert len(set(found[0])) == len(found[0])


def test_numbers_start_anew_in_each_model():
    layers.Dense(1)
    assert [weight.name for weight in find_weights(sequential())] == NAMES[sequential]
    model = sequential()
    assert list(Dropouts(model, LayerNames(model)).rates()) == ["dropout", "dropout_1"]


def test_the_order_is_the_models():
    names = [weight.name for weight in find_weights(functional())]
    kernels = [name for name in names if name.endswith("kernel") and "dense" in name]
    assert [name.split("/")[-2] for name in kernels] == ["dense", "dense_1", "dense_2"]
    assert any("forward_lstm/lstm_cell" in name for name in names)


def test_names_that_look_like_keras_own():
    """They cannot be told from those, and so count with them, in every model alike."""

    def build():
        chosen = [layers.Dense(3, name="dense_1"), layers.Dense(5, name="dense_7")]
        return keras.Sequential([keras.Input((4,)), *chosen, layers.Dense(7)])

    for _ in range(3):
        shapes = {w.name: w.variable.shape[1] for w in find_weights(build()) if w.unit_axes}
        assert shapes == {"dense/kernel": 3, "dense_1/kernel": 5, "dense_2/kernel": 7}


def test_names_of_ones_own_stay():
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(4, name="dense_a"), layers.Dense(4, name="my dense_1")]
    )
    assert [LayerNames(model).of_layer(c) for c in model.layers] == ["dense_a", "my dense_1"]
    assert find_weights(model)[2].name == "my dense_1/kernel"
