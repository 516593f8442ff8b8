"""KerasTuner searches over penalties, judges by what the logger logs, and logs each trial apart."""

import keras
import keras_tuner
import numpy as np
import pytest
from helpers.event_files import read
from helpers.marks import slow
from helpers.models import data
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata as hparams_metadata

import kerasreg as kr

pytestmark = [
    # KerasTuner 1.4.8 with Python 3.10 or newer.
    pytest.mark.filterwarnings("ignore:(currentThread|getName)\\(\\) is dep:DeprecationWarning"),
    # It loads a checkpoint into a model whose optimizer is not built.
    pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer:UserWarning"),
]

TRIALS = 2
VALIDATION = data(seed=1)
RATES = [0.0, 0.2, 0.1]
KINDS = {
    "L1": kr.L1,
    "ElasticNet": lambda strength: kr.ElasticNet(strength, 1.0, 0.5),
    "GroupLasso": kr.GroupLasso,
}


@pytest.fixture(autouse=True)
def no_garbage_collection(monkeypatch):
    """KerasTuner collects before each model, which takes seconds late in a long session."""
    monkeypatch.setattr("gc.collect", lambda *_: 0)


def penalty(hp):
    strength = hp.Float("strength", 1e-2, 1.0, sampling="log")
    return KINDS[hp.Choice("penalty", list(KINDS))](strength)


def network(optimizer, kernel_regularizer=None):
    first = keras.layers.Dense(16, "relu", kernel_regularizer=kernel_regularizer, name="first")
    layers = [first, kr.Dropout(0.1, name="drop"), keras.layers.Dense(3, name="last")]
    model = keras.Sequential([keras.Input((6,)), *layers])
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def in_the_loss(hp):
    return network(keras.optimizers.Adam(0.05), penalty(hp))


def after_the_step(hp):
    return network(kr.Proximal(keras.optimizers.Adam(0.05), penalty(hp)))


class LoggedSearch(keras_tuner.RandomSearch):
    """The recipe of the README."""

    def run_trial(self, trial, *args, callbacks=(), **kwargs):
        logger = kr.RegularizationLogger(
            f"{self.directory}/logs/{self.project_name}/{trial.trial_id}",
            hparams=trial.hyperparameters.values,
            verbose=0,
        )
        return super().run_trial(trial, *args, callbacks=[logger, *callbacks], **kwargs)


def search_in(folder, build, objective):
    return LoggedSearch(
        build, objective, max_trials=TRIALS, seed=5, directory=folder, project_name="search"
    )


def chosen_values(log_dir):
    """The hyper-parameters of a run, as HPARAMS reads them."""
    accumulator = EventAccumulator(str(log_dir))
    accumulator.Reload()
    content = accumulator.SummaryMetadata(hparams_metadata.SESSION_START_INFO_TAG).plugin_data
    start = hparams_metadata.parse_session_start_info_plugin_data(content.content)
    return {name: getattr(v, v.WhichOneof("kind")) for name, v in start.hparams.items()}


def column(points, tag):
    return np.array([value for _, value in points[tag]])


DATA_LOSS = keras_tuner.Objective("val_data_loss", "min")
SPARSITY = keras_tuner.Objective("sparsity", "max")
SEARCHES = {
    "in the loss": (in_the_loss, DATA_LOSS, lambda p: column(p, "all/val_data_loss")),
    "after the step": (
        after_the_step,
        [DATA_LOSS, SPARSITY],  # of which KerasTuner takes the sum, with the sign of each
        lambda p: column(p, "all/val_data_loss") - column(p, "all/sparsity"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("place", [slow("in the loss"), "after the step"])
def test_search(tmp_path, place):
    build, objective, scores = SEARCHES[place]
    tuner = search_in(tmp_path, build, objective)
    schedule = kr.DropoutRateScheduler(lambda epoch: RATES[epoch])
    fit = {"epochs": len(RATES), "verbose": 0, "callbacks": [schedule]}
    validation = {"validation_data": VALIDATION, "validation_batch_size": 40}
    tuner.search(*data(), batch_size=8, **validation, **fit)
    trials = tuner.oracle.get_best_trials(TRIALS)
    assert len({trial.hyperparameters["penalty"] for trial in trials}) == TRIALS
    assert len({trial.score for trial in trials}) == TRIALS

    logs = tmp_path / "logs" / "search"
    assert {path.name for path in logs.iterdir()} == {trial.trial_id for trial in trials}
    for trial in trials:
        run = logs / trial.trial_id / "1"
        assert len(list(run.iterdir())) == 1
        points = read(run)
        assert [step for step, _ in points["all/sparsity"]] == [5, 10, 15]
        np.testing.assert_allclose(column(points, "dropout_rate/drop"), RATES, rtol=1e-6)
        assert chosen_values(run) == trial.hyperparameters.values
        np.testing.assert_allclose(scores(points).min(), trial.score, rtol=1e-6)
    check_reloaded(
        search_in(tmp_path, build, objective), trials, read(logs / trials[0].trial_id / "1")
    )


@pytest.mark.slow
def test_callbacks_as_in_the_guide_of_keras_tuner(tmp_path):
    """Each trial and each execution of it is a run of its own, also when the search goes on."""
    arguments = {"max_trials": 2, "executions_per_trial": 2, "seed": 5, "directory": tmp_path}
    tuner = keras_tuner.RandomSearch(after_the_step, DATA_LOSS, **arguments)
    logger = kr.RegularizationLogger(tmp_path / "logs", verbose=0)
    fit = {"epochs": 1, "verbose": 0, "validation_data": VALIDATION, "callbacks": [logger]}
    tuner.search(*data(), **fit)
    runs = {path.name for path in (tmp_path / "logs").iterdir()}
    assert runs == {"1", "2", "3", "4"}
    for run in runs:
        assert len(read(tmp_path / "logs" / run)["all/val_data_loss"]) == 1


def check_reloaded(tuner, trials, points):
    """The search from its files: nothing is left to try, and the best model is that of its log."""
    assert tuner.remaining_trials == 0
    found = tuner.oracle.get_best_trials(TRIALS)
    assert [(t.trial_id, t.score, t.hyperparameters.values) for t in found] == [
        (t.trial_id, t.score, t.hyperparameters.values) for t in trials
    ]
    (model,) = tuner.get_best_models()
    in_loss = model.get_layer("first").kernel.regularizer
    assert (in_loss or model.optimizer.penalty) == penalty(trials[0].hyperparameters)
    loss = model.evaluate(*VALIDATION, batch_size=40, verbose=0)
    if in_loss:
        loss -= keras.ops.convert_to_numpy(sum(model.losses))
    sparsity = kr.sparsity_report(model).total.sparsity
    epoch = trials[0].best_step
    np.testing.assert_allclose(loss, column(points, "all/val_data_loss")[epoch], rtol=1e-5)
    np.testing.assert_allclose(sparsity, column(points, "all/sparsity")[epoch], rtol=1e-6)
