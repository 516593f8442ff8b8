"""Each penalty by `Proximal`: under the policies, compiled, saved and loaded."""

import keras
import numpy as np
import pytest
from helpers.backends import JIT_COMPILE, to_numpy
from helpers.marks import first_is_fast, slow
from keras import optimizers

import kerasreg as kr

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 12)).astype("float32")
Y = (X @ RNG.normal(size=(12, 5)) * (RNG.random(5) < 0.5)).astype("float32")
FACTORS = RNG.uniform(0, 2, size=(12, 5))

PENALTIES = [
    kr.L1(0.3, positive=True),
    kr.ElasticNet(1.0, 0.3, 0.1, positive=True),
    kr.MCP(0.3, gamma=2.0, positive=True),
    kr.SCAD(0.3),
    kr.LogSum(0.1),
    kr.L0_5(0.1),
    kr.L2_3(0.1),
    kr.Weighted(kr.L1(0.3), FACTORS),
    kr.Weighted(kr.SCAD(0.3), FACTORS[:, :1]),
    kr.SLOPE(np.linspace(0.4, 0.1, 60)),
    kr.Box(0.0, 0.25),
]
POLICIES = ["float32", slow("mixed_float16")]


def model_with(penalty, optimizer=None, **options):
    model = keras.Sequential([keras.Input((12,)), keras.layers.Dense(5, name="dense")])
    plain = penalty.scalar_metric_only
    inner = optimizer or (optimizers.SGD if plain else optimizers.Adam)(0.05)
    model.compile(kr.Proximal(inner, penalty), "mse", **options)
    return model


def train(model, updates):
    for _ in range(updates):
        model.train_on_batch(X, Y)
    return model.get_weights()[0].astype("float32")


@pytest.mark.parametrize("jit_compile", first_is_fast(JIT_COMPILE))
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("penalty", first_is_fast(PENALTIES), ids=str)
def test_zeros_under_every_policy(penalty, policy, jit_compile):
    keras.config.set_dtype_policy(policy)
    w = train(model_with(penalty, jit_compile=jit_compile), 60)
    assert np.all(np.isfinite(w))
    assert 0 < np.count_nonzero(w == 0) < w.size
    if getattr(penalty, "positive", False) or isinstance(penalty, kr.Box):
        assert np.all(w >= 0)


@pytest.mark.parametrize("penalty", first_is_fast(PENALTIES), ids=str)
def test_a_file_goes_on_where_it_was_saved(penalty, tmp_path):
    model = model_with(penalty)
    train(model, 5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.penalty == penalty
    np.testing.assert_allclose(train(model, 5), train(loaded, 5), atol=1e-6)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("penalty", PENALTIES[:7], ids=str)
def test_in_pieces_as_in_one(penalty):
    """A large weight, which PyTorch takes in pieces, has the entries of the formula."""
    w = keras.Variable(RNG.normal(size=(700, 800)).astype("float32"))
    grad = RNG.normal(size=(700, 800)).astype("float32")
    before = to_numpy(w.value).astype("float32")
    kr.Proximal(optimizers.SGD(0.5), penalty).apply([keras.ops.convert_to_tensor(grad)], [w])
    expected = to_numpy(penalty.prox(before - np.float32(0.5) * grad, 0.5))
    np.testing.assert_allclose(to_numpy(w.value), expected, atol=2e-6)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("optimizer", [optimizers.Adam, optimizers.Adamax])
@pytest.mark.parametrize(
    "penalty",
    [
        kr.L1(0.0, positive=True),
        kr.MCP(0.1, positive=True),
        kr.Weighted(kr.L1(0.1, positive=True), FACTORS),
        kr.Box(0.0, 1.0),
    ],
    ids=str,
)
def test_no_weight_is_negative_from_the_first_update_on(penalty, optimizer):
    """Also where the optimizer moves it farther below zero than a penalty may bring it back."""
    model = model_with(penalty, optimizer(0.01))
    model.layers[0].kernel.assign(np.full((12, 5), -0.2))
    assert np.all(train(model, 1) >= 0) and np.all(train(model, 20) >= 0)


@pytest.mark.slow
def test_a_penalty_is_cut_off_at_the_reach_of_the_optimizer():
    model = model_with(kr.SCAD(10.0), optimizers.Adamax(0.01))
    model.layers[0].kernel.assign(np.full((12, 5), 0.2))
    assert np.all(train(model, 1) > 0.15)


@pytest.mark.parametrize("penalty", first_is_fast(PENALTIES), ids=str)
def test_log_and_report(penalty, tmp_path):
    model = model_with(penalty)
    logger = kr.RegularizationLogger(tmp_path, optimality_data=(X, Y), verbose=0, in_logs="all")
    history = model.fit(X, Y, epochs=2, verbose=0, callbacks=[logger]).history
    value = 0.0 if penalty.is_constraint else float(to_numpy(penalty(model.get_weights()[0])))
    np.testing.assert_allclose(history["regularization_loss"][-1], value, rtol=1e-5)
    words = kr.sparsity_report(model).rows[0].penalty
    assert words.startswith(f"{type(penalty).__name__}(") and len(words) < 120
