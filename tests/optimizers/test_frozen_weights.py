"""TopK and KeepZeros with every optimizer: exact zeros, and what is frozen counts for nothing."""

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, JIT_COMPILE, to_numpy
from helpers.descent import descend, of_least_squares
from helpers.marks import first_is_fast, slow
from keras import optimizers

import kerasreg as kr


class SignDescent(optimizers.Optimizer):
    """An optimizer of a user's own."""

    def update_step(self, gradient, variable, learning_rate):
        rate = keras.ops.cast(learning_rate, variable.dtype)
        self.assign_sub(variable, rate * keras.ops.sign(gradient))


class HalfAdam(optimizers.Adam):
    """One of Keras's whose update is a user's own."""

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate / 2)


EVERY = {
    "muon": lambda rate=0.05, **k: optimizers.Muon(rate, weight_decay=None, **k),
    "lion": lambda rate=0.02, **k: optimizers.Lion(rate, **k),
    "schedule free": lambda rate=0.05, **k: optimizers.ScheduleFreeAdamW(rate, **k),
    "ftrl": lambda rate=0.3, **k: optimizers.Ftrl(rate, **k),
    "lamb": lambda rate=0.05, **k: optimizers.Lamb(rate, **k),
    "adafactor": lambda rate=0.1, **k: optimizers.Adafactor(rate, **k),
    "adadelta": lambda rate=30.0, **k: optimizers.Adadelta(rate, **k),
    "sgd": lambda rate=0.1, **k: optimizers.SGD(rate, **k),
    "momentum": lambda rate=0.05, **k: optimizers.SGD(rate, momentum=0.9, **k),
    "rmsprop": lambda rate=0.02, **k: optimizers.RMSprop(rate, **k),
    "adam": lambda rate=0.05, **k: optimizers.Adam(rate, **k),
    "adamw": lambda rate=0.05, **k: optimizers.AdamW(rate, **k),
    "adagrad": lambda rate=0.3, **k: optimizers.Adagrad(rate, **k),
    "adamax": lambda rate=0.05, **k: optimizers.Adamax(rate, **k),
    "nadam": lambda rate=0.05, **k: optimizers.Nadam(rate, **k),
    "a user's own": lambda rate=0.02, **k: SignDescent(rate, **k),
    "a user's own Adam": lambda rate=0.05, **k: HalfAdam(rate, **k),
}
PENALTIES = {
    "kept": kr.KeepZeros(),
    "chosen": kr.TopK(0.6, frequency=2, end_step=5),
    "changing": kr.TopK(0.6, frequency=2),
}
RNG = np.random.default_rng(0)
START = RNG.normal(size=(10, 3)).astype("float32") * (RNG.permutation(30).reshape(10, 3) >= 18)
X = RNG.normal(size=(64, 10))
Y = X @ RNG.normal(size=(10, 3))
of_loss = of_least_squares(X, Y)


FAST = ["muon", "ftrl", "a user's own"]


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("name", [name if name in FAST else slow(name) for name in EVERY])
def test_there_are_exactly_so_many_weights_after_every_update(name):
    weights = {key: keras.Variable(START, name=key) for key in PENALTIES}
    penalties = {f".*{key}": penalty for key, penalty in PENALTIES.items()}
    optimizer = kr.Proximal(EVERY[name](), penalties)
    for count in range(1, 9):
        before = {key: to_numpy(weight.value) for key, weight in weights.items()}
        gradients = [of_loss([weight.value])[0] for weight in weights.values()]
        optimizer.apply(gradients, [*weights.values()])
        for key, weight in weights.items():
            after = to_numpy(weight.value)
            assert np.all(np.isfinite(after)) and np.any(after != before[key])
            expected = 12
            if key == "chosen" and count < 5:
                expected += round(18 * (1 - (1 if count < 3 else 3) / 5) ** 3)
            assert np.count_nonzero(after) == expected
            if key == "kept" or (key == "chosen" and count > 5):
                np.testing.assert_array_equal(after == 0, before[key] == 0)


@pytest.mark.parametrize("jit_compile", first_is_fast(JIT_COMPILE))
@pytest.mark.skipif(not hasattr(optimizers, "MultiOptimizer"), reason="came with Keras 3.15")
def test_in_a_multi_optimizer(jit_compile):
    x, y = X.astype("float32"), Y.astype("float32")

    inside = kr.Proximal(optimizers.Muon(0.05), kr.KeepZeros())
    other = optimizers.SGD(0.1)
    optimizer = optimizers.MultiOptimizer(lambda v: inside if v.name == "kernel" else other)
    model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(3, name="only")])
    model.layers[-1].kernel.assign(START)
    model.compile(optimizer, "mse", jit_compile=jit_compile)
    for _ in range(3):
        model.train_on_batch(x, y)
        np.testing.assert_array_equal(model.get_weights()[0] == 0, START == 0)
    assert np.any(model.get_weights()[0] != START)


def least_squares_on(support):
    w = np.zeros(support.shape)
    for column, used in enumerate(support.T):
        w[used, column] = np.linalg.lstsq(X[:, used], Y[:, column])[0]
    return w


STEPS, ATOL = (500, 2e-2) if BACKEND == "torch" else (2000, 5e-5)
RATES = {"muon": 0.05, "lamb": 0.2, "adafactor": 0.1, "adam": 0.05, "ftrl": 1.0}


def refitted(name, penalty, **options):
    weight = keras.Variable(START, name="kernel")
    rate = optimizers.schedules.CosineDecay(RATES[name], STEPS)
    descend(kr.Proximal(EVERY[name](rate, **options), penalty), [weight], of_loss, STEPS)
    return to_numpy(weight.value)


@pytest.mark.parametrize("name", ["muon", *map(slow, ["lamb", "adafactor", "adam", "ftrl"])])
def test_keep_zeros_refits_the_rest(name):
    """Muon mixes the entries of a matrix, and never gets there with the gradients of all."""
    expected = least_squares_on(START != 0)
    np.testing.assert_allclose(refitted(name, kr.KeepZeros()), expected, atol=ATOL)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["muon", "ftrl"])
def test_top_k_refits_what_it_chose(name):
    found = refitted(name, kr.TopK(0.6, end_step=STEPS // 10, frequency=10))
    assert np.count_nonzero(found) == 12
    np.testing.assert_allclose(found, least_squares_on(found != 0), atol=ATOL)


CLIPS = [{"clipnorm": 0.1}, {"global_clipnorm": 0.1}, {"clipvalue": 0.1}, {}]


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("steps", [None, 2])
@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: "".join(clip))
def test_gradients_of_what_is_frozen_do_not_count(clip, steps):
    """However large: they change neither norm, momentum nor moments."""
    results = []
    for large in (0.0, 1e4):
        weights = [keras.Variable(START, name=f"kernel_{i}") for i in range(2)]
        inner = optimizers.Muon(0.1, gradient_accumulation_steps=steps, **clip)
        optimizer = kr.Proximal(inner, kr.KeepZeros())
        rng = np.random.default_rng(1)
        for _ in range(4):
            gradient = np.where(START == 0, large, 1.0) * rng.normal(size=START.shape)
            gradient = keras.ops.convert_to_tensor(gradient.astype("float32"))
            optimizer.apply([gradient, gradient], weights)
        results.append([to_numpy(w.value) for w in weights])
    np.testing.assert_array_equal(*results)
    assert np.any(results[0][0] != START)


@pytest.mark.parametrize("jit_compile", first_is_fast(JIT_COMPILE))
@pytest.mark.parametrize(
    ("used", "clip"),
    [
        ([1, 4, 7, 9], {"global_clipnorm": 0.01}),
        slow([1, 4, 7, 9], {"clipnorm": 0.01}),
        slow([1, 4, 7, 9], {"clipvalue": 0.02}),
        slow([1, 4, 4, 1], {}),  # which Keras would clip before it adds both up
    ],
)
def test_rows_of_an_embedding(used, clip, jit_compile):
    """TensorFlow's gradient has the rows in use only, one as often as it is used."""
    results = []
    for embedded in (True, False):
        keras.utils.set_random_seed(0)
        words = np.array([used])
        first = keras.layers.Embedding(10, 3, name="words")
        layers = [keras.layers.Input((4,), dtype="int32"), first]
        if not embedded:  # the same map as a product, whose gradient is dense
            words = np.eye(10, dtype="float32")[words]
            first = keras.layers.Dense(3, use_bias=False, name="words")
            layers = [keras.layers.Input((4, 10)), first]
        model = keras.Sequential([*layers, keras.layers.Flatten()])
        [table] = first.weights
        table.assign(START)
        inner = optimizers.SGD(0.5, **clip)
        model.compile(kr.Proximal(inner, {".*": kr.KeepZeros()}), "mse", jit_compile=jit_compile)
        for _ in range(3):
            model.train_on_batch(words, np.ones((1, 12), "float32"))
        results.append(model.get_weights()[0])
    np.testing.assert_allclose(*results, atol=1e-6)
    np.testing.assert_array_equal(results[0] == 0, START == 0)
    assert np.any(results[0] != START)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("name", ["muon", "sgd"])
def test_before_the_last_choice_what_was_dropped_comes_back(name):
    weight = keras.Variable(np.array([[1.0, 2.0], [3.0, 4.0]], "float32"), name="kernel")
    penalty = kr.TopK(0.5, end_step=3, frequency=1)
    optimizer = kr.Proximal(EVERY[name](rate=40.0), penalty)
    supports = []
    for count in range(5):
        gradient = np.zeros((2, 2), "float32")
        gradient[0] = [-1.0 * (count == 1), -1.0 * (count == 3)]
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [weight])
        supports.append((to_numpy(weight.value) != 0).ravel().tolist())
    assert supports[1][0] and supports[2][0]
    assert supports[2] == supports[3] == supports[4]


def test_ftrl_starts_from_the_weights_and_follows_its_learning_rate():
    """It keeps `-w` times the inverse of its step, by which plain Keras forgets both."""
    weight = keras.Variable(np.array([[1.0, 0.0, 2.0]], "float32"), name="kernel")
    optimizer = kr.Proximal(optimizers.Ftrl(0.1), kr.KeepZeros())
    for rate in (0.1, 1e-3, 1e-3):
        optimizer.learning_rate = rate  # as a callback does
        before = to_numpy(weight.value)
        optimizer.apply([keras.ops.full((1, 3), 1e-3)], [weight])
        moved = before - to_numpy(weight.value)
        step = rate * 1e-3 / 0.1**0.5
        np.testing.assert_allclose(moved, [[step, 0, step]], rtol=1e-3, atol=3e-7)
