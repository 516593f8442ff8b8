"""Dropout: what it draws, what it preserves, and what it refuses."""

import keras
import numpy as np
import pytest
from helpers.backends import JIT_COMPILE, gradient, to_numpy
from helpers.marks import slow

import kerasreg as kr

RATES = [0.1, 0.5, 0.9]


def ones(*shape, dtype="float32"):
    return keras.ops.ones(shape, dtype=dtype)


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("scaling", ["training", "inference"])
@pytest.mark.parametrize("rate", RATES)
def test_expected_training_output_is_the_inference_output(rate, scaling):
    layer = kr.Dropout(rate, seed=1, scaling=scaling)
    x = ones(1000, 1000) * 3.0
    drawn = to_numpy(layer(x, training=True))
    standard_error = drawn.std() / 1000
    assert abs(drawn.mean() - to_numpy(layer(x, training=False)).mean()) < 4 * standard_error


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize("scaling", ["training", "inference"])
@pytest.mark.parametrize("rate", RATES)
def test_values(rate, scaling):
    layer = kr.Dropout(rate, seed=1, scaling=scaling)
    x = np.random.default_rng(0).normal(size=(200, 300)).astype("float32")
    y = to_numpy(layer(x, training=True))
    kept = y != 0
    scale = 1 / (1 - rate) if scaling == "training" else 1.0
    np.testing.assert_allclose(y[kept], x[kept] * scale, rtol=1e-6)
    # 4 standard errors of the fraction kept, over 60,000 draws
    assert abs(kept.mean() - (1 - rate)) < 4 * np.sqrt(rate * (1 - rate) / kept.size)
    inference = x if scaling == "training" else x * (1 - rate)
    np.testing.assert_allclose(to_numpy(layer(x)), inference, rtol=1e-6)


@pytest.mark.parametrize("scaling", ["training", "inference"])
def test_the_extreme_rates(scaling):
    x = ones(4, 5) * float("inf")
    np.testing.assert_array_equal(to_numpy(kr.Dropout(1.0, scaling=scaling)(x, training=True)), 0)
    for training in (True, False):
        layer = kr.Dropout(0.0, scaling=scaling)
        np.testing.assert_array_equal(to_numpy(layer(x, training=training)), to_numpy(x))
    finite = ones(4, 5)
    inference = to_numpy(kr.Dropout(1, scaling=scaling)(finite))
    np.testing.assert_array_equal(inference, 1 if scaling == "training" else 0)


def test_gradient_is_the_scaled_mask():
    def loss(x):
        return keras.ops.sum(kr.Dropout(0.4, seed=1)(x, training=True))

    slope = to_numpy(gradient(loss)(np.ones((50, 50), "float32")))
    mask = to_numpy(kr.Dropout(0.4, seed=1)(ones(50, 50), training=True))
    np.testing.assert_array_equal(slope, mask)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_gradient_at_the_extreme_rates_is_never_nan(rate):
    layer = kr.Dropout(rate)
    slope = gradient(lambda x: keras.ops.sum(layer(x, training=True)))(np.ones((5, 5), "float32"))
    np.testing.assert_array_equal(to_numpy(slope), 1.0 - rate)


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize(
    ("noise_shape", "same_along"),
    [((None, 1, None), 1), ((20, 1, 10), 1), ((1, 5, 10), 0), ([None, None, 1], 2)],
)
def test_noise_shape(noise_shape, same_along):
    layer = kr.Dropout(0.5, noise_shape=noise_shape, seed=0)
    y = to_numpy(layer(ones(20, 5, 10), training=True))
    assert 0 < np.count_nonzero(y) < y.size
    np.testing.assert_array_equal(y, np.broadcast_to(y.take([0], same_along), y.shape))
    other = (same_along + 1) % 3
    assert np.any(y != np.broadcast_to(y.take([0], other), y.shape))


def test_fresh_masks_and_reproducible_seeds():
    x = ones(100, 100)
    layer, twin = kr.Dropout(0.5, seed=7), kr.Dropout(0.5, seed=7)
    first, second = (to_numpy(layer(x, training=True)) for _ in range(2))
    assert np.any(first != second)
    np.testing.assert_array_equal(first, to_numpy(twin(x, training=True)))
    assert np.any(first != to_numpy(kr.Dropout(0.5, seed=8)(x, training=True)))
    keras.utils.set_random_seed(3)
    drawn = to_numpy(kr.Dropout(0.5)(x, training=True))
    keras.utils.set_random_seed(3)
    np.testing.assert_array_equal(drawn, to_numpy(kr.Dropout(0.5)(x, training=True)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "mixed_float16"])
def test_dtypes(dtype):
    layer = kr.Dropout(0.5, dtype=dtype, seed=0)
    y = layer(ones(100, 100), training=True)
    compute = "float16" if dtype == "mixed_float16" else dtype
    assert keras.backend.standardize_dtype(y.dtype) == compute
    assert set(np.unique(to_numpy(y))) == {0.0, 2.0}


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("jit_compile", JIT_COMPILE)
@pytest.mark.parametrize("scaling", ["training", slow("inference")])
def test_in_a_model_with_symbolic_and_dynamic_batch(scaling, jit_compile):
    inputs = keras.Input((5, 4))
    outputs = kr.Dropout(0.5, noise_shape=(None, 1, None), scaling=scaling)(inputs)
    assert outputs.shape == (None, 5, 4)
    model = keras.Model(inputs, keras.layers.Dense(1)(outputs))
    model.compile("sgd", "mse", jit_compile=jit_compile)
    x = np.random.default_rng(0).normal(size=(10, 5, 4)).astype("float32")
    history = model.fit(x, x[..., :1], batch_size=4, epochs=2, verbose=0).history
    assert np.all(np.isfinite(history["loss"]))


def test_masking_passes_through():
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Embedding(5, 3, mask_zero=True), kr.Dropout(0.5)]
    )
    masked = keras.layers.Embedding(5, 3, mask_zero=True)(np.array([[1, 0]]))
    assert kr.Dropout(0.5).supports_masking
    assert getattr(kr.Dropout(0.5)(masked), "_keras_mask", None) is not None
    assert model(np.array([[1, 2, 0, 0]])).shape == (1, 4, 3)


def test_no_weights_and_a_rate_that_may_start_at_zero():
    layer = kr.Dropout(0.0)
    assert layer.built and layer.weights == []
    layer.rate = 0.5
    y = to_numpy(layer(ones(50, 50), training=True))
    assert 0 < np.count_nonzero(y) < y.size


def test_configuration_round_trips():
    layer = kr.Dropout(0.3, noise_shape=[None, 1], seed=5, scaling="inference", name="drop")
    twin = kr.Dropout.from_config(layer.get_config())
    assert twin.get_config() == layer.get_config()
    assert twin.noise_shape == (None, 1)
    assert (
        keras.saving.deserialize_keras_object(
            keras.saving.serialize_keras_object(layer)
        ).get_config()
        == layer.get_config()
    )


@pytest.mark.parametrize("rate", [-0.1, 1.1, np.nan, np.inf, True, "0.5", None, [0.5]], ids=repr)
def test_bad_rate(rate):
    message = "Invalid value received for argument `rate`. Expected a float value between 0 and 1."
    with pytest.raises(ValueError, match=message):
        kr.Dropout(rate)


@pytest.mark.parametrize("scaling", ["train", None, 1, True])
def test_bad_scaling(scaling):
    with pytest.raises(ValueError, match="Invalid value for argument `scaling`. Expected one of"):
        kr.Dropout(0.5, scaling=scaling)


@pytest.mark.parametrize("noise_shape", ["ab", 3, (None, 0), (1, -1), (1, 2.0), (True, 1)])
def test_bad_noise_shape(noise_shape):
    with pytest.raises(ValueError, match="Invalid value received for argument `noise_shape`"):
        kr.Dropout(0.5, noise_shape=noise_shape)


@pytest.mark.parametrize("noise_shape", [(None,), (None, 1, 1), (3, 1), (None, 3), (1, 1, 5)])
def test_noise_shape_that_does_not_fit_the_input(noise_shape):
    layer = kr.Dropout(0.5, noise_shape=noise_shape, name="drop")
    with pytest.raises(ValueError, match="(?s)`noise_shape`.*layer 'drop'.*Received"):
        layer(ones(4, 5), training=True)


def test_a_noise_shape_with_a_batch_size_binds_the_training_only():
    dropout = kr.Dropout(0.5, noise_shape=(8, 1, 3))
    model = keras.Sequential([keras.Input((4, 3)), dropout, keras.layers.Dense(3)])
    model.compile("sgd", "mse")
    model.fit(np.ones((16, 4, 3)), np.ones((16, 4, 3)), batch_size=8, verbose=0)
    assert model.predict(np.ones((1, 4, 3)), verbose=0).shape == (1, 4, 3)


def test_a_shorter_noise_shape_is_broadcast():
    y = to_numpy(kr.Dropout(0.5, noise_shape=(50,), seed=1)(ones(4, 50), training=True))
    np.testing.assert_array_equal(y, np.broadcast_to(y[:1], y.shape))
    assert 0 < np.count_nonzero(y) < y.size


def test_noise_shape_that_does_not_fit_is_found_when_the_model_is_built():
    with pytest.raises(ValueError, match="(?s)`noise_shape`.*layer 'drop'"):
        kr.Dropout(0.5, noise_shape=(None, 3), name="drop")(keras.Input((5,)))


@pytest.mark.parametrize("seed", ["a", 1.5, True])
def test_bad_seed(seed):
    with pytest.raises(ValueError, match="seed"):
        kr.Dropout(0.5, seed=seed)
