"""How certain a classifier is: Monte-Carlo dropout on digits, straight and turned.

A network learns scikit-learn's handwritten digits, and predicts with its dropout on. The passes
disagree where nearly all its mistakes are, and they disagree more once the digits are turned. But
not always: of a one on its side they all make the same wrong digit.
Writes a plot, mc_dropout.png unless told otherwise:

    python examples/mc_dropout.py --output mc_dropout.png
"""

import argparse

import keras
import matplotlib
import numpy as np
from scipy.ndimage import rotate
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kerasreg as kr

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

N_SAMPLES = 100
ANGLES = np.arange(0, 181, 15)
COLORS = ("#4269d0", "#ff725c", "#3ca951", "#a463f2")


def load_data():
    """The images, from 0 to 1, and their digits: for training and for the test."""
    images, digits = load_digits(return_X_y=True)
    images = (images / 16).astype("float32").reshape(-1, 8, 8, 1)
    return train_test_split(images, digits, test_size=0.4, random_state=0, stratify=digits)


def fit(x, y):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(32, 3, activation="relu", padding="same"),
            keras.layers.MaxPooling2D(),
            kr.SpatialDropout2D(0.1),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
            kr.Dropout(0.5),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=15, batch_size=32, verbose=2)
    return model


def turned(images, angle):
    return np.clip(rotate(images, angle, axes=(2, 1), reshape=False, order=1), 0, 1)


def predict(model, x):
    """Means and standard deviations of the probabilities, each (angles, images, digits)."""
    images = np.concatenate([turned(x, angle) for angle in ANGLES])
    mean, std = kr.mc_predict(model, images, N_SAMPLES, batch_size=719, seed=0)
    shape = (len(ANGLES), len(x), -1)
    return mean.reshape(shape), std.reshape(shape)


def print_row(name, right, std):
    print(f"{name:<26}{right.mean():>10.1%}{std.mean():>12.3f}")


def compare(mean, std, y):
    """Prints and returns which predictions are right and their std, each (angles, images)."""
    digit = mean.argmax(axis=2)
    std = np.take_along_axis(std, digit[..., None], axis=2)[..., 0]
    right, order = digit == y, np.argsort(std[0])
    certain, uncertain = np.array_split(order, 2)
    print(f"\n{'test digits':<26}{'accuracy':>10}{'mean std':>12}")
    print_row("all", right[0], std[0])
    print_row("most certain half", right[0, certain], std[0, certain])
    print_row("least certain half", right[0, uncertain], std[0, uncertain])
    for i in range(2, len(ANGLES), 2):
        print_row(f"turned by {ANGLES[i]} degrees", right[i], std[i])
    return right, std


def plot(one, mean, std, accuracy, uncertainty, path):
    """A one that turns, above what the model says of it; and all test digits as they turn."""
    figure = plt.figure(figsize=(10, 7.6), layout="constrained")
    grid = figure.add_gridspec(3, len(ANGLES), height_ratios=[1, 4.2, 3.2])
    for i, angle in enumerate(ANGLES):
        axes = figure.add_subplot(grid[0, i])
        axes.imshow(turned(one[None], angle)[0, ..., 0], cmap="gray_r")
        axes.set_xticks([])
        axes.set_yticks([])
    top = figure.add_subplot(grid[1, :])
    shown = sorted(np.argsort(mean.max(axis=0))[-4:])
    for color, digit in zip(COLORS, shown, strict=True):
        low, high = mean[:, digit] - std[:, digit], mean[:, digit] + std[:, digit]
        top.fill_between(ANGLES, low.clip(0), high.clip(max=1), color=color, alpha=0.18, lw=0)
        top.plot(ANGLES, mean[:, digit], color=color, marker="o", ms=4, label=f"“{digit}”")
    top.set_title("A one that turns: mean ± std of the probabilities", loc="left")
    top.set_ylabel("probability")
    bottom = figure.add_subplot(grid[2, :])
    bottom.plot(ANGLES, accuracy, color=COLORS[0], marker="o", ms=4, label="accuracy")
    bottom.plot(
        ANGLES, uncertainty, color=COLORS[1], marker="o", ms=4, label="mean std of the prediction"
    )
    bottom.set_title("All test digits as they turn", loc="left")
    bottom.set_xlabel("degrees")
    for axes in (top, bottom):
        axes.set_xticks(ANGLES[::2])
        axes.set_xlim(-7.5, 187.5)
        axes.set_ylim(0, 1.02)
        axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 0.98), ncols=4)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.2)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="mc_dropout.png", help="where to write the plot")
    path = parser.parse_args().output
    x_train, x_test, y_train, y_test = load_data()
    model = fit(x_train, y_train)
    mean, std = predict(model, x_test)
    right, uncertainty = compare(mean, std, y_test)
    one = np.flatnonzero(y_test == 1)[0]
    of_angles = right.mean(axis=1), uncertainty.mean(axis=1)
    plot(x_test[one], mean[:, one], std[:, one], *of_angles, path)
    print(f"\nPlot: {path}")


if __name__ == "__main__":
    main()
