"""On TensorFlow what repeats is compiled, and draws what plain operations drew."""

import numpy as np
import pytest
from helpers.backends import BACKEND, in_mode, to_numpy
from helpers.mask_words import to_state

import kerasreg as kr
from kerasreg.layers.masks import drawing, shape_history

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="elsewhere all is compiled")


@pytest.fixture
def launches(monkeypatch):
    """Counts, in place of compiling, the calls of what would be compiled."""
    import tensorflow as tf

    calls = []

    def launch(function, x, state):
        def count(shape):
            calls.append(tuple(shape))
            return np.int32(0)

        zero = tf.numpy_function(count, [tf.shape(x)], tf.int32)
        with tf.control_dependencies([zero]):
            return tf.identity(function(x, state))

    monkeypatch.setattr(shape_history, "_launch", launch)
    return calls


def fresh_drop():
    """`drawing.drop` without what other tests have traced."""
    return shape_history.compiled_for_repeats(
        lambda x, state: drawing._drop.__wrapped__(x, state, None, True)
    )


def test_only_what_repeats_is_compiled(launches, monkeypatch):
    monkeypatch.setattr(shape_history, "SETTLED", 3 * 4 * 5)
    drop = fresh_drop()
    for _ in range(2):
        for length in range(1, 21):
            drop(np.ones((1, length, 2), "float32"), to_state(1))
    # The long ones have drawn as many numbers the first time.
    assert launches == []
    for _ in range(3):
        drop(np.ones((4, 3, 5), "float32"), to_state(1))
    assert launches == [(4, 3, 5)] * 2


@pytest.mark.slow
def test_graphs_share_a_history_and_owners_do_not(launches, monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(shape_history, "SETTLED", 30)
    drop = fresh_drop()
    x = tf.ones((3, 5))
    for owner in (1, 2):
        state = tf.concat([to_state(3), tf.zeros(4 - len(to_state(3)), to_state(3).dtype)], 0)
        state = tf.concat([state, tf.constant([owner], state.dtype)], 0)
        for count in range(4):
            tf.function(lambda x, state=state: drop(x, state))(x)
            assert len(launches) == 2 * (owner - 1) + max(0, count - 1)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    "layer", [kr.Dropout, kr.SpatialDropout1D, kr.DropPath], ids=lambda cls: cls.__name__
)
def test_compiled_masks_are_those_of_plain_operations(layer):
    x = np.random.default_rng(0).normal(size=(3, 7, 5)).astype("float32")
    one, other = layer(0.4, seed=1), layer(0.4, seed=1)
    plain = [to_numpy(one(x, training=True)) for _ in range(2)]
    launched = in_mode("compiled", lambda x: other(x, training=True))
    np.testing.assert_array_equal(plain, [to_numpy(launched(x)) for _ in range(2)])


def test_noise_changes_in_its_last_digits_only_where_it_begins_to_be_compiled():
    x = np.ones((40, 50), "float32")
    y = [to_numpy(kr.GaussianDropout(0.4, seed=1)(x, training=True)) for _ in range(2)]
    np.testing.assert_array_equal(*y)  # Each layer has its own history.
    layer = kr.GaussianDropout(0.4, seed=1)
    launched = in_mode("compiled", lambda x: layer(x, training=True))
    np.testing.assert_allclose(to_numpy(launched(x)), y[0], rtol=1e-5, atol=1e-6)


def test_a_settled_shape_is_compiled_in_earnest(monkeypatch):
    monkeypatch.setattr(shape_history, "SETTLED", 0)
    drop = shape_history.compiled_for_repeats(
        lambda x, state: drawing._drop.__wrapped__(x, state, None, True)
    )
    x = np.random.default_rng(0).normal(size=(3, 7)).astype("float32")
    y = to_numpy(drop(x, to_state(1, 2, 0.3)))
    np.testing.assert_array_equal(y, to_numpy(drawing.drop(x, to_state(1, 2, 0.3))))


def test_jacobians_and_vectorized_loops():
    import tensorflow as tf

    layer, x = kr.Dropout(0.4, seed=1), tf.ones((3, 4))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    slopes = to_numpy(tape.jacobian(y, x)).reshape(12, 12)
    np.testing.assert_array_equal(slopes, np.diag(to_numpy(y).ravel()))
    rows = tf.vectorized_map(lambda row: layer(row, training=True), x)
    assert rows.shape == (3, 4)
