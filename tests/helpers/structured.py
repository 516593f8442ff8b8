"""A model whose penalties zero inputs, heads, blocks, runs and groups of several weights."""

import keras
import numpy as np
from keras import layers

import kerasreg as kr

GROUPS = kr.Groups.from_labels([(".*first/kernel", 1, 8), (".*second/kernel", 0, 8)])
PENALTIES = {
    ".*attention/(query|attention_output)/kernel": kr.TopK(0.5, axis="heads"),
    ".*attention/key/kernel": kr.TopK(0.5, axis=1),
    ".*attention/value/kernel": kr.TopK(0.5, axis=2),
    ".*blocks/kernel": kr.TopK(0.5, block=(4, 1)),
    ".*runs/kernel": kr.TopK(pattern="2:4"),
    ".*units/kernel": kr.TopK(0.5, axis=-1),
    ".*single/kernel": kr.TopK(0.5),
    ".*(first|second)/kernel": kr.GroupLasso(0.01, groups=GROUPS),
}
# What a part of each weight is called, and how many there are.
PARTS = {
    "attention/query/kernel": ("heads", 4),
    "attention/key/kernel": ("heads", 4),
    "attention/value/kernel": ("slices", 3),
    "attention/attention_output/kernel": ("heads", 4),
    "blocks/kernel": ("blocks of 4×1", 14),
    "runs/kernel": ("runs of 2:4", 10),
    "inputs/kernel": ("inputs", 5),
}


def model():
    """The model, with zeros of every kind."""
    inputs = keras.Input((3, 6))
    x = layers.MultiHeadAttention(4, 3, use_bias=False, name="attention")(inputs, inputs)

    def dense(units, name, **options):
        return layers.Dense(units, use_bias=False, name=name, **options)

    x = dense(8, "first")(x)
    x = dense(7, "second")(x)
    x = dense(7, "blocks")(x)
    x = dense(5, "runs")(x)
    x = dense(4, "inputs", kernel_regularizer=kr.GroupLasso(0.01, axis=-2))(x)
    x = dense(4, "units")(x)
    network = keras.Model(inputs, dense(2, "single")(x), name="model")
    rng = np.random.default_rng(0)
    for variable in network.variables:
        w = rng.normal(size=variable.shape)
        w[rng.random(w.shape) < 0.4] = 0
        w[..., 1] = w[1] = 0
        variable.assign(w)
    network.get_layer("attention").query_dense.kernel.assign(rng.normal(size=(6, 4, 3)) * HEADS)
    return network


HEADS = np.array([0, 1, 0, 1])[None, :, None]


def zero_slices(w, axis):
    """How many slices along an axis are zero, and how many there are."""
    norms = np.abs(np.moveaxis(w, axis, 0)).reshape(w.shape[axis], -1).sum(1)
    return int(np.sum(norms == 0)), len(norms)
