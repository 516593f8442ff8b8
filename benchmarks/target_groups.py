"""Whether a group lasso over coupled groups reaches a target sparsity, for a residual network.

Three residual blocks of two 3x3 convolutions with BatchNormalization, 16 channels wide, on 6,000
images of MNIST. `GroupLasso(groups=coupled_groups(model))` in `Proximal` with
`StrengthScheduler(target_sparsity=...)`, and beside it `TopK(target, groups=...)` with
`scope="global"`, whose sparsity rises until 60 % of the training:

    KERAS_BACKEND=jax python benchmarks/target_groups.py --data mnist.npz

MNIST as the file `mnist.npz` that `keras.datasets.mnist` downloads; without it scikit-learn's
digits. Printed is a table in Markdown: groups that are zero in the end, and the most that were at
any tenth step; the accuracy on the test images; the channels of the stream and the parameters that
`compact` leaves; seconds of training. The constants of the controller were tried out on seed 0 of
this network, its test images included, so that by default others are drawn.
"""

import argparse
import time

import keras
import numpy as np
from keras import layers

import kerasreg as kr

BATCH, RATE, STRENGTH, WIDTH = 64, 3e-3, 1e-3, 16
COLUMNS = ("penalty", "target", "seed", "zero groups", "most on the way", "accuracy")
COLUMNS = (*COLUMNS, "stream", "parameters", "seconds")


def load(path, samples):
    if path is None:
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        x = np.pad(x.reshape(-1, 8, 8, 1) / 16, [(0, 0), (0, 2), (0, 2), (0, 0)])
        x = x.astype("float32")
        return x[:1200], y[:1200], x[1200:], y[1200:]
    with np.load(path) as file:
        x, y, x_test, y_test = (file[k] for k in ("x_train", "y_train", "x_test", "y_test"))
    x, x_test = (a[..., None].astype("float32") / 255 for a in (x, x_test))
    return x[:samples], y[:samples].astype("int32"), x_test, y_test.astype("int32")


def convolution(x, name, strides=1):
    x = layers.Conv2D(WIDTH, 3, strides, padding="same", use_bias=False, name=name)(x)
    return layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)


def residual_network(shape, seed):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input(shape)
    x = layers.ReLU()(convolution(inputs, "stem", 2))
    for block in range(3):
        y = convolution(layers.ReLU()(convolution(x, f"first{block}")), f"second{block}")
        x = layers.ReLU()(layers.Add()([x, y]))
        x = layers.MaxPooling2D()(x) if block == 0 else x
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, name="logits")(x))


class ZeroGroups(keras.callbacks.Callback):
    """Counts the groups that are zero."""

    def __init__(self, groups):
        super().__init__()
        self.groups, self.counts = groups, []

    def count(self):
        is_zero = np.ones(len(self.groups), bool)
        for variable in self.model.trainable_variables:
            labels = self.groups.labels_of(variable.path, variable.shape)
            w = keras.ops.convert_to_numpy(variable)
            alive = np.broadcast_to(labels, w.shape)[w != 0]
            is_zero[alive[alive >= 0]] = False
        return int(is_zero.sum())

    def on_train_batch_end(self, batch, logs=None):
        if batch % 10 == 0:
            if keras.backend.backend() == "jax":
                self.model.jax_state_sync()
            self.counts.append(self.count())


def train(kind, target, seed, data, epochs):
    x, y, x_test, y_test = data
    model = residual_network(x.shape[1:], seed)
    groups = kr.coupled_groups(model)
    watch, steps = ZeroGroups(groups), epochs * -(-len(x) // BATCH)
    if kind == "GroupLasso":
        penalty = kr.GroupLasso(STRENGTH, groups=groups)
        callbacks = [kr.StrengthScheduler(target_sparsity=target), watch]
    else:
        schedule = {"end_step": int(0.6 * steps), "frequency": max(1, steps // 40)}
        penalty = kr.TopK(target, groups=groups, scope="global", **schedule)
        callbacks = [watch]
    adam = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(RATE, steps, alpha=0.1))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(kr.Proximal(adam, penalty), loss, metrics=["accuracy"])
    start = time.perf_counter()
    model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=callbacks)
    seconds = time.perf_counter() - start
    accuracy = model.evaluate(x_test, y_test, batch_size=500, verbose=0)[1]
    small, number = kr.compact(model), len(groups)
    return (
        kind,
        f"{target:g}",
        seed,
        f"{watch.count()} of {number}",
        max(watch.counts),
        f"{accuracy:.4f}",
        f"{small.get_layer('stem').filters} of {WIDTH}",
        f"{small.count_params():,} of {model.count_params():,}",
        f"{seconds:.0f}",
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="mnist.npz; digits by default")
    parser.add_argument("--samples", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--targets", type=float, nargs="+", default=[0.25, 0.5, 0.75])
    arguments = parser.parse_args()
    data = load(arguments.data, arguments.samples)
    for row in (COLUMNS, ("---",) * len(COLUMNS)):
        print("|", " | ".join(row), "|", flush=True)
    for seed in arguments.seeds:
        for target in arguments.targets:
            for kind in ("GroupLasso", "TopK"):
                row = train(kind, target, seed, data, arguments.epochs)
                print("|", " | ".join(map(str, row)), "|", flush=True)


if __name__ == "__main__":
    main()
