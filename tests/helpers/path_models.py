"""Models whose paths the tests follow, and data for them."""

import keras
import numpy as np
from sklearn.datasets import load_diabetes, load_digits

import kerasreg as kr


def diabetes():
    data = load_diabetes()
    x = (data.data - data.data.mean(0)) / data.data.std(0)
    return x, data.target - data.target.mean(), data.feature_names


def linear(x, loss="mse", rate=0.1, momentum=0.9, metrics=()):
    model = keras.Sequential([keras.Input(x.shape[1:]), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(rate, momentum=momentum), loss, metrics=list(metrics))
    return model


def coefficients(path, weight=0):
    return np.stack([np.ravel(path.weights_of(row)[weight]) for row in path.rows], 1)


def digits():
    x, y = load_digits(return_X_y=True)
    return (
        (x[:600] / 16).astype("float32"),
        y[:600],
        (x[600:900] / 16).astype("float32"),
        y[600:900],
    )


def network(optimizer=None, jit_compile="auto", model=keras.Model, dropout=0.1):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((64,))
    hidden = keras.layers.Dense(32, "relu", name="first")(inputs)
    hidden = keras.layers.BatchNormalization()(hidden)
    hidden = kr.Dropout(dropout)(hidden)
    model = model(inputs, keras.layers.Dense(10, name="last")(hidden))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = optimizer or keras.optimizers.Adam(0.01)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=jit_compile)
    return model


def train(model, x, y):
    model.fit(x, y, batch_size=100, epochs=10, verbose=0)
    return model


class Interrupt(keras.callbacks.Callback):
    """Ends the program in the middle of the training at one strength."""

    def __init__(self, at):
        super().__init__()
        self.left = at

    def on_epoch_end(self, epoch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def follow(folder, callbacks=None, **changes):
    x, y, x_val, y_val = digits()
    sgd = keras.optimizers.SGD(0.1)  # Adam takes three times as long to trace.
    model = network(sgd, dropout=0.0)  # with which the order of the samples would matter
    arguments = {
        "strengths": [1e-3, 1e-2, 3e-2],
        "validation_data": (x_val, y_val),
        "epochs_per_strength": 2,
        "batch_size": 600,
        "folds": 2,
        "log_dir": folder,
        "verbose": 0,
    }
    arguments |= changes
    return model, lambda: kr.regularization_path(
        model, kr.L1(), x, y, callbacks=callbacks, **arguments
    )
