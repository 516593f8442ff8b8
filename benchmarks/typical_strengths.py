"""Which strengths do something: a table by layer kind and loss, for three small models.

    KERAS_BACKEND=jax python benchmarks/typical_strengths.py

A linear model on scikit-learn's diabetes data, an MLP and a CNN on its digits. Each is trained
without a penalty (the linear model is not), and then along `regularization_path` with one penalty
on one kind of layer. Printed is a table in Markdown: the strength at which half of what the penalty
zeroes is zero, and the strongest that costs nothing: for a classifier at most one point of the
accuracy on held-out samples, for the regression at most 2 % of its loss there; with the share of
zeros at that strength. The second half of the samples is held out.
"""

import argparse

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_diabetes, load_digits

import kerasreg as kr

CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
COLUMNS = ("layer", "model and loss", "penalty", "half is zero at", "strongest that costs nothing")


def linear():
    x, y = load_diabetes(return_X_y=True)
    x, y = ((a - a.mean(0)) / a.std(0) for a in (x, y[:, None]))
    model = keras.Sequential([keras.Input((10,)), layers.Dense(1, name="only")])
    model.compile(keras.optimizers.SGD(0.3, momentum=0.9), "mse")
    return model, x.astype("float32"), y.astype("float32")


def digits(epochs, shape, hidden):
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32").reshape(-1, *shape)
    model = keras.Sequential([keras.Input(shape), *hidden, layers.Dense(10, name="logits")])
    model.compile(keras.optimizers.Adam(2e-3), CROSS_ENTROPY, metrics=["accuracy"])
    model.fit(x[::2], y[::2], batch_size=64, epochs=epochs, verbose=0)
    return model, x, y


def mlp(epochs):
    return digits(epochs, (64,), [layers.Dense(n, "relu", name=f"dense{n}") for n in (128, 64)])


def cnn(epochs):
    maps = [
        layers.Conv2D(n, 3, padding="same", activation="relu", name=f"conv{n}") for n in (16, 32)
    ]
    hidden = [maps[0], layers.MaxPooling2D(), maps[1], layers.Flatten()]
    return digits(epochs, (8, 8, 1), [*hidden, layers.Dense(64, "relu", name="dense64")])


def cases(epochs):
    """Model, words, and for each kind of layer the pattern and the penalties."""
    l1, units, inputs = kr.L1(), kr.GroupLasso(axis=-1), kr.GroupLasso(axis=0)
    mcp = kr.MCP(gamma=300.0)
    yield linear(), "linear, mse", {"output, Dense": (".*only/kernel", [l1])}
    kinds = {
        "hidden, Dense": (".*dense.*/kernel", [l1, mcp, units]),
        "first, Dense": (".*dense128/kernel", [inputs]),
        "output, Dense": (".*logits/kernel", [l1]),
    }
    yield mlp(epochs), "MLP, cross-entropy", kinds
    kinds = {
        "Conv2D": (".*conv.*/kernel", [l1, mcp, units]),
        "hidden, Dense": (".*dense.*/kernel", [l1, units]),
        "output, Dense": (".*logits/kernel", [l1]),
    }
    yield cnn(epochs), "CNN, cross-entropy", kinds


def words(penalty):
    if isinstance(penalty, kr.GroupLasso):
        return f"`kr.GroupLasso(axis={penalty.axis})`"
    return "`kr.L1`" if isinstance(penalty, kr.L1) else f"`kr.MCP(gamma={penalty.gamma:g})`"


def measure(model, x, y, pattern, penalty, options):
    """The path, and what its rows say: half zero, and the strongest that costs nothing."""
    held_out = (x[1::2], y[1::2])
    classifier = y.ndim == 1
    monitor = "accuracy" if classifier else "data_loss"
    before = model.evaluate(*held_out, batch_size=len(x), verbose=0, return_dict=True)
    path = kr.regularization_path(
        model,
        {pattern: penalty},
        x[::2],
        y[::2],
        validation_data=held_out,
        monitor=monitor,
        verbose=0,
        **options,
    )
    values = [row.held_out_value(monitor) for row in path.rows]
    best = before["accuracy"] if classifier else min(values)
    free = [
        row
        for row, value in zip(path.rows, values, strict=True)
        if (value >= best - 0.01 if classifier else value <= 1.02 * best)
    ]
    half = min((row.strength for row in path.rows if row.sparsity >= 0.5), default=None)
    strongest = max(free, key=lambda row: row.strength, default=None)
    shown = "none" if strongest is None else f"{strongest.strength:.0e}, {strongest.sparsity:.0%}"
    return "none" if half is None else f"{half:.0e}", shown


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strengths", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=30, help="before the path")
    parser.add_argument("--epochs-per-strength", type=int, default=6)
    arguments = parser.parse_args()
    keras.utils.set_random_seed(0)
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for (model, x, y), name, kinds in cases(arguments.epochs):
        options = {"strengths": np.geomspace(1e-5, 1.0, arguments.strengths)}
        if y.ndim == 1:
            options |= {"epochs_per_strength": arguments.epochs_per_strength, "batch_size": 64}
        for kind, (pattern, penalties) in kinds.items():
            for penalty in penalties:
                cells = measure(model, x, y, pattern, penalty, options)
                print("|", " | ".join([kind, name, words(penalty), *cells]), "|", flush=True)


if __name__ == "__main__":
    main()
