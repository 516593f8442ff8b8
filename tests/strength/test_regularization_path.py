"""Paths of models: against scikit-learn, and as a user meets them."""

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, JIT_COMPILE
from helpers.event_files import read, steps
from helpers.marks import first_is_fast, slow
from helpers.path_models import (
    Interrupt,
    coefficients,
    diabetes,
    digits,
    follow,
    linear,
    network,
    train,
)
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LassoCV, LogisticRegression, enet_path, lasso_path
from sklearn.model_selection import KFold, StratifiedKFold

import kerasreg as kr

ORDER = ["bmi", "s5", "bp", "s3", "sex", "s6", "s1", "s4", "s2"]
LOGISTIC = keras.losses.BinaryCrossentropy(from_logits=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_strengths", "min_ratio", "entering"),
    # A call of fit or evaluate takes .05 s on TensorFlow, and a step 1 ms on PyTorch.
    [(5, 0.03, 7), slow(100, 1e-3, 9) if BACKEND == "jax" else slow(20, 0.02, 8)],
)
def test_lasso_path_of_scikit_learn(n_strengths, min_ratio, entering):
    x, y, names = diabetes()
    lasso = kr.ElasticNet.from_sklearn(1.0, 1.0)
    model = linear(x, rate=0.3)
    path = kr.regularization_path(
        model, lasso, x, y, n_strengths=n_strengths, min_ratio=min_ratio, verbose=0
    )
    _, expected, _ = lasso_path(x, y, alphas=path.strengths, tol=1e-12, max_iter=100_000)
    found = coefficients(path)
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())
    np.testing.assert_array_equal(found == 0, expected == 0)
    first = np.where(np.any(found, 1), (found != 0).argmax(1), 100)
    entered = {names[i]: first[i] for i in np.argsort(first, kind="stable") if first[i] < 100}
    assert len(entered) >= entering
    # Features that enter between the same two strengths are in no order.
    order = [entered[name] for name in ORDER if name in entered]
    assert order == sorted(order) and set(entered) >= set(ORDER[:entering])
    assert [row.used_inputs for row in path.rows] == np.count_nonzero(expected, 0).tolist()
    np.testing.assert_allclose([row.sparsity for row in path.rows], (expected == 0).mean(0))
    losses = [np.mean((y - x @ w) ** 2) for w in expected.T]
    np.testing.assert_allclose([row.data_loss for row in path.rows], losses, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adam", "schedule"])
def test_other_optimizers(optimizer):
    x, y, _ = diabetes()
    y = y / y.std()
    model = linear(x)
    rates = {"adam": 0.02, "schedule": keras.optimizers.schedules.CosineDecay(0.02, 600)}
    model.compile(keras.optimizers.Adam(rates[optimizer]), "mse")
    strengths = [0.2, 0.05]
    path = kr.regularization_path(
        model, kr.L1(), x, y, strengths=strengths, epochs_per_strength=600, verbose=0
    )
    _, expected, _ = lasso_path(x, y, alphas=np.divide(strengths, 2), tol=1e-12)
    np.testing.assert_allclose(coefficients(path), expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "min_ratio", "folds"),
    [(3, 1e-2, 3), slow(12, 1e-3, 5) if BACKEND == "jax" else slow(5, 1e-3, 4)],
)
def test_cross_validation_chooses_as_scikit_learn(size, min_ratio, folds):
    x, y, _ = diabetes()
    lasso = kr.ElasticNet.from_sklearn(1.0, 1.0)
    model = linear(x, rate=0.3)
    path = kr.regularization_path(
        model, lasso, x, y, n_strengths=size, min_ratio=min_ratio, folds=folds, verbose=0
    )
    theirs = LassoCV(alphas=path.strengths, cv=folds, tol=1e-10, max_iter=100_000).fit(x, y)
    assert abs(path.best.index - path.strengths.index(theirs.alpha_)) <= 1
    losses = theirs.mse_path_.T
    means = [row.fold_mean for row in path.rows]
    sizes = [len(test) for _, test in KFold(folds).split(x)]
    np.testing.assert_allclose(means, np.average(losses, 0, sizes), rtol=1e-3)
    assert path.one_standard_error.strength > path.best.strength


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "torch", reason="its steps one by one take a while")
def test_cross_validation_of_logistic_regression():
    x, y = load_breast_cancer(return_X_y=True)
    x = ((x - x.mean(0)) / x.std(0))[:, [1, 4, 5, 7, 8, 9, 11, 14, 17, 18]]
    size = 6 if BACKEND == "jax" else 3
    path = kr.regularization_path(
        linear(x, LOGISTIC, 0.3, 0.95), kr.L1(), x, y, n_strengths=size, folds=3, verbose=0
    )
    losses = []
    for strength in path.strengths:
        values = []
        for inside, test in StratifiedKFold(3).split(x, y):
            model = LogisticRegression(
                C=1 / (len(inside) * strength), l1_ratio=1.0, solver="saga", tol=1e-6, max_iter=9999
            ).fit(x[inside], y[inside])
            chance = model.predict_proba(x[test])[np.arange(len(test)), y[test]]
            values.append(-np.log(chance).mean())
        losses.append(np.average(values, weights=[190, 190, 189]))
    np.testing.assert_allclose([row.fold_mean for row in path.rows], losses, rtol=2e-3)
    assert abs(path.best.index - int(np.argmin(losses))) <= 1


@pytest.mark.slow
def test_elastic_net_in_two_dimensions():
    x, y, _ = diabetes()
    ratios = (0.2, 0.7)
    penalties = [kr.ElasticNet.from_sklearn(1.0, ratio) for ratio in ratios]
    path = kr.regularization_path(
        linear(x, rate=0.3), penalties, x, y, n_strengths=2, min_ratio=0.1, verbose=0
    )
    assert len(path) == 4 and [row.index for row in path.rows] == list(range(4))
    assert [row.penalty for row in path.rows] == ["ElasticNet l1=0.4, l2=0.8"] * 2 + [
        "ElasticNet l1=1.4, l2=0.3"
    ] * 2
    for i, ratio in enumerate(ratios):
        alphas = path.strengths[2 * i : 2 * i + 2]
        _, expected, _ = enet_path(x, y, l1_ratio=ratio, alphas=alphas, tol=1e-12)
        found = coefficients(path)[:, 2 * i : 2 * i + 2]
        np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


class Counting(keras.Model):
    """Counts how often its training step is traced."""

    traces = 0

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.traces = []

    def call(self, x, training=False):
        if training:
            self.traces.append(x.shape)
        return super().call(x, training=training)


@pytest.mark.parametrize("jit_compile", first_is_fast(JIT_COMPILE))
def test_network_from_dense_to_sparse(jit_compile):
    x, y, x_val, y_val = digits()
    model = train(network(jit_compile=jit_compile), x, y)
    before = [w.copy() for w in model.get_weights()]
    step = int(model.optimizer.iterations)
    path = kr.regularization_path(
        model,
        kr.L1(),
        x,
        y,
        validation_data=(x_val, y_val),
        strengths=[3e-4, 3e-2],
        epochs_per_strength=3,
        batch_size=100,
        monitor="accuracy",
        mode="max",
        verbose=0,
    )
    zeros = [row.sparsity for row in path.rows]
    assert zeros == sorted(zeros) and zeros[0] < 0.6 < zeros[-1]
    assert path.best.metrics["val_accuracy"] > 0.8
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert int(model.optimizer.iterations) == step
    for row in path.rows:
        path.restore(model, row)
        for data, prefix in (((x, y), ""), ((x_val, y_val), "val_")):
            loss, accuracy = model.evaluate(*data, batch_size=300, verbose=0)
            known = row.val_data_loss if prefix else row.data_loss
            assert loss == pytest.approx(known, rel=1e-4)
            assert accuracy == pytest.approx(row.metrics[f"{prefix}accuracy"])
        report = kr.sparsity_report(model, "kernel").total
        assert row.sparsity == report.sparsity and row.dead_units == report.dead_units
        kernel = np.asarray(path.weights_of(row)[0])
        assert row.used_inputs == np.count_nonzero(np.abs(kernel).sum(1))
    model.fit(x, y, epochs=1, verbose=0)  # with its own optimizer, as before
    assert int(model.optimizer.iterations) > step


@pytest.mark.slow
def test_one_compilation():
    x, y, _, _ = digits()
    model = network(keras.optimizers.SGD(0.1), model=Counting)
    model.traces.clear()
    path = kr.regularization_path(
        model,
        kr.L1(),
        x,
        y,
        strengths=[1e-4, 1e-3, 1e-2],
        epochs_per_strength=2,
        batch_size=200,
        verbose=0,
    )
    assert len(path) == 3
    steps = 3 * 2 * 3
    assert len(model.traces) == (steps if BACKEND == "torch" else 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "at", [pytest.param(4, id="in the second strength"), pytest.param(9, id="in the first fold")]
)
def test_an_interrupted_path_goes_on(tmp_path, at):
    model, run = follow(tmp_path / "whole")
    whole = run()
    model, run = follow(tmp_path / "parts", [Interrupt(at)])
    before = [w.copy() for w in model.get_weights()]
    optimizer = model.optimizer
    with pytest.raises(KeyboardInterrupt):
        run()
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.optimizer is optimizer
    epochs = []
    count = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(epoch))
    parts = follow(tmp_path / "parts", [count])[1]()
    assert len(epochs) == 2 * (9 - (at - 1) // 2), "what was complete is not trained again"
    assert parts.strengths == whole.strengths
    for a, b in zip(parts.rows, whole.rows, strict=True):
        for x, y in zip(parts.weights_of(a), whole.weights_of(b), strict=True):
            np.testing.assert_allclose(x, y, atol=1e-4)
        assert a.data_loss == pytest.approx(b.data_loss, rel=1e-3)
        assert a.fold_values == pytest.approx(b.fold_values, rel=1e-3)
    for log in (tmp_path / "whole").glob("*/*.kerasreg"):  # What was cut off is replaced.
        assert steps(tmp_path / "parts" / log.parent.name) == steps(log.parent)
    again = follow(tmp_path / "parts", [Interrupt(1)])[1]()  # trains nothing
    assert again.rows == parts.rows


@pytest.mark.slow
@pytest.mark.parametrize("same_model", [True, slow(False)])
def test_a_strength_that_was_cut_off_is_logged_anew(tmp_path, same_model):
    """From its start, without a warning."""
    changes = {"strengths": [1e-2], "folds": None}
    _, run = follow(tmp_path, [Interrupt(2)], **changes)
    with pytest.raises(KeyboardInterrupt):
        run()
    (log,) = tmp_path.glob("*/*.kerasreg")
    before = steps(log.parent)
    assert "sparsity_report" in read(log.parent), "it was closed where it was cut off"
    (run if same_model else follow(tmp_path, **changes)[1])()
    assert len(before) == 2 and steps(log.parent) == before


@pytest.mark.slow
def test_the_folder_of_another_path(tmp_path):
    follow(tmp_path, folds=None)[1]()
    for changes, name in (
        ({"strengths": [1.0]}, "strengths"),
        ({"validation_data": None}, "validation_data"),
        ({"epochs_per_strength": 3}, "epochs"),
        ({"folds": 3}, "folds"),
    ):
        with pytest.raises(ValueError, match=f"`log_dir`.*another folder.*other {name}"):
            follow(tmp_path, **{"folds": None, **changes})[1]()
    for optimizer, loss, name in (("sgd", "mse", "loss"), ("adam", None, "optimizer")):
        model, run = follow(tmp_path, folds=None)
        model.compile(optimizer, loss or model.loss)
        with pytest.raises(ValueError, match=f"another folder.*other .*{name}"):
            run()


@pytest.mark.slow
def test_the_folder_of_another_training_of_the_model(tmp_path):
    first = follow(tmp_path, folds=None)[1]()
    model, run = follow(tmp_path, folds=None)
    train(model, *digits()[:2])
    with pytest.warns(UserWarning, match="begun with other weights"):
        assert run().rows == first.rows


def test_runs_for_tensorboard(tmp_path):
    follow(tmp_path, folds=None)[1]()
    for strength in ("0.001", "0.01", "0.03"):
        log = read(tmp_path / f"L1 {strength}")
        assert log["strength/first/kernel"][-1][1] == pytest.approx(float(strength))
        assert len(log["all/sparsity"]) == 2
        assert "_hparams_/session_start_info" in log and "all/val_accuracy" in log


@pytest.mark.slow
def test_it_ends_when_all_is_zero_or_nothing_is_explained():
    x, y, _, _ = digits()
    model = train(network(), x, y)
    arguments = {"epochs_per_strength": 2, "batch_size": 600, "verbose": 0}
    strengths = [1e-3, 1.0, 10.0, 100.0]
    path = kr.regularization_path(model, kr.L1(), x, y, strengths=strengths, **arguments)
    assert len(path) < 4
    assert path.rows[-1].data_loss > 1.9 and path.rows[0].data_loss < 1


@pytest.mark.slow
def test_it_ends_where_the_loss_is_not_finite():
    x, y, _ = diabetes()
    model = linear(x, rate=5.0)
    with pytest.warns(UserWarning, match="At strength .*not finite"):
        path = kr.regularization_path(
            model, kr.L1(), x, y, strengths=[1.0, 0.1], epochs_per_strength=500, verbose=0
        )
    assert len(path) == 1


@pytest.mark.slow
def test_a_strength_that_has_not_converged_is_reported():
    x, y, _ = diabetes()
    with pytest.warns(UserWarning, match="2 of 2 trainings have not converged.*than 2 *,"):
        kr.regularization_path(
            linear(x, rate=1e-3),
            kr.L1(),
            x,
            y,
            strengths=[1.0, 0.1],
            epochs_per_strength=2,
            verbose=0,
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("penalty", "kwargs"),
    [
        slow(kr.GroupLasso(axis=0), {}, id="group lasso"),
        slow(kr.MCP(0.01, gamma=100.0), {}, id="mcp"),
        slow(
            {".*first/kernel": kr.L1(1.0), ".*last/kernel": kr.ElasticNet(3.0, 1.0, 1.0)},
            {},
            id="dict",
        ),
        pytest.param(
            kr.L1(),
            {"keep_weights": False, "callbacks": keras.callbacks.EarlyStopping("loss")},
            id="no weights",
        ),
    ],
)
def test_penalties_and_directions(penalty, kwargs):
    x, y, _, _ = digits()
    path = kr.regularization_path(
        network(keras.optimizers.SGD(0.1)),
        penalty,
        x,
        y,
        n_strengths=3,
        min_ratio=1e-2,
        epochs_per_strength=2,
        batch_size=200,
        verbose=0,
        **kwargs,
    )
    assert np.all(np.diff(path.strengths) > 0)
    np.testing.assert_allclose(np.ptp(np.log10(path.strengths)), 2, atol=1e-3)
    if "keep_weights" in kwargs:
        with pytest.raises(ValueError, match="not kept"):
            path.weights_of(0)


@pytest.mark.slow
def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    x, y, _, _ = digits()
    model = train(network(), x, y)
    path = kr.regularization_path(
        model,
        kr.L1(),
        x,
        y,
        strengths=[3e-3, 3e-2],
        epochs_per_strength=3,
        batch_size=200,
        verbose=0,
    )
    assert 0.3 < path.rows[0].sparsity < path.rows[1].sparsity
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)


@pytest.mark.slow
def test_penalties_in_the_loss_are_no_part_of_the_data_loss():
    x, y, _ = diabetes()
    layer = keras.layers.Dense(1, kernel_regularizer=kr.L2(10.0))
    model = keras.Sequential([keras.Input((10,)), layer])
    model.compile(keras.optimizers.SGD(0.02, momentum=0.5), "mse")
    lasso = kr.ElasticNet.from_sklearn(1.0, 1.0)
    path = kr.regularization_path(
        model, lasso, x, y, strengths=[1.0, 0.1], validation_data=(x, y), verbose=0
    )
    w = coefficients(path)
    losses = np.mean((y[:, None] - x @ w) ** 2, 0)
    np.testing.assert_allclose([row.data_loss for row in path.rows], losses, rtol=1e-4)
    np.testing.assert_allclose([row.val_data_loss for row in path.rows], losses, rtol=1e-4)


ERRORS = [
    ({"strengths": [1.0, -1.0]}, "`strengths`.*positive"),
    ({"strengths": [1.0, 3.0, 2.0]}, "`strengths`.*sorted"),
    ({"n_strengths": 0}, "`n_strengths`.*positive integer"),
    ({"min_ratio": 1.0}, "`min_ratio`"),
    ({"direction": "up"}, "`direction`.*sparse_to_dense"),
    ({"epochs_per_strength": 0}, "`epochs_per_strength`"),
    ({"batch_size": 0}, "`batch_size`"),
    ({"folds": 1}, "`folds`"),
    ({"folds": 443}, "`folds`.*442"),
    ({"validation_data": (np.ones((3, 10)),)}, "`validation_data`"),
    ({"validation_data": (np.ones((3, 10)), np.ones(2))}, "`validation_y`.*3 samples"),
    ({"sample_weight": np.ones(3)}, "`sample_weight`.*442"),
    ({"monitor": "accuracy"}, "`monitor`.*'data_loss'"),
    ({"monitor": "val_loss"}, "`monitor`.*without `val_`"),
    ({"mode": "most"}, "`mode`"),
    ({"log_dir": "gs://bucket/path"}, "`log_dir`"),
    ({"keep_weights": 1}, "`keep_weights`"),
    ({"verbose": "auto"}, "`verbose`"),
    ({"verbose": 2}, "`verbose`"),
    ({"callbacks": 3}, "`callbacks`.*Keras callbacks"),
    ({"callbacks": [kr.StrengthScheduler(lambda epoch: 1.0)]}, "`callbacks`.*the path does"),
    ({"validation_data": (np.ones((3, 9)), np.ones(3))}, "`validation_data`.*evaluated on"),
    ({"y": np.full(442, "a")}, "`y`.*numbers"),
    ({"y": np.ones(442)}, "`strengths`.*targets constant"),
    ({"y": np.ones(4)}, "`y`.*442 samples"),
    ({"penalty": kr.L2()}, "`penalty`.*kink"),
    ({"penalty": kr.TopK(0.5)}, "`penalty`.*have a strength"),
    ({"penalty": []}, "`penalty`"),
    ({"penalty": {".*nothing": kr.L1()}}, "`penalty`.*patterns"),
]


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize(("arguments", "message"), ERRORS, ids=lambda v: str(v)[:40])
def test_errors(arguments, message):
    x, y, _ = diabetes()
    model = linear(x)
    before = model.get_weights(), model.optimizer
    with pytest.raises(ValueError, match=f"(?s){message}"):
        kr.regularization_path(
            **{"model": model, "penalty": kr.L1(), "x": x, "y": y, "verbose": 0, **arguments}
        )
    np.testing.assert_array_equal(before[0][0], model.get_weights()[0])
    assert model.optimizer is before[1]


@pytest.mark.slow
def test_folds_of_a_network_that_has_seen_what_they_hold_out():
    x, y, _, _ = digits()
    model = train(network(), x, y)
    with pytest.raises(ValueError, match="`folds`.*trained already"):
        kr.regularization_path(model, kr.L1(), x, y, folds=3)


def test_models_that_cannot_be_trained():
    x, y, _ = diabetes()
    model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="`model`.*compiled"):
        kr.regularization_path(model, kr.L1(), x, y)
    model.compile(None, "mse")
    with pytest.raises(ValueError, match="`model`.*with an optimizer"):
        kr.regularization_path(model, kr.L1(), x, y)
    model.compile(keras.optimizers.SGD(lambda: 0.1), "mse")
    with pytest.raises(ValueError, match="`model`.*from its configuration"):
        kr.regularization_path(model, kr.L1(), x, y)
    model.compile(kr.Proximal(keras.optimizers.SGD(), {".*kernel": kr.KeepZeros()}), "mse")
    with pytest.raises(ValueError, match="`model`.*KeepZeros.*does not keep"):
        kr.regularization_path(model, kr.L1(), x, y)
    model.compile(keras.optimizers.ScheduleFreeAdamW(), "mse")
    with pytest.raises(ValueError, match="`inner_optimizer`.*ScheduleFreeAdamW"):
        kr.regularization_path(model, kr.L1(), x, y)
    model = keras.Sequential(
        [keras.Input((10,)), keras.layers.Dense(1, kernel_regularizer=kr.L1(0.1))]
    )
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="kernel`.*kink"):
        kr.regularization_path(model, kr.L1(), x, y)
