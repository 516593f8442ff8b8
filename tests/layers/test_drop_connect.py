"""DropConnect: the masked kernel, and that its layer stays what it is."""

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, JIT_COMPILE, in_mode, to_numpy
from helpers.marks import first_is_fast, slow
from helpers.mask_words import numpy_mask
from keras import layers

import kerasreg as kr

# JAX has float64 as an option of the whole process only.
DTYPES = ["mixed_float16", "mixed_bfloat16"] + ["float64"] * (BACKEND != "jax")
SCALINGS = ["training", "inference"]
LAYERS = {
    "dense": (lambda **k: layers.Dense(4, **k), (6, 5)),
    "dense_steps": (lambda **k: layers.Dense(4, **k), (6, 3, 5)),
    "einsum": (
        lambda **k: layers.EinsumDense("abc,cd->abd", (3, 4), bias_axes="d", **k),
        (6, 3, 5),
    ),
    "conv1d": (lambda **k: layers.Conv1D(4, 3, **k), (6, 8, 2)),
    "conv2d": (lambda **k: layers.Conv2D(4, 3, padding="same", **k), (6, 5, 5, 2)),
    "conv3d": (lambda **k: layers.Conv3D(4, 2, **k), (6, 3, 3, 3, 2)),
    "transpose": (lambda **k: layers.Conv1DTranspose(4, 3, strides=2, **k), (6, 4, 2)),
    "depthwise": (lambda **k: layers.DepthwiseConv2D(2, **k), (6, 4, 4, 3)),
}


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def with_kernel(layer, kernel, x):
    """What the layer itself computes from another kernel."""
    old = to_numpy(layer.kernel)
    layer.kernel.assign(kernel)
    y = to_numpy(layer(x))
    layer.kernel.assign(old)
    return y


def gradients(layer, x, dy):
    """Of `sum(layer(x) * dy)` for the trainable weights, and the losses, in training."""
    dy = keras.ops.convert_to_tensor(dy)
    weights = [v.value for v in layer.trainable_variables]
    if BACKEND == "jax":
        import jax

        state = [v.value for v in layer.non_trainable_variables]

        def loss(weights):
            y, _, losses = layer.stateless_call(
                weights, state, x, training=True, return_losses=True
            )
            return keras.ops.sum(y * dy) + sum(losses)

        return [to_numpy(g) for g in jax.jit(jax.grad(loss))(weights)]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            y = keras.ops.sum(layer(x, training=True) * dy) + sum(layer.losses)
        return [to_numpy(g) for g in tape.gradient(y, [v.value for v in layer.trainable_variables])]
    (keras.ops.sum(layer(x, training=True) * dy) + sum(layer.losses)).backward()
    return [to_numpy(v.value.grad) for v in layer.trainable_variables]


def classifier(**arguments):
    out = layers.Dense(2, name="out", **arguments)
    inputs = keras.Input((5,))
    return keras.Model(inputs, kr.DropConnect(out, 0.5, seed=3, name="drop_connect")(inputs))


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("kind", LAYERS)
def test_values(kind, scaling):
    make, shape = LAYERS[kind]
    inner, x = make(bias_initializer="ones", activation="tanh"), normal(*shape)
    layer = kr.DropConnect(inner, 0.3, scaling=scaling, seed=7)
    layer.build(shape)
    kernel = to_numpy(inner.kernel)
    for count in range(2):
        mask = numpy_mask(7, count, kernel.shape, 0.3)
        masked = kernel * mask / (0.7 if scaling == "training" else 1)
        y = to_numpy(layer(x, training=True))
        np.testing.assert_allclose(y, with_kernel(inner, masked, x), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(to_numpy(inner.kernel), kernel)
    expected = kernel if scaling == "training" else 0.7 * kernel
    y = to_numpy(layer(x))
    np.testing.assert_allclose(y, with_kernel(inner, expected, x), rtol=1e-4, atol=1e-5)
    assert tuple(layer.compute_output_shape(shape)) == y.shape


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize("shape", [(6, 5), (6, 3, 5), (6, 3, 2, 5)])
@pytest.mark.parametrize("scaling", SCALINGS)
def test_values_per_sample(scaling, shape):
    layer = kr.DropConnect(layers.Dense(4, "tanh"), 0.3, per_sample=True, scaling=scaling, seed=7)
    x = normal(*shape)
    layer.build(shape)
    layer.layer.bias.assign(np.ones(4))
    y = to_numpy(layer(x, training=True))
    masks = numpy_mask(7, 0, (6, 5, 4), 0.3) / (0.7 if scaling == "training" else 1)
    linear = np.einsum("b...i,bij->b...j", x, to_numpy(layer.layer.kernel) * masks)
    np.testing.assert_allclose(y, np.tanh(linear + 1), rtol=1e-4, atol=1e-5)
    keep = 1 if scaling == "training" else 0.7
    inference = np.tanh(keep * x @ to_numpy(layer.layer.kernel) + 1)
    np.testing.assert_allclose(to_numpy(layer(x)), inference, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("per_sample", [False, True])
def test_expected_training_output_is_the_inference_output(per_sample, scaling):
    layer = kr.DropConnect(layers.Dense(2000), 0.4, per_sample, scaling, seed=1)
    layer.build((None, 4))
    # Each unit another draw of the same mean.
    layer.layer.kernel.assign(np.repeat(normal(4, 1), 2000, 1))
    x = np.tile(normal(1, 4), (20, 1))
    drawn, expected = to_numpy(layer(x, training=True)), to_numpy(layer(x))
    draws = drawn if per_sample else drawn[0]
    assert abs(draws.mean() - expected.mean()) < 4 * draws.std() / np.sqrt(draws.size)
    # Rows of a matrix product may differ in the last digit.
    assert per_sample == (not np.allclose(drawn, drawn[0], rtol=1e-5))


@pytest.mark.parametrize("per_sample", [False, True])
def test_gradient_reaches_the_kept_weights_only(per_sample):
    layer = kr.DropConnect(layers.Dense(4), 0.3, per_sample, seed=7)
    x, dy = normal(6, 5), normal(6, 4)
    layer.build(x.shape)
    kernel, bias = gradients(layer, x, dy)
    mask = numpy_mask(7, 0, (6, 5, 4) if per_sample else (5, 4), 0.3)
    x, dy = x.astype("float64"), dy.astype("float64")
    np.testing.assert_allclose(
        kernel,
        np.einsum("bi,bj,bij->ij", x, dy, mask / 0.7) if per_sample else x.T @ dy * mask / 0.7,
        rtol=1e-4,
        atol=1e-5,
    )
    np.testing.assert_allclose(bias, dy.sum(0), rtol=1e-5)


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("per_sample", [False, True])
def test_the_extreme_rates(per_sample, scaling):
    x = normal(3, 5)
    for rate in (0, 1):
        layer = kr.DropConnect(layers.Dense(4, bias_initializer="ones"), rate, per_sample, scaling)
        y = to_numpy(layer(x, training=True))
        linear = (1 - rate) * x @ to_numpy(layer.layer.kernel)
        np.testing.assert_allclose(y, linear + 1, rtol=1e-4, atol=1e-5)
        kernel = gradients(layer, x, normal(3, 4))[0]
        assert np.all(np.isfinite(kernel)) and bool(np.any(kernel)) == (rate == 0)


def test_fresh_masks_and_a_live_rate():
    layer = kr.DropConnect(layers.Dense(50, use_bias=False), 0.0, seed=1)
    x = normal(2, 20)
    np.testing.assert_array_equal(to_numpy(layer(x, training=True)), to_numpy(layer.layer(x)))
    layer.rate = 0.5
    first, second = (to_numpy(layer(x, training=True)) for _ in range(2))
    assert np.any(first != second)
    masked = to_numpy(layer.layer.kernel) * numpy_mask(1, 0, (20, 50), 0.5) / 0.5
    np.testing.assert_allclose(first, x @ masked, rtol=1e-4, atol=1e-5)


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize("mode", ["training", "inference", slow("fit")])
@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("per_sample", [False, True])
def test_each_regularizer_acts_once_and_on_the_whole_kernel(per_sample, scaling, mode):
    out = layers.Dense(
        2, "tanh", kernel_regularizer=kr.L1(0.1), bias_regularizer=kr.L2(0.2),
        activity_regularizer=kr.L2(0.3), bias_initializer="ones",
    )  # fmt: skip
    layer = kr.DropConnect(out, 0.5, per_sample, scaling)
    model = keras.Sequential([keras.Input((5,)), layer])
    x = normal(6, 5)
    kernel, bias = (to_numpy(v) for v in out.trainable_variables)
    weights = 0.1 * np.abs(kernel).sum() + 0.2 * np.sum(bias**2)
    if mode != "fit":
        y = to_numpy(model(x, training=mode == "training"))
        losses = [to_numpy(loss) for loss in model.losses]
        np.testing.assert_allclose(sum(losses), 0.3 * np.sum(y**2) / 6 + weights, rtol=1e-5)
        return
    layer.rate = 1.0  # the output in training is then known
    y = np.tanh(np.ones((6, 2)))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    loss = model.fit(x, y, batch_size=3, epochs=2, verbose=0).history["loss"]
    np.testing.assert_allclose(loss, 0.3 * np.sum(y**2) / 6 + weights, rtol=1e-5)


def test_the_gradient_of_the_penalty_is_not_masked():
    layer = kr.DropConnect(layers.Dense(4, kernel_regularizer=kr.L2(0.5)), 1.0)
    layer.build((None, 5))
    kernel = to_numpy(layer.layer.kernel)
    np.testing.assert_allclose(gradients(layer, normal(6, 5), normal(6, 4))[0], kernel, rtol=1e-5)


def test_names_constraints_and_patterns():
    model = classifier(kernel_constraint=keras.constraints.NonNeg(), kernel_regularizer=kr.L1(0.1))
    kernel, _ = model.trainable_variables
    assert kernel.path.endswith("drop_connect/out/kernel")
    assert isinstance(kernel.constraint, keras.constraints.NonNeg)
    assert len(model.weights) == 2
    assert list(kr.detach_regularizers(model).values()) == [kr.L1(0.1)]
    assert model.losses == []
    kr.attach_regularizers(model, {".*drop_connect/out/kernel": kr.L2(0.2)})
    assert model.layers[1].layer.kernel_regularizer == kr.L2(0.2) and len(model.losses) == 1
    model.compile("sgd", "mse")
    model.fit(normal(8, 5), normal(8, 2), verbose=0)
    assert np.all(to_numpy(kernel) >= 0)


def test_proximal_and_the_report():
    model = classifier()
    optimizer = kr.Proximal(keras.optimizers.SGD(0.1), {".*out/kernel": kr.L1(100.0)})
    model.compile(optimizer, "mse")
    model.fit(normal(8, 5), normal(8, 2), verbose=0)
    rows = kr.sparsity_report(model)
    assert not np.any(to_numpy(model.trainable_variables[0]))
    assert rows.total.zeros >= 10 and np.any(to_numpy(model.trainable_variables[1]))


def test_frozen_layers():
    layer = kr.DropConnect(layers.Dense(2), 0.5, seed=1)
    layer.trainable = False
    model = keras.Sequential([keras.Input((5,)), layer, layers.Dense(2)])
    before = to_numpy(layer.layer.kernel)
    model.compile("sgd", "mse")
    model.fit(normal(8, 5), normal(8, 2), verbose=0)
    assert len(layer.non_trainable_weights) == 2 and len(model.trainable_weights) == 2
    np.testing.assert_array_equal(to_numpy(layer.layer.kernel), before)


@pytest.mark.parametrize("per_sample", [False, True])
def test_masking_is_that_of_the_layer(per_sample):
    layer = kr.DropConnect(layers.Dense(3), 0.5, per_sample)
    embedded = layers.Embedding(5, 4, mask_zero=True)(np.array([[1, 2, 0]]))
    for training in (True, False):
        mask = layer(embedded, training=training)._keras_mask
        assert to_numpy(mask).tolist() == [[1, 1, 0]]
    inputs = keras.Input((3,))
    outputs = layer(layers.Embedding(5, 4, mask_zero=True)(inputs))
    assert getattr(outputs, "_keras_mask", None) is not None
    assert not kr.DropConnect(layers.Conv1D(3, 2), 0.5).supports_masking


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("per_sample", "scaling"),
    [(True, "training"), (False, "inference")] + [slow(False, "training"), slow(True, "inference")],
)
def test_dtypes(scaling, per_sample, dtype):
    compute = dtype.removeprefix("mixed_")
    layer = kr.DropConnect(layers.Dense(4, dtype=dtype), 0.5, per_sample, scaling, seed=2)
    x = np.random.default_rng(0).normal(size=(6, 5))
    x = x if dtype == "float64" else x.astype("float32")
    model = keras.Sequential([keras.Input((5,), dtype=x.dtype.name), layer])
    assert model.outputs[0].dtype == compute and layer.dtype_policy.name == dtype
    for training in (True, False):
        y = model(x, training=training)
        assert keras.backend.standardize_dtype(y.dtype) == compute
    kernel = to_numpy(layer.layer.kernel)
    mask = numpy_mask(2, 0, (6, 5, 4) if per_sample else (1, 5, 4), 0.5)
    keep = 0.5 if scaling == "training" else 1
    expected = np.einsum("bi,bij->bj", x, np.broadcast_to(kernel * mask / keep, (6, 5, 4)))
    twin = kr.DropConnect.from_config(layer.get_config())
    twin.build((None, 5))
    twin.layer.set_weights(layer.layer.get_weights())
    tolerance = {"float16": 0.01, "bfloat16": 0.1, "float64": 1e-6}[compute]
    np.testing.assert_allclose(to_numpy(twin(x, training=True)), expected, tolerance, tolerance)


def test_a_float32_layer_in_a_mixed_model_computes_in_float32():
    keras.config.set_dtype_policy("mixed_float16")
    layer = kr.DropConnect(layers.Dense(4, dtype="float32"), 0.3, seed=7)
    model = keras.Sequential([keras.Input((5,)), layer])
    x = np.float32(np.float16(normal(6, 5)))
    masked = to_numpy(layer.layer.kernel) * numpy_mask(7, 0, (5, 4), 0.3) / 0.7
    np.testing.assert_allclose(to_numpy(model(x, training=True)), x @ masked, rtol=1e-5, atol=1e-6)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("jit_compile", first_is_fast(JIT_COMPILE))
@pytest.mark.parametrize(
    ("kind", "scaling"),
    [("dense", "training"), ("per_sample", "inference")]
    + [slow("dense", "inference"), slow("per_sample", "training")]
    + [slow(kind, scaling) for kind in ("dense_steps", "conv2d") for scaling in SCALINGS],
)
def test_fit(kind, scaling, jit_compile):
    make, shape = LAYERS["dense" if kind == "per_sample" else kind]
    inputs = keras.Input(shape[1:])
    layer = kr.DropConnect(make(), 0.3, kind == "per_sample", scaling)
    outputs = layer(inputs)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.02), "mse", jit_compile=jit_compile)
    x, kernel = normal(10, *shape[1:]), to_numpy(layer.layer.kernel)
    y = np.zeros((10, *outputs.shape[1:]), "float32")
    # Compiled with batches of one size, as each size is compiled anew.
    losses = model.fit(x, y, 5 if jit_compile else 4, epochs=3, verbose=0).history["loss"]
    assert np.all(np.isfinite(losses)) and np.any(kernel != to_numpy(layer.layer.kernel))
    # Neither a masked kernel nor a tracer is left behind.
    assert isinstance(layer.layer.kernel, keras.Variable)
    np.testing.assert_allclose(model.predict(x, verbose=0), to_numpy(model(x)), rtol=1e-4)


@pytest.mark.parametrize("per_sample", [False, True])
def test_saved_loaded_and_cloned(per_sample, tmp_path):
    inputs = keras.Input((5,))
    out = layers.Dense(3, "relu", kernel_regularizer=kr.L1(0.1), name="out")
    layer = kr.DropConnect(out, 0.3, per_sample, "inference", seed=5, name="mine")
    model = keras.Model(inputs, layer(inputs))
    x = normal(4, 5)
    model(x, training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    twin = kr.DropConnect.from_config(layer.get_config())
    clone = keras.models.clone_model(model)
    for other in (twin, loaded.get_layer("mine"), clone.get_layer("mine")):
        assert {**other.get_config(), "layer": None} == {**layer.get_config(), "layer": None}
        assert other.layer is not out and other.layer.get_config() == out.get_config()
    for training in (False, True):
        y = to_numpy(model(x, training=training))
        np.testing.assert_allclose(to_numpy(loaded(x, training=training)), y, rtol=1e-6)
    for other in (loaded, clone):
        assert [v.path for v in other.weights] == [v.path for v in model.weights]


def test_shared_between_two_calls():
    layer = kr.DropConnect(layers.Dense(5, activity_regularizer=kr.L2(0.1)), 0.5, seed=1)
    inputs = keras.Input((5,))
    first = layer(inputs)
    model = keras.Model(inputs, [first, layer(first)])
    x = normal(6, 5)
    y, z = (to_numpy(a) for a in model(x, training=True))
    kernel = to_numpy(layer.layer.kernel)
    masks = [numpy_mask(1, count, (5, 5), 0.5) / 0.5 for count in range(2)]
    np.testing.assert_allclose(y, x @ (kernel * masks[0]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(z, y @ (kernel * masks[1]), rtol=1e-4, atol=1e-5)
    expected = [0.1 * np.sum(a**2) / 6 for a in (y, z)]
    np.testing.assert_allclose([to_numpy(loss) for loss in model.losses], expected, rtol=1e-4)
    assert len(model.weights) == 2


class Failing(layers.Dense):
    def call(self, inputs, training=None):
        y = super().call(inputs)
        if training:
            raise RuntimeError("on purpose")
        return y


class Counting(layers.Dense):
    def build(self, input_shape):
        super().build(input_shape)
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, inputs):
        self.calls.assign_add(1.0)
        return super().call(inputs)


class Nested(layers.Dense):
    def build(self, input_shape):
        super().build(input_shape)
        self.norm = layers.LayerNormalization()
        self.norm.build((None, self.units))


def test_an_exception_leaves_the_kernel_as_it_was():
    layer = kr.DropConnect(Failing(4), 0.5)
    x = normal(6, 5)
    y, kernel = to_numpy(layer(x)), to_numpy(layer.layer.kernel)
    with pytest.raises(RuntimeError, match="on purpose"):
        layer(x, training=True)
    np.testing.assert_array_equal(to_numpy(layer.layer.kernel), kernel)
    np.testing.assert_array_equal(to_numpy(layer(x)), y)
    layer.layer.kernel.assign(2 * kernel)  # which a scope left open would swallow
    np.testing.assert_array_equal(to_numpy(layer.layer.kernel), 2 * kernel)


def test_other_state_of_the_layer_is_updated():
    layer = kr.DropConnect(Counting(4), 0.5)
    model = keras.Sequential([keras.Input((5,)), layer])
    model.compile("sgd", "mse")
    model.fit(normal(8, 5), normal(8, 4), batch_size=2, verbose=0)
    assert to_numpy(layer.layer.calls) == 4


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("mode", [False, True])
def test_symbolic_calls_leave_the_kernel_as_it_was(mode):
    class Inside(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = kr.DropConnect(layers.Dense(4), 0.5, per_sample=mode)

        def call(self, inputs):
            return self.inner(inputs, training=True)

    layer = Inside()
    model = keras.Model(inputs := keras.Input((5,)), layer(inputs))
    x = normal(6, 5)
    for _ in range(2):
        in_mode("eager" if BACKEND == "torch" else "compiled", model)(x)
    assert model.output_shape == (None, 4)
    assert isinstance(layer.inner.layer.kernel, keras.Variable)
    np.testing.assert_allclose(
        to_numpy(layer.inner(x)), x @ to_numpy(layer.inner.layer.kernel), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: "dense",
        lambda: layers.Embedding(3, 2),
        lambda: layers.SeparableConv1D(3, 2),
        lambda: layers.ConvLSTM1D(3, 2),
        lambda: kr.DropConnect(layers.Dense(2), 0.5),
    ],
)
def test_layers_without_one_kernel(make):
    with pytest.raises(ValueError, match="Invalid value for argument `layer`. .*Dense, EinsumD"):
        kr.DropConnect(make(), 0.5)


@pytest.mark.parametrize(
    "make", [lambda: layers.Conv1D(3, 2, name="c"), lambda: Failing(3, name="c")]
)
def test_per_sample_is_for_dense_only(make):
    with pytest.raises(
        ValueError, match="`per_sample`. Expected False, as layer 'c' is no `Dense`"
    ):
        kr.DropConnect(make(), 0.5, per_sample=True)


@pytest.mark.parametrize("per_sample", [False, True])
def test_lora_is_refused_when_the_kernel_is_masked(per_sample):
    layer = kr.DropConnect(layers.Dense(3), 0.5, per_sample, name="mine")
    y = layer(normal(6, 5))
    layer.layer.enable_lora(2)
    np.testing.assert_allclose(to_numpy(layer(normal(6, 5))), to_numpy(y), rtol=1e-5)
    with pytest.raises(ValueError, match="`layer` of layer 'mine'. Expected a layer without LoRA"):
        layer(normal(6, 5), training=True)


def test_a_quantized_layer_is_for_inference(tmp_path):
    layer = kr.DropConnect(layers.Dense(3, name="out"), 0.5, name="mine")
    model = keras.Sequential([keras.Input((5,)), layer])
    y = to_numpy(model(normal(6, 5)))
    model.quantize("int8", filters="out")
    np.testing.assert_allclose(to_numpy(model(normal(6, 5))), y, atol=0.1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(to_numpy(loaded(normal(6, 5))), y, atol=0.1)
    with pytest.raises(ValueError, match="of layer 'mine'. Expected a layer that is not quantized"):
        loaded(normal(6, 5), training=True)


def test_layers_with_layers_inside_are_refused():
    with pytest.raises(ValueError, match="Expected a layer without other layers inside"):
        kr.DropConnect(Nested(3), 0.5)(normal(6, 5), training=True)


def test_bad_arguments():
    with pytest.raises(ValueError, match="argument `rate`"):
        kr.DropConnect(layers.Dense(3), 1.5)
    with pytest.raises(ValueError, match="argument `per_sample`. Expected a boolean"):
        kr.DropConnect(layers.Dense(3), 0.5, per_sample=1)
    with pytest.raises(ValueError, match="argument `scaling`. Expected one of"):
        kr.DropConnect(layers.Dense(3), 0.5, scaling="train")
    with pytest.raises(ValueError, match="seed"):
        kr.DropConnect(layers.Dense(3), 0.5, seed="a")


@pytest.mark.parametrize("per_sample", [False, True])
def test_an_input_that_does_not_fit(per_sample):
    layer = kr.DropConnect(layers.Dense(3), 0.5, per_sample)
    layer.build((None, 5))
    for x in (normal(2, 4), keras.Input((4,))):
        with pytest.raises(ValueError, match="incompatible with the layer"):
            layer(x, training=True)
