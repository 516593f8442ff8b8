"""What regularisation does to a network that overfits, in a table and in TensorBoard.

scikit-learn's digits, made hard: a third of them to train on, one label in ten wrong, and beside
the 64 pixels as many columns that say nothing. The same network learns them without regularisation
and with seven kinds of it. In the end a smaller network that computes the same as the last one. It
takes under a minute on two cores and downloads nothing:

    python examples/quickstart.py

`benchmarks/quickstart_choice.py` has chosen the data and all strengths, on digits that are not in
the table.
"""

import shlex
import statistics
import time
from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kerasreg as kr

LOG_DIR = Path(__file__).parent.parent / "tensorboard_logs" / "quickstart"
COMMAND = f"tensorboard --logdir {shlex.quote(str(LOG_DIR))}"
LINK = "http://localhost:6006/?smoothing=0#custom_scalars&_smoothingWeight=0"
TRAIN_SAMPLES = 600
WRONG_LABELS = 60
NUISANCE_COLUMNS = 64
EPOCHS = 25
BATCH_SIZE = 60

# What is given to `build_model`. Penalties are on the kernels of both hidden layers, in the loss
# or applied after each update; dropout is behind the input and behind both hidden layers. Those
# after the updates are stronger than what is most accurate, to select; the last row mends its cost.
TECHNIQUES = {
    "none": {},
    "L2": {"in_loss": kr.L2(3e-2)},
    "ElasticNet": {"in_loss": kr.ElasticNet(alpha=1.0, l1=1e-3, l2=1e-2)},
    "Dropout": {"rates": (0.2, 0.5)},
    "L1": {"in_loss": kr.L1(2e-3)},
    "GroupLasso, Proximal": {"after_updates": kr.GroupLasso(1.5e-3, axis="input")},
    "L1, Proximal": {"after_updates": kr.L1(3e-3)},
}
# The last row goes on where the one before it ends, without its penalty.
DEBIASING_EPOCHS = 10

EXPLANATION = f"""
train, test: accuracy. {WRONG_LABELS / TRAIN_SAMPLES:.0%} of the labels in training are wrong: \
above {1 - WRONG_LABELS / TRAIN_SAMPLES:.0%} they are learned by heart.
exact zeros: of the weights of both hidden layers. A penalty in the loss makes them small, never
zero; `kr.Proximal` applies it after each update, and they are zero. `kr.KeepZeros` then trains
those that are left without the penalty, which had made them too small.
parameters left: after `kr.compact`, which takes out what the zeros make needless.
"""
HEADER = ("", "train", "test", "exact zeros", "parameters left", "seconds")
WIDTHS = (22, 8, 8, 13, 17, 9)


def load_data(seed=0):
    """600 digits to train on, 800 to test on and the rest for validation, each as `(x, y)`."""
    x, y = load_digits(return_X_y=True)
    random = np.random.default_rng(seed)
    nuisance = random.choice(x.ravel(), (len(x), NUISANCE_COLUMNS))
    x = (np.hstack([x, nuisance]) / 16).astype("float32")
    x, x_test, y, y_test = train_test_split(x, y, test_size=800, stratify=y, random_state=0)
    x_train, x_validation, y_train, y_validation = train_test_split(
        x, y, train_size=TRAIN_SAMPLES, stratify=y, random_state=seed
    )
    wrong = random.choice(TRAIN_SAMPLES, WRONG_LABELS, replace=False)
    y_train[wrong] = (y_train[wrong] + random.integers(1, 10, WRONG_LABELS)) % 10
    return (x_train, y_train), (x_validation, y_validation), (x_test, y_test)


def build_model(in_loss=None, after_updates=None, rates=(0.0, 0.0)):
    """A network with many more weights than the data can fix."""
    layers = [keras.Input((64 + NUISANCE_COLUMNS,)), kr.Dropout(rates[0], name="dropout_input")]
    for index in (1, 2):
        layers += [
            keras.layers.Dense(
                256, activation="relu", kernel_regularizer=in_loss, name=f"hidden_{index}"
            ),
            kr.Dropout(rates[1], name=f"dropout_{index}"),
        ]
    model = keras.Sequential([*layers, keras.layers.Dense(10, name="logits")])
    compile_model(model, after_updates, EPOCHS, 3e-3)
    return model


def compile_model(model, penalty, epochs, learning_rate):
    """Compiles it with Adam, around which `Proximal` applies a penalty after each update."""
    steps = epochs * -(-TRAIN_SAMPLES // BATCH_SIZE)
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    optimizer = keras.optimizers.Adam(schedule)
    if penalty is not None:
        optimizer = kr.Proximal(optimizer, {".*hidden_./kernel": penalty}, model=model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])


def debias(model):
    """Makes it ready to go on with the zeros that it has, and without what shrinks the others."""
    compile_model(model, kr.KeepZeros(), DEBIASING_EPOCHS, 1e-3)


def accuracy(model, data):
    x, y = data
    return np.mean(keras.ops.convert_to_numpy(model(x)).argmax(axis=-1) == y)


def train(name, model, epochs, data):
    """Trains and logs a network, and prints its row of the table."""
    training, _, test = data
    start = time.perf_counter()
    model.fit(
        *training,
        batch_size=BATCH_SIZE,
        epochs=epochs,
        validation_data=test,
        validation_batch_size=len(test[0]),
        verbose=0,
        callbacks=[kr.RegularizationLogger(LOG_DIR / name, weights="hidden_./kernel", verbose=0)],
    )
    seconds = time.perf_counter() - start
    print_row(
        name,
        f"{accuracy(model, training):.1%}",
        f"{accuracy(model, test):.1%}",
        f"{kr.sparsity_report(model, weights='hidden_./kernel').total.sparsity:.1%}",
        f"{kr.compact(model).count_params():,}",
        f"{seconds:.1f}",
    )
    return model


def print_row(*cells):
    first, *others = (f"{cell:>{width}}" for cell, width in zip(cells, WIDTHS, strict=True))
    print(f"{cells[0]:<{len(first)}}" + "".join(others), flush=True)


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
    difference = np.abs(model.predict_on_batch(x) - small.predict_on_batch(x)).max()
    print(
        "`kr.compact` makes of the last one a network of plain Keras that computes the same\n"
        f"(largest difference of an output {difference:.0e}): {model.count_params():,} → "
        f"{small.count_params():,} parameters,\n{milliseconds(model, x):.1f} → "
        f"{milliseconds(small, x):.1f} ms for {len(x):,} digits, saved as\n{file}\n"
    )


def main():
    data = load_data()
    print_row(*HEADER)
    for name, technique in TECHNIQUES.items():
        keras.utils.set_random_seed(0)
        model = train(name, build_model(**technique), EPOCHS, data)
    debias(model)
    train("L1, then KeepZeros", model, DEBIASING_EPOCHS, data)
    print(EXPLANATION)
    make_smaller(model, data[2][0])
    print(f"Look at the runs, first at CUSTOM SCALARS and SPARSITY:\n\n    {COMMAND}\n    {LINK}")


if __name__ == "__main__":
    main()
