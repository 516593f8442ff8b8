"""The hash: the same words from all backends, modes and implementations."""

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, MODES, in_mode, to_numpy
from helpers.mask_words import numpy_keys, numpy_words, to_state, triple32

from kerasreg.layers.masks import counter_hash, torch_words
from kerasreg.layers.masks.counter_hash import hash_int, hashed_words, keys_int, leading_axes
from kerasreg.layers.masks.drawing import random_words
from kerasreg.layers.masks.torch_words import PIECE_SIZE, SMALL_SIZE

# On the other backends the first is the second.
DRAWS = [random_words, hashed_words] if BACKEND == "torch" else [random_words]
STATES = [(0, 0), (1, 0), (0, 1), (2**31, 5), (2**32 - 1, 2**32 - 1), (123456789, 3)]
SHAPES = [(), (3, 0, 2), (4, 1, 5), (2 * PIECE_SIZE + 3,)]
if BACKEND == "torch":  # which alone takes a tensor in pieces
    SHAPES += [(1,), (SMALL_SIZE,), (SMALL_SIZE + 1,), (3, PIECE_SIZE // 2, 1)]
    SHAPES += [(PIECE_SIZE - 1,), (PIECE_SIZE,), (PIECE_SIZE + 1,)]
# The limit of one counter, here 64, and the number of axes that it leaves to the other.
WITH_ROWS = [((65,), 1), ((5, 3, 8), 1), ((9, 4, 2), 1), ((3, 5, 64), 2), ((2, 2, 65), 3)]


def to_words(tensor):
    return to_numpy(tensor).astype("int64")


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_words_are_those_of_numpy(shape, draw, mode):
    compiled = in_mode(mode, lambda state: draw(state, shape))
    for seed, count in STATES:
        words = compiled(to_state(seed, count))
        assert keras.backend.standardize_dtype(words.dtype) == "int32"
        assert tuple(words.shape) == shape
        np.testing.assert_array_equal(to_words(words), numpy_words(seed, count, shape))


def test_golden_words():
    """Those of the first release: a seed promises the same masks to later ones."""
    golden = {
        (0, 0): [872349886, 616451656, -219401310],
        (1, 0): [1309823500, -1831718250, 1690776169],
        (1, 1): [-701417750, 816968249, 1745676199],
        (2**32 - 1, 7): [590659320, 1223336644, -620703359],
    }
    for (seed, count), words in golden.items():
        drawn = to_words(random_words(to_state(seed, count), (2, 2)))
        np.testing.assert_array_equal(drawn.ravel()[[0, 1, 3]], words)


def test_the_hash_of_integers_is_a_permutation():
    x = np.random.default_rng(0).integers(1 << 32, size=200)
    for key in (0, 1, 0xDEADBEEF):
        np.testing.assert_array_equal([hash_int(int(i), key) for i in x], triple32(x, key))
    assert hash_int(0, 0) == 0
    assert len(np.unique(triple32(np.arange(1 << 16), 7))) == 1 << 16


@pytest.mark.parametrize(("seed", "count"), STATES)
def test_the_keys_of_integers_and_tensors_are_the_same(seed, count):
    right = [int(key) for key in numpy_keys(np.uint64(seed), np.uint64(count))]
    assert list(keys_int(seed, count)) == right
    tensors = [to_words(key) for key in counter_hash.keys(to_state(seed, count))]
    np.testing.assert_array_equal(np.mod(tensors, 1 << 32), right)


def test_other_states_have_other_words():
    """Bits agree as often as chance has it, and so they do if seed and count change places."""
    states = [(seed, count) for seed in range(5) for count in range(5)] + [(2**31, 0), (0, 2**31)]
    bits = []
    for state in states:
        words = to_words(random_words(to_state(*state), (2048,))).astype("uint32")
        bits.append(np.unpackbits(words.view("uint8")) * 2.0 - 1)
    correlation = np.array(bits) @ np.transpose(bits) / np.sqrt(len(bits[0]))
    np.fill_diagonal(correlation, 0)
    # 351 pairs: beyond 5 standard errors once in 5,000 such tests
    assert np.abs(correlation).max() < 5


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((), 0),
        ((0,), 0),
        ((1 << 32,), 0),
        (((1 << 32) + 1,), 1),
        ((1 << 16, 1 << 16), 0),
        ((2, 1 << 31), 0),
        ((3, 1 << 31), 1),
        ((3, 4, 1 << 30), 1),
        ((3, 5, 1 << 30), 2),
        ((3, 5, 1 << 32), 2),
        ((None, 1 << 33), 2),
        ((None, 1 << 32), 0),
        ((1 << 33, None), 0),
    ],
)
def test_leading_axes(shape, axes):
    assert leading_axes(shape) == axes


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize(("shape", "rows"), WITH_ROWS)
def test_more_elements_than_one_counter_has_values(shape, rows, draw, mode, monkeypatch):
    monkeypatch.setattr(counter_hash, "COUNTER_LIMIT", 64)
    monkeypatch.setattr(torch_words, "SMALL_SIZE", 0)  # which never has rows
    assert leading_axes(shape) == rows
    words = to_words(in_mode(mode, lambda state: draw(state, shape))(to_state(3, 4)))
    np.testing.assert_array_equal(words, numpy_words(3, 4, shape, rows))
    assert len(np.unique(words)) == words.size


@pytest.mark.skipif(BACKEND != "tensorflow", reason="sizes unknown to a graph are TensorFlow's")
@pytest.mark.parametrize("jit_compile", [False, True])
def test_sizes_that_a_graph_does_not_know(jit_compile):
    import tensorflow as tf

    signature = [tf.TensorSpec((None, 3, None)), tf.TensorSpec((4,), to_state(0).dtype)]

    @tf.function(input_signature=signature, jit_compile=jit_compile)
    def draw(x, state):
        return random_words(state, keras.ops.shape(x))

    for shape in [(2, 3, 4), (5, 3, 1), (0, 3, 2)]:
        words = to_words(draw(np.zeros(shape, "float32"), to_state(1, 2)))
        np.testing.assert_array_equal(words, numpy_words(1, 2, shape))
