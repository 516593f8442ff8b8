"""What a warm-started path of strengths saves, for LeNet-300-100 on MNIST.

Trains the network with L1 in `Proximal` at 20 strengths: once from scratch at each, and once
along `kr.regularization_path`, from one training without a penalty. Prints the weights that are
not zero and the test error at each strength, the time of both, and the area under each frontier:

    KERAS_BACKEND=jax python benchmarks/path_mnist.py --data mnist.npz

MNIST as the file `mnist.npz` that `keras.datasets.mnist` downloads. All settings, those of the
fits from scratch too, were chosen with `--validate`, which trains on the first 50,000 images and
takes the error on the last 10,000; the test images played no part. The fits from scratch are made
as fast as can be: they share one compiled step, where a loop that compiles a model for each
strength would pay for 20. Half of them run before the path and half after it, so that what else
the machine does falls on both.

The area is that of the error over the logarithm of the number of weights that are not zero,
between the points as they are, over the range that both frontiers have.
"""

import argparse
import contextlib
import time

import keras
import numpy as np
from keras import layers, optimizers

import kerasreg as kr

BATCH = 100
STRENGTHS = np.geomspace(1e-5, 2e-3, 20)
EPOCHS = {"scratch": 30, "dense": 10, "path": 5}
# Where a learning rate begins, and what part of it is left at the end.
RATES = {"scratch": (3e-3, 0.01), "dense": (1e-3, 0.0), "path": (8e-3, 0.01)}


def load(path, validate):
    with np.load(path) as file:
        x, y, x_test, y_test = (file[k] for k in ("x_train", "y_train", "x_test", "y_test"))
    if validate:
        x, y, x_test, y_test = x[:50_000], y[:50_000], x[50_000:], y[50_000:]
    x, x_test = (a.reshape(-1, 784).astype("float32") / 255 for a in (x, x_test))
    return x, y.astype("int32"), x_test, y_test


def lenet(seed):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((784,)),
            layers.Dense(300, "relu", name="first"),
            layers.Dense(100, "relu", name="second"),
            layers.Dense(10, name="last"),
        ]
    )


def adam(kind, epochs, x):
    rate, end = RATES[kind]
    steps = epochs[kind] * -(-len(x) // BATCH)
    return optimizers.Adam(optimizers.schedules.CosineDecay(rate, steps, alpha=end))


def compile_model(model, optimizer):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Compiled by XLA, which is what makes many small steps fast.
    fast = {} if keras.backend.backend() == "torch" else {"steps_per_execution": 50}
    model.compile(optimizer, loss, jit_compile=bool(fast), **fast)


def point(model, data):
    """The number of weights that are not zero, and the error in %."""
    _, _, x, y = data
    size = kr.sparsity_report(model, "kernel").total
    error = 100 * float(np.mean(np.argmax(model.predict(x, 10_000, verbose=0), -1) != y))
    return size.parameters - size.zeros, error


class Clock:
    """Adds up wall-clock and processor time."""

    def __init__(self):
        self.wall = self.cpu = 0.0

    @contextlib.contextmanager
    def running(self):
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu


class TrainingTime(keras.callbacks.Callback):
    """Adds up the time from the beginning to the end of each training."""

    seconds = 0.0

    def on_train_begin(self, logs=None):
        self._start = time.perf_counter()

    def on_train_end(self, logs=None):
        self.seconds += time.perf_counter() - self._start


class FromScratch:
    """Trains a fresh network at one strength, always with the same compiled step."""

    def __init__(self, data, epochs):
        self._data, self._epochs = data, epochs
        self._model = lenet(0)
        self._optimizer = kr.Proximal(adam("scratch", epochs, data[0]), kr.L1(1.0))
        self._optimizer.build(self._model.trainable_variables)
        self._fresh = [keras.ops.convert_to_numpy(v) for v in self._optimizer.variables]
        compile_model(self._model, self._optimizer)

    def __call__(self, strength, seed, clock):
        x, y, *_ = self._data
        with clock.running():
            self._model.set_weights(lenet(seed).get_weights())
            for variable, value in zip(self._optimizer.variables, self._fresh, strict=True):
                variable.assign(value)
            self._optimizer.strength_scale = float(strength)
            self._model.fit(x, y, BATCH, self._epochs["scratch"], verbose=0)
        return point(self._model, self._data)


@contextlib.contextmanager
def counted_traces(traces):
    """Notes every call of `Proximal.apply`, which a compiled step makes only when it is traced."""
    apply = kr.Proximal.apply

    def noted(self, *args, **kwargs):
        traces.append(self)
        return apply(self, *args, **kwargs)

    kr.Proximal.apply = noted
    try:
        yield
    finally:
        kr.Proximal.apply = apply


def along_path(data, strengths, epochs, seed, clock):
    """The points of a path, by strength; its time includes the training without a penalty."""
    x, y, *_ = data
    model, traces, training, whole = lenet(seed), [], TrainingTime(), Clock()
    with clock.running():
        compile_model(model, adam("dense", epochs, x))
        model.fit(x, y, BATCH, epochs["dense"], verbose=0)
        compile_model(model, adam("path", epochs, x))
        with counted_traces(traces), whole.running():
            path = kr.regularization_path(
                model,
                kr.L1(),
                x,
                y,
                strengths=strengths,
                epochs_per_strength=epochs["path"],
                batch_size=BATCH,
                callbacks=[training],
                verbose=0,
            )
    print(
        f"path, seed {seed}: {whole.wall:.0f} s, {training.seconds / whole.wall:.0%} of it in "
        f"training; the step traced {len(traces)} times for {len(path)} strengths",
        flush=True,
    )
    points = {}
    for row in path.rows:
        path.restore(model, row)
        points[row.strength] = point(model, data)
    return points


def measure(data, strengths, epochs, seed, clocks):
    """The points by strength, from scratch and along the path."""
    fit = FromScratch(data, epochs)
    found = {"scratch": {}, "path": {}}

    def from_scratch(numbers):
        for number in numbers:
            strength = strengths[number]
            fresh = 1000 * seed + number
            found["scratch"][strength] = fit(strength, fresh, clocks["scratch"])

    from_scratch(range(0, len(strengths), 2))
    found["path"] = along_path(data, strengths, epochs, seed, clocks["path"])
    from_scratch(range(1, len(strengths), 2))
    return found


def medians(found, kind, strengths):
    """The median point of all seeds, at each strength that all have reached."""
    reached = [s for s in strengths if all(s in seed[kind] for seed in found)]
    return {s: tuple(np.median([seed[kind][s] for seed in found], axis=0)) for s in reached}


def areas(frontiers):
    """The area under each frontier, over the range that all have."""
    curves = []
    for points in frontiers:
        counts, errors = zip(*sorted(points.values()), strict=True)
        curves.append((np.log(counts), errors))
    low, high = max(c[0] for c, _ in curves), min(c[-1] for c, _ in curves)
    grid = np.linspace(low, high, 10_000)
    return [float(np.mean(np.interp(grid, *curve)) * (high - low)) for curve in curves]


def show(frontiers, clocks):
    scratch, path = frontiers
    print(f"\n{'':>9} {'from scratch':>20} {'along the path':>20}")
    print(f"{'strength':>9}" + 2 * f" {'non-zero':>10} {'error':>9}")
    for strength in scratch:
        cells = [points.get(strength, (float("nan"),) * 2) for points in (scratch, path)]
        columns = "".join(f" {count:10,.0f} {error:7.2f} %" for count, error in cells)
        print(f"{strength:9.2e}{columns}")
    area = areas(frontiers)
    print(f"{'area':>9} {area[0]:20.3f} {area[1]:20.3f}   ratio {area[1] / area[0]:.3f}")
    for name in ("wall", "cpu"):
        a, b = (getattr(clocks[kind], name) for kind in ("scratch", "path"))
        print(f"{name + ', s':>9} {a:20.0f} {b:20.0f}   ratio {b / a:.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="path of mnist.npz")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--validate", action="store_true", help="never look at the test images")
    parser.add_argument("--quick", action="store_true", help="to try it: 5 strengths, few epochs")
    args = parser.parse_args()
    data, strengths, epochs = load(args.data, args.validate), STRENGTHS.tolist(), EPOCHS
    if args.quick:
        strengths, epochs = strengths[::4], {"scratch": 4, "dense": 2, "path": 1}
    clocks = {"scratch": Clock(), "path": Clock()}
    found = []
    for seed in args.seeds:
        found.append(measure(data, strengths, epochs, seed, clocks))
        one, other = areas([found[-1]["scratch"], found[-1]["path"]])
        print(f"seed {seed}: area {one:.3f} from scratch, {other:.3f} along the path", flush=True)
    show([medians(found, kind, strengths) for kind in ("scratch", "path")], clocks)


if __name__ == "__main__":
    main()
