"""Chooses the data and the strengths of `examples/quickstart.py`, on validation data.

    python benchmarks/quickstart_choice.py [data] [strengths] [debiasing]

Prints means over three seeds, which draw the training samples, the wrong labels, the columns that
say nothing and the first weights. The 800 digits that the quickstart tests on are not used. `data`
asks where dropout helps, and the other techniques too; `strengths` compares strengths on the
quickstart's data, and `debiasing` how L1 by `Proximal` and training on with `KeepZeros` go
together. All three take a quarter of an hour on two cores.
"""

import sys
import time
from pathlib import Path

import keras
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

import quickstart  # noqa: E402

import kerasreg as kr  # noqa: E402

SEEDS = range(3)
DATA = [(columns, wrong) for columns in (0, 64) for wrong in (0, 30, 60)]
DATA_TECHNIQUES = ("none", "Dropout", "L1, Proximal")
STRENGTHS = {
    "L2": [{"in_loss": kr.L2(l2)} for l2 in (1e-2, 3e-2, 6e-2)],
    "ElasticNet": [
        {"in_loss": kr.ElasticNet(1.0, l1, l2)} for l1, l2 in ((1e-3, 1e-2), (2e-3, 1e-2))
    ],
    "Dropout": [{"rates": rates} for rates in ((0.0, 0.5), (0.2, 0.5), (0.3, 0.5), (0.5, 0.5))],
    "L1": [{"in_loss": kr.L1(l1)} for l1 in (1e-3, 2e-3, 3e-3)],
    "GroupLasso, Proximal": [
        {"after_updates": kr.GroupLasso(strength, axis="input")}
        for strength in (1e-3, 1.5e-3, 2e-3)
    ],
}
DEBIASED_STRENGTHS = (3e-3, 4e-3, 5e-3)
DEBIASING_EPOCHS = (5, 10)


def fit(model, data, epochs):
    """Trains as the quickstart does, without its log; returns the numbers of a row."""
    training, validation, _ = data
    model.fit(*training, batch_size=quickstart.BATCH_SIZE, epochs=epochs, verbose=0)
    return (
        quickstart.accuracy(model, training),
        quickstart.accuracy(model, validation),
        kr.sparsity_report(model, weights="hidden_./kernel").total.sparsity,
        kr.compact(model).count_params(),
    )


def train(seed, technique):
    """A trained network, the data it has learned, and its row."""
    keras.utils.set_random_seed(seed)
    data, model = quickstart.load_data(seed), quickstart.build_model(**technique)
    return model, data, fit(model, data, quickstart.EPOCHS)


def print_means(name, rows):
    train_accuracy, accuracy, zeros, parameters = np.mean(rows, axis=0)
    print(
        f"{name:42} {train_accuracy:8.1%} {accuracy:11.1%} {np.std([r[1] for r in rows]):6.1%}"
        f" {zeros:8.1%} {parameters:10,.0f}",
        flush=True,
    )


def print_header(title):
    print(f"\n{title:42} {'train':>8} {'validation':>11} {'±':>6} {'zeros':>8} {'left':>10}")


def compare_data():
    for columns, wrong in DATA:
        quickstart.NUISANCE_COLUMNS, quickstart.WRONG_LABELS = columns, wrong
        print_header(f"{columns} columns that say nothing, {wrong} wrong")
        for name in DATA_TECHNIQUES:
            technique = quickstart.TECHNIQUES[name]
            print_means(name, [train(seed, technique)[-1] for seed in SEEDS])


def compare_strengths():
    print_header("strengths")
    print_means("none", [train(seed, {})[-1] for seed in SEEDS])
    for name, candidates in STRENGTHS.items():
        for technique in candidates:
            (value,) = technique.values()
            print_means(f"{name}: {value}", [train(seed, technique)[-1] for seed in SEEDS])


def compare_debiasing():
    print_header("debiasing")
    for l1 in DEBIASED_STRENGTHS:
        rows = {0: [], **{epochs: [] for epochs in DEBIASING_EPOCHS}}
        for seed in SEEDS:
            model, data, row = train(seed, {"after_updates": kr.L1(l1)})
            rows[0].append(row)
            selected = model.get_weights()
            for epochs in DEBIASING_EPOCHS:
                model.set_weights(selected)
                quickstart.DEBIASING_EPOCHS = epochs
                quickstart.debias(model)
                rows[epochs].append(fit(model, data, epochs))
        for epochs in rows:
            print_means(f"L1({l1:g}), {epochs} epochs of KeepZeros", rows[epochs])


def main():
    tables = {"data": compare_data, "strengths": compare_strengths, "debiasing": compare_debiasing}
    data = quickstart.NUISANCE_COLUMNS, quickstart.WRONG_LABELS
    for name in sys.argv[1:] or tables:
        quickstart.NUISANCE_COLUMNS, quickstart.WRONG_LABELS = data
        start = time.perf_counter()
        tables[name]()
        print(f"({time.perf_counter() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
