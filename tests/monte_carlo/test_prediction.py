"""Monte-Carlo dropout: what it estimates, what it drops, and that it leaves the model alone."""

import warnings

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, JIT_COMPILE
from helpers.marks import first_is_fast, slow

import kerasreg as kr
from kerasreg._keras_internals import all_layers

RNG = np.random.default_rng(0)
X = RNG.normal(size=(11, 6)).astype("float32")
IMAGES = RNG.normal(size=(5, 8, 8, 4)).astype("float32")
SEQUENCES = RNG.normal(size=(7, 5, 4)).astype("float32")


def mc(model, x=X, n_samples=5, **kwargs):
    return kr.mc_predict(model, x, n_samples, **{"seed": 1, "verbose": 0, **kwargs})


def samples(model, x=X, n_samples=5, **kwargs):
    return mc(model, x, n_samples, return_samples=True, **kwargs).samples


def linear(dropout, **kwargs):
    dense = keras.layers.Dense(3, use_bias=False)
    return keras.Sequential([keras.Input((6,)), dropout, dense], **kwargs)


def deep():
    inputs = keras.Input((6,))
    x = keras.layers.Dense(8, activation="relu")(inputs)
    x = kr.Dropout(0.4)(keras.layers.BatchNormalization()(x))
    x = keras.layers.Dropout(0.3)(keras.layers.Dense(8)(x))
    return keras.Model(inputs, keras.layers.Dense(1)(x))


def assert_varies(model, x=X, **kwargs):
    """The passes differ, by more than rounding errors; frozen masks of few units may coincide."""
    drawn = samples(model, x, n_samples=12, **kwargs)
    different = len(np.unique(drawn.reshape(12, -1).round(4), axis=0))
    assert different > 1 if kwargs.get("frozen_masks") else different == 12
    return drawn


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("layer", "jit_compile"),
    [(kr.Dropout, jit) for jit in (*JIT_COMPILE, None)]
    # Which JIT_COMPILE leaves out there: the passes are as little compiled as the model.
    + ([slow(kr.Dropout, False)] if BACKEND == "jax" else [])
    + [
        (layer, None) if jit is None else slow(layer, jit)
        for layer in (keras.layers.Dropout, keras.layers.GaussianDropout)
        for jit in (*JIT_COMPILE, None)
    ],
)
def test_a_linear_model_has_the_moments_of_the_formula(layer, jit_compile):
    rate, n_samples = 0.3, 1000
    model = linear(layer(rate))
    if jit_compile is not None:
        model.compile("sgd", "mse", jit_compile=jit_compile)
    (w,) = model.get_weights()
    mean, std = mc(model, n_samples=n_samples, batch_size=4)
    expected = np.sqrt(rate / (1 - rate) * X**2 @ w**2)
    assert mean.shape == std.shape == (11, 3)
    # 4.5 standard errors, of 33 numbers each; the kurtosis of the samples is at most 3.
    assert np.all(np.abs(mean - X @ w) < 4.5 * expected / np.sqrt(n_samples))
    assert np.all(np.abs(std / expected - 1) < 4.5 / np.sqrt(2 * n_samples))


@pytest.mark.slow
@pytest.mark.parametrize("frozen_masks", [False, slow(True)])
def test_moments_are_those_of_the_samples(frozen_masks):
    model = deep()
    mean, std, drawn = mc(model, frozen_masks=frozen_masks, return_samples=True, batch_size=4)
    assert drawn.shape == (5, 11, 1)
    np.testing.assert_allclose(mean, drawn.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(std, drawn.std(axis=0), atol=1e-5)
    alone = mc(model, frozen_masks=frozen_masks, batch_size=4)
    np.testing.assert_allclose(alone.mean, mean, atol=1e-6)
    np.testing.assert_allclose(alone.std, std, atol=1e-6)


def test_batch_normalization_uses_its_moving_statistics():
    norm = keras.layers.BatchNormalization(epsilon=0.0, momentum=0.5)
    model = keras.Sequential([keras.Input((6,)), norm, kr.Dropout(0.5, scaling="inference")])
    model.set_weights([np.full(6, value, "float32") for value in (2, 3, 5, 4)])
    drawn = samples(model, 100 + X)
    kept = drawn != 0
    expected = np.broadcast_to((100 + X - 5) / 2 * 2 + 3, drawn.shape)
    np.testing.assert_allclose(drawn[kept], expected[kept], rtol=1e-5)
    assert 0 < kept.mean() < 1
    np.testing.assert_array_equal(model.get_weights()[2], 5)


def attributes_of(model):
    """The identities of all attributes but one, which says that the model has been called."""
    layers = all_layers(model)
    return [{k: id(v) for k, v in vars(a).items() if k != "_called"} for a in layers]


def trained(with_mc):
    keras.utils.set_random_seed(3)
    model = deep()
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse")
    y = X[:, :1]
    for _ in range(2):
        model.fit(X, y, batch_size=4, epochs=1, verbose=0)
        if with_mc:
            before = [keras.ops.convert_to_numpy(v) for v in model.variables]
            attributes = attributes_of(model)
            mc(model, frozen_masks=True, return_samples=True)
            mc(model, batch_size=3)
            for old, v in zip(before, model.variables, strict=True):
                np.testing.assert_array_equal(old, keras.ops.convert_to_numpy(v))
            assert attributes == attributes_of(model)
    return keras.ops.convert_to_numpy(model(X))


@pytest.mark.slow
def test_the_model_stays_as_it_is_and_trains_on_as_if_nothing_was():
    np.testing.assert_array_equal(trained(with_mc=False), trained(with_mc=True))


@pytest.mark.slow
def test_an_uncompiled_model_stays_as_it_is_also_after_an_error():
    model = deep()
    attributes = attributes_of(model)
    weights = model.get_weights()
    with pytest.raises(ValueError, match="incompatible"):
        mc(model, np.ones((3, 7), "float32"))
    mc(model)
    assert attributes == attributes_of(model)
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.slow
def test_it_sees_the_present_weights_and_rates():
    model = linear(kr.Dropout(0.5))
    first = mc(model)
    model.set_weights([2 * w for w in model.get_weights()])
    np.testing.assert_allclose(mc(model).mean, 2 * first.mean, rtol=1e-5)
    for layer in (kr.Dropout(0.5), keras.layers.Dropout(0.5)):
        model = linear(layer)
        before = mc(model, n_samples=200).std
        layer.rate = 0.1
        ratio = mc(model, n_samples=200).std / before
        np.testing.assert_allclose(ratio.mean(), 1 / 3, rtol=0.1)


@pytest.mark.slow
def test_seeds():
    model = deep()
    first, again, other = (samples(model, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.all(first != other)


@pytest.mark.slow
def test_no_seed_is_that_of_keras():
    model, drawn = deep(), []
    for _ in range(2):
        keras.utils.set_random_seed(5)
        drawn += [samples(model, seed=None), samples(model, seed=None)]
    np.testing.assert_array_equal(drawn[:2], drawn[2:])
    assert np.any(drawn[0] != drawn[1])


FREEZABLE = [
    (kr.Dropout(0.5), X),
    (kr.Dropout(0.5, scaling="inference"), X),
    (kr.GaussianDropout(0.5), X),
    (kr.AlphaDropout(0.5), X),
    (kr.DropPath(0.5), X),
    (kr.SpatialDropout1D(0.5), SEQUENCES),
    (kr.SpatialDropout2D(0.5), IMAGES),
    (kr.DropBlock2D(0.5, 2), IMAGES),
    (kr.DropConnect(keras.layers.Dense(4, use_bias=False), 0.5), X),
    (kr.DropConnect(keras.layers.Dense(4, use_bias=False), 0.5, per_sample=True), X),
    (keras.layers.Dropout(0.5), X),
    (keras.layers.Dropout(0.5, noise_shape=(None, 1, None)), SEQUENCES),
    (keras.layers.SpatialDropout1D(0.5), SEQUENCES),
    (keras.layers.SpatialDropout2D(0.5), IMAGES),
    (keras.layers.SpatialDropout3D(0.5, data_format="channels_first"), IMAGES[..., None]),
    (keras.layers.GaussianDropout(0.5), X),
    (keras.layers.AlphaDropout(0.5), X),
]


def of_keras(layer):
    return not type(layer).__module__.startswith("kerasreg")


def freezable():
    """The layers of kerasreg, and those of Keras as slow ones but for its dropout."""
    cases = []
    for layer, x in FREEZABLE:
        name = f"{'keras' if of_keras(layer) else 'kerasreg'}-{layer.name}"
        rare = layer.name not in ("dropout", "drop_block2d", "drop_connect")
        cases.append((slow if rare else pytest.param)(layer, x, id=name))
    return cases


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(("layer", "x"), list(freezable()))
def test_frozen_masks_make_each_pass_one_function_of_the_input(layer, x):
    """An affine one: `f(a) + f(b) = f(a + b) + f(0)`, whatever row and batch they are in."""
    layer = layer.from_config({**layer.get_config(), "seed": 3})
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    a, b = x[:-1], x[1:]
    stacked = np.concatenate([a, b, a + b, 0 * a])
    attributes = attributes_of(model)
    drawn = assert_varies(model, stacked, frozen_masks=True, batch_size=4)
    assert attributes == attributes_of(model)
    of_a, of_b, of_sum, of_zero = np.split(drawn, 4, axis=1)
    np.testing.assert_allclose(of_a + of_b, of_sum + of_zero, rtol=1e-4, atol=1e-4)
    whole = samples(model, stacked, n_samples=12, frozen_masks=True, batch_size=100)
    np.testing.assert_allclose(whole, drawn, rtol=1e-4, atol=1e-5)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("layer", [kr.AlphaDropout, keras.layers.AlphaDropout])
def test_frozen_masks_give_the_values_of_the_others(layer):
    model = keras.Sequential([keras.Input((50,)), layer(0.5)])
    x = np.full((2, 50), 2, "float32")
    free, frozen = (np.unique(samples(model, x, frozen_masks=f).round(4)) for f in (False, True))
    assert len(free) == 2
    np.testing.assert_array_equal(frozen, free)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("layer", [kr.Dropout, keras.layers.Dropout])
@pytest.mark.parametrize("seed", [None, 4])
def test_otherwise_all_rows_batches_and_passes_have_their_own_masks(layer, seed):
    model = keras.Sequential([keras.Input((40,)), layer(0.5, seed=seed), layer(0.5, seed=seed)])
    drawn = samples(model, np.ones((6, 40), "float32"), batch_size=2).reshape(30, 40)
    assert len(np.unique(drawn, axis=0)) == 30


def test_layers_of_a_pass_have_their_own_masks():
    inputs = keras.Input((40,))
    both = [kr.Dropout(0.5, seed=4)(inputs), kr.Dropout(0.5, seed=4)(inputs)]
    a, b = samples(keras.Model(inputs, both), np.ones((6, 40), "float32"))
    assert np.any(a != b)


RECURRENT = [
    keras.layers.LSTM(3, dropout=0.5),
    keras.layers.LSTM(3, recurrent_dropout=0.5),
    keras.layers.GRU(3, dropout=0.5, recurrent_dropout=0.2),
    keras.layers.SimpleRNN(3, dropout=0.5),
    keras.layers.Bidirectional(keras.layers.GRU(3, dropout=0.5)),
    keras.layers.RNN([keras.layers.LSTMCell(3, dropout=0.5), keras.layers.GRUCell(3)]),
]


@pytest.mark.parametrize("layer", first_is_fast(RECURRENT), ids=lambda layer: layer.name)
def test_dropout_inside_recurrent_layers(layer):
    model = keras.Sequential([keras.Input((5, 4)), layer])
    drawn = assert_varies(model, SEQUENCES)
    if BACKEND == "torch":  # there Keras's layers have another way to be seeded
        np.testing.assert_array_equal(samples(model, SEQUENCES, n_samples=12), drawn)
    with pytest.raises(ValueError, match="`frozen_masks` on layer '.*'. Expected False"):
        mc(model, SEQUENCES, frozen_masks=True)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.MultiHeadAttention(2, 3, dropout=0.5),
        slow(keras.layers.GroupQueryAttention(2, 4, 2, dropout=0.5)),
        slow(keras.layers.Attention(dropout=0.5)),
        slow(keras.layers.AdditiveAttention(dropout=0.5)),
    ],
    ids=lambda layer: layer.name,
)
def test_dropout_inside_attention(layer):
    inputs = keras.Input((5, 4))
    is_plain = isinstance(layer, keras.layers.Attention)
    outputs = layer([inputs, inputs]) if is_plain else layer(inputs, inputs)
    model = keras.Model(inputs, outputs)
    assert_varies(model, SEQUENCES)
    if is_plain:
        with pytest.raises(ValueError, match=f"on layer '{layer.name}'"):
            mc(model, SEQUENCES, frozen_masks=True)
    else:
        twice = np.concatenate([SEQUENCES, SEQUENCES])
        a, b = np.split(samples(model, twice, frozen_masks=True, batch_size=7), 2, axis=1)
        np.testing.assert_allclose(a, b, atol=1e-5)


class Subclassed(keras.Model):
    def __init__(self, dropout):
        super().__init__()
        self.dense, self.dropout = keras.layers.Dense(3), dropout

    def call(self, x, training=None):
        return self.dropout(self.dense(x), training=training)


class AlwaysOn(keras.layers.Dropout):
    def call(self, inputs):
        return super().call(inputs, training=True)


def hard_coded(training):
    inputs = keras.Input((6,))
    return keras.Model(inputs, kr.Dropout(0.5)(keras.layers.Dense(3)(inputs), training=training))


def nested():
    return keras.Sequential([keras.Input((6,)), linear(keras.layers.Dropout(0.5)), deep_of(3)])


def deep_of(size):
    return keras.Sequential([keras.Input((size,)), keras.layers.Dense(2), kr.Dropout(0.5)])


MODELS = {
    "nested": nested,
    "subclassed": lambda: Subclassed(kr.Dropout(0.5)),
    "subclassed Keras": lambda: Subclassed(keras.layers.Dropout(0.5)),
    "training=True": lambda: hard_coded(True),
    "training=False": lambda: hard_coded(False),
    "always on": lambda: linear(AlwaysOn(0.5)),
    "time distributed": lambda: keras.Sequential(
        [keras.Input((6,)), keras.layers.Reshape((3, 2)), keras.layers.TimeDistributed(deep_of(2))]
    ),
}


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("frozen_masks", [False, slow(True)])
@pytest.mark.parametrize("name", MODELS)
def test_kinds_of_models(name, frozen_masks):
    model = MODELS[name]()
    model(X)
    assert_varies(model, frozen_masks=frozen_masks)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("mixed", [False, True])
def test_a_loaded_model_predicts_the_same(tmp_path, mixed):
    keras.config.set_dtype_policy("mixed_bfloat16" if mixed else "float32")
    model = deep()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    first, again = mc(model, return_samples=True), mc(loaded, return_samples=True)
    np.testing.assert_array_equal(first.std, again.std)
    assert first.std.dtype == "float32" and np.all(first.std > 0)


@pytest.mark.slow
def test_structures_of_inputs_and_outputs():
    inputs = {"a": keras.Input((6,), name="a"), "b": keras.Input((6,), name="b")}
    x = kr.Dropout(0.5)(keras.layers.Add()([inputs["b"], inputs["b"], inputs["a"]]))
    model = keras.Model(inputs, {"sum": x, "parts": [keras.layers.Dense(2)(x), x]})
    prediction = mc(model, {"a": X, "b": 0 * X}, batch_size=4, return_samples=True)
    assert set(prediction.mean) == {"sum", "parts"}
    shapes = keras.tree.map_structure(lambda y: y.shape, prediction.samples["parts"])
    assert keras.tree.flatten(shapes) == [5, 11, 2, 5, 11, 6]
    assert prediction.std["parts"][0].shape == (11, 2)
    drawn = prediction.samples["sum"]
    np.testing.assert_allclose(drawn[drawn != 0], np.broadcast_to(2 * X, (5, 11, 6))[drawn != 0])
    np.testing.assert_array_equal(drawn, prediction.samples["parts"][1])


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, i):
        return (X[4 * i : 4 * i + 4],)


@pytest.mark.slow
def test_data_that_comes_in_batches():
    model = deep()
    expected = mc(model, batch_size=4)
    generator = ((X[i : i + 4],) for i in (0, 4, 8))
    sources = [Batches(), generator]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        sources.append(tf.data.Dataset.from_tensor_slices((X, X)).batch(4))
    for source in sources:
        with warnings.catch_warnings():
            # Keras's own, on any generator that ends.
            warnings.filterwarnings("ignore", "Your input ran out of data")
            np.testing.assert_allclose(mc(model, source).std, expected.std, rtol=1e-4)


class Counting(keras.layers.Layer):
    calls = 0

    def call(self, x):
        Counting.calls += 1
        return x


@pytest.mark.slow
def test_one_compiled_call_for_a_batch():
    model = keras.Sequential([keras.Input((6,)), kr.Dropout(0.5), Counting()])
    calls = []
    for n_samples, rows in [(5, 4), (50, 4), (50, 11)]:
        Counting.calls = 0
        mc(model, np.ones((rows, 6), "float32"), n_samples=n_samples, batch_size=4)
        calls.append(Counting.calls)
    if BACKEND == "torch":
        assert calls == [5, 50, 150]
    else:  # traces: of the first pass and of the loop, for a batch and for a smaller one
        assert calls[0] == calls[1] <= 4 and calls[2] == 2 * calls[0]


@pytest.mark.slow
def test_progress_bar(capsys):
    model = deep()
    mc(model, verbose=1, batch_size=4)
    assert "3/3" in capsys.readouterr().out
    mc(model, verbose=0)
    assert capsys.readouterr().out == ""


@pytest.mark.skipif(BACKEND != "jax", reason="JAX alone has tracers")
def test_no_tracer_leaks():
    import jax

    model = keras.Sequential(
        [keras.Input((5, 4)), keras.layers.LSTM(3, dropout=0.5), kr.AlphaDropout(0.5)]
    )
    with jax.checking_leaks():
        mc(model, SEQUENCES, return_samples=True)
    model.compile("sgd", "mse")
    model.fit(SEQUENCES, SEQUENCES[:, 0, :3], verbose=0)


@pytest.mark.parametrize("rate", [0, 0.0])
@pytest.mark.parametrize("layer", [kr.Dropout, keras.layers.Dropout])
def test_a_model_without_dropout(layer, rate):
    with pytest.raises(ValueError, match="`model`. Expected a model with a dropout whose rate"):
        mc(linear(layer(rate)))


@pytest.mark.parametrize(
    ("argument", "values"),
    {
        "n_samples": [1, 0, -1, 2.0, True, None, "5"],
        "batch_size": [0, -1, 2.0, True, None],
        "frozen_masks": [1, None],
        "return_samples": [0, "yes"],
        "seed": [1.5, "a", True],
        "verbose": ["none", 3, None, True],
        "model": [None, keras.layers.Dropout(0.5), keras.Sequential([keras.layers.Dropout(0.5)])],
    }.items(),
    ids=str,
)
def test_bad_arguments(argument, values):
    model = linear(kr.Dropout(0.5))
    for value in values:
        arguments = {"model": model, "x": X, argument: value}
        with pytest.raises(ValueError, match=f"Invalid value for argument `{argument}`. Expected"):
            kr.mc_predict(**arguments)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("layer", [kr.Dropout, keras.layers.Dropout])
def test_a_mask_for_a_batch_of_one_size_cannot_be_frozen(layer):
    model = linear(layer(0.5, noise_shape=(4, 1), name="drop"))
    with pytest.raises(ValueError, match="`frozen_masks` on layer 'drop'"):
        mc(model, X[:4], frozen_masks=True)
    assert mc(model, X[:4]).std.shape == (4, 3)
