"""What dropout of units and of weights gives on MNIST, beside the published numbers.

Trains two hidden layers of 1024 ReLU units on single pixels, without augmentation: as they are,
with `kr.Dropout` of a fifth of the pixels and half of the hidden units, as in Srivastava et al.
2014, and with `kr.DropConnect` of half of the hidden layers' weights, as in Wan et al. 2013.
Prints the test error of each seed, and the medians over the seeds:

    KERAS_BACKEND=jax python benchmarks/dropout_mnist.py --data mnist.npz

MNIST as the file `mnist.npz` that `keras.datasets.mnist` downloads. The rates are those of the
papers; batches, learning rate and epochs are round numbers set beforehand. `--validate` trains on
the first 50,000 images and takes the error on the last 10,000: choose other settings with it, as
the test images are for the final numbers only. DropConnect draws a mask for each batch; its
paper draws one for each sample, as does `--per-sample`, which takes many times as long.
"""

import argparse
import time
from statistics import median

import keras
import numpy as np
from keras import layers, optimizers

import kerasreg as kr

UNITS = 1024
RATE, INPUT_RATE = 0.5, 0.2
BATCH = 100
LEARNING_RATE = 1e-3
# Test error in per cent: Srivastava et al. 2014, table 2, a standard net and dropout with ReLU.
PUBLISHED = {"plain": "1.60 %", "dropout": "1.25 %", "dropconnect": ""}


def load(path, validate):
    with np.load(path) as file:
        x, y, x_test, y_test = (file[k] for k in ("x_train", "y_train", "x_test", "y_test"))
    if validate:
        x, y, x_test, y_test = x[:50_000], y[:50_000], x[50_000:], y[50_000:]
    x, x_test = (a.reshape(-1, 784).astype("float32") / 255 for a in (x, x_test))
    return x, y.astype("int32"), x_test, y_test


def network(method, per_sample):
    model = keras.Sequential([keras.Input((784,))])
    if method == "dropout":
        model.add(kr.Dropout(INPUT_RATE))
    for _ in range(2):
        hidden = layers.Dense(UNITS, "relu", kernel_initializer="he_uniform")
        if method == "dropconnect":
            hidden = kr.DropConnect(hidden, RATE, per_sample=per_sample)
        model.add(hidden)
        if method == "dropout":
            model.add(kr.Dropout(RATE))
    model.add(layers.Dense(10))
    return model


def train(model, data, epochs):
    """Adam, with the learning rate falling to 0."""
    x, y, *_ = data
    steps = epochs * (len(x) // BATCH)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Compiled by XLA, which is what makes many small steps fast.
    fast = {} if keras.backend.backend() == "torch" else {"steps_per_execution": 50}
    optimizer = optimizers.Adam(optimizers.schedules.CosineDecay(LEARNING_RATE, steps))
    model.compile(optimizer, loss, jit_compile=bool(fast), **fast)
    model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0)


def error(model, data):
    _, _, x, y = data
    return 100 * float(np.mean(np.argmax(model.predict(x, 10_000, verbose=0), -1) != y))


def measure(data, args):
    """The errors of all seeds, by method."""
    errors = {method: [] for method in args.methods}
    for seed in range(args.seeds):
        for method in args.methods:
            keras.utils.set_random_seed(seed)
            start = time.perf_counter()
            model = network(method, args.per_sample)
            train(model, data, args.epochs)
            errors[method].append(error(model, data))
            took = time.perf_counter() - start
            print(
                f"{method:>12}, seed {seed}: {errors[method][-1]:.2f} %  ({took:.0f} s)", flush=True
            )
    return errors


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="path of mnist.npz")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--methods", nargs="+", default=list(PUBLISHED), choices=list(PUBLISHED))
    parser.add_argument("--per-sample", action="store_true", help="a mask for each sample")
    parser.add_argument("--validate", action="store_true", help="never look at the test images")
    args = parser.parse_args()
    errors = measure(load(args.data, args.validate), args)
    kind = "validation" if args.validate else "test"
    print(f"\nmedian {kind} error of {args.seeds} seeds, and the published one")
    for method, found in errors.items():
        print(f"{method:>12}   {median(found):.2f} %   {PUBLISHED[method]}")


if __name__ == "__main__":
    main()
