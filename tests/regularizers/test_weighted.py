"""A penalty with a factor for each weight, and the array that it keeps."""

import copy
import json
import pickle

import keras
import numpy as np
import pytest
from helpers.backends import JIT_COMPILE, to_numpy
from helpers.marks import first_is_fast
from keras import ops, optimizers

import kerasreg as kr
from kerasreg.regularizers.frozen_array import FrozenArray

RNG = np.random.default_rng(0)
FACTORS = RNG.uniform(0.5, 2, size=(6, 1))


class TestFrozenArray:
    def test_it_is_a_copy_that_does_not_change(self):
        values = np.ones(3)
        kept = FrozenArray(values, "factors")
        values[0] = 5
        np.testing.assert_array_equal(kept, 1)
        with pytest.raises(ValueError, match="read-only"):
            kept.array[0] = 2

    @pytest.mark.parametrize(
        ("values", "dtype"),
        [
            ([1, 2], "float64"),
            (np.float32([1.5]), "float32"),
            (np.float16([[1.5]]), "float32"),
            (np.arange(3), "float64"),
            (2.0, "float64"),
        ],
        ids=repr,
    )
    def test_equal_by_content_and_the_same_from_its_configuration(self, values, dtype):
        one, other = (FrozenArray(values, "factors") for _ in range(2))
        assert one == other and hash(one) == hash(other) and one.array.dtype == dtype
        config = json.loads(json.dumps(one.get_config()))
        for same in (FrozenArray(config, "factors"), copy.deepcopy(one), _pickled(one)):
            assert same == one and same.array.dtype == dtype and repr(same) == repr(one)

    @pytest.mark.parametrize("other", [[1.0, 3.0], [[1.0], [2.0]], np.float32([1, 2]), [1.0]])
    def test_another_array_is_another(self, other):
        one, other = FrozenArray([1.0, 2.0], "factors"), FrozenArray(other, "factors")
        assert one != other and one != "an array"
        assert repr(one) != repr(other)

    def test_words_are_short(self):
        assert len(repr(FrozenArray(np.arange(1e5), "factors"))) < 60

    @pytest.mark.parametrize(
        "bad",
        [
            None,
            "12",
            [],
            [[1.0], [1.0, 2.0]],
            [-1.0],
            [np.nan],
            [np.inf],
            [True],
            np.array([1j]),
            {},
            {"dtype": "object", "shape": [1], "data": ""},
            {"dtype": "float64", "shape": [2], "data": "AAAAAAAA8D8="},
            {"dtype": "float64", "shape": [1], "data": "AAAAAAAA8D8"},
            {"dtype": "float64", "shape": [1], "data": "not base64"},
            {"dtype": "float64", "shape": [-1], "data": "AAAAAAAA8D8="},
            {"dtype": "float64", "shape": None, "data": "AAAAAAAA8D8="},
            {"dtype": ["float64"], "shape": [1], "data": 7},
        ],
        ids=repr,
    )
    def test_bad_arrays(self, bad):
        with pytest.raises(ValueError, match="argument `factors`. Expected .* Received: factors="):
            FrozenArray(bad, "factors")


def _pickled(x):
    return pickle.loads(pickle.dumps(x))


class Own(kr.L1):
    """Derived from a penalty with terms, with another value: the terms are no longer its own."""

    def _value(self, w):
        return 2 * super()._value(w)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((kr.GroupLasso(), FACTORS), "penalty"),
        ((kr.KeepZeros(), FACTORS), "penalty"),
        ((kr.Box(), FACTORS), "penalty"),
        ((kr.Weighted(kr.L1(), FACTORS), FACTORS), "penalty"),
        ((Own(), FACTORS), "penalty"),
        ((keras.regularizers.L1(), FACTORS), "penalty"),
        (("L1", FACTORS), "penalty"),
        ((kr.L1(), -FACTORS), "factors"),
    ],
    ids=["group", "constraint", "box", "twice", "own value", "keras", "name", "negative"],
)
def test_bad_arguments(arguments, name):
    with pytest.raises(ValueError, match=f"Invalid value for argument `{name}`. Expected"):
        kr.Weighted(*arguments)


def test_a_damaged_configuration():
    config = kr.Weighted(kr.L1(), FACTORS).get_config()
    with pytest.raises(ValueError, match="argument `factors`"):
        kr.Weighted.from_config({**config, "factors": {**config["factors"], "shape": [7, 1]}})
    with pytest.raises(ValueError, match="argument `penalty`"):
        kr.Weighted.from_config({**config, "penalty": kr.GroupLasso()})


def test_equal_by_content():
    one, other = (kr.Weighted(kr.L1(0.1), FACTORS.copy()) for _ in range(2))
    assert one == other and hash(one) == hash(other)
    assert one != kr.Weighted(kr.L1(0.2), FACTORS) != kr.Weighted(kr.L1(0.2), 2 * FACTORS)
    assert one.main_strength == 0.1 and one.has_kink
    assert not kr.Weighted(kr.L1(0.1), 0.0).has_kink and not kr.Weighted(kr.L2(), 1.0).has_kink


@pytest.mark.parametrize("shape", [(5, 1), (6, 5, 1), (7,)])
def test_factors_that_do_not_fit(shape):
    penalty = kr.Weighted(kr.L1(), np.ones(shape))
    message = r"argument `factors`.*broadcasts to \(6, 5\). Received"
    with pytest.raises(ValueError, match=message):
        penalty(np.ones((6, 5), "float32"))
    layer = keras.layers.Dense(5, kernel_regularizer=penalty, name="dense")
    layer.build((None, 6))
    with pytest.raises(ValueError, match="of Weighted on weight `dense/kernel`"):
        _ = layer.losses
    layer = keras.layers.Dense(5, name="dense")
    layer.build((None, 6))
    with pytest.raises(ValueError, match="of Weighted on weight `dense/kernel`"):
        kr.Proximal(optimizers.SGD(), penalty).build(layer.trainable_variables)


@pytest.mark.parametrize("positive", [False, True])
def test_an_entry_of_factor_zero_is_free(positive):
    penalty = kr.Weighted(kr.L1(0.5, positive=positive), [1.0, 0.0, 2.0])
    w, grad = np.float32([3, -3, 0]), np.float32([0.25, 0.25, 1.5])
    z = to_numpy(penalty.prox(w, 2.0))
    np.testing.assert_array_equal(z, [2, 0 if positive else -3, 0])
    residual = penalty.subdifferential_distance(w, grad)
    expected = np.hypot(0.75, 0.25) if positive else np.linalg.norm([0.75, 0.25, 0.5])
    np.testing.assert_allclose(to_numpy(residual), expected, rtol=1e-6)
    free = np.float32([0, 5, 0])  # which no strength would hold at zero, and none is asked for
    assert float(to_numpy(penalty.dual_norm(free))) == 0
    np.testing.assert_array_equal(penalty.unpenalised((2, 3)), [[False, True, False]] * 2)


@pytest.mark.parametrize("jit_compile", first_is_fast(JIT_COMPILE))
@pytest.mark.parametrize("optimizer", first_is_fast([optimizers.Adam, optimizers.SGD]))
@pytest.mark.parametrize("shape", first_is_fast([(700, 800), (700, 1), (1,)]), ids=str)
def test_after_an_update_of_every_kind(optimizer, shape, jit_compile):
    """As its proximal operator, in the pieces of a large weight too."""
    factors = RNG.uniform(0, 2, size=shape)
    kernel = RNG.normal(size=(700, 800)).astype("float32")
    x = RNG.normal(size=(2, 700)).astype("float32")
    results = []
    for penalty in (kr.L1(1e-3), kr.Weighted(kr.L1(1e-3), np.ones(shape))):
        results.append(_updated(penalty, optimizer(0.1), kernel, x, jit_compile))
    np.testing.assert_allclose(*results, atol=1e-6)
    if optimizer is optimizers.SGD:
        plain = _updated(kr.L1(0.0), optimizer(0.1), kernel, x, jit_compile)
        found = _updated(kr.Weighted(kr.L1(1e-3), factors), optimizer(0.1), kernel, x, jit_compile)
        threshold = 0.1 * 1e-3 * factors
        expected = np.sign(plain) * np.maximum(np.abs(plain) - threshold, 0)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def _updated(penalty, optimizer, kernel, x, jit_compile):
    model = keras.Sequential([keras.Input((700,)), keras.layers.Dense(800, use_bias=False)])
    model.layers[0].kernel.assign(kernel)
    model.compile(kr.Proximal(optimizer, penalty), "mse", jit_compile=jit_compile)
    model.train_on_batch(x, np.zeros((2, 800), "float32"))
    return model.get_weights()[0]


def linear(n, penalty=None, optimizer=None):
    layer = keras.layers.Dense(1, kernel_regularizer=penalty, name="dense")
    model = keras.Sequential([keras.Input((n,)), layer])
    model.compile(optimizer or optimizers.SGD(0.1), "mse")
    return model


X = RNG.normal(size=(40, 6)).astype("float32")
Y = (X @ [3.0, 1.0, 0.0, 0.0, 0.5, 0.0] + 0.1 * RNG.normal(size=40)).astype("float32")[:, None]


def test_the_largest_strength_fits_what_is_free():
    """With the first column in the model whatever the strength, as in glmnet."""
    factors = np.array([[0.0], [1.0], [1.0], [2.0], [1.0], [1.0]])
    found = kr.max_strength(linear(6), X, Y, kr.Weighted(kr.L1(0.1), factors))
    free = np.column_stack([X[:, 0], np.ones(40)]).astype("float64")
    rest = Y - free @ np.linalg.lstsq(free, Y, rcond=None)[0]
    expected = np.max(2 / 40 * np.abs(X[:, 1:].T @ rest) / factors[1:])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.slow
def test_a_path_in_which_the_free_entry_stays():
    factors = np.array([[0.0], [1.0], [1.0], [2.0], [1.0], [1.0]])
    path = kr.regularization_path(
        linear(6), kr.Weighted(kr.L1(0.1), factors), X, Y, n_strengths=3, min_ratio=0.05, verbose=0
    )
    first, *_, last = (row.sparsity for row in path.rows)
    np.testing.assert_allclose(first, 5 / 6)
    assert last < first


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("place", ["loss", "proximal"])
def test_schedule_report_and_file(place, tmp_path):
    penalty = kr.Weighted(kr.L1(0.1), FACTORS)
    inside = place == "loss"
    model = linear(6, penalty if inside else None, None if inside else _proximal(penalty))
    logger = kr.RegularizationLogger(
        tmp_path / "log", optimality_data=(X, Y), verbose=0, in_logs="all"
    )
    scheduler = kr.StrengthScheduler(lambda epoch: 2.0 + epoch)
    history = model.fit(X, Y, epochs=2, verbose=0, callbacks=[scheduler, logger]).history
    value = 3 * float(to_numpy(penalty(model.get_weights()[0])))
    np.testing.assert_allclose(history["regularization_loss"][-1], value, rtol=1e-5)
    words = kr.sparsity_report(model).rows[0].penalty
    assert words.startswith("Weighted(penalty=L1(l1=0.1), factors=<(6, 1), ") and len(words) < 110
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    found = loaded.layers[0].kernel_regularizer if inside else loaded.optimizer.penalty
    assert found == penalty


def _proximal(penalty):
    return kr.Proximal(optimizers.Adam(0.1), penalty)


@keras.saving.register_keras_serializable("kerasreg_tests")
class Cubes(kr.Penalty):
    """A penalty of one's own, with what `Weighted` asks for."""

    is_separable = True
    has_kink = False
    main_strength = 1.0

    def _terms(self, w):
        return ops.abs(w) ** 3

    def _value(self, w):
        return ops.sum(self._terms(w))


def test_a_penalty_of_ones_own():
    penalty = kr.Weighted(Cubes(), [1.0, 2.0])
    np.testing.assert_allclose(to_numpy(penalty(np.float32([2, -1]))), 8 + 2, rtol=1e-6)
    assert keras.regularizers.get(keras.regularizers.serialize(penalty)) == penalty
