"""Which layers put out exact zeros, as ReLU does, and which axes of the output number their units.

Nothing is asked for the name of an activation: one that is zero on an interval counts, as `relu`,
`relu6`, `hard_sigmoid` and `sparsemax` do, and `gelu`, `silu` and `leaky_relu` do not.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops

from kerasreg._keras_internals import all_layers
from kerasreg._tensors import Tensor, to_numpy

Activation: TypeAlias = Callable[[Tensor], Tensor]

# Values an activation is asked at. Farther out, `gelu` has zeros that are rounded.
_PROBES = np.linspace(-4, 4, 33, dtype="float32")[None]


def rectified_layers(model: Any) -> list[Any]:
    """The layers of a model that put out zeros by their activation, parents first.

    Not what a recurrent layer repeats at each time step: its own output is that of all of them.
    """
    layers = all_layers(model)
    repeated = {
        id(below)
        for layer in layers
        if isinstance(layer, (keras.layers.RNN, keras.layers.TimeDistributed))
        for below in all_layers(layer)[1:]
    }
    return [layer for layer in layers if id(layer) not in repeated and _is_rectified(layer)]


@functools.singledispatch
def activation_of(layer: Any) -> Activation | None:
    """The activation whose values a layer puts out; a layer of one's own may register.

    By default it is the attribute `activation`, if the layer has one.
    """
    return getattr(layer, "activation", None)


@activation_of.register
def _of_relu(layer: keras.layers.ReLU) -> Activation:
    return layer.call  # type: ignore[no-any-return]


@activation_of.register
def _of_recurrent(layer: keras.layers.RNN) -> Activation | None:
    return getattr(layer.cell, "activation", None)


@activation_of.register
def _of_each_time_step(layer: keras.layers.TimeDistributed) -> Activation | None:
    return activation_of(layer.layer)


def output_units(layer: Any, rank: int) -> tuple[int, ...] | None:
    """The axes of an output that number the layer's units; `None` where there is a batch only."""
    if isinstance(layer, keras.layers.EinsumDense):
        inputs, kernel, output = re.split(",|->", re.sub(r"[\s.]", "", layer.equation))
        axes = [i - len(output) for i, c in enumerate(output) if c in kernel and c not in inputs]
        return tuple(rank + axis for axis in axes) or None
    image = keras.config.image_data_format() if rank in (4, 5) else "channels_last"
    first = (getattr(layer, "data_format", None) or image) == "channels_first"
    return (1 if first else rank - 1,) if rank > 1 else None


def _is_rectified(layer: Any) -> bool:
    activation = activation_of(layer)
    if not callable(activation):
        return False
    try:
        values = to_numpy(activation(ops.convert_to_tensor(_PROBES)))
    except Exception:  # One of somebody's own may take other shapes.
        return False
    zero = values == 0
    return values.shape == _PROBES.shape and bool(np.any(zero[:, 1:] & zero[:, :-1]))
