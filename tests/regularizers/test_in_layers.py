"""Penalties where users put them: in layers, under every policy, saved and loaded."""

import keras
import numpy as np
import pytest
from helpers.backends import JIT_COMPILE, to_numpy
from helpers.marks import first_is_fast, slow
from helpers.references import reference

import kerasreg as kr

PENALTIES = [
    kr.L1(0.1),
    kr.L2(0.2),
    kr.ElasticNet(0.5, 0.1, 0.2),
    kr.GroupLasso(0.1),
    kr.L1(0.1, positive=True),  # in a loss as without
    kr.SCAD(0.1),
    kr.LogSum(0.1),
    kr.L0_5(0.1),
    kr.L2_3(0.1),
    kr.Weighted(kr.L1(0.1), [3.0]),
]


def layers_with(penalty):
    layers = keras.layers
    return {
        "kernel": (layers.Dense(3, kernel_regularizer=penalty), (2, 4)),
        "bias": (layers.Dense(3, bias_regularizer=penalty, bias_initializer="ones"), (2, 4)),
        "embeddings": (layers.Embedding(5, 3, embeddings_regularizer=penalty), (2, 4)),
        "gamma": (layers.BatchNormalization(gamma_regularizer=penalty), (2, 4)),
        "convolution": (layers.Conv2D(3, 2, kernel_regularizer=penalty), (2, 4, 4, 2)),
        "recurrent": (layers.LSTM(3, recurrent_regularizer=penalty), (2, 4, 2)),
    }


@pytest.mark.fast_cases(6)
@pytest.mark.parametrize("place", list(layers_with(None)))
@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
def test_weight_penalties(penalty, place):
    layer, shape = layers_with(penalty)[place]
    layer(np.ones(shape, "float32"))
    (variable,) = [v for v in layer.weights if v.regularizer is not None]
    (loss,) = layer.losses
    expected = reference(penalty).value(to_numpy(variable))
    assert expected > 0
    np.testing.assert_allclose(to_numpy(loss), expected, rtol=1e-6)


@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
def test_activity_penalty_is_divided_by_the_batch_size(penalty):
    layer = keras.layers.Dense(3, activity_regularizer=penalty)
    output = layer(np.random.default_rng(0).normal(size=(8, 4)).astype("float32"))
    expected = reference(penalty).value(to_numpy(output)) / 8
    np.testing.assert_allclose(to_numpy(layer.losses[0]), expected, rtol=1e-6)


def test_activity_penalty_is_finite_under_mixed_float16():
    # The case in which Keras's own L1 gives inf.
    keras.config.set_dtype_policy("mixed_float16")
    x = np.ones((1024, 1), "float32")

    def loss(penalty):
        layer = keras.layers.Dense(1024, kernel_initializer="ones", activity_regularizer=penalty)
        layer(x)
        return float(to_numpy(layer.losses[0]))

    assert loss(keras.regularizers.L1(1.0)) == np.inf
    assert loss(kr.L1(1.0)) == 1024.0


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("jit_compile", first_is_fast(JIT_COMPILE))
@pytest.mark.parametrize(
    "policy", ["mixed_float16", "float32", *map(slow, ["float16", "bfloat16", "mixed_bfloat16"])]
)
def test_trains_under_every_policy(policy, jit_compile):
    keras.config.set_dtype_policy(policy)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(
                8, "relu", kernel_regularizer=kr.GroupLasso(1e-2), activity_regularizer=kr.L1(1e-2)
            ),
            kr.Dropout(0.2),
            keras.layers.Dense(1, kernel_regularizer=kr.ElasticNet(1.0, 1e-2, 1e-2)),
        ]
    )
    model.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=jit_compile)
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    losses = model.fit(x, x[:, :1], epochs=8, batch_size=16, verbose=0).history["loss"]
    assert np.all(np.isfinite(losses))
    assert losses[-1] < losses[0]


def regularised_model():
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(
                5, kernel_regularizer=kr.L1(0.1), bias_regularizer="kerasreg>L2", name="a"
            ),
            keras.layers.Dense(
                4,
                kernel_regularizer=kr.GroupLasso(0.1, axis=0, size_scaling=False),
                activity_regularizer=kr.ElasticNet(0.5, 0.1, 0.2),
                name="b",
            ),
            kr.Dropout(0.5, seed=3, scaling="inference", noise_shape=(None, 1)),
        ]
    )


def through_file(model, path):
    model.save(path / "model.keras")
    return keras.saving.load_model(path / "model.keras")


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    "copy",
    [
        through_file,
        lambda model, path: keras.models.clone_model(model),
        lambda model, path: keras.models.model_from_json(model.to_json()),
    ],
    ids=["save", "clone_model", "to_json"],
)
def test_copies_keep_the_penalties(copy, tmp_path):
    model = regularised_model()
    twin = copy(model, tmp_path)
    twin.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
    for original, copied in zip(model.layers, twin.layers, strict=True):
        assert original.get_config() == copied.get_config()
    np.testing.assert_array_equal(to_numpy(model(x)), to_numpy(twin(x)))
    assert len(model.losses) == 4
    np.testing.assert_array_equal(
        [to_numpy(loss) for loss in model.losses], [to_numpy(loss) for loss in twin.losses]
    )


def test_dynamic_batch_of_a_group_penalty_on_activities():
    layer = keras.layers.Dense(3, activity_regularizer=kr.GroupLasso(0.1))
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile("sgd", "mse")
    x = np.ones((10, 4), "float32")
    history = model.fit(x, np.zeros((10, 3)), batch_size=4, epochs=2, verbose=0).history
    assert np.all(np.isfinite(history["loss"]))
