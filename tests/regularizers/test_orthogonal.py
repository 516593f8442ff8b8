"""The penalty on what is not orthogonal is Keras's, in wide sums."""

import keras
import numpy as np
import pytest
from helpers.backends import MODES, gradient, in_mode, to_numpy
from helpers.marks import first_is_fast

import kerasreg as kr
from kerasreg.regularizers.from_keras import as_penalty

SHAPES = [(6, 4), (4, 6), (2, 3)]


@pytest.mark.parametrize("mode", first_is_fast(MODES))
@pytest.mark.parametrize("which", ["rows", "columns"])
@pytest.mark.parametrize("shape", SHAPES)
def test_value_gradient_and_distance_are_those_of_keras(shape, which, mode):
    w = keras.ops.convert_to_tensor(np.random.default_rng(0).normal(size=shape).astype("float32"))
    own = kr.OrthogonalRegularizer(0.25, which)
    of_keras = keras.regularizers.OrthogonalRegularizer(0.25, which)
    np.testing.assert_allclose(to_numpy(in_mode(mode, own)(w)), to_numpy(of_keras(w)), rtol=1e-6)
    slope = to_numpy(in_mode(mode, gradient(own))(w))
    np.testing.assert_allclose(slope, to_numpy(gradient(of_keras)(w)), rtol=1e-5, atol=1e-7)
    assert float(to_numpy(own.subdifferential_distance(w, -slope.astype("float32")))) < 1e-6
    assert as_penalty(of_keras) == own


def test_wide_sums():
    w = np.ones((300, 3), "float16")  # of which Keras's own sum is infinite, or an error
    np.testing.assert_allclose(to_numpy(kr.OrthogonalRegularizer(1.0)(w)), 1, rtol=1e-5)


@pytest.mark.parametrize("w", [np.eye(3), np.zeros((3, 3)), np.ones((1, 4))], ids=str)
def test_nothing_to_penalise(w):
    penalty = kr.OrthogonalRegularizer(1.0)
    w = w.astype("float32")
    assert float(to_numpy(penalty(w))) == 0
    np.testing.assert_array_equal(to_numpy(gradient(penalty)(keras.ops.convert_to_tensor(w))), 0)


def test_what_it_answers():
    penalty = kr.OrthogonalRegularizer(0.1, mode="columns")
    assert not penalty.has_kink and penalty.main_strength == 0.1
    assert keras.regularizers.get(keras.regularizers.serialize(penalty)) == penalty
    with pytest.raises(ValueError, match="`penalty`. Expected a penalty with a proximal operator"):
        kr.Proximal("sgd", penalty)


def test_bad_arguments():
    with pytest.raises(ValueError, match="argument `mode`. Expected one of 'rows', 'columns'"):
        kr.OrthogonalRegularizer(mode="diagonals")
    layer = keras.layers.Conv1D(2, 3, kernel_regularizer=kr.OrthogonalRegularizer(), name="conv")
    layer.build((None, 5, 4))
    with pytest.raises(ValueError, match="`shape` of OrthogonalRegularizer on weight `conv/kernel"):
        _ = layer.losses
    with pytest.raises(ValueError, match="Expected a matrix"):
        kr.OrthogonalRegularizer()(np.ones(3, "float32"))


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("where", ["own", "keras"])
def test_a_schedule_of_its_strength(where):
    penalties = {"own": kr.OrthogonalRegularizer, "keras": keras.regularizers.OrthogonalRegularizer}
    layer = keras.layers.Dense(3, kernel_regularizer=penalties[where](0.5))
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile("sgd", "mse")
    x = np.zeros((8, 4), "float32")
    scheduler = kr.StrengthScheduler(lambda epoch: 4.0)
    loss = model.fit(x, x[:, :3], epochs=1, verbose=0, callbacks=[scheduler]).history["loss"][0]
    value = 4 * float(to_numpy(penalties["own"](0.5)(model.get_weights()[0])))
    np.testing.assert_allclose(loss, value, rtol=0.05)
