"""How strong a penalty: paths of strengths for a linear model and for a network.

The lasso on scikit-learn's diabetes data, along a whole path, beside scikit-learn's own; the
strength is chosen by cross-validation. Then a network on its digits, from dense to sparse: the
strength is chosen on validation images, and the weights that are left are trained on without the
penalty. Takes half a minute with JAX on two cores, and minutes with the other backends, which
take longer for each of many short steps. Downloads nothing, and writes two plots,
path_diabetes.png and path_digits.png:

    python examples/choose_strength.py --output plots
"""

import argparse
from pathlib import Path

import keras
import matplotlib
import numpy as np
from sklearn.datasets import load_diabetes, load_digits
from sklearn.linear_model import LassoCV, lasso_path
from sklearn.model_selection import train_test_split

import kerasreg as kr

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

N_STRENGTHS = 50
FOLDS = 5
STRENGTHS = np.geomspace(1e-4, 0.02, 14)  # for the network
SIZE = (9.4, 5.2)  # of a plot, in inches


def fit_lasso_path(x, y):
    """The path of `Lasso(alpha)`, as a strength is scikit-learn's `alpha`."""
    model = keras.Sequential([keras.Input((x.shape[1],)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.3, momentum=0.9), "mse")
    lasso = kr.ElasticNet.from_sklearn(alpha=1.0, l1_ratio=1.0)
    return kr.regularization_path(
        model, lasso, x, y, n_strengths=N_STRENGTHS, folds=FOLDS, verbose=0
    )


def coefficients(path):
    """All of them, of shape (strengths, features)."""
    return np.stack([path.weights_of(row)[0][:, 0] for row in path.rows])


def order_of_entry(coefs, names):
    """The features in the order in which they come in, and leave again, as strengths fall."""
    order = []
    for before, after in zip(coefs, coefs[1:], strict=False):
        entering = np.flatnonzero((before == 0) & (after != 0))
        order += [names[i] for i in entering[np.argsort(-np.abs(after[entering]))]]
        order += [f"{names[i]} out" for i in np.flatnonzero((before != 0) & (after == 0))]
    return order


def diabetes(folder):
    data = load_diabetes()
    x, y, names = data.data, data.target, data.feature_names
    x, y = (x - x.mean(0)) / x.std(0), y - y.mean()
    path = fit_lasso_path(x, y)
    ours = coefficients(path)
    theirs = lasso_path(x, y, alphas=path.strengths, tol=1e-12, max_iter=100_000)[1].T
    chosen = LassoCV(alphas=path.strengths, cv=FOLDS).fit(x, y).alpha_
    print(f"Diabetes: {len(path)} strengths of the lasso, beside scikit-learn's")
    difference = np.abs(ours - theirs).max() / np.abs(theirs).max()
    print(f"Largest difference, relative to the largest coefficient: {difference:.1e}")
    print(f"The same coefficients are exactly zero: {np.array_equal(ours == 0, theirs == 0)}")
    print(f"They come in the order {', '.join(order_of_entry(ours, names))}\n")
    print(f"{'':<26}{'strength':>10}{'features':>10}{f'MSE, {FOLDS} folds':>20}")
    for name, row in (("best", path.best), ("one standard error", path.one_standard_error)):
        error = f"{row.fold_mean:.0f} ± {row.fold_error:.0f}"
        print(f"{name:<26}{row.strength:>10.4f}{row.used_inputs:>10}{error:>20}")
    print(f"{'best of LassoCV':<26}{chosen:>10.4f}\n")
    plot_diabetes(path, theirs, names, folder / "path_diabetes.png")


def plot_diabetes(path, theirs, names, file):
    """Our path as lines, scikit-learn's as dots."""
    figure, axes = plt.subplots(figsize=SIZE, layout="constrained")
    path.plot(axes, names)
    dots = axes.plot(path.strengths, theirs, "k.", markersize=2.5)
    axes.legend(dots[:1], ["lasso_path of scikit-learn"], frameon=False, loc="lower left")
    figure.savefig(file, dpi=150)
    print(f"Plot: {file}\n")


def load_images():
    """The digits, from 0 to 1: for training, for the choice, and for the test."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    x, x_test, y, y_test = train_test_split(x, y, test_size=450, stratify=y, random_state=0)
    x, x_val, y, y_val = train_test_split(x, y, test_size=347, stratify=y, random_state=0)
    return (x, y), (x_val, y_val), (x_test, y_test)


def compile_network(model, optimizer):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])


def fit_dense(train):
    """A network without a penalty, which the path begins with."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10),
        ]
    )
    compile_network(model, keras.optimizers.Adam(1e-3))
    model.fit(*train, epochs=20, verbose=0)
    return model


def choose(path, samples):
    """The sparsest network that is as accurate as the best, within one standard error.

    Networks that are closer cannot be told apart by the validation images: the standard error of
    an accuracy p on `samples` images is sqrt(p (1 - p) / samples).
    """
    best = path.value_of(path.best)
    limit = best - np.sqrt(best * (1 - best) / samples)
    good = [row for row in path.rows if path.value_of(row) >= limit]
    return max(good, key=lambda row: row.sparsity)


def digits(folder):
    train, validation, test = load_images()
    model = fit_dense(train)

    def show(name, strength=None):
        sparsity = kr.sparsity_report(model, weights="kernel").total.sparsity
        accuracies = [model.evaluate(*data, verbose=0)[1] for data in (validation, test)]
        cells = "".join(f"{share:>12.1%}" for share in (sparsity, *accuracies))
        print(f"{name:<26}{strength or '':>10}{cells}")
        return sparsity, accuracies[0]

    print(f"Digits: L1 on a network of {model.count_params():,} weights\n")
    print(f"{'':<26}{'strength':>10}{'zero':>12}{'validation':>12}{'test':>12}")
    show("without a penalty")
    path = kr.regularization_path(
        model,
        kr.L1(),
        *train,
        validation_data=validation,
        strengths=STRENGTHS,
        monitor="accuracy",
        mode="max",
        verbose=0,
    )
    row = choose(path, len(validation[0]))
    path.restore(model, row)
    show("chosen", f"{row.strength:.2g}")
    compile_network(model, kr.Proximal(keras.optimizers.Adam(1e-3), kr.KeepZeros()))
    model.fit(*train, epochs=20, verbose=0)
    debiased = show("debiased")
    plot_digits(path, row, debiased, folder / "path_digits.png")


def plot_digits(path, row, debiased, file):
    """The path, and how far the chosen network comes once the penalty is off."""
    figure, axes = plt.subplots(figsize=SIZE, layout="constrained")
    path.plot(axes)
    chosen = (row.sparsity, path.value_of(row))
    axes.annotate("", debiased, chosen, arrowprops={"arrowstyle": "->", "linestyle": "--"})
    axes.plot(*chosen, "ks", markersize=8, label=f"chosen: strength {row.strength:.3g}")
    axes.plot(*debiased, "k*", markersize=14, label="the chosen one, debiased")
    axes.legend(frameon=False, loc="lower left")
    figure.savefig(file, dpi=150)
    print(f"\nPlot: {file}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(), help="folder for the plots")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    diabetes(folder)
    digits(folder)


if __name__ == "__main__":
    main()
