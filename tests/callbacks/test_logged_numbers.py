"""What the logger writes, against a float64 recomputation from the saved weights."""

import keras
import numpy as np
import pytest
from helpers.backends import JIT_COMPILE, to_numpy
from helpers.event_files import read
from helpers.marks import first_is_fast
from helpers.models import classifier, data
from helpers.references import reference
from tensorboard.plugins.distribution.compressor import compress_histogram

import kerasreg as kr

EPOCHS = 3
THRESHOLD = 0.05


class Snapshots(keras.callbacks.Callback):
    """Copies of all weights after each epoch."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append({v.path: to_numpy(v.value) for v in self.model.trainable_weights})


@pytest.fixture(
    scope="module",
    params=first_is_fast(JIT_COMPILE),
    ids=lambda jit: f"jit_compile={jit}",
)
def run(request, tmp_path_factory):
    """One training, with everything that was logged and every epoch's weights."""
    keras.utils.set_random_seed(0)
    log_dir = tmp_path_factory.mktemp("run")
    model, (x, y), snapshots = classifier(request.param), data(), Snapshots()
    history = model.fit(
        x,
        y,
        batch_size=16,  # 40 samples: the last batch is a short one
        epochs=EPOCHS,
        validation_data=data(seed=1, samples=25),
        validation_batch_size=10,
        verbose=0,
        callbacks=[kr.RegularizationLogger(log_dir, threshold=THRESHOLD, in_logs="all"), snapshots],
    ).history
    return model, read(log_dir), history, snapshots.weights


def expected_of_weight(w):
    others = np.abs(w[w != 0])
    return {
        "nonzero_mean": others.mean() if others.size else 0.0,
        "nonzero_rms": np.sqrt(np.mean(others**2)) if others.size else 0.0,
        "sparsity": np.mean(w == 0),
        "near_zero": np.mean(np.abs(w) < THRESHOLD),
        "l1_norm": np.sum(np.abs(w)),
        "l2_norm": np.sqrt(np.sum(w**2)),
        "max_abs": np.max(np.abs(w)),
    }


def penalty_of(variable, w):
    regularizer = variable.regularizer
    if regularizer is None:
        return None
    if isinstance(regularizer, keras.regularizers.L1L2):
        regularizer = kr.ElasticNet(1.0, float(regularizer.l1), float(regularizer.l2))
    return reference(regularizer).value(w)


@pytest.mark.slow
def test_every_weight(run):
    model, points, history, snapshots = run
    for variable in model.trainable_weights:
        name = variable.path.removeprefix("classifier/")
        for epoch, weights in enumerate(snapshots):
            w = weights[variable.path]
            expected = expected_of_weight(w)
            if w.ndim == 2:
                expected["dead_units"] = np.sum(~np.any(w, axis=0))
            penalty = penalty_of(variable, w)
            if penalty is not None:
                expected["regularization_loss"] = penalty
                expected["penalty_share"] = penalty / history["regularization_loss"][epoch]
                expected["strength"] = 0.5 if "first/kernel" in name else 1e-2
            for measure, value in expected.items():
                step, logged = points[f"{measure}/{name}"][epoch]
                assert step == 3 * (epoch + 1)
                np.testing.assert_allclose(logged, value, rtol=1e-6, err_msg=measure)


def test_the_logs_are_in_the_same_order_in_each_process(run):
    """Which a set of names is not."""
    names = ["sparsity", "near_zero", "dead_units", "l1_norm", "l2_norm", "max_abs"]
    names += ["regularization_loss", "data_loss", "penalty"]
    assert [name for name in run[2] if name in names] == names


def test_totals_in_the_charts_and_in_the_logs(run):
    model, points, history, snapshots = run
    for epoch, weights in enumerate(snapshots):
        expected = expected_of_weight(np.concatenate([w.ravel() for w in weights.values()]))
        penalties = [penalty_of(v, weights[v.path]) for v in model.trainable_weights]
        expected["regularization_loss"] = sum(p for p in penalties if p is not None)
        expected["dead_units"] = sum(np.sum(~np.any(w, 0)) for w in weights.values() if w.ndim > 1)
        for measure, value in expected.items():
            if measure.startswith("nonzero"):
                continue
            np.testing.assert_allclose(points[f"all/{measure}"][epoch][1], value, rtol=1e-6)
            np.testing.assert_allclose(history[measure][epoch], value, rtol=1e-6)
    np.testing.assert_allclose(history["regularization_loss"][-1], own_penalty(model), rtol=1e-5)


def test_metrics_of_keras(run):
    _, points, history, _ = run
    for name in ("entropy", "val_entropy"):
        assert [step for step, _ in points[f"all/{name}"]] == [3, 6, 9]
        logged = [value for _, value in points[f"all/{name}"]]
        np.testing.assert_allclose(logged, history[name], rtol=1e-6)
    assert "all/loss" not in points and "all/val_loss" not in points  # there as the totals


def own_penalty(model):
    """What Keras itself adds for the weights; activities come only with a call."""
    return sum(
        float(to_numpy(v.regularizer(v.value))) for v in model.trainable_weights if v.regularizer
    )


def test_data_loss_and_penalty_are_the_loss(run):
    _, points, history, _ = run
    for prefix in ("", "val_"):
        data_loss, penalty = (np.array(history[prefix + k]) for k in ("data_loss", "penalty"))
        np.testing.assert_allclose(data_loss + penalty, history[prefix + "loss"], rtol=1e-6)
        # The loss without any penalty, averaged over the same batches by a metric of Keras's.
        np.testing.assert_allclose(data_loss, history[prefix + "entropy"], rtol=1e-5)
        assert np.all(penalty > 0.1)
        for name in ("data_loss", "penalty"):
            logged = [value for _, value in points[f"all/{prefix}{name}"]]
            np.testing.assert_allclose(logged, history[prefix + name], rtol=1e-6)
        total = [value for _, value in points[f"all/{prefix}total_loss"]]
        np.testing.assert_allclose(total, history[prefix + "loss"], rtol=1e-6)


def test_validation_data_loss_is_the_loss_of_a_model_without_penalties(run):
    model, _, history, _ = run
    twin = classifier(penalties=False)
    twin.set_weights(model.get_weights())
    x, y = data(seed=1, samples=25)
    loss = twin.evaluate(x, y, batch_size=10, verbose=0)[0]
    np.testing.assert_allclose(history["val_data_loss"][-1], loss, rtol=1e-6)


def test_histograms_learning_rate_and_dropout_rate(run):
    model, points, _, snapshots = run
    for variable in model.trainable_weights:
        name = variable.path.removeprefix("classifier/")
        for (_, buckets), weights in zip(points[f"nonzero/{name}"], snapshots, strict=True):
            w = weights[variable.path]
            edges = np.append(buckets[:, 0], buckets[-1, 1])
            np.testing.assert_array_equal(np.histogram(w[w != 0], edges)[0], buckets[:, 2])
            lines = [value for _, value in compress_histogram(buckets)]  # in DISTRIBUTIONS
            extremes = (w[w != 0].min(), w[w != 0].max())
            np.testing.assert_allclose((lines[0], lines[-1]), extremes, rtol=1e-12)
    assert [value for _, value in points["all/learning_rate"]] == [np.float32(0.1)] * EPOCHS
    assert [value for _, value in points["dropout_rate/drop"]] == [0.25] * EPOCHS


def test_configuration_page(run):
    _, points, _, _ = run
    ((step, page),) = points["configuration"]
    assert step == 0
    page = page.decode()
    first = "| classifier/first/kernel | 6 × 16 | ElasticNet | alpha=0.5, l1=0.01, l2=0.01 |"
    last = "| classifier/last/kernel | 8 × 3 | keras.L1L2 | l1=0.01, l2=0.01 |"
    assert f"{first} in the loss |" in page and f"{last} in the loss |" in page
    assert "| first | L1 | l1=0.01 |" in page
    assert "| drop | 0.25 |" in page


def test_sparsity_report_page(run):
    _, points, _, _ = run
    ((step, page),) = points["sparsity_report"]
    assert step == 3 * EPOCHS
    assert "| total |" in page.decode() and "| classifier/first/kernel | 6 × 16 |" in page.decode()


@pytest.mark.slow
def test_learning_rate_of_a_schedule(tmp_path):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    model, (x, y) = classifier(optimizer=keras.optimizers.SGD(schedule)), data()
    model.fit(
        x, y, epochs=3, batch_size=40, verbose=0, callbacks=[kr.RegularizationLogger(tmp_path)]
    )
    rates = [value for _, value in read(tmp_path)["all/learning_rate"]]
    np.testing.assert_allclose(rates, [0.05, 0.025, 0.0125], rtol=1e-6)


def test_filter(tmp_path):
    model, (x, y) = classifier(), data()
    logger = kr.RegularizationLogger(
        tmp_path, weights="(first|last)/kernel", histograms=False, in_logs=["l1_norm"]
    )
    history = model.fit(x, y, verbose=0, callbacks=[logger]).history
    points = read(tmp_path)
    assert {t for t in points if t.startswith("sparsity/")} == {
        "sparsity/first/kernel",
        "sparsity/last/kernel",
    }
    assert not any(tag.startswith("nonzero/") for tag in points)
    kernels = [
        v for v in model.trainable_weights if v.path.endswith(("first/kernel", "last/kernel"))
    ]
    total = sum(reference(kr.L1(1.0)).value(to_numpy(v.value)) for v in kernels)
    np.testing.assert_allclose(history["l1_norm"], [total], rtol=1e-6)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("hold", [True, False])
def test_the_share_of_zeros_that_are_held(tmp_path, hold):
    model = classifier()
    kr.detach_regularizers(model)
    proximal = kr.Proximal(keras.optimizers.SGD(0.05), kr.L1(0.05), hold_zeros=hold)
    model.compile(proximal, model.loss)
    x, y = data()
    logger = kr.RegularizationLogger(tmp_path)
    model.fit(x, y, batch_size=8, epochs=3, verbose=0, callbacks=[logger])
    points = read(tmp_path)
    assert ("all/held" in points) == hold
    if hold:
        kernels = [v for v in model.trainable_weights if len(v.shape) > 1]
        zeros = [np.count_nonzero(to_numpy(v.value) == 0) for v in kernels]
        share = sum(zeros) / sum(v.value.shape[0] * v.value.shape[1] for v in kernels)
        assert 0 < proximal.share_held() <= share < 1
        assert points["all/held"][-1][1] == pytest.approx(proximal.share_held())
