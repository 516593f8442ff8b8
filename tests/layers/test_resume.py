"""Training that was interrupted and goes on ends with the weights of training that was not."""

import warnings

import keras
import numpy as np
import pytest
from helpers.backends import to_numpy
from helpers.marks import first_is_fast, slow
from helpers.models import data

import kerasreg as kr

EPOCHS = 4
OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(0.02),
    "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
}
PENALTIES = {
    # Three updates an epoch: begun before the interruption, and reached after it.
    "top-k": lambda: kr.TopK(0.7, begin_step=2, end_step=10, frequency=2),
    "l1": lambda: kr.L1(0.05),
    "keep zeros": lambda: kr.KeepZeros(),
    "groups": lambda: kr.GroupLasso(0.05),
}
# Each optimizer with half of the penalties.
MORE = ("adam", "momentum", "momentum"), ("groups", "l1", "keep zeros")


class Interruption(Exception):
    """What ends the process in the middle of training."""


class Interrupt(keras.callbacks.Callback):
    """Ends training in the middle of its third epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (2, 1):
            raise Interruption


def build(optimizer, penalty):
    keras.utils.clear_session()  # The names are those of a new process.
    keras.utils.set_random_seed(3)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, "relu", name="first"),
            kr.Dropout(0.3),
            layers.Dense(8, "relu", name="second"),
            kr.Dropout(0.2),
            layers.Dense(3, name="last"),
        ]
    )
    if penalty == "keep zeros":
        kernel = model.get_layer("second").kernel
        kernel.assign(to_numpy(kernel.value) * (np.indices(kernel.shape).sum(0) % 2))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    wrapped = kr.Proximal(OPTIMIZERS[optimizer](), {".*second/kernel": PENALTIES[penalty]()})
    model.compile(wrapped, loss)
    return model


def fit(model, callbacks=(), first_epoch=0, epochs=EPOCHS):
    x, y = data(36)
    model.fit(x, y, 12, epochs, 0, list(callbacks), shuffle=False, initial_epoch=first_epoch)
    return model


def interrupted(model, callback):
    with pytest.raises(Interruption):
        fit(model, [callback, Interrupt()])


def by_backup(build, folder):
    """Resumed by `BackupAndRestore`."""
    interrupted(build(), keras.callbacks.BackupAndRestore(folder / "backup"))
    return fit(build(), [keras.callbacks.BackupAndRestore(folder / "backup")])


def by_checkpoint(build, folder):
    """Resumed from the whole model that `ModelCheckpoint` wrote."""
    interrupted(build(), keras.callbacks.ModelCheckpoint(folder / "model.keras"))
    return fit(keras.saving.load_model(folder / "model.keras"), first_epoch=2)


def by_orbax(build, folder):
    """Resumed from what `OrbaxCheckpoint` wrote."""
    pytest.importorskip("orbax.checkpoint")
    path = str(folder / "orbax")
    interrupted(build(), keras.callbacks.OrbaxCheckpoint(path, save_on_background=False))
    resumed = fit(build(), epochs=1)  # The state is restored into variables that are there.
    resumed.load_weights(path)
    return fit(resumed, first_epoch=2)


def by_state_tree(build, folder):
    """Resumed by the state tree, which Orbax writes, in a model that had other updates."""
    tree = fit(build(), epochs=2).get_state_tree()
    resumed = fit(build(), epochs=1)
    resumed.set_state_tree(tree)
    return fit(resumed, first_epoch=2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Sharding info not provided")  # of Orbax, on JAX
@pytest.mark.parametrize(("optimizer", "penalty"), [("adam", "top-k"), *map(slow, *MORE)])
@pytest.mark.parametrize(
    "resume", first_is_fast([by_backup, by_checkpoint, by_state_tree, by_orbax])
)
def test_resumed_training_is_that_without_interruption(resume, optimizer, penalty, tmp_path):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "(?s).*optimizer")  # Its state was not loaded.
        whole = fit(build(optimizer, penalty))
        resumed = resume(lambda: build(optimizer, penalty), tmp_path)
    for one, other in zip(whole.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(to_numpy(one.value), to_numpy(other.value), one.path)
    for one, other in zip(whole.optimizer.variables, resumed.optimizer.variables, strict=True):
        np.testing.assert_array_equal(to_numpy(one.value), to_numpy(other.value), one.path)
