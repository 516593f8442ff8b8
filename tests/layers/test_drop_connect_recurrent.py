"""DropConnect around recurrent layers: one mask of the recurrent kernel for a whole sequence."""

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, JIT_COMPILE, to_numpy
from helpers.marks import first_is_fast, slow
from helpers.mask_words import numpy_mask
from keras import layers, ops

import kerasreg as kr
from kerasreg.layers.masked_kernels import MaskedKernel, masked_kernels

SHAPE = (4, 6, 5)
LAYERS = {
    "lstm": lambda **k: layers.LSTM(3, **k),
    "gru": lambda **k: layers.GRU(3, **k),
    "gru, reset before": lambda **k: layers.GRU(3, reset_after=False, **k),
    "simple": lambda **k: layers.SimpleRNN(3, **k),
    "backwards": lambda **k: layers.LSTM(3, go_backwards=True, **k),
    "unrolled": lambda **k: layers.LSTM(3, unroll=True, **k),
    "cell": lambda **k: layers.RNN(layers.GRUCell(3), **k),
    "stacked": lambda **k: layers.RNN([layers.LSTMCell(3), layers.SimpleRNNCell(2)], **k),
    "both ways": lambda **k: layers.Bidirectional(layers.LSTM(3, **k)),
    "both ways, gru": lambda **k: layers.Bidirectional(layers.GRU(3, **k), merge_mode="sum"),
}


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def kernels_of(layer):
    return [kernel.variable for kernel in masked_kernels(layer)]


def flat(y):
    return [to_numpy(ops.stop_gradient(each)) for each in keras.tree.flatten(y)]


def with_kernels(layer, values, *args, **kwargs):
    """What the layer itself computes from other recurrent kernels."""
    kernels = kernels_of(layer)
    before = [to_numpy(kernel) for kernel in kernels]
    for kernel, value in zip(kernels, values, strict=True):
        kernel.assign(value)
    y = flat(layer(*args, **kwargs))
    for kernel, value in zip(kernels, before, strict=True):
        kernel.assign(value)
    return y


def masked(layer, seed, first, rate=0.3, rescale=True):
    """The recurrent kernels under the masks from number `first` on."""
    keep = 1 - rate if rescale else 1
    return [
        to_numpy(kernel) * numpy_mask(seed, first + i, kernel.shape, rate) / keep
        for i, kernel in enumerate(kernels_of(layer))
    ]


def check(found, expected):
    for ours, theirs in zip(flat(found), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("scaling", ["training", "inference"])
@pytest.mark.parametrize("kind", LAYERS)
def test_values(kind, scaling):
    inner, x = LAYERS[kind](return_sequences=True), normal(*SHAPE)
    layer = kr.DropConnect(inner, 0.3, scaling=scaling, seed=7)
    layer.build(SHAPE)
    kernels = [to_numpy(kernel) for kernel in kernels_of(inner)]
    for call in range(2):
        values = masked(inner, 7, call * len(kernels), rescale=scaling == "training")
        check(layer(x, training=True), with_kernels(inner, values, x))
        for kernel, before in zip(kernels_of(inner), kernels, strict=True):
            np.testing.assert_array_equal(to_numpy(kernel), before)
    keep = 1 if scaling == "training" else 0.7
    y = layer(x)
    check(y, with_kernels(inner, [keep * kernel for kernel in kernels], x))
    assert tuple(layer.compute_output_shape(SHAPE)) == tuple(y.shape)


def test_the_directions_have_masks_of_their_own():
    layer = kr.DropConnect(layers.Bidirectional(layers.LSTM(20)), 0.5, seed=1)
    layer.build(SHAPE)
    forward, backward = masked(layer.layer, 1, 0, rate=0.5)
    assert np.any((forward == 0) != (backward == 0))


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("kind", ["lstm", "both ways"])
def test_states_in_and_out(kind):
    inner, x = LAYERS[kind](return_state=True), normal(*SHAPE)
    layer = kr.DropConnect(inner, 0.3, seed=7)
    layer.build(SHAPE)
    states = [normal(4, 3) for _ in range(2 * len(kernels_of(inner)))]
    y = layer(x, training=True, initial_state=states)
    assert len(y) == 1 + len(states)
    check(y, with_kernels(inner, masked(inner, 7, 0), x, initial_state=states))
    inputs = [keras.Input(SHAPE[1:]), *(keras.Input((3,)) for _ in states)]
    outputs = layer(inputs[0], initial_state=inputs[1:])
    model = keras.Model(inputs, outputs)
    check(model([x, *states]), flat(inner(x, initial_state=states)))


def test_a_layer_without_states_takes_none():
    with pytest.raises(ValueError, match="Invalid value for argument `initial_state`"):
        kr.DropConnect(layers.Dense(3), 0.5)(normal(4, 5), initial_state=normal(4, 3))


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("kind", ["lstm", "simple", "both ways"])
def test_masked_time_steps(kind):
    inner, x = LAYERS[kind](return_sequences=True), normal(*SHAPE)
    layer = kr.DropConnect(inner, 0.3, seed=7)
    mask = np.arange(6) < np.array([6, 2, 4, 1])[:, None]
    layer.build(SHAPE)
    expected = with_kernels(inner, masked(inner, 7, 0), x, mask=ops.convert_to_tensor(mask))
    x[~mask] = 0
    y = layer(layers.Masking()(x), training=True)
    check(y, expected)
    assert to_numpy(y._keras_mask).tolist() == mask.tolist()
    words = keras.Input((6,))
    embedded = layers.Embedding(9, 5, mask_zero=True)(words)
    last = kr.DropConnect(LAYERS[kind](), 0.3)
    model = keras.Model(words, last(embedded))
    numbers = np.where(mask, 3, 0)
    embedded = model.layers[1](numbers)
    check(model(numbers), flat(last.layer(embedded)))
    assert np.any(flat(model(numbers))[0] != flat(model(np.full_like(numbers, 3)))[0])


def test_states_that_are_kept():
    inner, x = layers.LSTM(3, stateful=True), normal(*SHAPE)
    layer = kr.DropConnect(inner, 0.3, seed=7)
    layer.build(SHAPE)
    twin = layers.LSTM(3, return_state=True)
    twin.build(SHAPE)
    twin.set_weights(inner.get_weights())
    states = None
    for call in range(3):
        y = layer(x, training=True)
        expected, *states = with_kernels(twin, masked(inner, 7, call), x, initial_state=states)
        check(y, [expected])
        check([state.value for state in inner.states], states)


def recurrent_gradient(layer, x):
    """The gradient of the recurrent kernel, in training."""
    kernel = layer.layer.cell.recurrent_kernel
    if BACKEND == "jax":
        import jax

        place = [v is kernel for v in layer.trainable_variables].index(True)
        values = [v.value for v in layer.trainable_variables]
        state = [v.value for v in layer.non_trainable_variables]

        def loss(values):
            return ops.sum(layer.stateless_call(values, state, x, training=True)[0])

        return to_numpy(jax.jit(jax.grad(loss))(values)[place])
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            y = ops.sum(layer(x, training=True))
        return to_numpy(tape.gradient(y, kernel.value))
    ops.sum(layer(x, training=True)).backward()
    return to_numpy(kernel.value.grad)


@pytest.mark.parametrize("kind", ["lstm", "simple"])
def test_the_gradient_reaches_the_kept_weights_only(kind):
    layer = kr.DropConnect(LAYERS[kind](), 0.5, seed=3)
    layer.build(SHAPE)
    gradient = recurrent_gradient(layer, ops.convert_to_tensor(normal(*SHAPE)))
    kept = numpy_mask(3, 0, gradient.shape, 0.5) > 0
    np.testing.assert_array_equal(gradient != 0, kept)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("jit_compile", first_is_fast(JIT_COMPILE))
@pytest.mark.parametrize("dtype", ["float32", slow("mixed_bfloat16")])
@pytest.mark.parametrize("kind", ["lstm", "both ways", slow("stacked"), slow("gru")])
def test_fit_save_and_load(kind, dtype, jit_compile, tmp_path):
    keras.config.set_dtype_policy(dtype)
    rnn = LAYERS[kind]()
    inputs = keras.Input(SHAPE[1:])
    hidden = kr.DropConnect(rnn, 0.3, scaling="inference", name="dropped")(inputs)
    model = keras.Model(inputs, layers.Dense(1, dtype="float32")(hidden))
    model.compile("adam", "mse", jit_compile=jit_compile)
    x, before = normal(16, *SHAPE[1:]), [to_numpy(kernel) for kernel in kernels_of(rnn)]
    losses = model.fit(x, normal(16, 1), 8, epochs=2, verbose=0).history["loss"]
    assert np.all(np.isfinite(losses))
    for kernel, old in zip(kernels_of(rnn), before, strict=True):
        assert isinstance(kernel, keras.Variable) and np.any(to_numpy(kernel) != old)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        loaded.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6
    )
    for ours, theirs in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert type(loaded.get_layer("dropped").layer) is type(rnn)


@pytest.mark.slow
def test_its_own_dropout_goes_on():
    layer = kr.DropConnect(layers.LSTM(3, dropout=0.5, recurrent_dropout=0.5, seed=1), 0.3, seed=2)
    model = keras.Sequential([keras.Input(SHAPE[1:]), layer])
    model.compile("sgd", "mse")
    history = model.fit(normal(*SHAPE), normal(4, 3), epochs=2, verbose=0).history
    assert np.all(np.isfinite(history["loss"]))


def test_penalties_see_the_whole_recurrent_kernel():
    rnn = layers.LSTM(3, recurrent_regularizer=kr.L1(0.1))
    layer = kr.DropConnect(rnn, 0.5, seed=1)
    layer(normal(*SHAPE), training=True)
    expected = 0.1 * np.sum(np.abs(to_numpy(rnn.cell.recurrent_kernel)))
    np.testing.assert_allclose(to_numpy(sum(layer.losses)), expected, rtol=1e-5)


@keras.saving.register_keras_serializable("tests")
class OwnCell(layers.Layer):
    state_size = 3

    def call(self, inputs, states):
        return states[0], states


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.ConvLSTM1D(3, 2),
        lambda: layers.RNN(OwnCell()),
        lambda: layers.RNN([layers.LSTMCell(3), OwnCell()]),
        lambda: layers.Bidirectional(layers.RNN(OwnCell())),
        lambda: layers.TimeDistributed(layers.Dense(3)),
    ],
)
def test_other_recurrent_layers_are_refused(make):
    with pytest.raises(ValueError, match="argument `layer`. Expected a layer of one of the types"):
        kr.DropConnect(make(), 0.5)


def test_per_sample_masks_are_refused():
    with pytest.raises(ValueError, match="argument `per_sample`. Expected False"):
        kr.DropConnect(layers.LSTM(3), 0.5, per_sample=True)


class OwnLayer(layers.Layer):
    def build(self, input_shape):
        self.matrix = self.add_weight(shape=(input_shape[-1], 2))

    def call(self, inputs):
        return ops.matmul(inputs, self.matrix)


def test_a_layer_of_ones_own_joins():
    masked_kernels.register(OwnLayer, lambda layer: [MaskedKernel(layer, "matrix")])
    layer, x = kr.DropConnect(OwnLayer(), 0.3, seed=7), normal(4, 5)
    layer.build(x.shape)
    values = masked(layer.layer, 7, 0)
    check(layer(x, training=True), [x @ values[0]])
