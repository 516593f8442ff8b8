"""What every layer that drops at random keeps to, and what each of them drops."""

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, JIT_COMPILE, gradient, in_mode, to_numpy
from helpers.marks import slow

import kerasreg as kr

# Layer, its arguments, and a shape that it takes.
FAMILY = [
    (kr.Dropout, {}, (40, 50)),
    (kr.Dropout, {"noise_shape": (None, 1, None)}, (40, 5, 50)),
    (kr.SpatialDropout1D, {}, (40, 5, 50)),
    (kr.SpatialDropout2D, {}, (40, 3, 2, 50)),
    (kr.SpatialDropout2D, {"data_format": "channels_first"}, (40, 50, 3, 2)),
    (kr.SpatialDropout3D, {}, (40, 3, 2, 2, 50)),
    (kr.GaussianDropout, {}, (40, 50)),
    (kr.AlphaDropout, {}, (40, 50)),
    (kr.AlphaDropout, {"noise_shape": (None, 1, None)}, (40, 5, 50)),
    (kr.DropPath, {}, (2000, 3)),
    (kr.DropPath, {"scale_by_keep": False}, (2000, 3)),
    (kr.DropBlock2D, {"block_size": 3}, (20, 9, 7, 10)),
    (kr.DropBlock2D, {"block_size": (2, 5), "data_format": "channels_first"}, (20, 10, 9, 7)),
]
members = pytest.mark.parametrize(
    ("cls", "arguments", "shape"), FAMILY, ids=lambda v: getattr(v, "__name__", None)
)


# The same, where a case takes long: a second one of a class is slow.
FIRST = [cls not in [other for other, *_ in FAMILY[:i]] for i, (cls, *_) in enumerate(FAMILY)]
classes = pytest.mark.parametrize(
    ("cls", "arguments", "shape"),
    [member if first else slow(*member) for member, first in zip(FAMILY, FIRST, strict=True)],
    ids=lambda v: getattr(v, "__name__", None),
)


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def values(layer, x, training=True):
    return to_numpy(layer(x, training=training))


@pytest.mark.fast_cases(1)
@classes
def test_inference_is_the_identity_and_rate_zero_is_in_training(cls, arguments, shape):
    x = normal(shape)
    np.testing.assert_array_equal(values(cls(rate=0.3, **arguments), x, training=False), x)
    layer = cls(rate=0.0, **arguments)
    np.testing.assert_array_equal(values(layer, x), x)
    layer.rate = 0.3
    assert np.any(values(layer, x) != x)
    layer.rate = 0.0
    np.testing.assert_allclose(values(layer, x), x, rtol=1e-6)


@pytest.mark.fast_cases(1)
@classes
def test_every_call_draws_anew_and_seeds_reproduce(cls, arguments, shape):
    x = normal(shape)
    layer, twin = (cls(rate=0.4, seed=7, **arguments) for _ in range(2))
    first, second = values(layer, x), values(layer, x)
    assert np.any(first != second)
    np.testing.assert_array_equal(first, values(twin, x))
    drawn = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        drawn.append(values(cls(rate=0.4, **arguments), x))
    np.testing.assert_array_equal(*drawn)
    assert np.any(drawn[0] != first)


@pytest.mark.fast_cases(2)
@classes
def test_the_gradient_has_the_mask_of_the_forward_pass(cls, arguments, shape):
    x, weights = normal(shape), normal(shape, 1)
    weights_tensor = keras.ops.convert_to_tensor(weights)

    def loss(x):
        layer = cls(rate=0.4, seed=7, **arguments)
        return keras.ops.sum(layer(x, training=True) * weights_tensor)

    # Affine in x: the slope is the change for x + 1.
    change = values(cls(rate=0.4, seed=7, **arguments), x + 1) - values(
        cls(rate=0.4, seed=7, **arguments), x
    )
    slope = to_numpy(gradient(loss)(x))
    np.testing.assert_allclose(slope, weights * change, rtol=1e-4, atol=1e-5)


@pytest.mark.fast_cases(1)
@classes
def test_compiled_is_eager(cls, arguments, shape):
    layer, twin = (cls(rate=0.4, seed=7, **arguments) for _ in range(2))
    x = keras.ops.convert_to_tensor(normal(shape))
    if BACKEND == "jax":

        def call(x, state):
            return layer.stateless_call([], [state], x, training=True)[0]

        compiled = in_mode("compiled", call)(x, layer.seed_generator.state.value)
    elif BACKEND == "tensorflow":
        compiled = in_mode("compiled", lambda x: layer(x, training=True))(x)
    else:
        pytest.skip("PyTorch is eager; test_torch_compile.py compiles")
    np.testing.assert_allclose(to_numpy(compiled), values(twin, x), rtol=1e-5, atol=1e-6)


@members
@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "jax", reason="float64 is an option of the whole process there")
def test_double_precision(cls, arguments, shape):
    x = normal(shape)
    layer, twin = (cls(rate=0.4, seed=7, dtype=d, **arguments) for d in ("float64", "float32"))
    y = layer(x.astype("float64"), training=True)
    assert keras.backend.standardize_dtype(y.dtype) == "float64"
    np.testing.assert_allclose(to_numpy(y), values(twin, x), rtol=1e-5, atol=1e-6)


RATES = [0.3, 0.1, 1 / 3, 0.7, 1e-3, 0.9]
in_float64 = pytest.mark.skipif(
    BACKEND == "jax", reason="JAX has no float64 unless it is switched on for the process"
)


@pytest.mark.fast_cases(2)
@in_float64
@pytest.mark.parametrize("rate", RATES)
def test_the_scale_has_all_digits_in_double_precision(rate):
    """As that of Keras's layer, of which `1 / (1 - rate)` is kept."""
    x = np.ones((400, 50))
    layers = [
        kr.Dropout(rate, dtype="float64", seed=1),
        kr.Dropout(rate, noise_shape=(None, 1), dtype="float64", seed=1),
        kr.DropPath(rate, dtype="float64", seed=1),
    ]
    kept = to_numpy(keras.layers.Dropout(rate, dtype="float64", seed=1)(x, training=True)).max()
    for layer in layers:
        y = to_numpy(layer(x, training=True))
        np.testing.assert_allclose(y.max(), 1 / (1 - rate), rtol=2.5e-16)
        np.testing.assert_allclose(y.max(), kept, rtol=2.5e-16)
    inference = kr.Dropout(rate, scaling="inference", dtype="float64")
    np.testing.assert_allclose(to_numpy(inference(x)), 1 - rate, rtol=2.5e-16)


@pytest.mark.slow
@in_float64
def test_other_members_have_all_digits_in_double_precision():
    x, rate = np.ones((4, 12, 12, 2)), 0.3
    y = to_numpy(kr.DropBlock2D(rate, 3, dtype="float64", seed=1)(x, training=True))
    np.testing.assert_allclose(y.max(), y.size / np.count_nonzero(y), rtol=1e-15)
    y = to_numpy(kr.AlphaDropout(rate, dtype="float64", seed=1)(x, training=True))
    s, keep = -1.6732632423543772 * 1.0507009873554805, 1 - rate
    a = 1 / np.sqrt(keep * (1 + rate * s**2))
    np.testing.assert_allclose(np.unique(y), [a * s - a * s * rate, a - a * s * rate], rtol=1e-14)
    one, other = (
        to_numpy(kr.GaussianDropout(r, dtype="float64", seed=1)(x, training=True)) - 1
        for r in (rate, 0.1)
    )
    np.testing.assert_allclose(one / other, np.sqrt(rate / 0.7 / (0.1 / 0.9)), rtol=1e-9)


@pytest.mark.fast_cases(1)
@classes
@pytest.mark.parametrize("policy", ["float16", slow("mixed_bfloat16")])
def test_low_precision(cls, arguments, shape, policy):
    x = normal(shape)
    layer, twin = (cls(rate=0.4, seed=7, dtype=d, **arguments) for d in (policy, "float32"))
    y = layer(x, training=True)
    assert keras.backend.standardize_dtype(y.dtype) == policy.removeprefix("mixed_")
    tolerance = 2e-3 if "bfloat" not in policy else 2e-2
    np.testing.assert_allclose(to_numpy(y), values(twin, x), rtol=tolerance, atol=tolerance)


def model_with(cls, arguments, shape):
    inputs = keras.Input(shape[1:])
    layer = cls(rate=0.3, name="drop", **arguments)
    dropped = layer(inputs)
    assert dropped.shape == (None, *shape[1:]) and layer.built and not layer.weights
    return layer, keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(dropped)))


@pytest.mark.fast_cases(1)
@classes
def test_in_a_model_from_a_file(cls, arguments, shape, tmp_path):
    layer, model = model_with(cls, arguments, shape)
    x = normal((20, *shape[1:]))
    values(layer, x)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    twin = loaded.get_layer("drop")
    assert type(twin) is cls and twin.get_config() == layer.get_config()
    np.testing.assert_array_equal(to_numpy(loaded(x)), to_numpy(model(x)))
    # It goes on with the mask that would have come next.
    np.testing.assert_array_equal(values(twin, x), values(layer, x))
    assert type(keras.models.clone_model(model).get_layer("drop")) is cls


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("cls", "arguments", "shape"),
    [FAMILY[0], *(slow(*member) for member in FAMILY[1:])],
    ids=lambda v: getattr(v, "__name__", None),
)
@pytest.mark.parametrize("jit_compile", JIT_COMPILE)
def test_fit(cls, arguments, shape, jit_compile):
    _, model = model_with(cls, arguments, shape)
    model.compile("sgd", "mse", jit_compile=jit_compile)
    x = normal((20, *shape[1:]))
    y = x.reshape(20, -1)[:, :1] / 10
    # Compiled with batches of one size, as each size is compiled anew.
    batch_size = 10 if jit_compile else 8
    history = model.fit(x, y, batch_size, epochs=1, verbose=0, shuffle=False).history
    assert np.all(np.isfinite(history["loss"]))


@pytest.mark.fast_cases(2)
@members
def test_masks_of_steps_pass_through(cls, arguments, shape):
    layer = cls(rate=0.3, **arguments)
    assert layer.supports_masking
    assert layer.compute_output_shape(shape) == shape
    x = keras.ops.convert_to_tensor(normal(shape))
    x._keras_mask = keras.ops.ones(shape[:2], dtype="bool") if BACKEND != "jax" else None
    if BACKEND != "jax":
        assert getattr(layer(x, training=True), "_keras_mask", None) is not None


@pytest.mark.fast_cases(13)
@members
@pytest.mark.parametrize("rate", [-0.1, 1.1, np.nan, True, "0.5", None], ids=repr)
def test_bad_rate(cls, arguments, shape, rate):
    with pytest.raises(ValueError, match="`rate`.*between 0 and 1.*Received: rate="):
        cls(rate=rate, **arguments)
    layer = cls(rate=0.3, **arguments)
    with pytest.raises(ValueError, match="`rate`"):
        layer.rate = rate
    assert layer.rate == 0.3


@pytest.mark.parametrize("cls", [kr.GaussianDropout, kr.AlphaDropout])
def test_a_rate_of_one_that_has_no_meaning(cls):
    for rate in (1.0, 1 - 1e-12):
        with pytest.raises(ValueError, match="`rate`.*below 1"):
            cls(rate)
    assert np.all(np.isfinite(values(cls(1 - 2**-30), np.ones((3, 4), "float32"))))


@members
@pytest.mark.parametrize("dtype", ["int32", "bool"])
def test_inputs_that_are_no_floats(cls, arguments, shape, dtype):
    layer = cls(rate=0.3, name="drop", **arguments)
    with pytest.raises(ValueError, match="`inputs` of layer 'drop'.*a tensor of floats.*Received"):
        layer(np.ones(shape, dtype), training=True)


@pytest.mark.parametrize("cls", [kr.SpatialDropout2D, kr.SpatialDropout3D])
def test_bad_data_format(cls):
    with pytest.raises(ValueError, match="`data_format`.*'channels_last', 'channels_first'"):
        cls(0.5, data_format="channels_middle")


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize(
    ("layer", "axes"),
    [
        (kr.SpatialDropout1D(0.4), (1,)),
        (kr.SpatialDropout2D(0.4), (1, 2)),
        (kr.SpatialDropout2D(0.4, data_format="channels_first"), (2, 3)),
        (kr.SpatialDropout3D(0.4), (1, 2, 3)),
        (kr.SpatialDropout3D(0.4, data_format="channels_first"), (2, 3, 4)),
        (kr.DropPath(0.4), (1, 2, 3)),
    ],
    ids=lambda v: v.name if hasattr(v, "name") else None,
)
def test_one_mask_along_axes(layer, axes):
    rank = 2 + len(axes) if "spatial" in layer.name else 4
    y = values(layer, np.ones([30 if axis not in axes else 3 for axis in range(rank)], "float32"))
    np.testing.assert_array_equal(y, np.broadcast_to(y.mean(axes, keepdims=True), y.shape))
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.6], rtol=1e-6)
    kept = y.mean(axes) > 0
    assert abs(kept.mean() - 0.6) < 4 * np.sqrt(0.24 / kept.size)


def test_drop_path_without_scaling_keeps_the_values():
    x = normal((200, 5, 3))
    y = values(kr.DropPath(0.4, scale_by_keep=False), x)
    kept = np.any(y != 0, axis=(1, 2))
    np.testing.assert_array_equal(y[kept], x[kept])
    assert 0 < kept.mean() < 1


def test_the_moments_of_gaussian_noise():
    for rate in (0.1, 0.5, 0.9):
        y = values(kr.GaussianDropout(rate, seed=1), np.ones((1000, 1000), "float32"))
        deviation = np.sqrt(rate / (1 - rate))
        assert abs(y.mean() - 1) < 4 * deviation / 1000
        assert abs(y.std() / deviation - 1) < 4 / np.sqrt(2e6)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9])
def test_alpha_dropout_keeps_mean_and_variance(rate):
    y = values(kr.AlphaDropout(rate, seed=1), normal((1000, 1000)))
    kurtosis = np.mean((y - y.mean()) ** 4) / y.var() ** 2
    assert abs(y.mean()) < 4 / 1000
    assert abs(y.var() - 1) < 4 * np.sqrt((kurtosis - 1) / 1e6)
    # The dropped ones have one value, that of Keras's layer.
    share = np.mean(y == np.unique(y)[np.argmax(np.unique(y, return_counts=True)[1])])
    assert abs(share - rate) < 4 * np.sqrt(rate * (1 - rate) / 1e6)
    theirs = values(keras.layers.AlphaDropout(rate, seed=1), np.zeros((100, 100), "float32"))
    ours = values(kr.AlphaDropout(rate, seed=1), np.zeros((100, 100), "float32"))
    np.testing.assert_allclose(np.unique(ours), np.unique(theirs), rtol=1e-5)


@pytest.mark.parametrize(
    ("rate", "block", "height", "width"),
    [
        slow(0.1, 7, 28, 28),
        (0.3, (3, 5), 12, 9),
        slow(0.5, (6, 1), 6, 40),
        slow(0.25, (9, 13), 9, 13),
        slow(0.9, 3, 10, 20),
        (0.02, 1, 10, 20),
    ],
)
def test_drop_block(rate, block, height, width):
    layer = kr.DropBlock2D(rate, block, seed=1)
    tall, wide = layer.block_size
    y = values(layer, np.ones((400, height, width, 5), "float32"))
    np.testing.assert_allclose(y.mean(), 1, rtol=1e-5)  # divided by the kept fraction
    kept = y > 0
    share = (~kept).mean((1, 2))  # in each map, all of which are independent
    assert abs(share.mean() - rate) < 4 * share.std() / np.sqrt(share.size)
    # Each dropped position lies in a block that is dropped as a whole, and fits into the map.
    windows = np.lib.stride_tricks.sliding_window_view(~kept, (tall, wide), (1, 2))
    whole = windows.all((-2, -1))
    covered = np.zeros_like(kept)
    for i in range(tall):
        for j in range(wide):
            covered[:, i : i + whole.shape[1], j : j + whole.shape[2]] |= whole
    np.testing.assert_array_equal(covered, ~kept)


@pytest.mark.slow
def test_drop_block_at_rate_one():
    layer = kr.DropBlock2D(1.0, 1, seed=3)
    for _ in range(3):  # 24 million draws, of which none may come out as 1
        np.testing.assert_array_equal(values(layer, np.ones((8, 250, 250, 16), "float32")), 0)


@pytest.mark.slow
def test_drop_block_for_maps_of_unknown_size():
    inputs = keras.Input((None, None, 2))
    model = keras.Model(inputs, kr.DropBlock2D(0.3, (2, 3))(inputs))
    for shape in ((2, 8, 9, 2), (2, 5, 3, 2)):
        assert model(np.ones(shape, "float32"), training=True).shape == shape


@pytest.mark.parametrize("block", [0, -1, 1.5, (2, 0), (1, 2, 3), "3", None, True], ids=repr)
def test_bad_block_size(block):
    with pytest.raises(ValueError, match="`block_size`.*positive integer or a pair"):
        kr.DropBlock2D(0.1, block)


def test_a_block_larger_than_the_map():
    layer = kr.DropBlock2D(0.1, (3, 6), name="block")
    with pytest.raises(ValueError, match=r"`block_size` of layer 'block'.*\(6, 5\)"):
        layer(keras.Input((6, 5, 2)))
    with pytest.raises(ValueError, match="`block_size`"):
        layer(np.ones((1, 6, 5, 2), "float32"), training=True)


@pytest.mark.fast_cases(1)
@pytest.mark.skipif(BACKEND != "tensorflow", reason="elsewhere the sizes are known when it runs")
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_blocks_that_do_not_fit_into_maps_of_unknown_size(size):
    import tensorflow as tf

    layer = kr.DropBlock2D(0.3, 3, name="blocks")
    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, layer(inputs))
    step = tf.function(
        lambda x: model(x, training=True), input_signature=[tf.TensorSpec((None, None, None, 1))]
    )
    x = tf.ones((4, size, size, 1))
    if size >= 3:
        assert np.all(np.isfinite(to_numpy(step(x))))
    else:
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="`block_size` of layer .*blocks.*Expected at most"
        ):
            step(x)
    # XLA cannot raise: what it computes can be taken for no map.
    y = to_numpy(tf.function(step.python_function, step.input_signature, jit_compile=True)(x))
    assert np.all(np.isfinite(y) == (size >= 3))
