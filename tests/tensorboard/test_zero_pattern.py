"""Pictures of zeros, decoded by Pillow and held against the weights."""

import io

import keras
import numpy as np
import pytest
from PIL import Image
from tensorboard.compat.proto import summary_pb2

from kerasreg.tensorboard.zero_pattern import ZeroPatterns, check_input_shape
from kerasreg.weights import find_weights


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
    summary = summary_pb2.Summary()
    patterns.add_to(summary, step, zeros, final)
    found = {}
    for value in summary.value:
        width, height, png = value.tensor.string_val
        image = Image.open(io.BytesIO(png))
        assert image.size == (int(width), int(height))
        found[value.tag] = np.asarray(image)
    return found


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
    np.testing.assert_array_equal(drawn["zero_pattern/first/kernel"], framed(fractions, scale))
    assert max(drawn["zero_pattern/first/kernel"].shape) <= 258


def test_only_a_block_of_zeros_is_black():
    model, values = dense(4096, 256)
    values[:] = 0
    values[5, 7] = 1e-30
    model.layers[0].kernel.assign(values)
    picture = draw(ZeroPatterns(find_weights(model), None), [0, 0])["zero_pattern/first/kernel"]
    assert np.argwhere(picture[1:-1, 1:-1]).tolist() == [[0, 7]]


@pytest.mark.parametrize("input_shape", [(4, 6), (4, 6, 1), (2, 4, 3), (3, 4, 2)])
def test_inputs(input_shape):
    model, values = dense(24, 5)
    patterns = ZeroPatterns(find_weights(model), input_shape)
    picture = draw(patterns, [0, 0])["zero_pattern/first/kernel/inputs"]
    fractions = np.mean(values != 0, axis=1).reshape(input_shape)
    if len(input_shape) == 3 and input_shape[2] != 3:
        fractions = fractions.mean(axis=2)
    side = 256 // max(input_shape[:2])
    np.testing.assert_array_equal(picture, framed(fractions, (side, side)))


def test_drawn_again_when_the_number_of_zeros_changes():
    layers = [keras.layers.Dense(n, name=name) for n, name in ((3, "one"), (2, "two"))]
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(1, 4), *layers])
    weights = find_weights(model)
    assert [w.name.split("/")[-1] for w in weights] == ["kernel", "bias"] * 3
    patterns = ZeroPatterns(weights, (1, 1))
    one, two = "zero_pattern/one/kernel", "zero_pattern/two/kernel"
    inputs = f"{one}/inputs"
    assert set(draw(patterns, [0, 1, 0, 3, 0, 2])) == {one, inputs, two}
    assert set(draw(patterns, [5, 0, 0, 0, 0, 0])) == set()
    assert set(draw(patterns, [5, 0, 0, 0, 1, 0])) == {two}
    assert set(draw(patterns, [5, 0, 2, 0, 1, 0])) == {one, inputs}
    assert set(draw(patterns, [5, 0, 2, 0, 1, 0])) == set()
    assert not draw(patterns, [5, 0, 2, 0, 1, 0], final=True)  # drawn at this step already
    assert set(draw(patterns, [5, 0, 2, 0, 1, 0], final=True, step=2)) == {one, inputs, two}


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
    assert "\n  first/kernel: 24\n" in str(caught.value)
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
    summary = summary_pb2.Summary()
    ZeroPatterns(find_weights(model), None).add_to(summary, 0, [0, 0])
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
