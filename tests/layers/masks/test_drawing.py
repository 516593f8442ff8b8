"""Masks and noise: their values and gradients against NumPy's float64, and their distributions."""

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, MODES, gradient, in_mode, to_numpy
from helpers.marks import first_is_fast
from helpers.mask_words import WORDS, dropping, numpy_mask, numpy_scale, numpy_words, to_state
from keras import ops
from scipy import stats

from kerasreg.layers.masks import drawing
from kerasreg.layers.masks.torch_words import PIECE_SIZE, SMALL_SIZE

RATES = [0.0, 1e-9, 0.01, 0.3, 0.5, 0.9, 0.999, 1 - 1e-9, 1.0]
# JAX has no float64 unless its users ask for it.
DTYPES = ["float32", "float16", "bfloat16"] + ["float64"] * (BACKEND != "jax")
# Half the distance between neighbouring numbers, and float32's rounding of the scale.
ROUNDING = {"float16": 2**-11, "bfloat16": 2**-8, "float32": 2e-7, "float64": 2e-7}
SMALLEST = 2.0**-24  # of float16
SHAPES = [(), (0,), (60, 50)]
if BACKEND == "torch":  # which alone takes a tensor in pieces
    SHAPES += [(SMALL_SIZE + 1,), (3, PIECE_SIZE // 2 + 1)]
SIZE = 1 << 20


def values(x):
    """As NumPy's float64; TensorFlow's bfloat16 scalars are objects to NumPy."""
    return to_numpy(ops.reshape(x, (-1,))).reshape(x.shape)


def numbers(shape, dtype="float32"):
    x = np.random.default_rng(0).normal(size=shape)
    return ops.convert_to_tensor(np.asarray(x), dtype=dtype)


def second_derivative(function, x):
    """The gradient of the sum of the gradient of a scalar function."""
    if BACKEND == "jax":
        import jax

        return jax.grad(lambda x: ops.sum(jax.grad(function)(x)))(x)
    if BACKEND == "torch":
        import torch

        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(function(x), x, create_graph=True)
        return torch.autograd.grad(slope.sum(), x)[0]
    import tensorflow as tf

    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            value = function(x)
        slope = tf.reduce_sum(inner.gradient(value, x))
    return outer.gradient(slope, x)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_mask(shape, mode):
    keep_mask = in_mode(mode, lambda state: drawing.keep_mask(state, shape))
    for rate in RATES:
        mask = keep_mask(to_state(5, 6, rate))
        assert keras.backend.standardize_dtype(mask.dtype) == "bool"
        np.testing.assert_array_equal(to_numpy(mask), numpy_mask(5, 6, shape, rate))


def test_exactly_the_words_below_the_threshold_drop():
    """A rate that is the word of one element keeps it, and the next larger rate does not."""
    words = numpy_words(5, 6, (100,)).astype("int64") + WORDS // 2
    for element in (0, 99):
        for more in (0, 1):
            state = to_state(5, 6, (words[element] + more) / WORDS)
            mask = to_numpy(drawing.keep_mask(state, (100,)))
            np.testing.assert_array_equal(mask, words >= words[element] + more)
            y = to_numpy(drawing.drop(ops.ones((100,)), state))
            np.testing.assert_array_equal(y != 0, mask)


@pytest.mark.parametrize("rate", RATES)
def test_keep_probability(rate):
    keep = to_numpy(drawing.keep_probability(to_state(1, 2, rate)))
    right = 0.0 if rate == 1 else 1 - dropping(rate) / WORDS
    np.testing.assert_allclose(keep, right, rtol=1e-7)
    assert abs(keep - (1 - rate)) < 1.0 / WORDS + 1e-7 * (1 - rate)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("rescale", first_is_fast([True, False]))
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_drop(shape, dtype, rescale):
    x = numbers(shape, dtype)
    for rate in (0.0, 0.3, 0.999, 1.0):
        y = drawing.drop(x, to_state(7, 8, rate), None, rescale)
        assert keras.backend.standardize_dtype(y.dtype) == dtype
        right = values(x) * numpy_mask(7, 8, shape, rate)
        if rescale:
            right = right * numpy_scale(rate)
        tolerance = {"rtol": 1.01 * ROUNDING[dtype], "atol": SMALLEST} if rescale else {"rtol": 0}
        np.testing.assert_allclose(values(y), right, **tolerance)


def test_the_mean_is_preserved_at_a_rate_near_one():
    """By the probability that 32 bits realise, which is not `1 - rate` in float32."""
    for rate in (0.999, 1 - 1e-5):
        kept = to_numpy(drawing.drop(ops.ones((SIZE,)), to_state(1, 0, rate)))
        kept = kept[kept != 0]
        assert kept.size
        np.testing.assert_allclose(kept, numpy_scale(rate), rtol=2e-7)


@pytest.mark.parametrize("dtype", first_is_fast(DTYPES))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradient(shape, dtype):
    """Of the cube, so that a wrong mask in the backward pass does not go unseen."""
    x, state = numbers(shape, dtype), to_state(7, 8, 0.4)
    slope = gradient(lambda x: ops.sum(drawing.drop(x, state) ** 3))(x)
    assert keras.backend.standardize_dtype(slope.dtype) == dtype
    scaled = numpy_scale(0.4) * numpy_mask(7, 8, shape, 0.4)
    right = 3 * values(x) ** 2 * scaled**3
    np.testing.assert_allclose(values(slope), right, rtol=8 * ROUNDING[dtype], atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES[2:], ids=str)
def test_second_derivative(shape):
    x, state = numbers(shape), to_state(7, 8, 0.4)
    slope = second_derivative(lambda x: ops.sum(drawing.drop(x, state) ** 3), x)
    right = 6 * to_numpy(x) * (numpy_scale(0.4) * numpy_mask(7, 8, shape, 0.4)) ** 3
    np.testing.assert_allclose(to_numpy(slope), right, rtol=1e-6)


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("rate", [0.5, 1.0])
@pytest.mark.parametrize("shape", SHAPES[2:], ids=str)
def test_what_is_dropped_is_zero_whatever_it_was(shape, rate, bad):
    x, state = ops.full(shape, bad), to_state(3, 0, rate)
    kept = numpy_mask(3, 0, shape, rate) * (rate < 1) != 0
    right = np.where(kept, bad, 0.0)
    for rescale in (True, False):
        y = to_numpy(drawing.drop(x, state, None, rescale))
        np.testing.assert_array_equal(y[~kept], 0)
        if rate < 1:
            np.testing.assert_array_equal(y, right)
    slope = gradient(lambda x: ops.sum(drawing.drop(x, state) * bad))(ops.ones(shape))
    np.testing.assert_array_equal(to_numpy(slope)[~kept], 0)


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize(
    ("noise_shape", "drawn"),
    [((None, 1), (40, 1)), ((1, 30), (1, 30)), ((30,), (1, 30)), ((None, None), (40, 30))],
)
def test_noise_shape(noise_shape, drawn):
    y = to_numpy(drawing.drop(ops.ones((40, 30)), to_state(2, 3, 0.5), noise_shape))
    right = 2 * np.broadcast_to(numpy_mask(2, 3, drawn, 0.5), (40, 30))
    np.testing.assert_array_equal(y, right)


@pytest.mark.fast_cases(15)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rate", RATES)
def test_expectation(rate, dtype):
    x = numbers((5, 7), dtype)
    expected = drawing.expectation(x, to_state(0, 0, rate))
    assert keras.backend.standardize_dtype(expected.dtype) == dtype
    keep = 0.0 if rate == 1 else 1 - dropping(rate) / WORDS
    tolerance = {"rtol": 1.01 * ROUNDING[dtype], "atol": SMALLEST}
    np.testing.assert_allclose(to_numpy(expected), keep * to_numpy(x), **tolerance)
    if rate == 1:
        np.testing.assert_array_equal(
            to_numpy(drawing.expectation(x * np.inf, to_state(0, 0, 1))), 0
        )


@pytest.mark.parametrize("dtype", first_is_fast(DTYPES))
def test_noise_by_multiplication(dtype):
    x, state = numbers((300, 400), dtype), to_state(4, 1, 0.2)
    y = drawing.multiply_by_noise(x, state)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    noise = 1 + 0.5 * to_numpy(drawing.standard_normal(state, (300, 400)))
    right = to_numpy(x) * noise
    # The inverse differs between TensorFlow and XLA where it is steep.
    tolerance = {"rtol": 1.1 * ROUNDING[dtype], "atol": 2e-3}
    np.testing.assert_allclose(to_numpy(y), right, **tolerance)
    slope = gradient(lambda x: ops.sum(drawing.multiply_by_noise(x, state)))(x)
    np.testing.assert_allclose(to_numpy(slope), noise, **tolerance)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("draw", "right"),
    [(drawing.standard_normal, stats.norm()), (drawing.uniform, stats.uniform())],
    ids=["normal", "uniform"],
)
def test_distributions(draw, right):
    drawn = to_numpy(draw(to_state(11, 12), (SIZE,)))
    # Each has a chance of a thousandth, by which a seed is good or bad for ever.
    assert stats.kstest(drawn, right.cdf).pvalue > 1e-3
    for order in (1, 2, 3, 4):
        moment, square = right.moment(order), right.moment(2 * order)
        error = np.sqrt((square - moment**2) / SIZE)
        assert abs((drawn**order).mean() - moment) < 3.3 * error


def test_the_outermost_words(monkeypatch):
    words = np.array([-(2**31), 1 - 2**31, -1, 0, 1, 2**31 - 2, 2**31 - 1], "int32")
    monkeypatch.setattr(drawing, "random_words", lambda *_: ops.convert_to_tensor(words))
    normal = to_numpy(drawing.standard_normal(to_state(0), (7,)))
    assert np.all(np.diff(normal) >= 0) and 5 < normal[-1] < 6 and -6 < normal[0] < -5
    np.testing.assert_allclose(normal[2:5], 0, atol=1e-8)
    uniform = to_numpy(drawing.uniform(to_state(0), (7,)))
    # As unsigned words, with all their bits near 0, and never 1.
    expected = np.minimum(words.astype("int64") % WORDS / WORDS, 1 - 2.0**-24)
    np.testing.assert_allclose(uniform, expected, rtol=1e-7)
    assert uniform.max() < 1


def test_words_give_the_normal_numbers_of_their_quantiles():
    quantiles = (numpy_words(1, 2, (500,)).astype("float64") + WORDS / 2 + 0.5) / WORDS
    normal = to_numpy(drawing.standard_normal(to_state(1, 2), (500,)))
    np.testing.assert_allclose(normal, stats.norm.ppf(quantiles), rtol=1e-4, atol=1e-6)
