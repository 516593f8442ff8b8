"""Which penalty, and how strong: twelve runs, a table, and TensorBoard's HPARAMS tab.

scikit-learn's digits: L1, ElasticNet and GroupLasso after the back-propagation step, so that
zeros are exact, each at four strengths. Takes about a minute on two cores and downloads nothing:

    python examples/sweep.py
"""

import time
from pathlib import Path

import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kerasreg as kr

LOG_DIR = Path(__file__).parent.parent / "tensorboard_logs" / "sweep"
STRENGTHS = ("1e-4", "3e-4", "1e-3", "3e-3")
EPOCHS = 20
BATCH_SIZE = 64

PENALTIES = {
    "L1": kr.L1,
    "ElasticNet": lambda strength: kr.ElasticNet(alpha=strength, l1=0.5, l2=0.5),
    "GroupLasso": kr.GroupLasso,  # a group is all weights of one unit
}
HEADER = ("", "strength", "accuracy", "zero", "dead units", "penalty", "seconds")


def load_data():
    x, y = load_digits(return_X_y=True)
    return train_test_split((x / 16).astype("float32"), y, stratify=y, random_state=0)


def build_model(penalty, train_samples):
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(128, activation="relu", name="hidden_1"),
            keras.layers.Dense(64, activation="relu", name="hidden_2"),
            keras.layers.Dense(10, name="logits"),
        ]
    )
    steps = EPOCHS * -(-train_samples // BATCH_SIZE)
    adam = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, steps))
    model.compile(
        optimizer=kr.Proximal(adam, penalty),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def train(name, strength, data):
    """Trains one network, logs it, and returns its row of the table."""
    x_train, x_test, y_train, y_test = data
    keras.utils.set_random_seed(0)
    model = build_model(PENALTIES[name](float(strength)), len(x_train))
    logger = kr.RegularizationLogger(
        LOG_DIR / f"{name} {strength}",
        weights="kernel",
        hparams={"penalty": name, "strength": float(strength)},
        verbose=0,
        in_logs=("sparsity", "dead_units", "regularization_loss"),
    )
    start = time.perf_counter()
    history = model.fit(
        x_train,
        y_train,
        batch_size=BATCH_SIZE,
        epochs=EPOCHS,
        validation_data=(x_test, y_test),
        validation_batch_size=len(x_test),
        verbose=0,
        callbacks=[logger],
    ).history
    return (
        name,
        strength,
        f"{history['val_accuracy'][-1]:.1%}",
        f"{history['sparsity'][-1]:.1%}",
        f"{history['dead_units'][-1]:.0f}",
        f"{history['regularization_loss'][-1]:.3f}",
        f"{time.perf_counter() - start:.1f}",
    )


def print_row(row):
    print("".join(f"{cell:>12}" for cell in row), flush=True)


def main():
    data = load_data()
    print_row(HEADER)
    for name in PENALTIES:
        for strength in STRENGTHS:
            print_row(train(name, strength, data))
    print(
        "\naccuracy: on the test digits; zero, dead units and penalty: of all kernels.\n\n"
        "Compare the runs in the HPARAMS tab, best in its parallel coordinates with a "
        "logarithmic\naxis for the strength, of\n\n"
        f"    tensorboard --logdir {LOG_DIR}\n"
    )


if __name__ == "__main__":
    main()
