"""What regularisation does to a network that overfits, in a table and in TensorBoard.

scikit-learn's digits with few training samples, and beside the 64 pixels 192 columns that say
nothing: the same network without regularisation and with six kinds of it. In the end a smaller
network that computes the same as one of them. Takes under a minute on two cores and downloads
nothing:

    python examples/quickstart.py
"""

import statistics
import time
from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kerasreg as kr

LOG_DIR = Path(__file__).parent.parent / "tensorboard_logs" / "quickstart"
TRAIN_SAMPLES = 200
NUISANCE_COLUMNS = 192
EPOCHS = 40
BATCH_SIZE = 40

# Penalties on both hidden kernels, in the loss or by `Proximal`, and dropout behind both layers.
TECHNIQUES = {
    "none": {},
    "L1": {"penalty": kr.L1(1e-3)},
    "L2": {"penalty": kr.L2(2e-2)},
    "ElasticNet": {"penalty": kr.ElasticNet(alpha=1.0, l1=1e-3, l2=5e-3)},
    "GroupLasso": {"penalty": kr.GroupLasso(1e-3, axis=0)},  # a group is all weights of one input
    "Dropout": {"rate": 0.5},
    "Proximal": {"penalty": kr.GroupLasso(1e-3, axis=0), "after_updates": True},
}
HEADER = ("", "train", "test", "gap", "zero", "|w| < 1e-3", "penalty", "seconds")


def load_data():
    """Few digits to train on, all others to test on; most columns are irrelevant."""
    x, y = load_digits(return_X_y=True)
    nuisance = np.random.default_rng(0).choice(x.ravel(), (len(x), NUISANCE_COLUMNS))
    x = (np.hstack([x, nuisance]) / 16).astype("float32")
    return train_test_split(x, y, train_size=TRAIN_SAMPLES, stratify=y, random_state=0)


def build_model(penalty=None, rate=0.0, after_updates=False):
    """A network with many more weights than the data can fix."""
    in_the_loss = None if after_updates else penalty
    layers = [keras.Input((64 + NUISANCE_COLUMNS,))]
    for index in (1, 2):
        layers.append(
            keras.layers.Dense(
                256, activation="relu", kernel_regularizer=in_the_loss, name=f"hidden_{index}"
            )
        )
        if rate:
            layers.append(kr.Dropout(rate, name=f"dropout_{index}"))
    layers.append(keras.layers.Dense(10, name="logits"))
    model = keras.Sequential(layers)
    steps = EPOCHS * -(-TRAIN_SAMPLES // BATCH_SIZE)
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, steps))
    if after_updates:
        optimizer = kr.Proximal(optimizer, {".*hidden_./kernel": penalty})
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


class ProgressBar(keras.callbacks.Callback):
    """One bar for a whole run, in place of one for each epoch."""

    SHOWN = ("data_loss", "penalty", "near_zero", "val_accuracy")

    def __init__(self, name):
        super().__init__()
        print(f"\n{name}")
        self.bar = keras.utils.Progbar(EPOCHS, unit_name="epoch", stateful_metrics=self.SHOWN)

    def on_epoch_end(self, epoch, logs=None):
        self.bar.update(epoch + 1, [(key, logs[key]) for key in self.SHOWN])


def train(name, technique, data):
    """Trains one network, logs it, and returns it with its row of the table."""
    x_train, x_test, y_train, y_test = data
    keras.utils.set_random_seed(0)
    model = build_model(**technique)
    start = time.perf_counter()
    history = model.fit(
        x_train,
        y_train,
        batch_size=BATCH_SIZE,
        epochs=EPOCHS,
        validation_data=(x_test, y_test),
        validation_batch_size=len(x_test),
        verbose=0,
        callbacks=[
            kr.RegularizationLogger(
                LOG_DIR / name, weights="hidden_./kernel", verbose=0, in_logs="all"
            ),
            ProgressBar(name),
        ],
    ).history
    seconds = time.perf_counter() - start
    train_accuracy = model.evaluate(x_train, y_train, TRAIN_SAMPLES, verbose=0)[1]
    test_accuracy = history["val_accuracy"][-1]
    return model, (
        name,
        f"{train_accuracy:.1%}",
        f"{test_accuracy:.1%}",
        f"{train_accuracy - test_accuracy:.1%}",
        f"{history['sparsity'][-1]:.1%}",
        f"{history['near_zero'][-1]:.1%}",
        f"{history['regularization_loss'][-1]:.3f}",
        f"{seconds:.1f}",
    )


def print_table(rows):
    print("\n" + "".join(f"{cell:>12}" for cell in HEADER))
    for row in rows:
        print("".join(f"{cell:>12}" for cell in row))


def milliseconds(model, x):
    """How long the model takes for all of `x`, without the first call, which compiles."""
    times = []
    for _ in range(21):
        start = time.perf_counter()
        model.predict_on_batch(x)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[1:])


def make_smaller(model, x):
    """Saves a smaller network that computes the same, and prints how much smaller it is."""
    small = kr.compact(model)
    file = LOG_DIR / "small.keras"
    small.save(file)
    print(
        "`kr.compact` makes of the last one a network of plain Keras that computes the same:\n"
        f"{model.count_params():,} → {small.count_params():,} parameters, "
        f"{milliseconds(model, x):.1f} → {milliseconds(small, x):.1f} ms for {len(x):,} digits, "
        f"saved as\n{file}"
    )


def main():
    data = load_data()
    trained = {name: train(name, technique, data) for name, technique in TECHNIQUES.items()}
    print_table(row for _, row in trained.values())
    print(
        "\ntrain, test: accuracy; gap: their difference, the overfitting. zero, |w| < 1e-3 and "
        "penalty:\nof the hidden kernels. A penalty in the loss makes weights small, never "
        "exactly zero. Proximal is\nthe group lasso after each update: what it takes out is "
        "zero.\n\nLook at the runs with\n\n"
        f"    tensorboard --logdir {LOG_DIR}\n"
    )
    make_smaller(trained["Proximal"][0], data[1])


if __name__ == "__main__":
    main()
