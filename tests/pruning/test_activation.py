"""The norms of what weights are multiplied by, against NumPy, and that the model stays as it is."""

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, to_numpy
from helpers.models import classifier, data
from keras import layers

import kerasreg as kr
from kerasreg._keras_internals import all_layers
from kerasreg.pruning.batches import batches
from kerasreg.pruning.input_squares import input_squares
from kerasreg.pruning.saliency import of_inputs

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(5, 6)).astype("float32")
SEQUENCES = RNG.normal(size=(5, 7, 6)).astype("float32")
IMAGES = RNG.normal(size=(5, 8, 8, 6)).astype("float32")
VOLUMES = RNG.normal(size=(5, 4, 4, 4, 6)).astype("float32")
WORDS = RNG.integers(0, 9, size=(5, 7))


def saliency(model, weight, x):
    """How much each entry of a weight matters, over batches of two samples."""
    return to_numpy(of_inputs(model, [weight], batches(x, None, 2))[id(weight)])


def squares(x, *axes):
    axes = [axis % x.ndim for axis in axes]
    return np.square(x.astype("float64")).sum(tuple(i for i in range(x.ndim) if i not in axes))


def rows(x):
    """Those of the channels, which number the last rows of a kernel."""
    return squares(x, -1)[:, None]


def depthwise(x, kernel):
    """A depthwise convolution without padding."""
    height, width = (n - k + 1 for n, k in zip(x.shape[1:3], kernel.shape[:2], strict=True))
    y = 0
    for i, j in np.ndindex(*kernel.shape[:2]):
        part = x[:, i : i + height, j : j + width, :, None]
        y = y + part * kernel[i, j]
    return y.reshape(*y.shape[:3], -1)


# A layer, its inputs, and the sum of squares in the shape of its kernel.
LAYERS = {
    "Dense": (lambda: layers.Dense(3), VECTORS, rows),
    "Dense on images": (lambda: layers.Dense(3), IMAGES, rows),
    "Conv1D": (lambda: layers.Conv1D(4, 3), SEQUENCES, rows),
    "Conv2D": (lambda: layers.Conv2D(4, 3, strides=2), IMAGES, rows),
    "Conv2D in groups": (
        lambda: layers.Conv2D(4, 3, groups=2),
        IMAGES,
        lambda x: np.repeat(squares(x, -1).reshape(2, 3), 2, axis=0).T,
    ),
    "Conv3D": (lambda: layers.Conv3D(4, 2), VOLUMES, rows),
    "Conv2DTranspose": (
        lambda: layers.Conv2DTranspose(4, 3),
        IMAGES,
        lambda x: squares(x, -1),
    ),
    "DepthwiseConv2D": (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), IMAGES, rows),
    "SeparableConv2D": (lambda: layers.SeparableConv2D(4, 3), IMAGES, rows),
    "EinsumDense": (
        lambda: layers.EinsumDense("abc,cde->abde", (None, 2, 3)),
        SEQUENCES,
        lambda x: squares(x, -1)[:, None, None],
    ),
    "EinsumDense with an ellipsis": (
        lambda: layers.EinsumDense("...a,ba->...b", (7, 3)),
        SEQUENCES,
        lambda x: squares(x, -1),
    ),
    "EinsumDense over two axes": (
        lambda: layers.EinsumDense("abcd,dbe->abce", (8, 8, 3)),
        IMAGES,
        lambda x: squares(x, 1, 3).T[..., None],
    ),
    "GRU": (lambda: layers.GRU(3), SEQUENCES, rows),
    "RNN": (lambda: layers.RNN(layers.LSTMCell(3)), SEQUENCES, rows),
    "Bidirectional": (lambda: layers.Bidirectional(layers.LSTM(3)), SEQUENCES, rows),
    "TimeDistributed": (lambda: layers.TimeDistributed(layers.Dense(3)), SEQUENCES, rows),
    "DropConnect": (lambda: kr.DropConnect(layers.Dense(3), 0.5), VECTORS, rows),
    "Embedding": (
        lambda: layers.Embedding(9, 4),
        WORDS,
        lambda x: np.bincount(x.ravel(), minlength=9)[:, None],
    ),
}


def first_weight(model):
    names = ("kernel", "embeddings", "depthwise_kernel")
    return next(w for w in model.trainable_variables if w.name in names)


def built(layer, x):
    dtype = "int32" if x is WORDS else "float32"
    return keras.Sequential([keras.Input(x.shape[1:], dtype=dtype), layer])


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("name", LAYERS)
def test_the_inputs_of_each_kind_of_layer(name):
    make, x, reference = LAYERS[name]
    model = built(make(), x)
    w = first_weight(model)
    expected = np.abs(to_numpy(w.value)) * np.sqrt(reference(x))
    np.testing.assert_allclose(saliency(model, w, x), expected, rtol=1e-5)


@pytest.mark.skipif(BACKEND == "tensorflow", reason="no channels first on a CPU")
def test_channels_that_come_first():
    x = np.moveaxis(IMAGES, -1, 1)
    model = built(layers.Conv2D(4, 3, data_format="channels_first"), x)
    w = first_weight(model)
    expected = np.abs(to_numpy(w.value)) * np.sqrt(squares(x, 1))[:, None]
    np.testing.assert_allclose(saliency(model, w, x), expected, rtol=1e-5)


def test_what_lies_between_the_two_parts_of_a_separable_convolution():
    model = built(layers.SeparableConv2D(4, 3, depth_multiplier=2), IMAGES)
    wide, pointwise, _ = (to_numpy(w.value) for w in model.weights)
    between = depthwise(IMAGES, wide)
    expected = np.abs(pointwise) * np.sqrt(squares(between, -1))[:, None]
    np.testing.assert_allclose(saliency(model, model.weights[1], IMAGES), expected, rtol=1e-4)


def test_the_projections_of_attention():
    inputs = keras.Input((7, 6))
    attention = layers.MultiHeadAttention(2, 3, use_bias=False, name="attention")
    model = keras.Model(inputs, attention(inputs, inputs))
    query, key, value, output = (to_numpy(w.value) for w in model.weights)
    q, k, v = (np.einsum("btd,dhe->bthe", SEQUENCES, w) for w in (query, key, value))
    scores = np.exp(np.einsum("bthe,bshe->bhts", q, k) / np.sqrt(3))
    scores /= scores.sum(-1, keepdims=True)
    mixed = np.einsum("bhts,bshe->bthe", scores, v)
    norms = [np.sqrt(squares(SEQUENCES, -1))[:, None, None]] * 3
    norms.append(np.sqrt(squares(mixed, 2, 3))[..., None])
    for w, array, norm in zip(model.weights, (query, key, value, output), norms, strict=True):
        np.testing.assert_allclose(saliency(model, w, SEQUENCES), np.abs(array) * norm, rtol=1e-4)


def test_biases_and_gains_are_used_once_a_position():
    model = keras.Sequential(
        [keras.Input((8, 8, 6)), layers.Conv2D(4, 3), layers.BatchNormalization()]
    )
    for w in model.trainable_variables[1:]:
        w.assign(np.arange(4.0))
        np.testing.assert_allclose(
            saliency(model, w, IMAGES), np.arange(4) * np.sqrt(5 * 6 * 6), rtol=1e-6
        )


def test_all_calls_of_a_shared_layer_count():
    inputs = keras.Input((6,))
    shared = layers.Dense(6, use_bias=False)
    model = keras.Model(inputs, shared(shared(inputs)))
    [w] = model.weights
    array = to_numpy(w.value)
    expected = np.abs(array) * np.sqrt(squares(VECTORS, -1) + squares(VECTORS @ array, -1))[:, None]
    np.testing.assert_allclose(saliency(model, w, VECTORS), expected, rtol=1e-5)


def test_wanda_keeps_what_magnitude_drops():
    """Two of every four inputs of each unit, as the paper has it for 2:4."""
    x = VECTORS[:, :4] * np.float32([100, 100, 1, 1])
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2, use_bias=False)])
    model.set_weights([np.float32([[0.1, 0.1], [0.2, 0.2], [1, 1], [2, 2]])])
    by_size = keras.models.clone_model(model)
    by_size.set_weights(model.get_weights())
    kr.prune(by_size, kr.TopK(pattern="2:4"))
    np.testing.assert_array_equal(by_size.get_weights()[0] != 0, [[0, 0], [0, 0], [1, 1], [1, 1]])
    kr.prune(model, kr.TopK(pattern="2:4", saliency="activation"), x)
    np.testing.assert_array_equal(model.get_weights()[0] != 0, [[1, 1], [1, 1], [0, 0], [0, 0]])


class Dataset(keras.utils.PyDataset):
    def __init__(self, x):
        super().__init__()
        self.x = x

    def __len__(self):
        return 3

    def __getitem__(self, i):
        return {name: part[2 * i : 2 * i + 2] for name, part in self.x.items()}, np.ones((2, 1))


def generator(x):
    yield from (Dataset(x)[i] for i in range(3))


def tf_dataset(x):
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices(x).batch(4)


def loader(x):
    torch = pytest.importorskip("torch")
    pairs = [({name: part[i] for name, part in x.items()}, np.ones(1)) for i in range(5)]
    return torch.utils.data.DataLoader(pairs, batch_size=2)


KINDS = [lambda x: [x["a"], x["b"]], generator, Dataset]
KINDS += [tf_dataset] if BACKEND == "tensorflow" else [loader] if BACKEND == "torch" else []


@pytest.mark.parametrize("kind", KINDS)
def test_data_of_every_kind(kind):
    inputs = {"a": keras.Input((6,), name="a"), "b": keras.Input((7, 6), name="b")}
    y = layers.GlobalAveragePooling1D()(layers.Dense(3, name="second")(inputs["b"]))
    x = layers.Dense(3, name="first")(inputs["a"])
    given = {"a": VECTORS, "b": SEQUENCES}
    structure = [*inputs.values()] if isinstance(kind(given), list) else inputs
    model = keras.Model(structure, layers.Add()([x, y]))
    w = model.get_layer("second").kernel
    expected = np.abs(to_numpy(w.value)) * np.sqrt(squares(SEQUENCES, -1))[:, None]
    np.testing.assert_allclose(saliency(model, w, kind(given)), expected, rtol=1e-5)


def state(model):
    """The values of all variables, and the identities of all attributes of layers."""
    values = [to_numpy(v.value) for v in (*model.variables, *model.metrics_variables)]
    kept = [{k: id(v) for k, v in vars(a).items() if k != "_called"} for a in all_layers(model)]
    nodes = [len(layer._inbound_nodes) for layer in all_layers(model)]
    return values, kept, nodes


def assert_unchanged(before, after):
    for a, b in zip(before[0], after[0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert before[1:] == after[1:]


def test_the_model_stays_as_it_is():
    x, _ = data()
    model = classifier(penalties=False)
    before = state(model)
    saliency(model, model.get_layer("second").kernel, x)
    assert_unchanged(before, state(model))


class Failing(layers.Layer):
    fails = False

    def call(self, x):
        if self.fails:
            raise RuntimeError("no")
        return x


def test_the_model_stays_as_it_is_after_an_error():
    failing = Failing()
    model = keras.Sequential([keras.Input((6,)), layers.Dense(3, name="first"), failing])
    failing.fails = True
    before = state(model)
    with pytest.raises(RuntimeError, match="no"):
        kr.prune(model, kr.TopK(0.5, saliency="activation"), VECTORS)
    assert_unchanged(before, state(model))


class Unused(keras.Model):
    def __init__(self):
        super().__init__()
        self.used, self.unused = layers.Dense(3, name="used"), layers.Dense(3, name="unused")

    def build(self, shape):
        self.used.build(shape)
        self.unused.build(shape)
        self.built = True

    def call(self, x):
        return self.used(x)


def unused():
    model = Unused()
    model.build((None, 6))
    return model


UNKNOWN = [
    (lambda: built(layers.LSTM(3, name="lstm"), SEQUENCES), SEQUENCES, "recurrent.*'lstm_cell"),
    (unused, VECTORS, "unused/kernel` of layer 'unused'"),
    (lambda: keras.Sequential([keras.Input((6,)), Outer()]), VECTORS, "matrix.*layer 'outer'"),
]


class Outer(layers.Layer):
    """A product that no rule knows."""

    def __init__(self):
        super().__init__(name="outer")

    def build(self, shape):
        self.matrix = self.add_weight(shape=(shape[-1], 3), name="matrix")

    def call(self, x):
        return keras.ops.matmul(x, self.matrix)


@pytest.mark.parametrize(("make", "x", "words"), UNKNOWN)
def test_weights_of_which_nothing_is_known_are_named(make, x, words):
    model = make()
    with pytest.raises(ValueError, match=f"`saliency` on weight `.*{words}.*with a pattern"):
        kr.prune(model, kr.TopK(0.5, saliency="activation"), x)


class Registered(Outer):
    pass


def test_a_layer_of_ones_own_joins():
    @input_squares.register
    def _(layer: Registered, variable, inputs):
        return keras.ops.sum(keras.ops.square(inputs), axis=0)[:, None]

    model = keras.Sequential([keras.Input((6,)), Registered()])
    expected = np.abs(to_numpy(model.weights[0].value)) * np.sqrt(squares(VECTORS, -1))[:, None]
    np.testing.assert_allclose(saliency(model, model.weights[0], VECTORS), expected, rtol=1e-5)
