"""What a copy of a layer takes along."""

import keras
import numpy as np
import pytest
from helpers.dead_channels import compacted, inputs_for, kill, randomize, width
from helpers.random_graphs import relative_error

import kerasreg as kr

layers = keras.layers
BOTH = pytest.mark.parametrize("make", [kr.compact, kr.strip])


def numbers(x):
    return keras.ops.convert_to_numpy(x)


@BOTH
def test_what_a_layer_has_learnt_of_data_goes_along(make):
    pytest.importorskip("tensorflow")  # in which Keras adapts them
    data = np.random.default_rng(0).normal(3, 2, size=(64, 4)).astype("float32")
    normalization, bins = layers.Normalization(), layers.Discretization(num_bins=5)
    normalization.adapt(data)
    bins.adapt(data)
    inputs = keras.Input((4,))
    whole = layers.Flatten()(layers.Embedding(5, 3)(bins(inputs)))
    x = layers.Concatenate()([normalization(inputs), whole])
    model = randomize_but(keras.Model(inputs, layers.Dense(2)(x)), normalization)
    assert np.abs(numbers(normalization(data)).mean()) < 1e-3
    assert relative_error(model, make(model), data) < 1e-6


def randomize_but(model, layer):
    kept = [numbers(variable) for variable in layer.weights]
    randomize(model)
    for variable, value in zip(layer.weights, kept, strict=True):
        variable.assign(value)
    layer.finalize_state()
    return model


@pytest.mark.fast_cases(2)
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="strings are TensorFlow's")
@pytest.mark.parametrize(
    "make_layer",
    [
        lambda: layers.StringLookup(output_mode="multi_hot"),
        lambda: layers.StringLookup(vocabulary=["a", "b"], output_mode="multi_hot"),
        lambda: layers.TextVectorization(output_mode="tf_idf"),
        lambda: layers.TextVectorization(output_sequence_length=3),
    ],
)
@BOTH
def test_words_go_along(make, make_layer, tmp_path):
    texts = np.array([["a"], ["b c"], ["c"], ["a"]])
    layer = make_layer()
    if not getattr(layer, "input_vocabulary", None):
        layer.adapt(texts)
    inputs = keras.Input((1,), dtype="string")
    x = keras.ops.cast(layer(inputs), "float32")
    model = randomize(keras.Model(inputs, layers.Dense(2)(x)))
    small, texts = make(model), keras.ops.convert_to_tensor(texts)
    assert np.array_equal(numbers(model(texts)), numbers(small(texts)))
    small.save(tmp_path / "small.keras")
    loaded = keras.saving.load_model(tmp_path / "small.keras")
    assert np.array_equal(numbers(model(texts)), numbers(loaded(texts)))


class Remembers(layers.Layer):
    """Has a state that is no weight, and saves it."""

    factor = 1.0

    def call(self, x):
        return x * self.factor

    def compute_output_shape(self, shape):
        return shape

    def save_own_variables(self, store):
        store["factor"] = np.array(self.factor)

    def load_own_variables(self, store):
        self.factor = float(store["factor"])


@BOTH
def test_states_of_ones_own_go_along(make):
    inputs, layer = keras.Input((4,)), Remembers()
    layer.factor = 3.0
    model = keras.Model(inputs, layers.TimeDistributed(layer)(layers.Reshape((2, 2))(inputs)))
    assert relative_error(model, make(model), inputs_for(model)) == 0


@BOTH
def test_frozen_models_and_layers_stay_frozen(make):
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="a")], name="inner")
    part = keras.Sequential([inner, layers.Dense(4, name="b")], name="part")
    times = layers.TimeDistributed(layers.Dense(4, name="c"), name="times")
    x = inputs = keras.Input((4,))
    x = times(layers.Reshape((1, 4))(part(x)))
    model = keras.Model(inputs, layers.Dense(4, name="d")(x))
    part.trainable = False
    inner.layers[0].trainable = True
    times.layer.trainable = False
    new = make(model)
    found = new.get_layer("part")
    assert not found.trainable and not found.get_layer("inner").trainable
    assert found.get_layer("inner").get_layer("a").trainable
    assert not found.get_layer("b").trainable
    assert new.get_layer("times").trainable and not new.get_layer("times").layer.trainable
    trainable = [[v.path for v in m.trainable_variables] for m in (model, new)]
    assert trainable[0] == trainable[1] and len(trainable[0]) == 4


class Raw(layers.Layer):
    """Its configuration has a layer itself, not what Keras writes of one."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def call(self, x):
        return self.inner(x)

    def get_config(self):
        return {**super().get_config(), "inner": self.inner}


@BOTH
def test_no_layer_is_shared_with_the_copy(make):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Raw(layers.Dense(3, lambda x: x * x), name="raw")(inputs))
    new = make(model)
    assert new.get_layer("raw").inner is not model.get_layer("raw").inner
    assert relative_error(model, new, inputs_for(model)) == 0


def doubled(x):
    return 2 * x


@BOTH
def test_functions_go_along(make):
    inputs, number = keras.Input((4, 4)), 3.0
    own = [
        layers.Lambda(lambda x: x * number, output_shape=lambda shape: shape),
        layers.Lambda(doubled, mask=lambda x, mask: mask),
        layers.TimeDistributed(layers.Dense(4, activation=doubled)),
    ]
    x = inputs
    for layer in own:
        x = layer(x)
    model = keras.Model(inputs, x)
    assert relative_error(model, make(model), inputs_for(model)) == 0


class Talkative(layers.Layer):
    """Its configuration has what it does not take."""

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return x * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor, "squared": self.factor**2}


@BOTH
def test_configurations_may_say_more_than_their_layers_take(make):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Talkative(3.0, name="own")(inputs))
    with pytest.raises(TypeError):
        keras.models.clone_model(model)
    assert relative_error(model, make(model), inputs_for(model)) == 0


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("penalty", "left"),
    [
        (kr.Weighted(kr.L1(0.1), np.ones((4, 6))), False),
        (kr.GroupLasso(0.1, groups=kr.Groups([[(".*", 1, 1)]])), False),
        (kr.GroupLasso(0.1), True),
        (keras.regularizers.L2(0.1), True),
    ],
)
def test_penalties_for_another_shape_go(penalty, left, tmp_path):
    inputs = keras.Input((4,))
    hidden = layers.Dense(6, kernel_regularizer=penalty, bias_regularizer=kr.L1(0.1), name="first")
    last = layers.Dense(2, kernel_regularizer=kr.Weighted(kr.L1(0.1), np.ones((1, 2))), name="last")
    model = randomize(keras.Model(inputs, last(hidden(inputs))))
    if left:
        last.kernel_regularizer = last.kernel.regularizer = None
        small = compacted(model, strip=False)
    else:
        kill(hidden, zero=[0])
        words = "(?s)former shapes.*first/kernel: .*last/kernel: Weighted"
        with pytest.warns(UserWarning, match=words):
            small = compacted(model, strip=False)
        assert width(small, "first") == 5
    found = small.get_layer("first")
    assert (found.kernel.regularizer is not None) == left == (found.kernel_regularizer is not None)
    assert found.bias_regularizer == kr.L1(0.1)
    small.save(tmp_path / "small.keras")
    loaded = keras.saving.load_model(tmp_path / "small.keras")
    assert np.isclose(*(float(numbers(sum(m.losses))) for m in (small, loaded)))
