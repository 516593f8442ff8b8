"""How few weights LeNet-300-100 needs on MNIST, and at what test error.

Trains the dense network, prunes it with a penalty in `Proximal`, and refits what remains with
`KeepZeros`. Prints, for each penalty and seed, the percentage of the 266,200 weights that are not
zero and the error of the final network, then the medians over the seeds:

    KERAS_BACKEND=jax python benchmarks/lenet_mnist.py --data mnist.npz

MNIST as the file `mnist.npz` that `keras.datasets.mnist` downloads. All settings were chosen with
`--validate`, which trains on the first 50,000 images and takes the error on the last 10,000; the
test images played no part. `--results results.json` keeps the medians of each method, and
`--plot frontier.png` draws all that are in it (needs matplotlib).
"""

import argparse
import json
import time
from pathlib import Path
from statistics import median

import keras
import numpy as np
from keras import layers, optimizers

import kerasreg as kr

BATCH = 100
EPOCHS = {"dense": 40, "prune": 60, "ramp": 45, "debias": 30}
DROPOUT = {"input": 0.2, "hidden": 0.3}
# What is left of dropout once the network is pruned: few weights need less of it.
PRUNED_DROPOUT = 0.3

NON_ZERO = (0.16, 0.08, 0.04, 0.02, 0.01)
STRENGTHS = (3e-5, 1e-4, 2e-4, 4e-4)
PUBLISHED = {
    "Han et al. 2015": (8.0, 1.59),
    "Guo et al. 2016": (1.8, 1.99),
    "Molchanov et al. 2017": (1.5, 1.92),
    "Evci et al. 2020": (2.4, 1.44),
}


def load(path, validate):
    with np.load(path) as file:
        x, y, x_test, y_test = (file[k] for k in ("x_train", "y_train", "x_test", "y_test"))
    if validate:
        x, y, x_test, y_test = x[:50_000], y[:50_000], x[50_000:], y[50_000:]
    x, x_test = (a.reshape(-1, 784).astype("float32") / 255 for a in (x, x_test))
    return x, y.astype("int32"), x_test, y_test


def lenet():
    return keras.Sequential(
        [
            keras.Input((784,)),
            kr.Dropout(DROPOUT["input"]),
            layers.Dense(300, "relu", name="first"),
            kr.Dropout(DROPOUT["hidden"]),
            layers.Dense(100, "relu", name="second"),
            kr.Dropout(DROPOUT["hidden"]),
            layers.Dense(10, name="last"),
        ]
    )


def train(model, data, epochs, rate, penalty=None, end=0.0):
    """Adam, with the learning rate falling to `end` of its start."""
    x, y, *_ = data
    steps = epochs * (len(x) // BATCH)
    optimizer = optimizers.Adam(optimizers.schedules.CosineDecay(rate, steps, alpha=end))
    if penalty is not None:
        optimizer = kr.Proximal(optimizer, penalty)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Compiled by XLA, which is what makes many small steps fast.
    fast = {} if keras.backend.backend() == "torch" else {"steps_per_execution": 50}
    model.compile(optimizer, loss, jit_compile=bool(fast), **fast)
    model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0)


def train_dense(seed, data):
    keras.utils.set_random_seed(seed)
    model = lenet()
    train(model, data, EPOCHS["dense"], 1e-3)
    for layer in model.layers:
        if isinstance(layer, kr.Dropout):
            layer.rate *= PRUNED_DROPOUT
    return model


def prune(model, seed, data, penalty):
    keras.utils.set_random_seed(seed)
    train(model, data, EPOCHS["prune"], 1e-3, penalty, end=0.1)
    train(model, data, EPOCHS["debias"], 3e-4, kr.KeepZeros())


def penalties(method, non_zero, data):
    """The penalties that trace a method's frontier."""
    if method == "l1":
        return [kr.L1(strength) for strength in STRENGTHS]
    steps = EPOCHS["ramp"] * (len(data[0]) // BATCH)
    return [
        kr.TopK(1 - share, scope="global", saliency=method, end_step=steps) for share in non_zero
    ]


def error(model, data):
    _, _, x, y = data
    return 100 * float(np.mean(np.argmax(model.predict(x, 10_000, verbose=0), -1) != y))


def non_zero(model):
    report = kr.sparsity_report(model, "kernel").total
    return 100 * (1 - report.sparsity)


def measure(data, methods, shares, seeds):
    """The points (non-zero %, error %) of each seed, for each method and penalty."""
    points = {}
    for seed in range(seeds):
        model = train_dense(seed, data)
        weights = model.get_weights()
        print(f"dense, seed {seed}: error {error(model, data):.2f} %", flush=True)
        for method in methods:
            for number, penalty in enumerate(penalties(method, shares, data)):
                start = time.perf_counter()
                model.set_weights(weights)
                prune(model, seed, data, penalty)
                point = non_zero(model), error(model, data)
                points.setdefault((method, number), []).append(point)
                print(
                    f"{method:>9}, seed {seed}: {point[0]:6.2f} % non-zero, error {point[1]:.2f} %"
                    f"  ({time.perf_counter() - start:.0f} s)",
                    flush=True,
                )
    return points


def medians(points):
    frontiers = {}
    for (method, _), found in points.items():
        frontiers.setdefault(method, []).append(tuple(map(median, zip(*found, strict=True))))
    return frontiers


def keep(frontiers, path):
    """Adds the frontiers to a file, and returns all that are in it."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    kept.update(frontiers)
    path.write_text(json.dumps(kept, indent=1))
    return kept


def plot(frontiers, path):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    names = {"metric": 'TopK(saliency="metric")', "magnitude": "TopK", "l1": "L1"}
    for method, frontier in frontiers.items():
        axes.plot(*zip(*sorted(frontier), strict=True), "o-", label=names[method])
    for name, point in PUBLISHED.items():
        axes.plot(*point, "k+", markersize=10)
        side = {"xytext": (-6, -9), "ha": "right"} if "Molchanov" in name else {"xytext": (6, 3)}
        axes.annotate(name, point, textcoords="offset points", fontsize=8, **side)
    axes.set(xscale="log", xlabel="weights that are not zero, %", ylabel="test error, %")
    axes.set(ylim=(1.1, 2.4), xlim=(0.7, 45))
    ticks = (1, 2, 4, 8, 16, 32)
    axes.set_xticks(ticks, map(str, ticks))
    axes.set_title("LeNet-300-100 on MNIST, pruned and debiased")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="path of mnist.npz")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--methods", nargs="+", default=["metric"], choices=["metric", "magnitude", "l1"]
    )
    parser.add_argument("--non-zero", nargs="+", type=float, default=NON_ZERO, help="for TopK")
    parser.add_argument("--validate", action="store_true", help="never look at the test images")
    parser.add_argument("--results", metavar="JSON")
    parser.add_argument("--plot", metavar="PNG")
    args = parser.parse_args()
    points = measure(load(args.data, args.validate), args.methods, args.non_zero, args.seeds)
    frontiers = medians(points)
    print(f"\nmedian of {args.seeds} seeds, {'validation' if args.validate else 'test'} error")
    for method, frontier in frontiers.items():
        for share, mistakes in frontier:
            print(f"{method:>9} {share:6.2f} % non-zero   {mistakes:.2f} %")
    if args.results:
        frontiers = keep(frontiers, Path(args.results))
    if args.plot:
        plot(frontiers, args.plot)


if __name__ == "__main__":
    main()
