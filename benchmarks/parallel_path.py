"""What `n_jobs` saves: a path with five folds, one after the other and side by side.

    KERAS_BACKEND=jax python benchmarks/parallel_path.py

For the lasso on scikit-learn's diabetes data, whose trainings are short, and a network on its
digits, whose are longer. Each number is the time of one call; `first` also starts the processes,
which import Keras, and `again` finds them there. Compilation is in all of them, as each process
compiles for itself. The rows are compared to those of one process.
"""

import argparse
import time

import keras
import numpy as np
from sklearn.datasets import load_diabetes, load_digits

import kerasreg as kr

FOLDS = 5


def lasso():
    x, y = load_diabetes(return_X_y=True)
    x, y = (x - x.mean(0)) / x.std(0), y - y.mean()
    model = keras.Sequential([keras.Input((x.shape[1],)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.3, momentum=0.9), "mse")
    return model, x, y, {"n_strengths": 20, "min_ratio": 0.02}


def network():
    x, y = load_digits(return_X_y=True)
    hidden = [keras.layers.Dense(units, "relu") for units in (512, 256)]
    model = keras.Sequential([keras.Input((64,)), *hidden, keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss)
    strengths = np.geomspace(1e-4, 1e-2, 8)
    return model, (x / 16).astype("float32"), y, {"strengths": strengths}


def run(make, n_jobs):
    """The seconds that a path takes, and its rows."""
    keras.utils.set_random_seed(0)
    model, x, y, grid = make()
    start = time.perf_counter()
    path = kr.regularization_path(
        model, kr.L1(), x, y, folds=FOLDS, n_jobs=n_jobs, verbose=0, **grid
    )
    return time.perf_counter() - start, path.rows


def largest_difference(rows, others):
    """Of the losses on the folds, relative."""
    values = [np.array([row.fold_values for row in each]) for each in (rows, others)]
    return float(np.max(np.abs(values[0] - values[1]) / np.abs(values[0])))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, nargs="+", default=[2])
    print(f"{'':<10}{'n_jobs':>8}{'first, s':>10}{'again, s':>10}{'of 1':>7}{'difference':>13}")
    jobs = parser.parse_args().jobs
    for make in (lasso, network):
        run(make, 1)
        alone, expected = run(make, 1)
        print(f"{make.__name__:<10}{1:>8}{'':>10}{alone:>10.1f}{1:>7.2f}")
        for n_jobs in jobs:
            first, _ = run(make, n_jobs)
            again, rows = run(make, n_jobs)
            difference = largest_difference(expected, rows)
            ratio = again / alone
            print(
                f"{'':<10}{n_jobs:>8}{first:>10.1f}{again:>10.1f}{ratio:>7.2f}{difference:>13.1e}"
            )


if __name__ == "__main__":
    main()
