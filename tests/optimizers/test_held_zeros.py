"""A zero leaves when its averaged gradient says so, by a reference in float64."""

import dataclasses
import warnings

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, to_numpy
from helpers.marks import first_is_fast, slow
from keras import ops, optimizers

import kerasreg as kr
from kerasreg.optimizers.held_zeros import strengths_at_zero

RATE, SHAPE = 0.05, (6, 5)
RNG = np.random.default_rng(0)
# Of the loss alone, around which those of minibatches scatter; few zeros should leave.
MEANS = np.where(RNG.random(SHAPE) < 0.3, 3.0, 0.3) * RNG.choice([-1, 1], SHAPE)
GRADIENTS = (MEANS + 2.0 * RNG.normal(size=(40, *SHAPE))).astype("float32")


def reference(gradients, strength, hold=True, groups=False):
    """SGD with L1, or the group lasso of columns, and the rule, from zeros on."""
    w, mean, earlier = (np.zeros(SHAPE) for _ in range(3))
    noise = 0.0
    for count, gradient in enumerate(np.asarray(gradients, "float64"), start=1):
        if count > 1:
            weight = max(0.05, 1 / (count - 1))
            noise += weight * (np.mean(np.square(gradient - earlier)) / 2 - noise)
        rate = 1.0
        if noise:
            rate = min(1.0, max(2 * (0.1 * strength) ** 2 / noise, 4 / count, 1e-3))
        mean, earlier = mean + rate * (gradient - mean), gradient
        zero, w = w == 0, w - RATE * gradient
        if groups:
            limit = strength * np.sqrt(len(w))
            norms = np.linalg.norm(w, axis=0)
            w = w * np.maximum(1 - RATE * limit / np.maximum(norms, 1e-30), 0)
            optimal = np.broadcast_to(np.linalg.norm(mean, axis=0) <= limit, SHAPE)
            zero = np.broadcast_to(zero.all(0), SHAPE)
        else:
            w = np.sign(w) * np.maximum(np.abs(w) - RATE * strength, 0)
            optimal = np.abs(mean) <= strength
        if hold:
            w = np.where(zero & optimal, 0, w)
    return w, np.mean((w == 0) & optimal)


def proximal(penalty, inner=None, **options):
    return kr.Proximal(inner or optimizers.SGD(RATE), {".*kernel": penalty}, **options)


def run(optimizer, gradients=GRADIENTS, start=None):
    variable = keras.Variable(np.zeros(SHAPE, "float32") if start is None else start, name="kernel")
    optimizer.build([variable])
    for gradient in gradients:
        optimizer.apply([ops.convert_to_tensor(gradient)], [variable])
    return variable


def zeros(variable):
    return int(np.sum(to_numpy(variable.value) == 0))


@dataclasses.dataclass(frozen=True)
class Own(kr.Penalty):
    """L1 as a user writes it."""

    is_separable = True
    strength: float = 0.01

    def _value(self, w):
        return self.strength * ops.sum(ops.abs(w))

    def _prox(self, w, step):
        return ops.sign(w) * ops.maximum(ops.abs(w) - step * self.strength, 0.0)

    def _residual(self, w, grad):
        at_zero = ops.sign(grad) * ops.maximum(ops.abs(grad) - self.strength, 0.0)
        return ops.where(w == 0, at_zero, grad + self.strength * ops.sign(w))


@dataclasses.dataclass(frozen=True)
class WithDistance(kr.Penalty):
    """The norm of a whole weight, of which only the distance is known."""

    strength: float = 0.01

    def _prox(self, w, step):
        norm = ops.sqrt(ops.sum(ops.square(w)))
        return w * ops.maximum(1.0 - self.strength * step / ops.maximum(norm, 1e-30), 0.0)

    def subdifferential_distance(self, w, grad):
        norm = ops.sqrt(ops.sum(ops.square(grad)))
        at_zero = ops.maximum(norm - self.strength, 0.0)
        return ops.where(ops.any(w != 0), norm, at_zero)


@dataclasses.dataclass(frozen=True)
class AlwaysOptimal(Own):
    """As a root: whatever the gradient, a zero is a minimum."""

    def _residual(self, w, grad):
        return ops.where(w == 0, ops.zeros_like(grad), grad)


SEPARABLE = [kr.L1(1.0), kr.ElasticNet(0.5, 2.0, 0.0), kr.MCP(1.0, gamma=1e9), Own(1.0)]


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("penalty", SEPARABLE, ids=lambda penalty: type(penalty).__name__)
@pytest.mark.parametrize("length", [1, 2, 5, 40])
def test_entry_by_entry(penalty, length):
    optimizer = proximal(penalty)
    found = to_numpy(run(optimizer, GRADIENTS[:length]).value)
    expected, held = reference(GRADIENTS[:length], 1.0)
    np.testing.assert_array_equal(found == 0, expected == 0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert optimizer.share_held() == pytest.approx(held)
    if length == 40:  # It is the rule that keeps them.
        assert np.sum(found == 0) > 2 * np.sum(reference(GRADIENTS, 1.0, hold=False)[0] == 0)


@pytest.mark.slow
def test_groups():
    optimizer = proximal(kr.GroupLasso(1.5))
    found = to_numpy(run(optimizer).value)
    expected, held = reference(GRADIENTS, 1.5, groups=True)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert 0 < np.sum(expected == 0) < expected.size
    assert np.sum(expected == 0) > np.sum(reference(GRADIENTS, 1.5, False, True)[0] == 0)
    assert optimizer.share_held() == pytest.approx(held)


def test_a_zero_in_a_group_that_lives_may_leave():
    start = np.zeros(SHAPE)
    start[0] = 1.0
    assert zeros(run(proximal(kr.GroupLasso(0.5)), GRADIENTS[:5], start)) == 0


def test_without_the_rule():
    optimizer = proximal(kr.L1(1.0), hold_zeros=False)
    expected, _ = reference(GRADIENTS, 1.0, hold=False)
    np.testing.assert_allclose(to_numpy(run(optimizer).value), expected, rtol=1e-4, atol=1e-5)
    assert optimizer.share_held() is None
    assert not any("mean_gradient" in variable.path for variable in optimizer.variables)


@pytest.mark.slow
def test_a_distance_of_the_whole_weight_is_enough():
    variable = keras.Variable(np.zeros(SHAPE, "float32"), name="kernel")
    assert strengths_at_zero(WithDistance(3.0), [variable]) is not None
    steady = np.full((20, *SHAPE), 0.1, "float32")  # of norm .55
    noise = 0.6 * np.random.default_rng(1).normal(size=steady.shape).astype("float32")
    noise[:5] = 0  # while the average is short
    assert zeros(run(proximal(WithDistance(3.0)), steady + noise)) == 30
    assert zeros(run(proximal(WithDistance(3.0), hold_zeros=False), steady + noise)) == 0


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    "penalty", [AlwaysOptimal(1.0), kr.L2(0.1), kr.L1(0.0), kr.KeepZeros(), kr.TopK(0.5)], ids=repr
)
def test_penalties_without_the_rule(penalty):
    start = np.ones(SHAPE)
    start[0] = 0
    optimizer = proximal(penalty)
    run(optimizer, GRADIENTS[:3], start)
    assert optimizer.share_held() is None


def test_a_zero_that_is_always_optimal_may_leave():
    assert zeros(run(proximal(AlwaysOptimal(1e-3)), GRADIENTS[:3])) == 0


@pytest.mark.parametrize(
    ("penalty", "strength"),
    [
        (kr.L1(1e-4), 1e-4),
        (kr.ElasticNet(0.5, 0.2, 3.0), 0.1),
        (kr.MCP(0.3), 0.3),
        (kr.GroupLasso(0.2), 0.2),
        (kr.GroupLasso(0.2, axis=0, size_scaling=False), 0.2 / np.sqrt(5)),
        (Own(1e5), 1e5),
    ],
    ids=repr,
)
def test_how_strongly_a_penalty_pulls_at_a_zero(penalty, strength):
    variable = keras.Variable(np.ones(SHAPE), name="kernel")
    assert strengths_at_zero(penalty, [variable]) == [pytest.approx(strength, rel=1e-3)]


@pytest.mark.slow
def test_the_gradient_is_not_clipped():
    whole, clipped = (proximal(kr.L1(1.0), optimizers.SGD(RATE, clipnorm=n)) for n in (None, 0.1))
    assert zeros(run(whole)) < zeros(run(clipped)) == 30
    means = [to_numpy(each._state.get("mean_gradient_0").value) for each in (whole, clipped)]
    np.testing.assert_array_equal(*means)


@pytest.mark.parametrize("inner", first_is_fast(["sgd", "adam"]))
def test_gradients_that_accumulate_are_one(inner):
    make = {"sgd": optimizers.SGD, "adam": optimizers.Adam}[inner]
    parts = GRADIENTS[:32].reshape(8, 4, *SHAPE)
    whole = run(proximal(kr.L1(1.0), make(RATE)), parts.mean(1))
    accumulating = proximal(kr.L1(1.0), make(RATE, gradient_accumulation_steps=4))
    found = run(accumulating, parts.reshape(32, *SHAPE))
    assert 0 < zeros(whole) < 30
    np.testing.assert_allclose(to_numpy(found.value), to_numpy(whole.value), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_loss_scale_of_the_optimizer_itself():
    scaled = proximal(kr.L1(1.0), optimizers.SGD(RATE, loss_scale_factor=64.0))
    expected, _ = reference(GRADIENTS, 1.0)
    found = to_numpy(run(scaled, 64 * GRADIENTS).value)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_rule_follows_the_strength():
    optimizer = proximal(kr.L1(0.5))
    variable = keras.Variable(np.zeros(SHAPE, "float32"), name="kernel")
    optimizer.build([variable])
    left = []
    for scale in (2.0, 8.0, 0.0):
        optimizer.strength_scale = scale
        for gradient in GRADIENTS:
            optimizer.apply([ops.convert_to_tensor(gradient)], [variable])
        left.append(zeros(variable))
    assert left[0] < left[1] and left[2] == 0
    assert optimizer.share_held() == 0


def model_of(penalty, optimizer=None, **options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5, name="dense")])
    inner = optimizer or optimizers.Adam(0.02)
    model.compile(kr.Proximal(inner, penalty, **options), "mse", jit_compile=BACKEND != "torch")
    return model


def noisy_data(rows=64):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(rows, 6)).astype("float32")
    return x, (x @ rng.normal(size=(6, 5)) * 0.1 + rng.normal(size=(rows, 5))).astype("float32")


def fit(model, epochs=1):
    model.fit(*noisy_data(), batch_size=8, epochs=epochs, shuffle=False, verbose=0)


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [kr.L1(0.05), slow(kr.GroupLasso(0.1, axis=0))], ids=repr)
def test_a_run_that_is_resumed_goes_on_as_it_was(penalty, tmp_path):
    whole, first = model_of(penalty), model_of(penalty)
    fit(whole, 6)
    fit(first, 3)
    first.save(tmp_path / "model.keras")
    second = keras.models.load_model(tmp_path / "model.keras")
    assert second.optimizer.hold_zeros
    fit(second, 3)
    assert 0 < np.sum(whole.get_weights()[0] == 0) < 30
    for one, other in zip(whole.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_a_file_without_the_averages_loads(tmp_path):
    model = model_of(kr.L1(0.2), hold_zeros=False)
    fit(model)
    config = model.optimizer.get_config()
    del config["hold_zeros"]  # which version 0.1 did not have
    fresh = kr.Proximal.from_config(config)
    assert fresh.hold_zeros
    fresh.build(model.trainable_variables)
    store = {}
    model.optimizer.save_own_variables(store)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fresh.load_own_variables({k: v for k, v in store.items() if "gradient" not in k})
    assert not np.any(to_numpy(fresh._state.get("gradients_seen").value))


@pytest.mark.parametrize("bad", [None, 1, "yes"])
def test_bad_arguments(bad):
    with pytest.raises(ValueError, match="argument `hold_zeros`. Expected.*Received: hold_zeros="):
        kr.Proximal("adam", kr.L1(), hold_zeros=bad)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "jax", reason="Keras calls it inside of a pure function there")
def test_steps_that_mixed_precision_skips_do_not_enter():
    inner = proximal(kr.L1(1.0))
    outer = optimizers.LossScaleOptimizer(inner, initial_scale=1.0, dynamic_growth_steps=1000)
    variable = keras.Variable(np.zeros(SHAPE, "float32"), name="kernel")
    outer.build([variable])
    for i, gradient in enumerate(GRADIENTS):
        scale = float(to_numpy(outer.dynamic_scale.value))
        outer.apply([ops.convert_to_tensor(scale * gradient)], [variable])
        if i % 10 == 3:
            broken = np.full(SHAPE, np.inf, "float32")
            outer.apply([ops.convert_to_tensor(broken)], [variable])
    expected, _ = reference(GRADIENTS, 1.0)
    np.testing.assert_allclose(to_numpy(variable.value), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="others have dense gradients only")
def test_slices_of_an_embedding_are_dense_gradients():
    import tensorflow as tf

    rows = [0, 2, 2]
    dense = np.zeros((8, *SHAPE), "float32")
    found = []
    for as_slices in (False, True):
        variable = keras.Variable(np.zeros(SHAPE, "float32"), name="kernel")
        optimizer = proximal(kr.L1(1.0))
        for gradient, whole in zip(GRADIENTS, dense, strict=False):
            values = gradient[:3]
            whole[:] = 0
            np.add.at(whole, rows, values)
            slices = tf.IndexedSlices(values, tf.constant(rows), tf.constant(SHAPE))
            grad = slices if as_slices else tf.constant(whole)
            optimizer.apply([grad], [variable])
        found.append(to_numpy(variable.value))
    np.testing.assert_allclose(*found, rtol=1e-6)
    assert 0 < np.sum(found[0] == 0) < 30
