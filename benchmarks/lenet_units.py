"""How few units LeNet needs on MNIST, and what is left of a residual network.

`TopK` takes units out of a network, `compact` makes it small, and what is left is trained on: what
`KeepZeros` would do in the large network, in less time. Then it is saved. All numbers that are
printed, of units, multiply-adds and errors, are of what is loaded from that file:

    KERAS_BACKEND=jax python benchmarks/lenet_units.py --data mnist.npz

- `lenet300`, `lenet5`: inputs and hidden units that are left, beside published numbers. Of LeNet-5
  the third number is that of the flattened inputs of the first `Dense`.
- `residual`: a small residual network, of whose channels half are taken out, coupled by
  `coupled_groups` or in each convolution by itself.
- `latency`: milliseconds of a batch for the networks that are in `--folder`, those of the last
  seed, beside the whole ones; the ratio is a median, as in `compaction.py`.

MNIST as the file `mnist.npz` that `keras.datasets.mnist` downloads. Settings of both LeNets were
chosen by the error on the last 10,000 training images, as `--validate` takes it, which trains on
the first 50,000. The test images played no part, but that the small LeNet-5 was looked for after
the large one had been tested. The settings of `residual` were not searched for. On a CPU the
convolutions train faster with TensorFlow.
"""

import argparse
import dataclasses
import math
import random
import tempfile
import time
from pathlib import Path
from statistics import median

import keras
import numpy as np
from compaction import BATCHES, compare, convolution
from keras import layers, optimizers
from lenet_mnist import load

import kerasreg as kr

BATCH = 100


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a network is made small.

    Args:
        units: What is left of the units of each layer in `TAKEN`.
        epochs: How many there are while units are taken out.
        ramp: From which of them on to which units are taken out.
        refit: Epochs of what is left.
        dropout: The rate of each `Dropout` while units are taken out.
        refit_dropout: The rates after that.
        rate: The learning rate after that.
        decay: The weight decay after that.
    """

    units: tuple[int, ...]
    epochs: int
    ramp: tuple[float, float]
    refit: int
    dropout: tuple[float, ...]
    refit_dropout: tuple[float, ...]
    rate: float
    decay: float


PLANS = {
    "lenet300": {
        "small": Plan((220, 70, 28), 30, (2, 25), 60, (0.1,) * 3, (0.1, 0.05, 0.05), 1e-3, 0.05),
        "large": Plan((300, 150, 60), 30, (2, 25), 60, (0.2,) * 3, (0.2, 0.1, 0.1), 1e-3, 0.05),
    },
    "lenet5": {
        "small": Plan((3, 12, 80), 3, (0.3, 2.5), 20, (0.2, 0.2), (0.2, 0.2), 4e-3, 0.1),
        "large": Plan((3, 14, 100), 3, (0.3, 2.5), 20, (0.2, 0.2), (0.3, 0.3), 4e-3, 0.1),
    },
}
RESIDUAL_EPOCHS = {"prune": 3, "refit": 2}
PUBLISHED = {
    "lenet300": {
        "Louizos et al. 2017": ((278, 98, 13), 1.8),
        "Louizos et al. 2018": ((266, 88, 33), 1.8),
        "Louizos et al. 2018, large": ((219, 214, 100), 1.4),
    },
    "lenet5": {
        "Louizos et al. 2017": ((5, 10, 76, 16), 1.0),
        "Louizos et al. 2017, large": ((8, 13, 88, 13), 1.0),
        "Louizos et al. 2018": ((9, 18, 65, 25), 1.0),
        "Louizos et al. 2018, large": ((20, 25, 45, 462), 0.9),
        "Neklyudov et al. 2017": ((3, 18, 284, 283), 0.9),
    },
}


def lenet300():
    hidden = [
        layer
        for name, units in (("first", 300), ("second", 100))
        for layer in (kr.Dropout(0.0), layers.Dense(units, "relu", name=name))
    ]
    last = [kr.Dropout(0.0), layers.Dense(10, name="last")]
    return keras.Sequential([keras.Input((784,)), *hidden, *last])


def lenet5():
    return keras.Sequential(
        [
            keras.Input((784,)),
            layers.Reshape((28, 28, 1)),
            layers.Conv2D(20, 5, activation="relu", name="first"),
            layers.MaxPooling2D(),
            layers.Conv2D(50, 5, activation="relu", name="second"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            kr.Dropout(0.0),
            layers.Dense(500, "relu", name="third"),
            kr.Dropout(0.0),
            layers.Dense(10, name="last"),
        ]
    )


def residual():
    """Three blocks of two convolutions, of 16 channels at 14 x 14 positions."""
    inputs = keras.Input((784,))
    x = convolution(layers.Reshape((28, 28, 1))(inputs), 16, 2)
    for _ in range(3):
        y = convolution(convolution(x, 16, 1), 16, 1, relu=False)
        x = layers.ReLU()(layers.Add()([x, y]))
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


WHOLE = {"lenet300": lenet300, "lenet5": lenet5, "residual": residual}
# The slices of kernels that go: inputs of `Dense`, or filters and units.
TAKEN = {
    "lenet300": ("input", ("first", "second", "last")),
    "lenet5": ("output", ("first", "second", "third")),
}


def train(model, data, epochs, rate, penalty=None, end=0.0, decay=0.0):
    """AdamW, with the learning rate falling to `end` of its start."""
    x, y, *_ = data
    schedule = optimizers.schedules.CosineDecay(rate, epochs * updates_of(data), alpha=end)
    optimizer = optimizers.AdamW(schedule, weight_decay=decay)
    if penalty is not None:
        optimizer = kr.Proximal(optimizer, penalty, model=model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Compiled by XLA, which is what makes many small steps fast; not the convolutions.
    on_jax = keras.backend.backend() == "jax"
    many = {} if keras.backend.backend() == "torch" else {"steps_per_execution": 50}
    model.compile(optimizer, loss, jit_compile=on_jax, **many)
    model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0)


def updates_of(data):
    """The number of updates in an epoch."""
    return len(data[0]) // BATCH


def set_dropout(model, rates):
    found = [layer for layer in model.layers if isinstance(layer, kr.Dropout)]
    for layer, rate in zip(found, rates, strict=True):
        layer.rate = rate


def so_many_units(model, name, plan, updates):
    """The penalty that keeps so many slices of each kernel."""
    axis, names = TAKEN[name]
    begin, end = (int(epoch * updates) for epoch in plan.ramp)
    penalties = {}
    for layer, kept in zip(names, plan.units, strict=True):
        share = kept / model.get_layer(layer).kernel.shape[-2 if axis == "input" else -1]
        penalties[f".*{layer}/kernel"] = kr.TopK(
            1 - share, axis=axis, saliency="metric", begin_step=begin, end_step=end
        )
    return penalties


def small_lenet(name, plan, data, seed):
    """The compacted network, and the data with the features that it reads."""
    keras.utils.set_random_seed(seed)
    model = WHOLE[name]()
    set_dropout(model, plan.dropout)
    penalty = so_many_units(model, name, plan, updates_of(data))
    train(model, data, plan.epochs, 1e-3, penalty, end=0.1)
    small = kr.compact(model, drop_inputs=True, strip=False)
    x, y, x_test, y_test = data
    ((*features,),) = small.kept_features.values()
    data = x[:, features], y, x_test[:, features], y_test
    set_dropout(small, plan.refit_dropout)
    train(small, data, plan.refit, plan.rate, decay=plan.decay)
    return small, data


def small_residual(how, data, seed):
    """The residual network, of whose channels half are taken out in some way."""
    keras.utils.set_random_seed(seed)
    model, epochs, penalty = residual(), RESIDUAL_EPOCHS["prune"], None
    end = (epochs - 1) * updates_of(data)
    if how == "coupled":
        penalty = kr.TopK(0.5, groups=kr.coupled_groups(model), end_step=end)
    elif how == "uncoupled":
        penalty = {".*conv2d.*/kernel": kr.TopK(0.5, axis="output", end_step=end)}
    train(model, data, epochs, 3e-3, penalty, end=0.1)
    small = kr.compact(model)
    train(small, data, RESIDUAL_EPOCHS["refit"], 1e-3)
    return small


def loaded(model, path):
    """The model in plain Keras, from a file of it."""
    kr.strip(model).save(path)
    return keras.saving.load_model(path)


def error(model, data):
    _, _, x, y = data
    return 100 * float(np.mean(np.argmax(model.predict(x, 1_000, verbose=0), -1) != y))


def kernels(model):
    """The shape of each kernel, and at how many positions it is applied."""
    weighted = [layer for layer in model.layers if hasattr(layer, "kernel")]
    return [(tuple(x.kernel.shape), math.prod(x.output.shape[1:-1])) for x in weighted]


def published_kernels(units):
    """The same of a LeNet of which so many units are left."""
    if len(units) == 3:
        return [(shape, 1) for shape in zip(units, (*units[1:], 10), strict=True)]
    first, second, flat, dense = units
    convolutions = [((5, 5, 1, first), 24 * 24), ((5, 5, first, second), 8 * 8)]
    return [*convolutions, ((flat, dense), 1), ((dense, 10), 1)]


def multiply_adds(found):
    return sum(math.prod(shape) * positions for shape, positions in found)


def units_of(found):
    """The filters of each convolution, and the inputs of each `Dense`."""
    return [shape[-1] if len(shape) == 4 else shape[0] for shape, _ in found]


def middle(points):
    return [median(values) for values in zip(*points, strict=True)]


def show(name, label, units, cost, mistakes):
    widths = "-".join(f"{width:.0f}" for width in units)
    print(f"{name:>9} {label:27} {widths:>15} {cost:10,.0f}  {mistakes:.2f} %", flush=True)


def show_lenet(name, data, folder, labels, seeds):
    print(f"{name:>9} {'':27} {'units':>15} {'mult.-adds':>10}  error")
    for label, (units, mistakes) in PUBLISHED[name].items():
        show(name, label, units, multiply_adds(published_kernels(units)), mistakes)
    for label in [label for label in PLANS[name] if label in labels]:
        points = []
        for seed in range(seeds):
            start = time.perf_counter()
            small, small_data = small_lenet(name, PLANS[name][label], data, seed)
            model = loaded(small, folder / f"{name}_{label}.keras")
            found = kernels(model)
            points.append((*units_of(found), multiply_adds(found), error(model, small_data)))
            text = f"{label}, seed {seed}, {time.perf_counter() - start:.0f} s"
            show(name, text, points[-1][:-2], *points[-1][-2:])
        *units, cost, mistakes = middle(points)
        show(name, f"{label}, median of {seeds}", units, cost, mistakes)


def show_residual(data, folder, seeds):
    print(f"{'residual':>9} {'':20} stream  in blocks  parameters  mult.-adds  error")
    for how in ("whole", "uncoupled", "coupled"):
        points = []
        for seed in range(seeds):
            model = loaded(small_residual(how, data, seed), folder / f"residual_{how}.keras")
            found = kernels(model)
            inside = [shape[-1] for shape, _ in found[1:-1:2]]
            cost = model.count_params(), multiply_adds(found)
            points.append((found[-1][0][0], *inside, *cost, error(model, data)))
            print(f"{'residual':>9} {how:9} seed {seed}: {points[-1]}", flush=True)
        stream, *inside, size, cost, mistakes = middle(points)
        widths = "-".join(f"{width:.0f}" for width in inside)
        print(
            f"{'residual':>9} {how:9}, median of {seeds} {stream:6.0f} {widths:>9} {size:11,.0f} "
            f"{cost:11,.0f}  {mistakes:.2f} %",
            flush=True,
        )


def show_latency(folder, seconds):
    batches = "".join(f"{f'batch {batch}, ms':>28}" for batch in BATCHES)
    print(f"{'latency':>9} {'':20} parameters  mult.-adds{batches}")
    for path in sorted(folder.glob("*.keras")):
        small, model = keras.saving.load_model(path), WHOLE[path.stem.split("_")[0]]()
        size = small.count_params() / model.count_params()
        cost = multiply_adds(kernels(small)) / multiply_adds(kernels(model))
        print(f"{'latency':>9} {path.stem:20} {size:10.3f} {cost:11.3f}", end="", flush=True)
        for batch in BATCHES:
            before, after, ratio = compare([model, small], batch, seconds)
            print(f"{f'{before:.3g} -> {after:.3g} ({ratio:.2f})':>28}", end="", flush=True)
        print()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parts = (*WHOLE, "latency")
    parser.add_argument("--data", required=True, help="path of mnist.npz")
    parser.add_argument("--only", nargs="+", default=parts, choices=parts)
    labels = ("small", "large")
    parser.add_argument("--plans", nargs="+", default=labels, choices=labels)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--validate", action="store_true", help="never look at the test images")
    parser.add_argument("--seconds", type=float, default=5, help="for each pair of models")
    parser.add_argument("--folder", type=Path, help="where networks are saved")
    args = parser.parse_args()
    data = load(args.data, args.validate)
    random.seed(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in args.only:
            if name in PLANS:
                show_lenet(name, data, folder, args.plans, args.seeds)
            elif name == "residual":
                show_residual(data, folder, args.seeds)
            else:
                show_latency(folder, args.seconds)


if __name__ == "__main__":
    main()
