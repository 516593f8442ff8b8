"""Paths of less usual models, data and trainings."""

import copy
import json
import pickle

import keras
import numpy as np
import pytest
from helpers.marks import first_is_fast
from helpers.path_models import Interrupt, coefficients, diabetes, digits, follow, linear, network
from sklearn.datasets import load_breast_cancer

import kerasreg as kr


@pytest.mark.slow
def test_a_strength_of_mcp_leaves_its_knee_where_it_is():
    x, y, _ = diabetes()
    x, y = x[:, :5], y / y.std()
    penalty = kr.MCP(0.1, gamma=30.0)
    model = linear(x, momentum=0.5)
    path = kr.regularization_path(model, penalty, x, y, strengths=[0.5], verbose=0)
    same = kr.MCP(0.5, gamma=6.0)
    model.compile(kr.Proximal(keras.optimizers.SGD(0.1, momentum=0.5), same), "mse")
    for _ in range(300):
        model.train_on_batch(x, y)
    np.testing.assert_allclose(coefficients(path), model.get_weights()[0], atol=1e-5)


@pytest.mark.slow
def test_a_first_row_that_is_worse_than_the_empty_model():
    x, y, _ = diabetes()
    layers = [keras.layers.Dense(8, "relu"), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((10,)), *layers])
    model.compile("adam", "mse")
    arguments = {"n_strengths": 3, "epochs_per_strength": 1, "verbose": 0}
    assert len(kr.regularization_path(model, kr.L1(), x, y + 150.0, **arguments)) == 3


@pytest.mark.slow
def test_a_callback_lowers_the_rate_within_a_strength_only():
    x, y, _, _ = digits()
    rates = []
    halve = keras.callbacks.LearningRateScheduler(lambda _, rate: rates.append(rate) or rate / 2)
    arguments = {"strengths": [1e-3, 1e-2], "epochs_per_strength": 2, "batch_size": 300}
    kr.regularization_path(network(), kr.L1(), x, y, callbacks=[halve], verbose=0, **arguments)
    np.testing.assert_allclose(rates, [0.01, 0.005] * 2, rtol=1e-6)


@pytest.mark.slow
def test_several_outputs():
    x, y, _ = diabetes()
    inputs = keras.Input((10,))
    outputs = {"a": keras.layers.Dense(2)(inputs), "b": keras.layers.Dense(1)(inputs)}
    model, targets = keras.Model(inputs, outputs), {"a": np.stack([y, -y], 1), "b": y}
    model.compile(keras.optimizers.SGD(0.1), {"a": "mse", "b": "mse"})
    first = kr.max_strength(model, x, targets, kr.L1())
    assert kr.max_strength(model, x, targets, kr.L1()) == first
    arguments = {"strengths": [1.0, 10.0], "epochs_per_strength": 2, "folds": 3, "verbose": 0}
    path = kr.regularization_path(
        model, kr.L1(), x, targets, direction="sparse_to_dense", **arguments
    )
    assert path.strengths == [10.0, 1.0], "its path is convex, though there are two layers"
    assert list(path.rows[0].fold_sizes) == [148, 147, 147]


@pytest.mark.slow
def test_a_network_of_zeros_stays_one():
    x, y, _, _ = digits()
    with pytest.raises(ValueError, match="`direction`.*no gradient where all weights are zero"):
        kr.regularization_path(network(), kr.L1(), x, y, direction="sparse_to_dense", verbose=0)


@pytest.mark.slow
def test_a_weak_strength_that_has_not_converged():
    x, y, _ = diabetes()
    model = linear(x, rate=0.02, momentum=0.0)
    with pytest.warns(UserWarning, match="1 of 2 trainings have not converged"):
        path = kr.regularization_path(model, kr.L1(), x, y, strengths=[90.0, 0.1], verbose=0)
    assert path.rows[-1].residual < 0.01, "little, but not of what that penalty weighs"


@pytest.mark.slow
def test_one_weak_strength_that_has_not_converged():
    x, y, _ = diabetes()
    with pytest.warns(UserWarning, match="1 of 1 trainings have not converged"):
        kr.regularization_path(
            linear(x, rate=1e-3),
            kr.L1(),
            x,
            y,
            strengths=[1e-4],
            epochs_per_strength=300,
            verbose=0,
        )


@pytest.mark.slow
def test_targets_that_need_no_inputs():
    x, _, _ = diabetes()
    path = kr.regularization_path(
        linear(x), kr.L1(), x, np.zeros(len(x)), strengths=[0.1], verbose=0
    )
    assert path.rows[0].sparsity == 1.0


@pytest.mark.slow
def test_a_gain_without_a_penalty_is_no_trap():
    x, y, _ = diabetes()
    layers = [keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((10,)), *layers])
    model.compile(keras.optimizers.SGD(0.05), "mse")
    path = kr.regularization_path(
        model, kr.L1(), x, y / 77, n_strengths=2, direction="sparse_to_dense", verbose=0
    )
    assert path.rows[0].sparsity > path.rows[1].sparsity


@pytest.mark.slow
def test_a_folder_with_a_loss_that_cannot_be_described(tmp_path):
    class Mine(keras.losses.MeanSquaredError):
        def get_config(self):
            raise NotImplementedError

    x, y, _ = diabetes()
    arguments = {"strengths": [9.0], "log_dir": tmp_path, "verbose": 0}
    assert len(kr.regularization_path(linear(x, Mine()), kr.L1(), x, y, **arguments)) == 1


@pytest.mark.slow
def test_a_fold_whose_loss_is_not_finite():
    x = np.random.default_rng(0).normal(size=(60, 3))
    x[:20] *= 30.0
    large, small = np.arange(20), np.arange(20, 60)
    with pytest.warns(UserWarning, match="on a fold, is not finite"):
        path = kr.regularization_path(
            linear(x, rate=0.002, momentum=0.0),
            kr.L1(),
            x,
            2 * x[:, 0],
            strengths=[10.0],
            epochs_per_strength=300,
            folds=[(large, small), (small, large)],
            verbose=0,
        )
    assert np.isfinite(path.rows[-1].data_loss)
    with pytest.raises(ValueError, match="no best strength"):
        path.one_standard_error  # noqa: B018


@pytest.mark.slow
def test_what_the_first_penalised_kernel_uses():
    x, y, _ = diabetes()
    base = keras.layers.Dense(8, "relu", trainable=False)
    model = keras.Sequential([keras.Input((10,)), base, keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.02, momentum=0.5), "mse")
    path = kr.regularization_path(model, kr.L1(), x, y, n_strengths=3, min_ratio=0.1, verbose=0)
    used = np.count_nonzero(coefficients(path, 2), 0)
    assert [row.used_inputs for row in path.rows] == used.tolist()
    assert path.rows[0].used_inputs == 0
    path.plot(names=list("abcdefgh"))


@pytest.mark.slow
def test_inputs_of_einsum_dense():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3))
    model = keras.Sequential([keras.Input((3,)), keras.layers.EinsumDense("ab,bcd->acd", (2, 4))])
    model.compile(keras.optimizers.SGD(0.3, momentum=0.5), "mse")
    y = x[:, :1, None] * np.ones((1, 2, 4))
    path = kr.regularization_path(model, kr.L1(), x, y, strengths=[0.1], verbose=0)
    assert path.rows[0].used_inputs == 1
    path.plot(names=["a", "b", "c"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*have not converged")
def test_bfloat16(tmp_path):
    keras.config.set_dtype_policy("bfloat16")
    x, y, _ = diabetes()
    model = linear(x)
    arguments = {"strengths": [0.3, 0.1], "epochs_per_strength": 20, "log_dir": tmp_path}
    path = kr.regularization_path(model, kr.L1(), x, y / 77, verbose=0, **arguments)
    path.restore(model, 0)
    loss = model.evaluate(x, y / 77, batch_size=len(x), verbose=0)
    assert loss == pytest.approx(path.rows[0].data_loss, rel=0.02)
    deep = network()
    x, y, _, _ = digits()
    arguments = {"strengths": [1e-3], "epochs_per_strength": 1, "log_dir": tmp_path / "deep"}
    assert len(kr.regularization_path(deep, kr.L1(), x, y, verbose=0, **arguments)) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "damaged", first_is_fast(["path.json", "state-0-3.npz", "weights-0-0.npz"])
)
def test_a_damaged_folder(tmp_path, damaged):
    with pytest.raises(KeyboardInterrupt):
        follow(tmp_path, [Interrupt(7 if "weights" in damaged else 5)])[1]()
    file = tmp_path / damaged.replace("0-3", "0-2")
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(ValueError, match=f"`log_dir`.*{file.name} cannot be read.*delete"):
        follow(tmp_path)[1]().weights_of(0)


def written(tmp_path):
    """A finished path's folder, and what goes on from it."""
    x, y, _ = diabetes()
    model = linear(x, rate=0.3)

    def go_on():
        return kr.regularization_path(
            model, kr.L1(), x, y, strengths=[50.0, 20.0], verbose=0, log_dir=tmp_path
        )

    go_on()
    return go_on, json.loads((tmp_path / "path.json").read_text())


def without(content, *keys):
    return {key: value for key, value in content.items() if key not in keys}


def with_another_number(content):
    content = copy.deepcopy(content)
    content["rows"]["0"][0]["data_loss"] += 1e-9
    return content


DAMAGED = [
    lambda content: None,
    lambda content: [],
    lambda content: 3,
    lambda content: {},
    lambda content: [content],
    lambda content: without(content, "plan"),
    lambda content: without(content, "rows"),
    lambda content: {**content, "plan": None},
    lambda content: {**content, "rows": []},
    lambda content: {**content, "rows": {}},
    lambda content: {**content, "rows": {"0": None}},
    lambda content: {**content, "rows": {"0": [3]}},
    lambda content: {**content, "rows": {"0": content["rows"]["0"][:1]}},
    lambda content: {**content, "more": 1},
    lambda content: {**content, "checksum": None},
    lambda content: {**without(content, "checksum"), "rows": {"0": [3]}},
    lambda content: {**without(content, "checksum"), "plan": [1]},
    with_another_number,
]
TEXTS = ["", "{", "[" * 100_000, "\x00" * 20, "NaN", '{"plan": {}, "rows": {"0": [{}]}, "a": 1}']


@pytest.mark.slow
def test_a_damaged_path_json(tmp_path):
    """Whatever the damage, it is one error, and never a path with other numbers."""
    go_on, content = written(tmp_path)
    texts = [json.dumps(damage(content)) for damage in DAMAGED] + TEXTS
    for text in texts:
        (tmp_path / "path.json").write_text(text)
        with pytest.raises(ValueError, match=r"`log_dir`.*path.json cannot be read.*delete"):
            go_on()
    (tmp_path / "path.json").write_text(json.dumps(content))
    assert len(go_on()) == 2


@pytest.mark.slow
def test_a_link_in_the_folder_is_not_followed(tmp_path):
    target, folder = tmp_path / "precious", tmp_path / "path"
    target.write_text("precious")
    folder.mkdir()
    (folder / "path.partial").symlink_to(target)
    written(folder)
    assert target.read_text() == "precious" and not (folder / "path.json").is_symlink()


@pytest.mark.slow
def test_a_path_can_be_pickled_without_its_model():
    x, y, _ = diabetes()
    path = kr.regularization_path(linear(x), kr.L1(), x, y, strengths=[9.0], verbose=0)
    copy = pickle.loads(pickle.dumps(path))
    assert copy.rows == path.rows
    np.testing.assert_array_equal(coefficients(copy), coefficients(path))


@pytest.mark.slow
def test_the_history_of_a_model_is_that_of_its_own_training():
    x, y, _ = diabetes()
    model = linear(x)
    history = model.fit(x, y, epochs=2, verbose=0)
    kr.regularization_path(model, kr.L1(), x, y, strengths=[90.0], verbose=0)
    assert model.history is history


@pytest.mark.slow
def test_the_better_direction_of_a_metric_is_that_of_keras():
    x, y = load_breast_cancer(return_X_y=True)
    x = ((x - x.mean(0)) / x.std(0))[:, :4]
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model = linear(x, loss, 0.1, metrics=[keras.metrics.AUC(from_logits=True, name="auc")])
    arguments = {"strengths": [0.3, 0.1], "monitor": "auc", "folds": 2, "verbose": 0}
    path = kr.regularization_path(model, kr.L1(), x, y, **arguments)
    assert path.mode == "max"
    assert path.best.fold_mean == max(row.fold_mean for row in path.rows)


def test_a_penalty_that_keeps_zeros_at_every_strength():
    x, y, _ = diabetes()
    penalty = kr.L0_5(0.1)
    assert kr.max_strength(linear(x), x, y, penalty) == 0
    with pytest.raises(ValueError, match="`strengths`. Expected .* as L0_5 does"):
        kr.regularization_path(linear(x), penalty, x, y, verbose=0)
