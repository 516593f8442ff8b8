"""How small two well-known networks get, and what the report says of the rest."""

import re

import keras
import numpy as np
from helpers.backends import to_numpy
from helpers.dead_channels import change, inputs_for, kill, randomize
from helpers.random_graphs import relative_error

import kerasreg as kr

layers = keras.layers


def test_lenet():
    """The units that a group lasso on the columns of both kernels left on MNIST."""
    hidden = [layers.Dense(300, "relu", name="first"), layers.Dense(100, "relu", name="second")]
    model = keras.Sequential([keras.Input((784,)), *hidden, layers.Dense(10, name="logits")])
    rng = np.random.default_rng(0)
    for layer, left in zip(randomize(model).layers, (72, 96), strict=False):
        dead = rng.permutation(layer.units)[left:]
        change(layer.kernel, (slice(None), dead), 0)  # Their biases are not zero.
    small = kr.compact(model)
    assert [layer.units for layer in small.layers] == [72, 96, 10]
    assert (model.count_params(), small.count_params()) == (266_610, 64_498)
    x = rng.random((1000, 784)).astype("float32")
    before, after = (to_numpy(m(x, training=False)) for m in (model, small))
    assert np.array_equal(before.argmax(-1), after.argmax(-1))
    assert np.abs(before - after).max() <= 1e-6 * np.abs(before).max()


def resnet(widths=(16, 32), blocks=2):
    """Stages of residual blocks; the first of each later stage halves the image."""
    x = inputs = keras.Input((12, 12, 3))
    x = convolution(x, widths[0], 1, "stem")
    for stage, width in enumerate(widths):
        for block in range(blocks):
            name, stride = f"s{stage}b{block}", 2 if stage and not block else 1
            y = convolution(x, width, stride, f"{name}c1")
            y = convolution(y, width, 1, f"{name}c2", relu=False)
            if stride > 1:
                x = layers.Conv2D(width, 1, stride, name=f"{name}short")(x)
            x = layers.ReLU()(layers.Add(name=f"{name}add")([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return randomize(keras.Model(inputs, layers.Dense(10, name="logits")(x)))


def convolution(x, filters, stride, name, relu=True):
    x = layers.Conv2D(filters, 3, stride, padding="same", use_bias=False, name=name)(x)
    x = layers.BatchNormalization(name=f"{name}norm")(x)
    return layers.ReLU()(x) if relu else x


def convolutions(model):
    return [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]


def test_half_of_the_channels_in_all_layers_is_a_quarter_of_the_work():
    model = resnet()
    groups = kr.coupled_groups(model)
    for v in model.weights:
        labels = groups.labels_of(v.path, v.shape)
        v.assign(np.where((labels >= 0) & (labels % 2 == 0), 0, to_numpy(v)))
    report, small = kr.compaction_report(model), kr.compact(model)
    for old, new in zip(convolutions(model), convolutions(small), strict=True):
        assert new.filters == old.filters // 2
    share = report.total.after.multiply_adds / report.total.before.multiply_adds
    assert 0.25 < share < 0.26  # Of stem and logits a half is left, of all others a quarter.
    assert small.count_params() < 0.26 * model.count_params()
    assert relative_error(model, small, inputs_for(model)) < 1e-5


def test_half_of_the_channels_of_each_layer_by_itself_stays_in_the_stream():
    model, rng = resnet(), np.random.default_rng(0)
    for layer in convolutions(model):
        dead = rng.permutation(layer.filters)[: layer.filters // 2]
        kill(layer, zero=dead)
        if f"{layer.name}norm" in [each.name for each in model.layers]:
            norm = model.get_layer(f"{layer.name}norm")
            for variable in (norm.gamma, norm.beta):
                variable.assign(np.where(np.isin(np.arange(layer.filters), dead), 0, variable))
    rows = {row.path: row for row in kr.compaction_report(model).rows}
    for layer in convolutions(model):
        row = rows[layer.name]
        if layer.name.endswith("c1"):
            assert (row.after.channels, row.blocked) == (layer.filters // 2, 0)
        else:
            # What is zero here, and in the stream is not, stays for those that read the stream.
            assert row.constant == layer.filters // 2 and row.blocked > 0
            assert row.after.channels == layer.filters // 2 + row.blocked
            assert re.search(r"read by (s\d|logits)", row.reason)
    assert relative_error(model, kr.compact(model), inputs_for(model)) < 1e-5
