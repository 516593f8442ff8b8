"""What can happen to a run and its log: training never stops, and what was logged is readable."""

import contextlib
import copy
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
import warnings

import keras
import numpy as np
import pytest
from helpers.event_files import read, steps
from helpers.marks import slow
from helpers.models import classifier, data
from helpers.processes import environment, in_process

import kerasreg as kr


class At(keras.callbacks.Callback):
    """Does something at the end of an epoch."""

    def __init__(self, epoch, action):
        super().__init__()
        self.epoch = epoch
        self.action = action

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            self.action()


def fit(model, *callbacks, epochs=4, **kwargs):
    x, y = data()
    return model.fit(x, y, 8, epochs=epochs, verbose=0, callbacks=list(callbacks), **kwargs).history


@pytest.mark.slow
def test_the_folder_is_removed(tmp_path):
    """Points go on in a new one."""
    logger = kr.RegularizationLogger(tmp_path / "run", verbose=0)

    def remove():
        # What waits is written first: which points are lost shall not depend on the thread.
        logger._run.flush(10)
        shutil.rmtree(tmp_path / "run")

    history = fit(classifier(), logger, At(1, remove))
    assert len(history["sparsity"]) == 4
    assert steps(tmp_path / "run") == [15, 20]


@pytest.mark.slow
def test_two_runs_in_one_folder_at_the_same_time(tmp_path):
    """Each writes a file of its own, and both are whole."""
    loggers = [kr.RegularizationLogger(tmp_path, verbose=0) for _ in range(2)]
    fit(classifier(), *loggers)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    for number, file in enumerate(files):
        alone = tmp_path / str(number)
        alone.mkdir()
        shutil.copy(file, alone)
        assert steps(alone) == [5, 10, 15, 20]


@pytest.mark.slow
def test_an_exception_in_another_callback(tmp_path):
    def fail():
        raise RuntimeError("somebody else's")

    logger = kr.RegularizationLogger(tmp_path, update_freq=1, verbose=0)
    with pytest.raises(RuntimeError, match="somebody else's"):
        fit(classifier(), logger, At(1, fail))
    logger._run.flush(10)
    assert steps(tmp_path) == list(range(1, 11))


ENDS = {
    "exit": "import sys; sys.exit(3)",
    "exception": "raise RuntimeError('on purpose')",
    # A process that was started in a shell's background ignores it, unless told otherwise.
    "Ctrl-C": "import os, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "os.kill(os.getpid(), signal.SIGINT)",
}
ENDING = """
    import sys
    import keras, kerasreg as kr
    from helpers.models import classifier, data

    class End(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.params["steps"] == 5 and batch == 2 and self.epoch == 1:
                {end}

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

    x, y = data()
    logger = kr.RegularizationLogger(sys.argv[1], update_freq=1)
    classifier("auto").fit(x, y, 8, epochs=3, verbose=0, callbacks=[logger, End()])
"""


def start(code, *args):
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, args)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment(), **pipes)


@pytest.mark.slow  # test_worker.py has the ends of a process without Keras
@pytest.mark.parametrize("end", ENDS)
def test_the_process_ends_in_the_middle_of_an_epoch(end, tmp_path):
    process = start(ENDING.replace("{end}", ENDS[end]), tmp_path)
    process.communicate(timeout=300)
    assert process.returncode != 0
    assert steps(tmp_path) == list(range(1, 9))


KILLED = """
    import sys, time
    import numpy as np
    import keras, kerasreg as kr
    from helpers.models import classifier, data

    log_dir, resume = sys.argv[1], len(sys.argv) > 2
    checkpoint = f"{log_dir}/model.keras"
    model = keras.saving.load_model(checkpoint) if resume else classifier("auto")

    class Wait(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.epoch == 3 and batch == 2 and not resume:
                logger._run.flush(10)
                print("here", flush=True)
                time.sleep(300)

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

    x, y = data()
    logger = kr.RegularizationLogger(log_dir, update_freq=1, verbose=0)
    saved = keras.callbacks.ModelCheckpoint(checkpoint)
    first = {"initial_epoch": 3} if resume else {}
    model.fit(x, y, 8, epochs=6, verbose=0, callbacks=[logger, saved, Wait()], **first)
"""


@pytest.mark.slow
def test_killed_and_resumed(tmp_path):
    """No gap, and no step twice, though three steps were logged after the checkpoint."""
    process = start(KILLED, tmp_path)
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert steps(tmp_path) == list(range(1, 19))
    in_process(KILLED, tmp_path, "resume")
    assert steps(tmp_path) == list(range(1, 31))
    for tag, points in read(tmp_path).items():
        if tag.startswith(("sparsity/", "all/", "nonzero/")):
            found = [step for step, _ in points]
            assert found == sorted(set(found)), tag


@pytest.mark.slow
def test_weights_that_are_not_numbers(tmp_path):
    model = classifier(optimizer=keras.optimizers.SGD(float("inf")))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        fit(model, kr.RegularizationLogger(tmp_path, input_shape=(2, 3), verbose=0))
    points = read(tmp_path)
    assert np.isnan(points["penalty_share/first/kernel"][-1][1])
    assert len(points["all/sparsity"]) == 4 and "sparsity_report" in points


@pytest.mark.slow
def test_a_thousand_layers(tmp_path):
    model = keras.Model()
    model.many = [keras.layers.Dense(2, kernel_regularizer=kr.L1(1e-3)) for _ in range(1000)]
    for layer in model.many:
        layer.build((None, 2))
    model.built = True
    logger = kr.RegularizationLogger(tmp_path, verbose=0)
    logger.set_model(model)
    for step in (1, 2):
        logger.log(step)
    logger.close()
    points = read(tmp_path)
    assert len([tag for tag in points if tag.startswith("sparsity/")]) == 2000
    assert [step for step, _ in points["sparsity/dense_999/kernel"]] == [1, 2]


ODD_NAMES = ["with space", "ünï · ço∂é 層", "<img src=x onerror=alert(1)>", "a|b`c*d_[e]", "%2F&?#"]


def test_odd_names(tmp_path):
    layers = [keras.layers.Dense(2, name=name, kernel_regularizer=kr.L1(0.1)) for name in ODD_NAMES]
    model = keras.Sequential([keras.Input((3,)), *layers])
    logger = kr.RegularizationLogger(tmp_path, verbose=0, hparams={"<b>": "<i>x</i>"})
    logger.set_model(model)
    logger.log(1)
    logger.close()
    points = read(tmp_path)
    for name in ODD_NAMES:
        assert f"sparsity/{name}/kernel" in points, name
    page = points["configuration"][0][1].decode()
    assert "<img" not in page and "&lt;img" in page


@pytest.mark.slow
def test_metrics_of_the_same_name_stay(tmp_path):
    """An output called `data` has a loss called `data_loss`."""
    inputs = keras.Input((6,))
    outputs = {name: keras.layers.Dense(1, name=name)(inputs) for name in ("data", "total")}
    model = keras.Model(inputs, outputs)
    weights = model.get_weights()
    x, y = data()
    histories = []
    for callbacks in ([], [kr.RegularizationLogger(tmp_path, update_freq=2, verbose=0)]):
        model.set_weights(weights)
        model.compile("sgd", dict.fromkeys(outputs, "mse"))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            arguments = {"epochs": 2, "shuffle": False, "verbose": 0, "callbacks": callbacks}
            histories.append(model.fit(x, dict.fromkeys(outputs, y), **arguments).history)
    plain, logged = histories
    assert logged["data_loss"] == plain["data_loss"] and len(logged["sparsity"]) == 2
    messages = [str(w.message) for w in caught if "metrics called" in str(w.message)]
    assert len(messages) == 1 and "['data_loss']" in messages[0]
    found = [step for step, _ in read(tmp_path)["all/total_loss"]]
    assert found == sorted(set(found)) != []


class Odd(keras.callbacks.Callback):
    """Puts into the logs what no chart can show."""

    def on_epoch_end(self, epoch, logs=None):
        logs.update({3: 1.0, "text": "a", "none": None, "array": np.ones(3), "large": 10**400})


@pytest.mark.slow
def test_odd_entries_in_the_logs(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(classifier(), Odd(), kr.RegularizationLogger(tmp_path, verbose=0))
    points = read(tmp_path)
    assert len(points["all/3"]) == len(points["all/sparsity"]) == 4
    assert not {"all/text", "all/none", "all/array", "all/large"} & set(points)


@pytest.mark.parametrize("output", ["/dev/full", slow("ascii")])
def test_output_that_cannot_be_printed(tmp_path, monkeypatch, output):
    file = open(
        "/dev/full" if output == "/dev/full" else tmp_path / "out", "w", 1, encoding="ascii"
    )
    monkeypatch.setattr(sys, "stdout", file)
    history = fit(classifier(), kr.RegularizationLogger(tmp_path / "ünï"))
    monkeypatch.undo()
    assert len(history["sparsity"]) == 4
    with contextlib.suppress(OSError):
        file.close()


@pytest.mark.slow
def test_a_training_that_is_cut_off_and_another_model(tmp_path):
    def interrupt():
        raise KeyboardInterrupt

    model, other = classifier(), classifier()
    logger = kr.RegularizationLogger(tmp_path, verbose=0)
    with pytest.raises(KeyboardInterrupt):
        fit(model, logger, At(1, interrupt))
    with pytest.warns(UserWarning, match="the log of another training"):
        fit(other, logger)
    assert "compute_loss" not in vars(model)
    assert model.metrics_names == other.metrics_names


@pytest.mark.filterwarnings("ignore:The folder .* holds the log of another training")
@pytest.mark.parametrize("copied", [slow(copy.deepcopy), lambda c: pickle.loads(pickle.dumps(c))])
def test_copies(tmp_path, copied):
    logger = kr.RegularizationLogger(tmp_path, verbose=0)
    fit(classifier(), logger, epochs=1)
    logger.set_model(classifier())
    logger.log(6)
    twin = copied(logger)
    assert len(fit(classifier(), twin)["sparsity"]) == 4


class Strange(keras.regularizers.Regularizer):
    l1 = np.arange(3)

    def __call__(self, w):
        return keras.ops.sum(keras.ops.abs(w)) * 0.1

    def get_config(self):
        raise RuntimeError("not today")


def test_a_strange_regularizer(tmp_path):
    layer = keras.layers.Dense(3, kernel_regularizer=Strange(), name="strange")
    model = keras.Sequential([keras.Input((6,)), layer])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    fit(model, kr.RegularizationLogger(tmp_path, verbose=0))
    assert len(read(tmp_path)["regularization_loss/strange/kernel"]) == 4
