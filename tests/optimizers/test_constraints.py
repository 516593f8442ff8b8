"""TopK and KeepZeros within `Proximal`: which weights are zero after which update."""

import contextlib

import keras
import numpy as np
import pytest
from helpers.backends import JIT_COMPILE, to_numpy
from helpers.marks import first_is_fast, slow
from keras import optimizers

import kerasreg as kr

SHAPES = [(6, 5), (5, 4)]
LR, BETA_2, EPSILON = 0.05, 0.999, 1e-7


def kept(size, penalty, count):
    """How many of `size` weights the schedule leaves after update number `count`."""
    first, last = penalty.initial_sparsity, penalty.sparsity
    if not penalty.end_step:
        return int(size * (1 - last) + 1e-6)
    progress = (count - penalty.begin_step) / (penalty.end_step - penalty.begin_step)
    rest = (1 - min(progress, 1)) ** penalty.power
    low, high = (int(size * (1 - s) + 1e-6) for s in (last, first))
    return low + round((high - low) * rest)


def largest(saliencies, count):
    flat = np.concatenate([s.ravel() for s in saliencies])
    limit = np.sort(flat)[::-1][count - 1]
    return [s >= limit for s in saliencies]


def expected_weights(weights, gradients, penalty, adam):
    """The weights after each update, by the definition, in float64."""
    weights = [w.astype("float64") for w in weights]
    m, v = ([np.zeros_like(w) for w in weights] for _ in range(2))
    result = []
    for count, grads in enumerate(gradients, start=1):
        masks = [w != 0 for w in weights]
        steps = [LR] * len(weights)
        for i, g in enumerate(grads):
            if adam:
                m[i] = 0.9 * m[i] + 0.1 * g
                v[i] = BETA_2 * v[i] + (1 - BETA_2) * g**2
                rate = LR * np.sqrt(1 - BETA_2**count)
                steps[i] = rate / (np.sqrt(v[i]) + EPSILON)
                weights[i] = weights[i] - steps[i] * m[i] / (1 - 0.9**count)
            else:
                weights[i] = weights[i] - LR * g
        since = count - penalty.begin_step - 1
        if since < 0:
            masks = [np.ones_like(mask) for mask in masks]
        elif since % penalty.frequency == 0 or count == penalty.end_step:
            if penalty.saliency == "metric":
                saliencies = [w**2 / d for w, d in zip(weights, steps, strict=True)]
            elif penalty.scope == "global":
                saliencies = [np.abs(w) / np.sqrt(np.mean(w**2)) for w in weights]
            else:
                saliencies = [np.abs(w) for w in weights]
            if penalty.scope == "global":
                masks = largest(saliencies, kept(sum(w.size for w in weights), penalty, count))
            else:
                masks = [largest([s], kept(s.size, penalty, count))[0] for s in saliencies]
        weights = [w * mask for w, mask in zip(weights, masks, strict=True)]
        result.append(list(weights))
    return result


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("penalty", "adam"),
    [
        (kr.TopK(0.5, frequency=3), False),
        (kr.TopK(0.8, saliency="metric", frequency=4, initial_sparsity=0.2, end_step=10), True),
        (kr.TopK(0.8, scope="global", frequency=2, begin_step=3, end_step=8, power=1.0), True),
        (kr.TopK(0.7, scope="global", saliency="metric", frequency=5, end_step=8), True),
        (kr.TopK(0.7, scope="global", saliency="metric", frequency=5), False),
    ],
)
def test_every_update_is_that_of_the_definition(penalty, adam):
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=shape).astype("float32") for shape in SHAPES]
    # Of very different sizes, so that magnitude and metric choose differently.
    scales = [10.0 ** rng.uniform(-2, 1, size=shape) for shape in SHAPES]
    gradients = [
        [(rng.normal(size=s.shape) * s).astype("float32") for s in scales] for _ in range(14)
    ]
    variables = [keras.Variable(w, name=f"w{i}") for i, w in enumerate(weights)]
    inner = optimizers.Adam(LR) if adam else optimizers.SGD(LR)
    optimizer = kr.Proximal(inner, penalty)
    expected = expected_weights(weights, gradients, penalty, adam)
    for grads, right in zip(gradients, expected, strict=True):
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in grads], variables)
        for variable, w in zip(variables, right, strict=True):
            np.testing.assert_array_equal(to_numpy(variable.value) == 0, w == 0)
            np.testing.assert_allclose(to_numpy(variable.value), w, rtol=2e-4, atol=1e-5)


def problem():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(64, 10)).astype("float32")
    return x, (x @ rng.normal(size=(10, 3))).astype("float32")


def linear_model(optimizer, **kwargs):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(3, name="only")])
    model.compile(optimizer, "mse", **kwargs)
    return model


@pytest.mark.parametrize("jit_compile", first_is_fast(JIT_COMPILE))
def test_a_schedule_ends_on_its_sparsity_and_stays_there(jit_compile):
    x, y = problem()
    penalty = kr.TopK(0.8, end_step=37, frequency=10)
    model = linear_model(kr.Proximal(optimizers.Adam(0.05), penalty), jit_compile=jit_compile)
    counts = []
    for step in range(48):
        start = step * 8 % 64
        model.train_on_batch(x[start : start + 8], y[start : start + 8])
        counts.append(np.count_nonzero(kernel(model)))
    first = kept(30, penalty, 1)
    assert counts[0] == counts[9] == first > counts[10] == counts[19] > counts[20] > counts[36]
    assert set(counts[36:]) == {6}


def kernel(model):
    return model.get_weights()[0]  # on JAX this brings the weights up to date


@pytest.mark.parametrize("jit_compile", first_is_fast(JIT_COMPILE))
@pytest.mark.parametrize(
    "inner",
    [
        lambda: optimizers.SGD(0.05, momentum=0.9),
        slow(lambda: optimizers.AdamW(0.05)),
        slow(lambda: optimizers.RMSprop(0.01, momentum=0.5)),
    ],
)
def test_keep_zeros_refits_the_support(inner, jit_compile):
    """Zeros stay, the rest goes to the least squares solution on the support."""
    x, y = problem()
    model = linear_model(kr.Proximal(optimizers.Adam(0.05), kr.L1(0.5)), jit_compile=jit_compile)
    for _ in range(60):
        model.train_on_batch(x, y)
    zeros = kernel(model) == 0
    assert 3 <= zeros.sum() <= 27
    model.compile(kr.Proximal(inner(), kr.KeepZeros()), "mse", jit_compile=jit_compile)
    model.optimizer.strength_scale = 0.0  # a constraint has no strength
    rates = np.geomspace(1, 1e-2, 300)
    start = model.optimizer.learning_rate * 1.0
    for rate in rates:
        model.optimizer.learning_rate = start * rate
        model.train_on_batch(x, y)
    w = kernel(model)
    np.testing.assert_array_equal(w == 0, zeros)
    for unit in range(3):
        chosen = np.column_stack([x[:, ~zeros[:, unit]], np.ones(64)])
        solution = np.linalg.lstsq(chosen, y[:, unit], rcond=None)[0]
        np.testing.assert_allclose(w[~zeros[:, unit], unit], solution[:-1], atol=2e-2)


@pytest.mark.parametrize("penalty", [slow(kr.TopK(0.5, frequency=2)), kr.KeepZeros()])
def test_gradient_accumulation(penalty):
    """Between real updates nothing moves, and the whole equals training on the larger batch."""
    x, y = problem()
    models = []
    for steps, batch in ((None, 32), (4, 8)):
        inner = optimizers.Adam(0.05, gradient_accumulation_steps=steps)
        model = linear_model(kr.Proximal(inner, penalty))
        model.layers[0].kernel.assign(kernel(model) * (np.abs(kernel(model)) > 0.2))
        for start in range(0, 64, batch):
            before = kernel(model)
            model.train_on_batch(x[start : start + batch], y[start : start + batch])
            unchanged = np.array_equal(before, kernel(model))
            assert unchanged == (steps is not None and (start // batch) % 4 != 3)
        models.append(model)
    one, other = (kernel(model) for model in models)
    np.testing.assert_allclose(one, other, atol=1e-5)
    np.testing.assert_array_equal(one == 0, other == 0)


def test_equal_penalties_share_their_scope():
    """`scope="global"` is over all weights with the penalty, also from two patterns."""
    rng = np.random.default_rng(0)
    model = keras.Sequential(
        [keras.Input((10,)), keras.layers.Dense(8, name="a"), keras.layers.Dense(2, name="b")]
    )
    a, b = (layer.kernel for layer in model.layers)
    a.assign(np.ones((10, 8)) + rng.normal(size=(10, 8)) * 0.1)
    penalty = kr.TopK(0.5, scope="global", saliency="metric")
    twin = kr.TopK(0.5, scope="global", saliency="metric")
    optimizer = kr.Proximal(optimizers.SGD(1e-6), {".*a/kernel": penalty, ".*b/kernel": twin})
    b.assign(np.full((8, 2), 0.01))
    optimizer.apply([keras.ops.ones(v.shape) for v in model.variables], model.trainable_variables)
    assert np.count_nonzero(to_numpy(a.value)) == 48 and np.all(to_numpy(b.value) == 0)


def test_a_learning_rate_of_zero_prunes_by_magnitude():
    w = np.arange(1, 13, dtype="float32").reshape(3, 4)
    variable = keras.Variable(w)
    optimizer = kr.Proximal(optimizers.Adam(0.0), kr.TopK(0.5, saliency="metric"))
    optimizer.apply([keras.ops.ones((3, 4))], [variable])
    np.testing.assert_array_equal(to_numpy(variable.value), w * (w > 6))


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [slow(kr.TopK(0.0)), kr.TopK(0.2, frequency=1000)])
def test_zeros_that_are_kept_go_on_training(penalty):
    """Weights that start at zero, and get their first gradient after the first selection."""
    x, y = problem()
    x[:32, 5:], x[32:, :5] = 0, 0
    kernels = []
    for optimizer in (optimizers.SGD(0.05), kr.Proximal(optimizers.SGD(0.05), penalty)):
        layer = keras.layers.Dense(3, kernel_initializer="zeros")
        model = keras.Sequential([keras.Input((10,)), layer])
        model.compile(optimizer, "mse")
        model.fit(x, y, batch_size=32, epochs=20, shuffle=False, verbose=0)
        kernels.append(kernel(model))
    free, kept = kernels
    if penalty.sparsity == 0:
        np.testing.assert_allclose(kept, free, rtol=1e-5)
    assert np.count_nonzero(kept) == round(30 * (1 - penalty.sparsity))
    assert np.count_nonzero(np.abs(kept) > 1e-3) >= 20


def test_a_kept_weight_that_passes_through_zero_is_not_lost():
    variable = keras.Variable(np.array([[0.5, 0.0, 2.0]], "float32"))
    optimizer = kr.Proximal(optimizers.SGD(0.5), kr.KeepZeros())
    for _ in range(2):
        optimizer.apply([keras.ops.ones((1, 3))], [variable])
    np.testing.assert_allclose(to_numpy(variable.value), [[-0.5, 0, 1]], atol=1e-30)


def apply(penalty, *values, updates=1):
    """Weights of some values after updates that do not move them."""
    variables = [keras.Variable(np.array(v, "float32"), name=f"w{i}") for i, v in enumerate(values)]
    optimizer = kr.Proximal(optimizers.SGD(0.0), {".*": penalty})
    for _ in range(updates):
        optimizer.apply([keras.ops.ones(v.shape) for v in variables], variables)
    return [to_numpy(variable.value) for variable in variables]


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([[1e20, 6], [7, 8]], [[True, False], [False, True]]),  # the square is beyond float32
        ([[1e-25, 6e-30], [7, 8]], [[False, False], [True, True]]),
        ([[1e-25, 6e-30], [7e-28, 8e-28]], [[True, False], [False, True]]),  # and below it
        ([[3e38, 1e38], [7, 8]], [[True, False], [False, True]]),
    ],
)
def test_the_global_scope_compares_sizes_of_any_range(values, kept):
    sizes = [np.abs(np.array(v, "float64")) for v in values]
    relative = [s / np.sqrt(np.mean(s**2)) for s in sizes]
    expected = largest(relative, 2)
    found = apply(kr.TopK(0.5, scope="global"), *values)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a != 0, b)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("broken", [np.inf, np.nan])
@pytest.mark.parametrize("scope", ["weight", "global"])
def test_a_divergence_is_not_hidden(scope, broken):
    found = apply(kr.TopK(0.5, scope=scope), [1.0, broken, 3.0, 4.0], [5.0, 6.0])
    assert not np.isfinite(found[0][1])
    assert np.count_nonzero(found[0]) + np.count_nonzero(found[1]) == 3


def test_a_weight_that_is_too_small_for_the_sparsity_is_warned_of():
    with pytest.warns(UserWarning, match="none of the 4 weights of `.*w0`; one is kept"):
        (w,) = apply(kr.TopK(0.9), [1.0, 4.0, 2.0, 3.0])
    np.testing.assert_array_equal(w, [0, 4, 0, 0])


@pytest.mark.slow
def test_a_weight_that_the_global_scope_drops_is_named_after_training():
    x, y = problem()
    model = keras.Sequential(
        [keras.Input((10,)), keras.layers.Dense(4, name="a"), keras.layers.Dense(3, name="b")]
    )
    model.get_layer("b").kernel.assign(np.eye(4, 3))  # few of the same size are large
    model.get_layer("a").kernel.assign(np.full((10, 4), 0.1))
    model.compile(kr.Proximal(optimizers.SGD(0.0), kr.TopK(0.95, scope="global")), "mse")
    with pytest.warns(UserWarning, match="dropped all of `.*a/kernel`"):
        model.fit(x, y, epochs=1, verbose=0)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(("freeze", "end_step"), [(True, 4), (False, 4), (True, 0)])
def test_the_support_is_frozen_at_the_end_of_the_schedule(freeze, end_step):
    """A weight that has been dropped grows, by its gradient in one update, beyond the others."""
    penalty = kr.TopK(0.5, end_step=end_step, frequency=2, freeze=freeze)
    weight = keras.Variable(np.array([1.0, 2.0, 3.0, 4.0], "float32"), name="kernel")
    optimizer, supports = kr.Proximal(optimizers.SGD(1.0), {".*": penalty}), []
    for count in range(8):
        gradient = [-10.0 if count >= 5 else 0.0, 0.0, 0.0, 1e-3]
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [weight])
        supports.append((to_numpy(weight.value) != 0).tolist())
    assert supports[5] == [False, False, True, True]
    frozen = freeze and end_step > 0
    assert supports[-1] == ([False, False, True, True] if frozen else [True, False, False, True])


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("scope", ["weight", "global"])
@pytest.mark.parametrize("saliency", ["magnitude", "metric"])
def test_empty_weights(scope, saliency):
    penalty = kr.TopK(0.5, scope=scope, saliency=saliency)
    empty, full = apply(penalty, np.zeros((0, 3)), [[1.0, 4.0, 2.0, 3.0]], updates=2)
    assert empty.shape == (0, 3)
    np.testing.assert_array_equal(full, [[0, 4, 0, 3]])
    penalty.after_training(keras.Variable(np.zeros((0, 3))))  # warns of none
    (empty,) = apply(penalty, np.zeros((0, 3)))
    assert empty.shape == (0, 3)


class Adapted(keras.layers.Layer):
    """A frozen kernel and the two factors of LoRA, the second of which starts at zero."""

    def build(self, shape):
        def add(name, size, initializer, trainable=True):
            return self.add_weight(size, initializer, name=name, trainable=trainable)

        self.kernel = add("kernel", (shape[-1], 3), "zeros", trainable=False)
        self.a = add("a", (shape[-1], 2), "glorot_uniform")
        self.b = add("b", (2, 3), "zeros")

    def call(self, x):
        return x @ self.kernel + x @ self.a @ self.b


def adapted(penalty, **options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((10,)), Adapted(name="adapted")])
    model.compile(kr.Proximal(optimizers.Adam(0.05), penalty), "mse", **options)
    return model


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("jit_compile", first_is_fast(JIT_COMPILE))
@pytest.mark.parametrize("all_zero", ["free", "keep"])
def test_what_is_all_zero_at_the_start(all_zero, jit_compile):
    x, y = problem()
    model, plain = adapted(kr.KeepZeros(all_zero), jit_compile=jit_compile), adapted(kr.L1(0.0))
    with contextlib.ExitStack() as stack:
        if all_zero == "free":
            stack.enter_context(pytest.warns(UserWarning, match="adapted/b` are zero, .*all_zero="))
        losses = model.fit(x, y, epochs=5, shuffle=False, verbose=0).history["loss"]
    b = to_numpy(model.layers[-1].b.value)
    if all_zero == "keep":
        assert not b.any()
        return
    expected = plain.fit(x, y, epochs=5, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(losses, expected, 1e-5)
    assert b.all() and losses[-1] < 0.9 * losses[0]


def test_it_is_decided_once():
    """Or what has no gradient in the first update would stay at zero."""
    weight = keras.Variable(np.zeros((2, 2)), name="kernel")
    optimizer = kr.Proximal(optimizers.SGD(1.0), kr.KeepZeros())
    with pytest.warns(UserWarning, match="leaves it free"):
        optimizer.build([weight])
    for gradient in ([[-1.0, 0.0], [0.0, 0.0]], [[0.0, -1.0], [0.0, -1.0]]):
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [weight])
    np.testing.assert_array_equal(to_numpy(weight.value), [[1, 1], [0, 1]])


@pytest.mark.filterwarnings("ignore:All entries of")
def test_the_saved_state_remembers_what_was_free(tmp_path):
    def optimizer_of(values):
        weight = keras.Variable(np.array(values, "float32"), name="kernel")
        optimizer = kr.Proximal(optimizers.SGD(1.0), kr.KeepZeros())
        optimizer.build([weight])
        return optimizer, weight

    for start, free in (([[0.0, 0.0]], True), ([[1.0, 0.0]], False)):
        store = {}
        optimizer_of(start)[0].save_own_variables(store)
        for now in ([[0.0, 0.0]], [[2.0, 0.0]]):
            loaded, weight = optimizer_of(now)
            loaded.load_own_variables(store)
            loaded.apply([keras.ops.full((1, 2), -1.0)], [weight])
            assert bool(to_numpy(weight.value)[0, 1]) == free


@pytest.mark.parametrize("bad", ["freed", None, True])
def test_a_bad_choice_for_what_is_all_zero(bad):
    with pytest.raises(ValueError, match="argument `all_zero`. Expected one of 'free', 'keep'"):
        kr.KeepZeros(bad)
