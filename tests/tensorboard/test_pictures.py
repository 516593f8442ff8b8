"""Pictures of zeros, decoded by Pillow and held against the weights."""

import io

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND
from helpers.processes import in_process
from PIL import Image

from kerasreg.statistics.weights import find_weights
from kerasreg.tensorboard import pictures as module
from kerasreg.tensorboard.legend import LEFT, WIDTH
from kerasreg.tensorboard.pictures import ZeroPatterns, axes_of, check_input_shape, drawn


def dense(*shape, name="first"):
    """A model whose one kernel has random zeros, and the values of that kernel."""
    layer = keras.layers.Dense(shape[1], name=name)
    model = keras.Sequential([keras.Input((shape[0],)), layer])
    rng = np.random.default_rng(0)
    values = rng.normal(size=shape) * (rng.random(shape) < 0.3)
    layer.kernel.assign(values)
    return model, values


def draw(patterns, zeros, final=False, step=1):
    """What is added, as `{tag: pixels}`."""
    summary = drawn(patterns.count(step, zeros, final))
    found = {}
    for value in summary.value:
        width, height, png = value.tensor.string_val
        image = Image.open(io.BytesIO(png))
        assert image.size == (int(width), int(height))
        found[value.tag] = np.asarray(image)
    return found


def plot(picture, shape):
    """The picture itself, without its legend."""
    return picture[: shape[0], LEFT : LEFT + shape[1]]


def framed(fractions, scale):
    """The picture by its definition."""
    levels = np.ceil(255 * np.asarray(fractions) ** 0.5)
    squares = np.kron(levels, np.ones((*scale, 1)[: levels.ndim]))
    margins = [(1, 1), (1, 1), (0, 0)][: levels.ndim]
    return np.pad(squares, margins, constant_values=128)


# Shape of the kernel, its block, pixels of a block.
SIZES = [
    ((64, 40), (1, 1), (4, 4)),
    ((64, 10), (1, 1), (4, 12)),
    ((300, 3), (2, 1), (1, 42)),
    ((512, 600), (2, 3), (1, 1)),
    ((1, 1), (1, 1), (256, 256)),
    ((257, 1), (2, 1), (1, 128)),
    ((1, 2000), (1, 8), (128, 1)),
]


@pytest.mark.parametrize("shape, block, scale", SIZES)
def test_pixels(shape, block, scale):
    model, values = dense(*shape)
    drawn = draw(ZeroPatterns(find_weights(model), None), [0, 0])
    height, width = -(-shape[0] // block[0]), -(-shape[1] // block[1])
    fractions = [
        [
            np.mean(values[r : r + block[0], c : c + block[1]] != 0)
            for c in range(0, shape[1], block[1])
        ]
        for r in range(0, shape[0], block[0])
    ]
    assert np.shape(fractions) == (height, width)
    expected = framed(fractions, scale)
    picture = drawn["zero_pattern/first/kernel"]
    np.testing.assert_array_equal(plot(picture, expected.shape), expected)
    assert picture.shape[1] == WIDTH and picture.shape[0] <= 258 + 80


def test_only_a_block_of_zeros_is_black():
    model, values = dense(4096, 256)
    values[:] = 0
    values[5, 7] = 1e-30
    model.layers[0].kernel.assign(values)
    picture = draw(ZeroPatterns(find_weights(model), None), [0, 0])["zero_pattern/first/kernel"]
    assert np.argwhere(plot(picture, (258, 258))[1:-1, 1:-1]).tolist() == [[0, 7]]


@pytest.mark.parametrize("input_shape", [(4, 6), (4, 6, 1), (2, 4, 3), (3, 4, 2)])
def test_inputs(input_shape):
    model, values = dense(24, 5)
    patterns = ZeroPatterns(find_weights(model), input_shape)
    picture = draw(patterns, [0, 0])["zero_pattern/first/kernel/inputs"]
    fractions = np.mean(values != 0, axis=1).reshape(input_shape)
    if len(input_shape) == 3 and input_shape[2] != 3:
        fractions = fractions.mean(axis=2)
    side = 256 // max(input_shape[:2])
    expected = framed(fractions, (side, side))
    np.testing.assert_array_equal(plot(picture, expected.shape), expected)


def test_drawn_again_when_the_number_of_zeros_changes():
    layers = [keras.layers.Dense(n, name=name) for n, name in ((3, "one"), (2, "two"))]
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(1, 4), *layers])
    weights = find_weights(model)
    assert [w.name.split("/")[-1] for w in weights] == ["kernel", "bias"] * 3
    patterns = ZeroPatterns(weights, (1, 1))
    one, two = "zero_pattern/one/kernel", "zero_pattern/two/kernel"
    inputs, conv = f"{one}/inputs", "zero_pattern/conv2d/kernel"
    assert set(draw(patterns, [0, 1, 0, 3, 0, 2])) == {conv, one, inputs, two}
    assert set(draw(patterns, [0, 0, 0, 0, 0, 0])) == set()
    assert set(draw(patterns, [5, 0, 0, 0, 0, 0])) == {conv}
    assert set(draw(patterns, [5, 0, 0, 0, 1, 0])) == {two}
    assert set(draw(patterns, [5, 0, 2, 0, 1, 0])) == {one, inputs}
    assert set(draw(patterns, [5, 0, 2, 0, 1, 0])) == set()
    assert not draw(patterns, [5, 0, 2, 0, 1, 0], final=True)  # drawn at this step already
    assert set(draw(patterns, [5, 0, 2, 0, 1, 0], final=True, step=2)) == {conv, one, inputs, two}


def test_the_first_kernel_that_fits_is_folded():
    sizes = ((6, "wide"), (6, "fits"), (6, "later"), (2, "last"))
    layers = [keras.layers.Dense(n, name=name) for n, name in sizes]
    model = keras.Sequential([keras.Input((9,)), *layers])
    drawn = draw(ZeroPatterns(find_weights(model), (2, 3)), [0] * 8)
    assert [tag for tag in drawn if tag.endswith("inputs")] == ["zero_pattern/fits/kernel/inputs"]


def test_no_kernel_fits():
    model, _ = dense(24, 5)
    with pytest.raises(ValueError, match="^Invalid value for argument `input_shape`.*") as caught:
        ZeroPatterns(find_weights(model), (28, 28))
    assert f"\n  {model.name}/first/kernel: 24\n" in str(caught.value)
    assert str(caught.value).endswith("Received: input_shape=(28, 28)")
    with pytest.raises(ValueError, match="has inputs: none"):
        ZeroPatterns(find_weights(model, "bias"), (4, 6))


def test_recurrent_and_embedding_weights_are_drawn_as_they_are():
    layers = [keras.layers.Embedding(7, 4, name="words"), keras.layers.LSTM(3, name="lstm")]
    model = keras.Sequential([keras.Input((3,)), *layers])
    weights = find_weights(model)
    assert set(draw(ZeroPatterns(weights, None), [0] * len(weights))) == {
        f"zero_pattern/{name}" for name in (w.name for w in weights if len(w.variable.shape) == 2)
    }
    assert len(weights) == 4


def test_what_the_images_tab_says():
    model, _ = dense(512, 10, name="<b>ü")
    summary = drawn(ZeroPatterns(find_weights(model), None).count(0, [0, 0]))
    (value,) = summary.value
    assert value.tag == "zero_pattern/<b>ü/kernel"
    assert value.metadata.plugin_data.plugin_name == "images"
    assert "A square is 2 × 1 weights." in value.metadata.summary_description


GOOD = [(None, None), ((28, 28), (28, 28)), ([32, 32, 3], (32, 32, 3)), ((np.int64(8), 1), (8, 1))]


@pytest.mark.parametrize("value, expected", GOOD)
def test_input_shapes(value, expected):
    assert check_input_shape("input_shape", value) == expected


BAD = [28, "28", (28,), (), (0, 28), (-1, 28), (2.0, 2), (True, 2), (1, 2, 3, 4), (None, 28)]


@pytest.mark.parametrize("value", BAD)
def test_no_input_shapes(value):
    with pytest.raises(ValueError, match="^Invalid value for argument `input_shape`") as caught:
        check_input_shape("input_shape", value)
    assert f"Received: input_shape={value!r}" in str(caught.value)


# Shapes and blocks: whole and cut ones, one line or column, more rows than a byte counts.
CASES = [
    ((6, 8), (2, 4)),
    ((7, 5), (3, 2)),
    ((7, 5), (1, 5)),
    ((1, 9), (1, 4)),
    ((9, 1), (4, 1)),
    ((4, 4), (1, 1)),
    ((2, 2), (3, 3)),
    ((700, 3), (300, 2)),
    ((80_000, 2), (70_000, 1)),
]
DTYPES = ["float32", "float16", "bfloat16", "int8", *["float64"] * (BACKEND != "jax")]


def matrix(shape, dtype="float32", zeros=0.6):
    rng = np.random.default_rng(0)
    values = rng.choice([-3, 1, 2], size=shape).astype("float64")
    values[rng.random(shape) < zeros] = 0
    return keras.ops.cast(values, dtype), values


def reference(values, block):
    rows = range(0, values.shape[0], block[0])
    columns = range(0, values.shape[1], block[1])
    return [
        [np.mean(values[r : r + block[0], c : c + block[1]] != 0) for c in columns] for r in rows
    ]


@pytest.fixture(params=["host", "device"])
def place(request, monkeypatch):
    other = {"host": "count_on_device", "device": "count_on_host"}[request.param]
    monkeypatch.setattr(module, other, None)
    monkeypatch.setattr(module, "is_on_host", lambda _: request.param == "host")
    return request.param


@pytest.mark.parametrize("shape, block", CASES)
@pytest.mark.parametrize("piece", [1, 1 << 17])
def test_blocks(place, monkeypatch, shape, block, piece):
    monkeypatch.setattr(module, "PIECE_SIZE", piece)
    for zeros in (0.0, 0.6, 1.0):
        tensor, values = matrix(shape, zeros=zeros)
        found = module.used_fractions(tensor, block)
        np.testing.assert_allclose(found, reference(values, block), rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(place, dtype):
    tensor, values = matrix((7, 5), dtype)
    found = module.used_fractions(tensor, (3, 2))
    np.testing.assert_allclose(found, reference(values, (3, 2)), rtol=1e-12)


def test_only_exact_zeros_count(place):
    values = np.array([[0.0, -0.0, np.nan, np.inf, -1e-30]], dtype="float32")
    found = module.used_fractions(keras.ops.convert_to_tensor(values), (1, 1))
    np.testing.assert_array_equal(found, [[0, 0, 1, 1, 1]])


def test_variables_of_this_machine_are_read_on_the_host(monkeypatch):
    monkeypatch.setattr(module, "count_on_device", None)
    variable = keras.Variable(np.eye(3))
    np.testing.assert_array_equal(module.used_fractions(variable, (1, 1)), np.eye(3))


def test_a_large_weight_needs_little_memory_beside_it():
    import tracemalloc

    variable = keras.Variable(np.eye(2048, dtype="float32"))
    module.used_fractions(variable, (8, 8))
    tracemalloc.start()
    module.used_fractions(variable, (8, 8))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6


SHARDED = """
    import keras
    import numpy as np
    from kerasreg.tensorboard import pictures as module

    distribution = keras.distribution
    mesh = distribution.DeviceMesh((4,), ["model"], distribution.list_devices())
    layouts = distribution.LayoutMap(mesh)
    layouts[".*kernel"] = ("model", None)
    distribution.set_distribution(distribution.ModelParallel(layout_map=layouts))
    layer = keras.layers.Dense(6)
    layer.build((8,))
    layer.kernel.assign(np.tri(8, 6))
    assert not layer.kernel.value.is_fully_replicated and len(layer.kernel.value.devices()) == 4
    module.count_on_host = None
    expected = np.tri(8, 6).reshape(4, 2, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(module.used_fractions(layer.kernel, (2, 3)), expected)
"""


@pytest.mark.skipif(BACKEND != "jax", reason="Keras shards weights on JAX")
def test_a_weight_that_is_spread_over_devices_is_counted_there():
    in_process(SHARDED, XLA_FLAGS="--xla_force_host_platform_device_count=4")


def assign(layer, seed=0):
    for variable in layer.trainable_variables:
        rng = np.random.default_rng(seed)
        variable.assign(rng.normal(size=variable.shape) * (rng.random(variable.shape) < 0.3))


# A layer, its input, its weight, and how NumPy says which fraction of each square is used.
LAYERS = [
    (keras.layers.Conv2D(5, 3), (8, 8, 4), "kernel", "hwio->io"),
    (keras.layers.Conv1D(5, 3), (8, 4), "kernel", "wio->io"),
    (keras.layers.Conv2DTranspose(5, 3), (8, 8, 4), "kernel", "hwoi->io"),
    (keras.layers.DepthwiseConv2D(3, depth_multiplier=2), (8, 8, 4), "kernel", "hwim->(hw)(im)"),
    (keras.layers.EinsumDense("ab,cb->ac", 3), (4,), "kernel", "oi->io"),
]


@pytest.mark.parametrize("place", ["host", "device"])
@pytest.mark.parametrize("layer, shape, name, formula", LAYERS, ids=lambda each: str(each))
def test_kernels_of_each_kind(place, monkeypatch, layer, shape, name, formula):
    if not layer.built:
        layer.build((None, *shape))
    assign(layer)
    model = keras.Sequential([keras.Input(shape), layer])
    (weight,) = find_weights(model, name)
    values = keras.ops.convert_to_numpy(layer.kernel) != 0
    if "(" in formula:
        expected = values.reshape(9, 8).astype(float)
    else:
        source, target = formula.split("->")
        counts = np.einsum(formula, values.astype(float))
        expected = counts * counts.size / values.size
    monkeypatch.setattr(module, "is_on_host", lambda _: place == "host")
    found = module.used_fractions(weight.source, (1, 1), axes_of(weight))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    picture = draw(ZeroPatterns([weight], None), [1])[f"zero_pattern/{weight.name}"]
    side = 256 // max(expected.shape)
    scale = [max(side, 128 // length) for length in expected.shape]
    drawn = framed(expected, scale)
    np.testing.assert_array_equal(plot(picture, drawn.shape), drawn)


def test_the_largest_weights_are_drawn(monkeypatch):
    monkeypatch.setattr(module, "MOST_PICTURES", 2)
    layers = [keras.layers.Dense(n, name=f"d{n}") for n in (5, 2, 7)]
    weights = find_weights(keras.Sequential([keras.Input((3,)), *layers]))
    drawn = draw(ZeroPatterns(weights, None), [0] * 6)
    assert list(drawn) == ["zero_pattern/d5/kernel", "zero_pattern/d7/kernel"]
    drawn = draw(ZeroPatterns(weights, (5,) * 1 + (1,)), [0] * 6)
    assert "zero_pattern/d2/kernel/inputs" in drawn


def test_the_legend_changes_with_the_step_and_the_number_of_zeros():
    model, _ = dense(64, 40)
    patterns = ZeroPatterns(find_weights(model), None)
    (first,) = draw(patterns, [10, 0], step=1).values()
    (second,) = draw(patterns, [11, 0], step=1).values()
    (third,) = draw(patterns, [11, 0], final=True, step=2).values()
    below = [picture[258:] for picture in (first, second, third)]
    assert np.sum(below[0] < 128) > 500  # letters
    assert np.any(below[0] != below[1]) and np.any(below[1] != below[2])
    np.testing.assert_array_equal(first[:258], third[:258])


def test_the_font_has_every_letter(monkeypatch):
    said = []
    monkeypatch.setattr(
        module, "with_legend", lambda picture, *words: said.extend(words) or picture
    )
    model, _ = dense(512, 10)
    draw(ZeroPatterns(find_weights(model), (16, 32)), [3, 0])
    rows, columns, lines, *of_inputs = said
    assert (rows, columns) == ("512 inputs", "10 output units")
    assert lines == ["step 1: 3 of 5,120 zero, 0.1 %", "a square: 2 x 1 weights"]
    assert "".join([rows, columns, *lines, *of_inputs[:2], *of_inputs[2]]).isascii()
