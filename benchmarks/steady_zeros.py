"""What `hold_zeros` does where gradients come from minibatches.

First the lasso of 50 columns in batches of 32, against scikit-learn's support: the coefficients
that are zero and should not be, or the other way round, with the rule and without it. Then
LeNet-300-100 on MNIST with L1: the weights that are not zero, the test error, and loss + penalty
on the training data:

    KERAS_BACKEND=jax python benchmarks/steady_zeros.py --data mnist.npz

MNIST as the file `mnist.npz` that `keras.datasets.mnist` downloads; without it the lasso alone.
"""

import argparse
import time
from statistics import mean, median

import keras
import numpy as np
from keras import layers, optimizers
from keras.optimizers.schedules import CosineDecay
from sklearn.linear_model import Lasso

import kerasreg as kr

ROWS, COLUMNS, BATCH, UPDATES = 2000, 50, 32, 20_000
# Few true coefficients, or many: (their share, noise, scikit-learn's alpha).
PROBLEMS = [(0.2, 6.0, 0.07), (0.5, 5.0, 0.05)]
LASSO = {
    "Adam, constant": lambda steps: optimizers.Adam(1e-3),
    "Adam, cosine": lambda steps: optimizers.Adam(CosineDecay(1e-2, steps)),
    "SGD, constant": lambda steps: optimizers.SGD(1e-2),
    "SGD, cosine": lambda steps: optimizers.SGD(CosineDecay(3e-2, steps)),
    "SGD with momentum, cosine": lambda steps: optimizers.SGD(
        CosineDecay(3e-3, steps), momentum=0.9
    ),
}
LENET = {
    "Adam": lambda steps: optimizers.Adam(CosineDecay(1e-3, steps)),
    "AdamW": lambda steps: optimizers.AdamW(CosineDecay(1e-3, steps)),
    "SGD with momentum": lambda steps: optimizers.SGD(CosineDecay(0.05, steps), momentum=0.9),
    "RMSprop": lambda steps: optimizers.RMSprop(CosineDecay(1e-3, steps)),
}
HOLD = {"plain": False, "hold_zeros": True}


def train(model, x, y, epochs, batch, optimizer, penalty, hold, loss):
    # Compiled by XLA, which is what makes many small steps fast.
    fast = {} if keras.backend.backend() == "torch" else {"steps_per_execution": 25}
    proximal = kr.Proximal(optimizer, penalty, hold_zeros=hold)
    model.compile(proximal, loss, jit_compile=bool(fast), **fast)
    model.fit(x, y, batch, epochs, verbose=0)


def linear_data(seed, share, noise):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(ROWS, COLUMNS))
    w = rng.normal(size=COLUMNS) * (rng.random(COLUMNS) < share)
    y = x @ w + noise * rng.normal(size=ROWS)
    x, y = (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()
    return x.astype("float32"), y[:, None].astype("float32")


def lasso(seeds):
    for share, noise, alpha in PROBLEMS:
        for name, make in LASSO.items():
            wrong, zeros = {hold: [] for hold in HOLD}, []
            for seed in range(seeds):
                x, y = linear_data(seed, share, noise)
                expected = Lasso(alpha, tol=1e-10, max_iter=100_000).fit(x, y[:, 0]).coef_
                zeros.append(np.sum(expected == 0))
                for label, hold in HOLD.items():
                    keras.utils.set_random_seed(seed)
                    model = keras.Sequential([keras.Input((COLUMNS,)), layers.Dense(1)])
                    epochs = UPDATES // (ROWS // BATCH)
                    optimizer, penalty = make(UPDATES), kr.L1(2 * alpha)
                    train(model, x, y, epochs, BATCH, optimizer, penalty, hold, "mse")
                    found = model.get_weights()[0][:, 0]
                    wrong[label].append(np.sum((found == 0) != (expected == 0)))
            values = "   ".join(f"{label} {mean(wrong[label]):5.1f}" for label in HOLD)
            print(f"lasso, {mean(zeros):.1f} zeros, {name:>26}: wrong {values}", flush=True)


def load(path):
    with np.load(path) as file:
        x, y, x_test, y_test = (file[k] for k in ("x_train", "y_train", "x_test", "y_test"))
    x, x_test = (a.reshape(-1, 784).astype("float32") / 255 for a in (x, x_test))
    return x, y.astype("int32"), x_test, y_test.astype("int32")


def network():
    hidden = [layers.Dense(units, "relu") for units in (300, 100)]
    return keras.Sequential([keras.Input((784,)), *hidden, layers.Dense(10)])


def measure(model, data, strength):
    x, y, x_test, y_test = data
    kernels = [w for w in model.get_weights() if w.ndim == 2]
    left = sum(np.count_nonzero(w) for w in kernels) / sum(w.size for w in kernels)
    wrong = np.mean(np.argmax(model.predict(x_test, 10_000, verbose=0), -1) != y_test)
    loss = model.evaluate(x, y, 10_000, verbose=0)
    return 100 * left, 100 * wrong, loss + strength * sum(np.abs(w).sum() for w in kernels)


def lenet(data, names, strength, epochs, batch, seeds):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    x, y, *_ = data
    for name in names:
        medians = {}
        for label, hold in HOLD.items():
            start, points = time.perf_counter(), []
            for seed in range(seeds):
                keras.utils.set_random_seed(seed)
                model = network()
                optimizer = LENET[name](epochs * -(-len(x) // batch))
                train(model, x, y, epochs, batch, optimizer, kr.L1(strength), hold, loss)
                points.append(measure(model, data, strength))
            medians[label] = [median(values) for values in zip(*points, strict=True)]
            left, wrong, objective = medians[label]
            print(
                f"LeNet, {name:>17}, {label:>10}: {left:5.2f} % not zero, error {wrong:.2f} %, "
                f"loss + penalty {objective:.4f}   ({time.perf_counter() - start:.0f} s)",
                flush=True,
            )
        ratio = medians["hold_zeros"][0] / medians["plain"][0]
        print(f"LeNet, {name:>17}: {ratio:.2f} of the weights that are not zero", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="path of mnist.npz")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--optimizers", nargs="+", default=list(LENET), choices=list(LENET))
    parser.add_argument("--strength", type=float, default=1e-4)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--skip-lasso", action="store_true")
    args = parser.parse_args()
    if not args.skip_lasso:
        lasso(args.seeds)
    if args.data:
        data = load(args.data)
        lenet(data, args.optimizers, args.strength, args.epochs, args.batch, args.seeds)


if __name__ == "__main__":
    main()
