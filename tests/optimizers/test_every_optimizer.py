"""Every optimizer of Keras finds the optimum of loss + penalty, with its zeros, or is refused."""

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, JIT_COMPILE, to_numpy
from helpers.descent import descend, of_least_squares
from helpers.marks import first_is_fast, slow
from keras import optimizers
from sklearn.datasets import load_diabetes
from sklearn.linear_model import ElasticNet, Lasso, MultiTaskLasso

import kerasreg as kr

# PyTorch runs each operation by itself; a wrong step size is seen after few updates, too.
TRACED = BACKEND != "torch"
STEPS, ATOL = (2000, 2e-6) if TRACED else (500, 1e-4)


def decay(rate):
    return optimizers.schedules.CosineDecay(rate, STEPS)


# Those whose step size is their own affair, beside test_against_scikit_learn.py.
WITH_A_STEP = {
    "adafactor": lambda **k: optimizers.Adafactor(decay(0.05), **k),
    "lamb": lambda **k: optimizers.Lamb(decay(0.2), **k),
    "adadelta": lambda **k: optimizers.Adadelta(decay(30.0), **k),
    "ftrl": lambda **k: optimizers.Ftrl(decay(0.5), **k),
    "ftrl, constant rate": lambda **k: optimizers.Ftrl(0.5, **k),
}
ORTHANT_WISE = {
    "lion": lambda **k: optimizers.Lion(decay(0.01), **k),
    "muon": lambda **k: optimizers.Muon(decay(0.02), weight_decay=None, **k),
}
OPTIMIZERS = WITH_A_STEP | ORTHANT_WISE


def cases(names, fast=()):
    return [name if name in fast else slow(name) for name in names]


def standardised(x, y):
    y = y.reshape(len(y), -1)
    return (x - x.mean(0)) / x.std(0), (y - y.mean(0)) / y.std(0)


def diabetes(targets=1):
    x, y = load_diabetes(return_X_y=True)
    rng = np.random.default_rng(0)
    others = x @ rng.normal(size=(10, targets - 1)) * 100 + rng.normal(size=(len(x), targets - 1))
    return standardised(x, np.hstack([y[:, None] / y.std(), others]))


def random_problem(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(60, 12)) @ np.diag(rng.uniform(0.5, 2.0, 12))
    true = rng.normal(size=(12, 1)) * (rng.random((12, 1)) < 0.5)
    return standardised(x, x @ true + rng.normal(size=(60, 1)))


def fit(x, y, optimizer, penalty, constraint=None):
    """The weights of a linear map after training."""
    start = 0.5 * np.random.default_rng(0).normal(size=(x.shape[1], y.shape[1]))
    weight = keras.Variable(start.astype("float32"), name="kernel")
    weight.constraint = constraint
    proximal = kr.Proximal(optimizer, penalty)
    descend(proximal, [weight], of_least_squares(x, y), STEPS)
    return to_numpy(weight.value)


def sklearn_fit(cls, x, y, *args, **kwargs):
    model = cls(*args, tol=1e-12, max_iter=1_000_000, **kwargs).fit(x, y)
    coefficients = np.reshape(model.coef_.T, (x.shape[1], y.shape[1]))
    assert 0 < np.count_nonzero(coefficients) < coefficients.size
    return coefficients


def check(found, expected, atol=ATOL):
    np.testing.assert_array_equal(found == 0, expected == 0)
    np.testing.assert_allclose(found, expected, atol=atol)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("name", cases(OPTIMIZERS, fast=("adafactor", "lion")))
def test_lasso(name):
    x, y = diabetes()
    expected = sklearn_fit(Lasso, x, y, 0.05)
    check(fit(x, y, OPTIMIZERS[name](), kr.ElasticNet.from_sklearn(0.05, 1.0)), expected)


@pytest.mark.parametrize("name", cases(["adafactor", "lamb", "muon"]))
def test_lasso_of_three_targets(name):
    """A matrix, which Adafactor factors and Muon orthogonalises."""
    x, y = diabetes(3)
    expected = sklearn_fit(Lasso, x, y, 0.1)
    penalty = kr.L1(2 * 0.1 / 3)  # scikit-learn fits each target by itself
    check(fit(x, y, OPTIMIZERS[name](), penalty), expected)


@pytest.mark.parametrize("name", cases(["adadelta", "ftrl", "lion"]))
def test_elastic_net(name):
    x, y = diabetes()
    expected = sklearn_fit(ElasticNet, x, y, 0.1, l1_ratio=0.7)
    check(fit(x, y, OPTIMIZERS[name](), kr.ElasticNet.from_sklearn(0.1, 0.7)), expected)


@pytest.mark.parametrize("name", cases(["lamb", "adadelta", "ftrl", *(["adafactor"] * TRACED)]))
def test_multi_task_lasso(name):
    x, y = diabetes(3)
    expected = sklearn_fit(MultiTaskLasso, x, y, 0.3)
    penalty = kr.GroupLasso(2 * 0.3 / 3, axis=0, size_scaling=False)
    check(fit(x, y, OPTIMIZERS[name](), penalty), expected)


@pytest.mark.slow
@pytest.mark.skipif(not TRACED, reason="as the diabetes data, for many updates more")
@pytest.mark.parametrize("name", ["lamb", "adafactor", "lion"])
def test_other_data(name):
    x, y = random_problem(0)
    expected = sklearn_fit(Lasso, x, y, 0.1)
    check(fit(x, y, OPTIMIZERS[name](), kr.L1(0.2)), expected, atol=5e-6)


@pytest.mark.parametrize("name", cases(["lion", *(["muon"] * TRACED)]))
def test_mcp_is_stationary_where_there_is_no_step_size(name):
    x, y = diabetes()
    penalty = kr.MCP(0.1, gamma=3.0)
    w = fit(x, y, ORTHANT_WISE[name](), penalty)
    assert 0 < np.count_nonzero(w) < 10
    gradient = 2 / len(x) * x.T @ (x @ w - y)
    distance = penalty.subdifferential_distance(w.astype("float32"), gradient.astype("float32"))
    assert float(distance) < 3 * ATOL


@pytest.mark.slow
def test_above_the_largest_strength_nothing_is_left_by_lamb():
    """Whose own ratio goes to zero with the weight."""
    x, y = diabetes()
    assert not fit(x, y, WITH_A_STEP["lamb"](), kr.L1(3.0)).any()


NON_NEGATIVE = ORTHANT_WISE | {
    "adam": lambda: optimizers.Adam(decay(0.02)),
    "sgd": lambda: optimizers.SGD(decay(0.1)),
    "ftrl": WITH_A_STEP["ftrl"],
}


@pytest.mark.parametrize("name", cases(NON_NEGATIVE))
def test_non_negative_lasso(name):
    x, y = diabetes()
    expected = sklearn_fit(Lasso, x, y, 0.05, positive=True)
    assert np.count_nonzero(expected) < np.count_nonzero(sklearn_fit(Lasso, x, y, 0.05))
    found = fit(x, y, NON_NEGATIVE[name](), kr.L1(0.1), constraint=keras.constraints.NonNeg())
    check(found, expected)


REFUSED = [
    (lambda: optimizers.Lion(), kr.GroupLasso(0.1), "Lion moves every weight by the learning rate"),
    (
        lambda: optimizers.Muon(),
        kr.GroupLasso(0.1),
        "Muon mixes the entries of a matrix; use it for other weights (`exclude_layers`, "
        "MultiOptimizer), or Adam",
    ),
    (
        lambda: optimizers.ScheduleFreeAdamW(),
        kr.L1(0.1),
        "ScheduleFreeAdamW evaluates an average over all past weights, which has no zeros; use "
        "AdamW with a decaying learning rate, or use_ema",
    ),
    (lambda: optimizers.Lion(), kr.TopK(0.5, saliency="metric"), 'take `saliency="magnitude"`'),
    (lambda: optimizers.Muon(), kr.TopK(0.5, saliency="metric"), 'take `saliency="magnitude"`'),
    (lambda: optimizers.Lion(use_ema=True), kr.L1(0.1), "has no step size, with which an average"),
    (
        lambda: optimizers.Ftrl(l1_regularization_strength=0.1),
        kr.L1(0.1),
        "an Ftrl without its own l1_regularization_strength",
    ),
    (
        lambda: optimizers.Adafactor(clipnorm=1.0),
        kr.L1(0.1),
        "leave out clipnorm, global_clipnorm and clipvalue",
    ),
    (lambda: optimizers.Adafactor(use_ema=True), kr.L1(0.1), "leave out use_ema"),
]


@pytest.mark.parametrize(("make", "penalty", "reason"), REFUSED)
def test_what_is_refused_says_why(make, penalty, reason):
    with pytest.raises(ValueError) as error:
        proximal = kr.Proximal(make(), penalty)
        proximal.build([keras.Variable(np.ones((2, 2)), name="kernel")])
    assert "Invalid value for argument `inner_optimizer`" in str(error.value)
    assert reason in str(error.value)


@pytest.mark.parametrize("name", ["MaxNorm", "UnitNorm"])
def test_a_bound_on_the_norm_is_refused(name):
    layer = keras.layers.Dense(2, kernel_constraint=getattr(keras.constraints, name)())
    layer.build((None, 3))
    with pytest.raises(ValueError, match="none but NonNeg"):
        kr.Proximal(optimizers.Adam(), kr.L1(0.1)).build([layer.kernel])


def model_of(inner, penalty, jit_compile):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(3)])
    optimizer = kr.Proximal(inner, penalty)
    model.compile(optimizer, "mse", jit_compile=jit_compile)
    return model


IN_FIT = {
    "lion": lambda **k: optimizers.Lion(0.01, **k),
    "muon": lambda **k: optimizers.Muon(0.05, **k),
    "adafactor": lambda **k: optimizers.Adafactor(0.1, **k),
    "ftrl": lambda **k: optimizers.Ftrl(0.1, **k),
    "lamb": lambda **k: optimizers.Lamb(0.05, **k),
    "adadelta": lambda **k: optimizers.Adadelta(10.0, **k),
}


@pytest.mark.parametrize("jit_compile", first_is_fast(JIT_COMPILE))
@pytest.mark.parametrize("name", cases(IN_FIT, fast=("lion",)))
def test_a_training_that_was_saved_goes_on_as_it_would_have(name, jit_compile, tmp_path):
    x, y = (a.astype("float32") for a in diabetes(3))
    model = model_of(IN_FIT[name](), kr.L1(0.1), jit_compile)
    for _ in range(3):
        model.train_on_batch(x, y)
    model.save(tmp_path / "model.keras")
    weights = []
    for each in (model, keras.models.load_model(tmp_path / "model.keras")):
        for _ in range(3):
            each.train_on_batch(x, y)
        weights.append(each.get_weights()[0])
    np.testing.assert_allclose(*weights, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(*(w == 0 for w in weights))


@pytest.mark.parametrize("name", cases(IN_FIT, fast=("lion",)))
def test_gradients_that_accumulate_are_one_large_batch(name):
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(9, 4, 3)).astype("float32")
    results = []
    for steps in (None, 3):
        weight = keras.Variable(rng.permuted(np.ones((4, 3), "float32")), name="kernel")
        inner = IN_FIT[name](gradient_accumulation_steps=steps)
        optimizer, values = kr.Proximal(inner, kr.L1(0.3)), []
        for gradient in gradients if steps else gradients.reshape(3, 3, 4, 3).mean(1):
            before = to_numpy(weight.value)
            optimizer.apply([keras.ops.convert_to_tensor(gradient)], [weight])
            values.append(to_numpy(weight.value).copy())
            if steps and len(values) % steps:
                np.testing.assert_array_equal(values[-1], before)
        results.append(values[(steps or 1) - 1 :: steps or 1])
    np.testing.assert_allclose(*results, rtol=1e-4, atol=2e-6)
    np.testing.assert_array_equal(*(np.equal(r, 0) for r in results))


@pytest.mark.parametrize("name", cases(IN_FIT, fast=("muon",)))
def test_mixed_precision(name):
    keras.config.set_dtype_policy("mixed_float16")
    x, y = (a.astype("float32") for a in diabetes(3))
    model = model_of(IN_FIT[name](), kr.L1(0.5), JIT_COMPILE[-1])
    losses = [model.train_on_batch(x, y) for _ in range(25)]
    kernel = model.get_weights()[0]
    assert np.all(np.isfinite(kernel)) and np.any(kernel == 0) and losses[-1] != losses[0]


def test_where_muon_is_adam_it_takes_groups():
    """For weights that `exclude_layers` names, and embeddings; as far as Adam moves them."""
    weights = [keras.Variable(np.ones((2, 2), "float32"), name=name) for name in ("first", "words")]
    inner = optimizers.Muon(0.01, exclude_layers=["first", "words"], adam_weight_decay=None)
    penalties = {".*first": kr.GroupLasso(0.01, axis=0), ".*words": kr.L1(0.01)}
    optimizer = kr.Proximal(inner, penalties)
    gradient = keras.ops.convert_to_tensor(np.array([[1, 1], [0, 0]], "float32"))
    for count in range(1, 4):
        optimizer.apply([gradient, gradient], weights)
        for weight in weights:
            value = to_numpy(weight.value)
            np.testing.assert_allclose(value[1], 1 - count * 7.27 * 0.01, atol=1e-3)
