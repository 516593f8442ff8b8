"""What `compact` gains: latency against parameters and multiply-adds, and what it takes itself.

Three networks of which `compact` leaves a part:

- LeNet-300-100, trained with `GroupLasso` by `Proximal`;
- ResNet-20, of which every second channel is zero in all layers that it comes from;
- a transformer of four layers, of which every second head and unit is zero.

    KERAS_BACKEND=jax python benchmarks/compaction.py --data mnist.npz

MNIST as the file `mnist.npz` that `keras.datasets.mnist` downloads; without it scikit-learn's
digits. Both models are compiled as Keras compiles them for `predict`, and called in turn, in an
order that is drawn anew each round. Printed is a table in Markdown: milliseconds before and after,
medians over the rounds, and in brackets the median of their ratio; the seconds of `compact` in its
first and its second call, and the peak memory of the first beyond what the process had.
"""

import argparse
import random
import statistics
import time
from pathlib import Path

import keras
import numpy as np
from keras import layers

import kerasreg as kr

BATCHES = (1, 256)
COLUMNS = ("", "parameters", "multiply-adds", *(f"batch {n}, ms" for n in BATCHES))
COLUMNS = (*COLUMNS, "`compact`, s", "peak, MB")


def digits():
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return (x / 16).astype("float32"), y


def mnist(path):
    with np.load(path) as file:
        x, y = file["x_train"], file["y_train"]
    return x.reshape(-1, 784).astype("float32") / 255, y.astype("int32")


def lenet(data):
    """LeNet-300-100, trained so that units die."""
    x, y = digits() if data is None else mnist(data)
    hidden = [layers.Dense(units, "relu", name=f"hidden_{units}") for units in (300, 100)]
    model = keras.Sequential([keras.Input((x.shape[1],)), *hidden, layers.Dense(10)])
    penalty = {".*hidden_.*kernel": kr.GroupLasso(2e-4 if data else 2e-3, axis="output")}
    optimizer = kr.Proximal(keras.optimizers.Adam(1e-3), penalty, model=model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss)
    model.fit(x, y, 256, 4 if data else 30, verbose=0)
    return model


def resnet20(data):
    x = inputs = keras.Input((32, 32, 3))
    x = convolution(x, 16, 1)
    for width in (16, 32, 64):
        for block in range(3):
            stride = 2 if width > 16 and not block else 1
            y = convolution(convolution(x, width, stride), width, 1, relu=False)
            if stride > 1:
                x = layers.Conv2D(width, 1, stride)(x)
            x = layers.ReLU()(layers.Add()([x, y]))
    outputs = layers.Dense(10)(layers.GlobalAveragePooling2D()(x))
    return halve(keras.Model(inputs, outputs))


def convolution(x, filters, stride, relu=True):
    x = layers.Conv2D(filters, 3, stride, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    return layers.ReLU()(x) if relu else x


def transformer(data, length=64, width=128):
    x = inputs = keras.Input((length, width))
    for _ in range(4):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(8, width // 8)(y, y)])
        y = layers.Dense(4 * width, "gelu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(width)(y)])
    return halve(keras.Model(inputs, layers.Dense(10)(layers.LayerNormalization()(x))))


def halve(model):
    """The same model, in which every second channel that can go is zero."""
    groups = kr.coupled_groups(model)
    for variable in model.weights:
        labels = groups.labels_of(variable.path, variable.shape)
        array = keras.ops.convert_to_numpy(variable)
        variable.assign(np.where((labels >= 0) & (labels % 2 == 1), 0, array))
    return model


NETWORKS = {"LeNet-300-100": lenet, "ResNet-20": resnet20, "transformer": transformer}


def compiled(model):
    """The model as a function of a tensor, compiled as `predict` has it."""
    backend, xla = keras.backend.backend(), model.jit_compile
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(lambda x: model(x, training=False), jit_compile=xla)
    if backend == "jax":
        import jax

        state = [[v.value for v in model.trainable_variables]]
        state.append([v.value for v in model.non_trainable_variables])
        run = jax.jit(lambda state, x: model.stateless_call(*state, x, training=False)[0])
        return lambda x: run(state, x).block_until_ready()
    import torch

    def call(x):
        with torch.no_grad():
            return model(x, training=False)

    return call


def compare(models, batch, seconds):
    """Milliseconds of each model, and the ratio of the second to the first."""
    rng, functions = np.random.default_rng(0), [compiled(model) for model in models]
    shapes = [(batch, *model.input_shape[1:]) for model in models]
    xs = [keras.ops.convert_to_tensor(rng.normal(size=s).astype("float32")) for s in shapes]
    for function, x in [*zip(functions, xs, strict=True)] * 2:  # The first call compiles.
        start = time.perf_counter()
        keras.ops.convert_to_numpy(function(x))
        once = time.perf_counter() - start
    calls = max(1, int(0.02 / once))
    times, begin = ([], []), time.perf_counter()
    while len(times[0]) < 7 or time.perf_counter() - begin < seconds:
        for i in random.sample(range(2), 2):
            start = time.perf_counter()
            for _ in range(calls):
                y = functions[i](xs[i])
            keras.ops.convert_to_numpy(y)
            times[i].append(1000 * (time.perf_counter() - start) / calls)
    ratio = statistics.median(b / a for a, b in zip(*times, strict=True))
    return *(statistics.median(each) for each in times), ratio


def memory(key):
    """MB that the process has, or had at its peak."""
    text = Path("/proc/self/status").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1000


def compact(model):
    """The smaller model, the seconds of a first and a second call, and the first one's peak."""
    Path("/proc/self/clear_refs").write_text("5")  # The peak begins anew, on Linux.
    before, seconds = memory("VmRSS"), []
    for call in range(2):
        start = time.perf_counter()
        small = kr.compact(model)
        seconds.append(time.perf_counter() - start)
        if not call:
            peak = memory("VmHWM") - before
    return small, seconds, peak


def row(name, data, seconds):
    model = NETWORKS[name](data)
    total = kr.compaction_report(model).total
    small, spent, peak = compact(model)
    cells = [name]
    for size in ("parameters", "multiply_adds"):
        before, after = getattr(total.before, size), getattr(total.after, size)
        cells.append(f"{before:,} → {after:,} ({after / before:.2f})")
    for batch in BATCHES:
        before, after, ratio = compare([model, small], batch, seconds)
        cells.append(f"{before:.3g} → {after:.3g} ({ratio:.2f})")
    cells.append(f"{spent[0]:.2f}, {spent[1]:.2f}")
    cells.append(f"{peak:.0f}, weights {4 * total.before.parameters / 1e6:.1f}")
    return cells


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="path of mnist.npz")
    parser.add_argument("--seconds", type=float, default=8, help="for each pair of models")
    parser.add_argument("--only", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    args = parser.parse_args()
    random.seed(0)
    print(f"{keras.backend.backend()}, Keras {keras.__version__}\n")
    for cells in (COLUMNS, ["---"] * len(COLUMNS)):
        print(f"| {' | '.join(cells)} |")
    for name in args.only:
        keras.utils.set_random_seed(0)
        print(f"| {' | '.join(row(name, args.data, args.seconds))} |", flush=True)
        keras.utils.clear_session()


if __name__ == "__main__":
    main()
