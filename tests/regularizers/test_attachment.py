"""Penalties on a model that is there already: as if it had been made with them, or without."""

import re
from contextlib import nullcontext

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, JIT_COMPILE, to_numpy
from helpers.marks import slow
from helpers.models import Subclassed, classifier, data, kitchen_sink
from helpers.references import reference
from keras import layers

import kerasreg as kr
from kerasreg.regularizers.attachment import attach_regularizers, detach_regularizers

# By turns on the weights of a model, and what they come off as.
PENALTIES = [
    (kr.L1(0.01), kr.L1(0.01)),
    (kr.L2(0.02), kr.L2(0.02)),
    (kr.ElasticNet(0.5, 0.03, 0.04), kr.ElasticNet(0.5, 0.03, 0.04)),
    (kr.GroupLasso(0.05), kr.GroupLasso(0.05)),
    (keras.regularizers.L1(0.25), kr.L1(0.25)),
    (keras.regularizers.L2(0.5), kr.L2(0.5)),
    (keras.regularizers.L1L2(0.25, 0.5), kr.ElasticNet(1.0, 0.25, 0.5)),
]


def nested():
    """Models in models, wrappers, cells in cells, and weights of every remaining name."""
    tower = keras.Sequential(
        [layers.Dense(4, name="first"), layers.PReLU(name="slope")], name="tower"
    )
    inside = keras.Input((5, 4))
    y = layers.TimeDistributed(layers.Dense(4, name="dense"), name="each")(inside)
    y = layers.GroupQueryAttention(2, 4, 2, name="grouped")(y, y)
    block = keras.Model(inside, layers.LayerNormalization(name="norm")(y), name="block")
    inputs = keras.Input((5, 4))
    x = block(tower(inputs))
    x = layers.MultiHeadAttention(2, 3, use_bias=False, name="heads")(x, x)
    x = layers.SpectralNormalization(layers.DepthwiseConv1D(2, padding="same", name="deep"))(x)
    x = layers.SeparableConv1D(3, 2, padding="same", name="apart")(x)
    x = layers.GroupNormalization(3, name="groups")(x)
    cells = [layers.LSTMCell(4), layers.LSTMCell(3)]
    x = layers.RNN(cells, return_sequences=True, name="stack")(x)
    x = layers.LSTM(3, return_sequences=True)(layers.LSTM(3, return_sequences=True)(x))
    x = layers.Bidirectional(layers.SimpleRNN(2), name="both")(x)
    return keras.Model(inputs, layers.Dense(3, name="last")(x), name="outer")


def mobile_net():
    return keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=3)


MODELS = {
    "kitchen_sink": kitchen_sink,
    "classifier": lambda: classifier(penalties=False),
    "nested": nested,
}
if BACKEND != "jax":  # which takes half a minute to make one
    MODELS["mobile_net"] = mobile_net


def penalty_map(model):
    """Another penalty on every weight, but on those of an attention layer that saves one."""
    attention = (layers.MultiHeadAttention, layers.GroupQueryAttention)
    parts = [m for m in [model, *model.layers] if isinstance(m, keras.Model)]
    heads = [layer for part in parts for layer in part.layers if isinstance(layer, attention)]
    of_one = {v.path: f"{h.name} {v.name}" for h in heads for v in h.trainable_variables}
    keys = [of_one.get(v.path, v.path) for v in model.trainable_variables]
    kinds = len(PENALTIES) if len(keys) < 100 else 2  # JAX compiles each kind for each shape.
    turn = {key: i % kinds for i, key in enumerate(dict.fromkeys(keys))}
    paths = [re.escape(v.path) for v in model.trainable_variables]
    return {path: PENALTIES[turn[key]] for path, key in zip(paths, keys, strict=True)}


def attached(make):
    model = make()
    penalties = penalty_map(model)
    attach_regularizers(model, {pattern: pair[0] for pattern, pair in penalties.items()})
    return model, [pair for pair in penalties.values()]


def config_of(regularizer):
    return regularizer and (type(regularizer), regularizer.get_config())


each_model = pytest.mark.parametrize(
    "make",
    [
        slow(make, id=name) if name in ("mobile_net", "nested") else pytest.param(make, id=name)
        for name, make in MODELS.items()
    ],
)


def regularizers(model):
    return [config_of(v.regularizer) for v in model.trainable_variables]


def through_a_file(model, tmp_path, compile=False):
    model.save(tmp_path / "model.keras")
    return keras.saving.load_model(tmp_path / "model.keras", compile=compile)


COPIES = {
    "saved and loaded": through_a_file,
    "cloned": lambda model, _: keras.models.clone_model(model),
    "JSON": lambda model, _: keras.models.model_from_json(model.to_json()),
}


@pytest.mark.slow
@each_model
def test_every_weight_of_every_layer(make, tmp_path):
    model = make()
    weights = model.get_weights()
    penalties = penalty_map(model)
    attach_regularizers(model, {pattern: pair[0] for pattern, pair in penalties.items()})
    expected = [config_of(pair[0]) for pair in penalties.values()]
    assert regularizers(model) == expected
    values = [
        reference(pair[1]).value(to_numpy(v.value))
        for v, pair in zip(model.trainable_variables, penalties.values(), strict=True)
    ]
    np.testing.assert_allclose([to_numpy(loss) for loss in model.losses], values, rtol=1e-5)
    # A large model goes through a file, in which it has most to lose.
    copies = dict([*COPIES.items()][: 1 if len(weights) > 100 else None])
    for name, copy in copies.items():
        assert regularizers(copy(model, tmp_path)) == expected, name

    detached = detach_regularizers(model)
    assert set(regularizers(model)) == {None} and model.losses == []
    for name, copy in copies.items():
        assert set(regularizers(copy(model, tmp_path))) == {None}, name
    attach_regularizers(model, detached)
    assert regularizers(model) == [config_of(pair[1]) for pair in penalties.values()]
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("penalty", [kr.L1(0.01), keras.regularizers.L2(0.01)])
@each_model
def test_one_penalty_for_all_kernels(make, penalty):
    model = make()
    attach_regularizers(model, penalty)
    for v in model.trainable_variables:
        others = ("bias", "gamma", "beta", "alpha", "embeddings")
        is_kernel = len(v.shape) > 1 and v.name not in others
        assert v.regularizer is (penalty if is_kernel else None), v.path


@pytest.mark.slow
@each_model
def test_patterns_fit_the_loaded_model(make, tmp_path):
    model, pairs = attached(make)
    loaded = through_a_file(model, tmp_path)
    patterns = detach_regularizers(model)
    detach_regularizers(loaded)
    for fitting in (model, loaded):
        optimizer = kr.Proximal(keras.optimizers.SGD(), patterns)
        optimizer.build(fitting.trainable_variables)
        attach_regularizers(fitting, patterns)
        assert regularizers(fitting) == [config_of(pair[1]) for pair in pairs]


@pytest.mark.slow
def test_detached_penalties_train_in_proximal(tmp_path):
    model, _ = attached(MODELS["classifier"])
    penalties = detach_regularizers(model)
    model.compile(kr.Proximal(keras.optimizers.SGD(0.01), penalties), model.loss)
    x, y = data()
    model.fit(x, y, verbose=0)
    loaded = through_a_file(model, tmp_path, compile=True)  # whose optimizer matches anew
    for trained in (model, loaded):
        assert trained.optimizer.built and trained.losses == []
    before = loaded.get_weights()
    loaded.fit(x, y, verbose=0)
    assert any(np.any(a != b) for a, b in zip(before, loaded.get_weights(), strict=True))


def small(kernel=None, gamma=None, jit_compile=False):
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, "relu", kernel_regularizer=kernel, name="first"),
            layers.BatchNormalization(gamma_regularizer=gamma, name="norm"),
            layers.Dense(3, kernel_regularizer=kernel, name="last"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, jit_compile=jit_compile)
    return model


def train(model, **kwargs):
    x, y = data()
    losses = model.fit(x, y, 20, shuffle=False, verbose=0, **kwargs).history["loss"]
    return [*losses, model.evaluate(x, y, batch_size=20, verbose=0)]


def assert_train_alike(model, expected, **kwargs):
    np.testing.assert_allclose(train(model, **kwargs), train(expected), rtol=1e-6)
    for a, b in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trained", "jit_compile"),
    [
        (True, JIT_COMPILE[0]),
        slow(False, JIT_COMPILE[0]),
        *(slow(True, j) for j in JIT_COMPILE[1:]),
    ],
)
def test_training_is_that_of_a_model_made_with_the_penalties(trained, jit_compile, tmp_path):
    kernel, gamma = kr.L1(0.1), keras.regularizers.L2(0.2)
    model = small(jit_compile=jit_compile)
    logger = kr.RegularizationLogger(tmp_path)
    kept = []  # what was compiled, which JAX finds again as long as something keeps it
    if trained:
        train(model)
        kept += [model.train_function, model.test_function]
    attach_regularizers(model, {".*/kernel": kernel, ".*gamma": gamma})
    expected = small(kernel, gamma, jit_compile)
    expected.set_weights(model.get_weights())
    assert_train_alike(model, expected)
    train(model, callbacks=[logger])
    kept += [model.train_function, model.test_function]
    detach_regularizers(model)
    expected = small(jit_compile=jit_compile)
    expected.set_weights(model.get_weights())
    assert_train_alike(model, expected, callbacks=[logger])


@pytest.mark.slow
def test_a_compiled_model_within_is_compiled_anew():
    inner, (x, y) = small(jit_compile=JIT_COMPILE[-1]), data()
    before = inner.evaluate(x, y, verbose=0)
    attach_regularizers(keras.Sequential([keras.Input((6,)), inner]), {".*gamma": kr.L1(0.5)})
    np.testing.assert_allclose(inner.evaluate(x, y, verbose=0), before + 0.5 * 8, rtol=1e-6)


def test_an_attached_penalty_replaces_the_one_before():
    model = small(kr.L1(0.1))
    attach_regularizers(model, {".*first/kernel": kr.L2(0.1)})
    first, last = (model.get_layer(name) for name in ("first", "last"))
    assert first.kernel_regularizer == first.kernel.regularizer == kr.L2(0.1)
    assert last.kernel_regularizer == last.kernel.regularizer == kr.L1(0.1)
    assert len(model.losses) == 2


def test_nothing_to_attach_or_detach():
    model = small()
    assert detach_regularizers(model) == {}
    attach_regularizers(model, {})
    assert model.losses == []


def test_activity_regularizers_stay():
    model = classifier()
    assert len(detach_regularizers(model)) == 5
    assert model.get_layer("first").activity_regularizer == kr.L1(1e-2)
    model(data()[0])
    assert len(model.losses) == 1


@pytest.mark.slow
def test_detached_from_layers_made_with_penalties(tmp_path):
    inputs = keras.Input((3, 4))
    l2, one = kr.L2(0.1), {"kernel_regularizer": kr.L1(0.1), "bias_regularizer": kr.L2(0.1)}
    x = layers.MultiHeadAttention(2, 3, name="heads", **one)(inputs, inputs)
    x = layers.LSTM(2, recurrent_regularizer=l2, name="lstm", return_sequences=True)(x)
    model = keras.Model(inputs, layers.Bidirectional(layers.GRU(2, bias_regularizer=l2))(x))
    assert len(detach_regularizers(model)) == 11
    for copy in COPIES.values():
        assert set(regularizers(copy(model, tmp_path))) == {None}


def test_frozen_weights_keep_theirs():
    model = small(kr.L1(0.1))
    model.get_layer("first").trainable = False
    assert list(detach_regularizers(model)) == ["(.*/)?last/kernel"]
    assert model.get_layer("first").kernel.regularizer == kr.L1(0.1)
    attach_regularizers(model, kr.L2(0.1))  # acts as soon as the layer is trained again
    assert model.get_layer("first").kernel_regularizer == kr.L2(0.1) and len(model.losses) == 1


def dense(name, strength):
    return layers.Dense(2, kernel_regularizer=strength and kr.L1(strength), name=name)


@keras.saving.register_keras_serializable("kerasreg_tests")
class Holder(layers.Layer):
    """Has a layer that is called like one beside it."""

    def __init__(self, strength, **kwargs):
        super().__init__(**kwargs)
        self.inner = dense("a", strength)

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        return self.inner(x)


def sequential(*made):
    return keras.Sequential([keras.Input((3, 2)), *made], name="m-1")


def gru():
    return layers.GRU(2, recurrent_regularizer=kr.L1(0.1), name="gru")


def cells(*strengths):
    made = enumerate(strengths, start=7)
    return layers.RNN(
        layers.StackedRNNCells(
            [
                layers.LSTMCell(2, kernel_regularizer=kr.L1(s), name=f"lstm_cell_{i}")
                for i, s in made
            ],
            name="cells",
        ),
        name="rnn",
    )


def tower(name, strength):
    return keras.Sequential([keras.Input((3, 2)), dense("a", strength)], name=name)


PATTERNS = {
    "short": ([dense("a", 0.1), dense("b", None)], ["(.*/)?a/kernel"]),
    "escaped": ([dense("a-b", 0.1)], [r"(.*/)?a\-b/kernel"]),
    "cell": ([gru()], [r"(.*/)?gru/gru_cell(_\d+)?/recurrent_kernel"]),
    "cells": ([cells(0.1, 0.2)], [rf"(.*/)?lstm_cell_{i}/kernel" for i in (7, 8)]),
    "inside": ([dense("a", 0.1), Holder(0.1, name="holder")], ["(.*/)?a/kernel"]),
    "one inside": ([dense("a", None), Holder(0.1, name="holder")], ["(.*/)?holder/a/kernel"]),
    "one outside": ([dense("a", 0.1), Holder(None, name="holder")], [r"(m\-1/)?a/kernel"]),
    "equal towers": ([tower("left", 0.1), tower("right", 0.1)], ["(.*/)?a/kernel"]),
    "one tower": ([tower("left", 0.1), tower("right", None)], ["(.*/)?left/a/kernel"]),
}


@pytest.mark.fast_cases(5)
@pytest.mark.parametrize(("made", "expected"), PATTERNS.values(), ids=PATTERNS)
def test_patterns_are_short_and_exact(made, expected):
    model = sequential(*made)
    before = regularizers(model)
    lost = any(isinstance(layer, Holder) and layer.inner.kernel.regularizer for layer in made)
    with pytest.warns(UserWarning, match="holder/a/kernel` again") if lost else nullcontext():
        patterns = detach_regularizers(model)
    assert list(patterns) == expected
    attach_regularizers(model, patterns, allow_unsaved=lost)
    assert regularizers(model) == before


def test_patterns_match_no_frozen_weight_that_may_be_trained_later():
    model = sequential(tower("left", 0.1), tower("right", None))
    model.get_layer("right").trainable = False
    assert list(detach_regularizers(model)) == ["(.*/)?left/a/kernel"]


@pytest.mark.slow
def test_weights_of_one_path_with_one_penalty():
    model = Subclassed()
    x = np.ones((2, 5), "float32")
    model(x)
    attach_regularizers(model, {".*same/kernel": kr.L1(0.5)}, allow_unsaved=True)
    assert [v.regularizer for v in model.weights if "same/kernel" in v.path] == [kr.L1(0.5)] * 2
    with pytest.warns(UserWarning, match="again, as its code makes them"):
        penalties = detach_regularizers(model)
    assert penalties == {"(.*/)?same/kernel": kr.L1(0.5)}
    model.compile(kr.Proximal(keras.optimizers.Adam(), penalties), "mse")
    model.fit(x, np.ones((2, 3), "float32"), verbose=0)


@keras.saving.register_keras_serializable("kerasreg_tests")
class Tied(layers.Layer):
    """Multiplies with the matrix of another layer, which stands beside it in the model."""

    def __init__(self, embedding, **kwargs):
        super().__init__(**kwargs)
        self.embedding = embedding

    def call(self, x):
        return keras.ops.matmul(x, keras.ops.transpose(self.embedding.embeddings))


def test_weights_that_two_layers_share():
    embedding = layers.Embedding(5, 4, name="words")
    model = keras.Sequential([keras.Input((3,)), embedding, Tied(embedding)])
    attach_regularizers(model, {".*embeddings": kr.L1(0.5)})
    assert embedding.get_config()["embeddings_regularizer"]["config"] == {"l1": 0.5}
    assert len(model.losses) == 1
    assert detach_regularizers(model) == {"(.*/)?words/embeddings": kr.L1(0.5)}
    assert embedding.embeddings_regularizer is None


class Custom(layers.Layer):
    """Has a weight with a penalty, which no attribute has."""

    def __init__(self, gain_regularizer=None, **kwargs):
        super().__init__(**kwargs)
        self.keep(gain_regularizer)

    def keep(self, gain_regularizer):
        pass

    def build(self, shape):
        self.gain = self.add_weight(shape=(2, 2), regularizer=kr.L2(0.5), name="gain")

    def call(self, x):
        return keras.ops.matmul(x, self.gain)


class InConstructor(Custom):
    """Has the attribute, but saves the argument of its constructor."""

    def keep(self, gain_regularizer):
        self.gain_regularizer = gain_regularizer


class ReadOnly(Custom):
    """Has a property."""

    gain_regularizer = property(lambda self: None)

    def get_config(self):
        return {**super().get_config(), "gain_regularizer": None}


class Unsaved(InConstructor):
    """Has the attribute, and cannot be saved."""

    def get_config(self):
        raise NotImplementedError


class Saved(InConstructor):
    """Has the attribute, and saves it as an object."""

    def get_config(self):
        return {**super().get_config(), "gain_regularizer": self.gain_regularizer}


@pytest.mark.parametrize("layer", [Custom, InConstructor, ReadOnly, Unsaved, Saved])
def test_custom_layers(layer):
    custom = layer(name="custom")
    model = sequential(dense("a", None), custom)
    if layer is Saved:
        attach_regularizers(model, kr.L1(0.5))
        assert custom.gain.regularizer == custom.gain_regularizer == kr.L1(0.5)
    else:
        message = "custom/gain`.*its layer `custom`.*attribute `gain_regularizer`"
        with pytest.raises(ValueError, match=message):
            attach_regularizers(model, {".*": kr.L1(0.5)})
        assert model.get_layer("a").kernel.regularizer is None
        with pytest.warns(UserWarning, match="No penalty is put on `.*custom/gain`"):
            attach_regularizers(model, kr.L1(0.5))
        assert model.get_layer("a").kernel.regularizer == kr.L1(0.5)
        assert getattr(custom, "gain_regularizer", None) is None
    expected = kr.L1(0.5) if layer is Saved else kr.L2(0.5)
    with nullcontext() if layer in (Saved, Unsaved) else pytest.warns(UserWarning, match="again"):
        assert detach_regularizers(model)["(.*/)?custom/gain"] == expected
    assert custom.gain.regularizer is None and model.losses == []


def a_function(w):
    return keras.ops.sum(w)


class WithoutConfig(keras.regularizers.Regularizer):
    def __call__(self, w):
        return 0.5 * keras.ops.sum(w)


def test_any_regularizer_of_keras_can_be_attached():
    model = small()
    for regularizer in (keras.regularizers.OrthogonalRegularizer(), WithoutConfig()):
        attach_regularizers(model, {".*first/kernel": regularizer})
        assert model.get_layer("first").kernel_regularizer is regularizer
        assert len(model.losses) == 1


ATTACH_ERRORS = {
    "nothing": (
        {".*firts/kernel": kr.L1(1)},
        "`penalties`. Expected patterns .*first/kernel.*firts",
    ),
    "twice": ({".*kernel": kr.L1(1), ".*first/k.*": kr.L2(1)}, "`penalties`.*one pattern.*first/k"),
    "pattern": ({"(": kr.L1(1)}, "argument `penalties`. Expected a regular expression"),
    "number": (
        {".*kernel": 0.1},
        "`penalties` for the pattern `.*kernel`.*Received: penalties=0.1",
    ),
    "string": ("l2", "`penalties`. Expected a kerasreg penalty.*='l2'"),
    "function": ({".*kernel": a_function}, "pattern `.*kernel`. Expected a kerasreg penalty"),
    "constraint": ({".*kernel": kr.TopK(0.5)}, "pattern `.*kernel`.*give TopK to `Proximal`"),
    "one constraint": (kr.KeepZeros(), "give KeepZeros to `Proximal`"),
    "axis": ({".*first/kernel": kr.L1(1), ".*gamma": kr.GroupLasso(1, axis=1)}, "an axis from -1"),
}


@pytest.mark.fast_cases(6)
@pytest.mark.parametrize(("penalties", "message"), ATTACH_ERRORS.values(), ids=ATTACH_ERRORS)
def test_what_cannot_be_attached(penalties, message):
    model = small(gamma=kr.L1(0.5))
    before = regularizers(model), model.to_json()
    with pytest.raises(ValueError, match=f"(?s){message}"):
        attach_regularizers(model, penalties)
    assert (regularizers(model), model.to_json()) == before


DETACH_ERRORS = {
    "orthogonal": (
        keras.regularizers.OrthogonalRegularizer(),
        "`.*last/kernel`. Expected one with",
    ),
    "function": (a_function, "Invalid regularizer on weight .*a_function"),
    "no config": (WithoutConfig(), "a kerasreg penalty, or L1, L2 or L1L2.*attach_regularizers"),
}


@pytest.mark.parametrize(("regularizer", "message"), DETACH_ERRORS.values(), ids=DETACH_ERRORS)
def test_what_cannot_be_detached(regularizer, message):
    model = small(gamma=kr.L1(0.5))
    model.get_layer("last").kernel._regularizer = regularizer  # Keras 3.14 takes no function.
    with pytest.raises(ValueError, match=f"(?s){message}"):
        detach_regularizers(model)
    assert model.get_layer("norm").gamma.regularizer == kr.L1(0.5)
    assert model.get_layer("norm").gamma_regularizer == kr.L1(0.5)


@pytest.mark.parametrize("other", [None, kr.L1(0.2)])
def test_weights_of_one_path_with_different_penalties(other):
    model = Subclassed()
    model(np.ones((2, 5), "float32"))
    model.blocks[0].kernel.regularizer = other
    with pytest.raises(ValueError, match="`.*same/kernel`.*the same on all.*different names"):
        detach_regularizers(model)
    assert model.first.kernel.regularizer == kr.L1(0.1)


PARTS = {
    "one": {".*query/kernel": kr.L1(1)},
    "different": {".*(query|key|value)/kernel": kr.L1(1), ".*output/kernel": kr.L2(1)},
    "one bias": {".*key/bias": kr.L1(1)},
}


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("attention", [layers.MultiHeadAttention, layers.GroupQueryAttention])
@pytest.mark.parametrize("penalties", PARTS.values(), ids=PARTS)
def test_a_part_of_an_attention_layer(penalties, attention):
    inputs = keras.Input((3, 4))
    sizes = (2, 3) if attention is layers.MultiHeadAttention else (4, 2, 1)
    model = keras.Model(inputs, attention(*sizes, name="heads")(inputs, inputs))
    before = regularizers(model), model.to_json()
    match = "query/.*key/.*value/.*output/.*`heads` saves one.*match them all"
    with pytest.raises(ValueError, match=match):
        attach_regularizers(model, penalties)
    assert (regularizers(model), model.to_json()) == before
    attach_regularizers(
        model, {".*query/kernel": kr.L1(1), ".*(key|value|output)/kernel": kr.L1(1)}
    )
    assert len(model.losses) == 4


@pytest.mark.parametrize("change", [lambda m: attach_regularizers(m, {}), detach_regularizers])
def test_model_that_is_not_built(change):
    with pytest.raises(ValueError, match="`model`. Expected a built model"):
        change(keras.Sequential([layers.Dense(2)]))


@keras.saving.register_keras_serializable("kerasreg_tests")
class WithConfig(keras.Model):
    """A model whose file has the arguments of its constructor, as those of keras_hub."""

    def __init__(self, units=3, functional=False, **kwargs):
        self.units, self.functional = units, functional
        if functional:
            inputs = keras.Input((5,))
            super().__init__(inputs, layers.Dense(units, name="inner")(inputs), **kwargs)
        else:
            super().__init__(**kwargs)
            self.inner = layers.Dense(units, name="inner")

    def build(self, shape):
        if not self.functional:
            self.inner.build(shape)
        self.built = True

    def call(self, x, **kwargs):
        return super().call(x, **kwargs) if self.functional else self.inner(x)

    def get_config(self):
        return {"units": self.units, "functional": self.functional}


def holding(layer):
    return keras.Sequential([keras.Input((5,)), layer, layers.Dense(2, name="outer")])


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    "make",
    [
        lambda: WithConfig(),
        lambda: WithConfig(functional=True),
        lambda: holding(WithConfig(functional=True)),
        lambda: holding(Holder(None)),
    ],
    ids=["subclassed", "functional", "inside", "layer"],
)
def test_a_penalty_that_a_file_would_lose_is_refused(make, tmp_path):
    model = make()
    model.build((None, 5))
    with pytest.raises(ValueError, match=r"(inner|a)/kernel`.*whole.*Proximal.*allow_unsaved=True"):
        attach_regularizers(model, kr.L1(0.1))
    assert model.losses == []
    attach_regularizers(model, kr.L1(0.1), allow_unsaved=True)
    assert len(model.losses) == len([v for v in model.weights if v.name == "kernel"])
    loaded = through_a_file(model, tmp_path)
    assert len(loaded.losses) < len(model.losses)
    # The way out.
    model = make()
    model.build((None, 5))
    model.compile(kr.Proximal("sgd", kr.L1(0.1)), "mse")
    model.fit(np.ones((2, 5)), np.ones(model(np.ones((2, 5))).shape), verbose=0)
    loaded = through_a_file(model, tmp_path, compile=True)
    assert loaded.optimizer.penalty == kr.L1(0.1)


def test_in_a_model_that_holds_such_a_layer_others_can_have_a_penalty(tmp_path):
    model = holding(WithConfig(functional=True))
    attach_regularizers(model, {".*outer/kernel": kr.L1(0.1)})
    assert len(through_a_file(model, tmp_path).losses) == 1


def test_a_bare_penalty_leaves_out_the_factors_of_lora():
    model = small()
    model.get_layer("first").enable_lora(2)
    with pytest.warns(UserWarning, match="No penalty is put on .*lora_kernel_a.*lora_kernel_b"):
        attach_regularizers(model, kr.L1(0.1))
    assert len(model.losses) == 1 and model.get_layer("last").kernel_regularizer == kr.L1(0.1)


@keras.saving.register_keras_serializable("kerasreg_tests")
class Position(layers.Layer):
    """An embedding that takes no regularizer, as the position embedding of keras_hub."""

    def build(self, shape):
        self.embeddings = self.add_weight(shape=shape[1:], name="embeddings")

    def call(self, x):
        return x + self.embeddings


def test_a_bare_penalty_says_which_embeddings_cannot_hold_one():
    words = layers.Embedding(5, 4, name="words")
    model = keras.Sequential([keras.Input((3,)), words, Position(name="place"), layers.Dense(2)])
    with pytest.warns(UserWarning, match="No penalty is put on `.*place/embeddings`, as"):
        attach_regularizers(model, kr.L1(0.1))
    assert len(model.losses) == 1


KINDS_OF_PROXIMAL = {
    "itself": lambda p: p,
    "loss scaling": keras.optimizers.LossScaleOptimizer,
    "several": lambda p: keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(p, {"nothing": keras.optimizers.SGD()})
    ),
    "by a function": lambda p: keras.optimizers.MultiOptimizer(lambda _: p),
}


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("kind", KINDS_OF_PROXIMAL)
@pytest.mark.parametrize("built", [False, True])
def test_what_a_compiled_proximal_would_refuse_is_refused_at_once(kind, built, tmp_path):
    if kind in ("several", "by a function") and not hasattr(keras.optimizers, "MultiOptimizer"):
        pytest.skip("MultiOptimizer came with Keras 3.15")
    model = small()
    proximal = kr.Proximal("sgd", {".*first/kernel": kr.L1(0.1)})
    model.compile(KINDS_OF_PROXIMAL[kind](proximal), "sparse_categorical_crossentropy")
    if built:
        model.optimizer.build(model.trainable_variables)
    for penalty in (kr.L1(0.2), keras.regularizers.L1(0.2), kr.GroupLasso(0.1)):
        with pytest.raises(ValueError, match="first/kernel`. Expected one without a kink.*L1"):
            attach_regularizers(model, penalty)
    assert model.losses == []
    attach_regularizers(model, {".*first/kernel": kr.L2(0.2), ".*last/kernel": kr.L1(0.2)})
    # Keras cannot read what scales a loss for an optimizer that is not built, nor a function.
    if built and kind != "by a function":
        assert len(through_a_file(model, tmp_path, compile=True).losses) == 2


def test_what_an_optimizer_in_another_attribute_would_refuse():
    model = small()
    model.other = kr.Proximal("sgd", {".*first/kernel": kr.L1(0.1)})
    attach_regularizers(model, {".*last/kernel": kr.L1(0.2)})
    model.other.build(model.trainable_variables)
    with pytest.raises(ValueError, match="first/kernel`. Expected one without a kink.*L1"):
        attach_regularizers(model, kr.L1(0.2))


def test_detached_from_chosen_weights():
    model = small(kr.L1(0.1), gamma=keras.regularizers.OrthogonalRegularizer())
    with pytest.raises(ValueError, match="gamma.*leave it out with `weights`"):
        detach_regularizers(model)
    assert detach_regularizers(model, weights="first/") == {"(.*/)?first/kernel": kr.L1(0.1)}
    assert model.get_layer("last").kernel_regularizer == kr.L1(0.1)
    assert detach_regularizers(model, re.compile("kernel")) == {"(.*/)?last/kernel": kr.L1(0.1)}
    with pytest.raises(ValueError, match="(?s)`weights`. Expected a pattern found in .*norm/gamma"):
        detach_regularizers(model, weights="kernel")
    with pytest.raises(ValueError, match="argument `weights`. Expected a regular expression"):
        detach_regularizers(model, weights="(")
