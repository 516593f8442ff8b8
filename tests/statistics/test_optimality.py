"""The optimality residual: its size by the formula, and zero where training has converged."""

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND
from helpers.event_files import read
from helpers.marks import slow
from helpers.models import classifier, data
from keras import optimizers
from sklearn.datasets import load_diabetes

import kerasreg as kr

L1 = 0.1


def diabetes():
    x, y = load_diabetes(return_X_y=True)
    x, y = (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()
    return x.astype("float32"), y.astype("float32")[:, None]


def lasso(optimizer, **kwargs):
    keras.utils.set_random_seed(0)
    layer = keras.layers.Dense(1, name="only", **kwargs)
    model = keras.Sequential([keras.Input((10,)), layer], name="lasso")
    model.compile(optimizer, "mse")
    return model


def expected(model, x, y, l1=0.0, l2=0.0):
    """Distance of minus the gradient from the subdifferential of `l1 |w|`, and that of the bias."""
    w, b = (v.astype("float64") for v in model.get_weights())
    error = x.astype("float64") @ w + b - y
    slope = 2 * x.T @ error / len(x) + 2 * l2 * w
    kernel = np.where(w == 0, np.maximum(np.abs(slope) - l1, 0), slope + l1 * np.sign(w))
    return np.linalg.norm(kernel), abs(2 * error.mean())


def residuals(path):
    points = read(path)
    last = {tag: values[-1][1] for tag, values in points.items() if "optimality" in tag}
    return [last[f"optimality_residual/only/{name}"] for name in ("kernel", "bias")]


def adam():
    return optimizers.Adam(0.01)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("optimizer", "arguments", "strengths"),
    [
        (lambda: kr.Proximal(adam(), kr.L1(L1)), {}, (L1, 0)),
        slow(lambda: kr.Proximal(adam(), kr.L1(L1)), {"kernel_regularizer": kr.L2(0.2)}, (L1, 0.2)),
        slow(lambda: kr.Proximal(adam(), kr.ElasticNet(1, L1, 0.2)), {}, (L1, 0.2)),
        (adam, {"kernel_regularizer": kr.L1(L1)}, (L1, 0)),
        slow(adam, {"kernel_regularizer": keras.regularizers.L2(0.2)}, (0, 0.2)),
        slow(adam, {}, (0, 0)),
    ],
)
def test_the_log_shows_it_by_the_formula(optimizer, arguments, strengths, tmp_path):
    x, y = diabetes()
    model = lasso(optimizer(), **arguments)
    model.fit(x, y, epochs=2, verbose=0)
    logger = kr.RegularizationLogger(tmp_path, optimality_data=(x, y), in_logs="all")
    history = model.fit(x, y, epochs=1, verbose=0, callbacks=[logger]).history
    right = expected(model, x, y, *strengths)
    np.testing.assert_allclose(residuals(tmp_path), right, rtol=2e-4, atol=2e-6)
    np.testing.assert_allclose(history["optimality_residual"], np.hypot(*right), rtol=2e-4)


@pytest.mark.parametrize("scale", [slow(0.0), 2.5])
def test_a_strength_scale_counts(scale, tmp_path):
    x, y = diabetes()
    model = lasso(kr.Proximal(adam(), kr.L1(L1)))
    model.optimizer.strength_scale = scale
    logger = kr.RegularizationLogger(tmp_path, optimality_data=(x, y))
    model.fit(x, y, epochs=2, verbose=0, callbacks=[logger])
    right = expected(model, x, y, scale * L1)
    np.testing.assert_allclose(residuals(tmp_path), right, rtol=2e-4, atol=2e-6)


@pytest.mark.slow
def test_it_falls_to_zero_as_training_converges(tmp_path):
    x, y = diabetes()
    inner = optimizers.Adam(optimizers.schedules.CosineDecay(0.02, 1500))
    model = lasso(kr.Proximal(inner, kr.L1(L1)))
    logger = kr.RegularizationLogger(tmp_path, optimality_data=(x, y))
    logger.set_model(model)
    totals = []
    for step in range(1500):
        model.train_on_batch(x, y)
        if step in (0, 1499):
            totals.append(logger.log(step + 1)["optimality_residual"])
    logger.close()
    assert totals[0] > 0.1 and totals[1] < 1e-5
    assert np.count_nonzero(model.get_weights()[0] == 0) >= 3


@pytest.mark.parametrize("constraint", [kr.KeepZeros(), slow(kr.TopK(0.5))])
def test_constraints_ask_for_it_on_the_support_only(constraint, tmp_path):
    x, y = diabetes()
    model = lasso(kr.Proximal(adam(), constraint))
    model.layers[0].kernel.assign(np.linspace(1, 2, 10)[:, None] * (np.arange(10)[:, None] < 5))
    logger = kr.RegularizationLogger(tmp_path, optimality_data=(x, y))
    model.fit(x, y, epochs=2, verbose=0, callbacks=[logger])
    w, b = (v.astype("float64") for v in model.get_weights())
    slope = 2 * x.T @ (x @ w + b - y) / len(x)
    right = np.linalg.norm(slope[w != 0])
    assert np.count_nonzero(w == 0) == 5
    np.testing.assert_allclose(residuals(tmp_path)[0], right, rtol=2e-4)


@pytest.mark.slow
def test_any_model_can_be_measured_and_trains_the_same(tmp_path):
    x, y = data()
    runs = []
    for measured in (None, (x, y)):
        keras.utils.set_random_seed(0)
        model = classifier()
        folder = tmp_path / str(len(runs))
        logger = kr.RegularizationLogger(
            folder, update_freq=2, optimality_data=measured, in_logs="all"
        )
        history = model.fit(x, y, epochs=2, verbose=0, callbacks=[logger]).history
        runs.append((history.pop("optimality_residual", None), history, model.get_weights()))
    assert runs[0][0] is None and all(value > 0 for value in runs[1][0])
    assert runs[0][1] == runs[1][1]
    for a, b in zip(runs[0][2], runs[1][2], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "torch", reason="half precision on a CPU is slow there")
def test_mixed_precision(tmp_path):
    x, y = diabetes()
    keras.config.set_dtype_policy("mixed_float16")
    model = lasso(kr.Proximal(adam(), kr.L1(L1)))
    logger = kr.RegularizationLogger(tmp_path, optimality_data=(x, y))
    model.fit(x, y, epochs=2, verbose=0, callbacks=[logger])
    np.testing.assert_allclose(residuals(tmp_path), expected(model, x, y, L1), rtol=2e-2, atol=1e-3)


@pytest.mark.parametrize(
    "bad",
    [
        np.ones((3, 2)),
        (np.ones((3, 2)),),
        (np.ones((3, 2)), np.ones(4)),
        ([1, 2], [3, 4]),
        (np.ones((3, 2)), None),
        (np.ones((3, 2)), np.ones(3), None, None),
    ],
    ids=repr,
)
def test_bad_data(bad, tmp_path):
    message = "(?s)argument `optimality_data`. Expected a tuple .* Received: optimality_data="
    with pytest.raises(ValueError, match=message):
        kr.RegularizationLogger(tmp_path, optimality_data=bad)


def test_a_model_that_is_not_compiled_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(1)])
    logger = kr.RegularizationLogger(tmp_path, optimality_data=diabetes())
    logger.set_model(model)
    with pytest.warns(UserWarning, match="argument `optimality_data`. Expected a compiled model"):
        assert logger.log(0) == {}


def test_sample_weights_may_be_none(tmp_path):
    kr.RegularizationLogger(tmp_path, optimality_data=(*diabetes(), None))
