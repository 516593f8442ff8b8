"""What stands for a layer of kerasreg in plain Keras.

Each kind of layer answers for itself, by `functools.singledispatch`. A layer of one's own joins:

    @plain_layer.register
    def _(layer: MyDropout):
        return PlainLayer(keras.layers.Dropout, {"rate": layer.rate})
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import keras

import kerasreg.layers as own
from kerasreg._checks import definer
from kerasreg._keras_internals import all_layers
from kerasreg.layers.base_dropout import BaseDropout
from kerasreg.layers.masked_kernels import masked_kernels


@dataclass(frozen=True)
class PlainLayer:
    """A class of Keras and its arguments.

    Args:
        cls: The class.
        arguments: Those of its arguments that are its own.
        loses: What the layer does that plain Keras has no layer for, in words.
        inside: The layer inside that stands for it, of that class, if it is around one.
    """

    cls: type
    arguments: dict[str, Any]
    loses: str = ""
    inside: Any = None


@functools.singledispatch
def plain_layer(layer: Any) -> PlainLayer | None:
    """What computes the same as a layer in inference, and in training as far as Keras can.

    Args:
        layer: A layer.

    Returns:
        A class of Keras with its arguments; `None` for a layer that stays what it is.
    """
    return None


def has_plain_layer(cls: type) -> bool:
    """Whether `plain_layer` answers for layers of a class, which compute as those it is said of."""
    known = next(base for base in cls.__mro__ if base in plain_layer.registry)
    computing = [definer(cls, name) for name in ("call", "_infer") if hasattr(cls, name)]
    return known is not object and all(issubclass(known, base) for base in computing)


def is_own(cls: type) -> bool:
    """Whether a class cannot be had without kerasreg, as it is of it or derived from one."""
    return any(base.__module__.partition(".")[0] == "kerasreg" for base in cls.__mro__)


@plain_layer.register
def _(layer: own.Dropout) -> PlainLayer:
    if layer.scaling == "inference":
        loses = "drops nothing in training any more, as Keras's dropout scales there"
        return PlainLayer(keras.layers.Rescaling, {"scale": 1 - layer.rate}, loses)
    return PlainLayer(
        keras.layers.Dropout,
        {"rate": layer.rate, "noise_shape": layer.noise_shape, "seed": layer.seed},
    )


@plain_layer.register
def _(layer: own.AlphaDropout) -> PlainLayer:
    arguments = {"rate": layer.rate, "noise_shape": layer.noise_shape, "seed": layer.seed}
    return PlainLayer(keras.layers.AlphaDropout, arguments)


@plain_layer.register
def _(layer: own.GaussianDropout) -> PlainLayer:
    return PlainLayer(keras.layers.GaussianDropout, {"rate": layer.rate, "seed": layer.seed})


@plain_layer.register(own.SpatialDropout1D)
@plain_layer.register(own.SpatialDropout2D)
@plain_layer.register(own.SpatialDropout3D)
def _of_spatial_dropout(layer: Any) -> PlainLayer:
    arguments = {"rate": layer.rate, "seed": layer.seed}
    if layer.rank > 1:
        arguments["data_format"] = layer.data_format
    return PlainLayer(getattr(keras.layers, f"SpatialDropout{layer.rank}D"), arguments)


@plain_layer.register(own.DropPath)
@plain_layer.register(own.DropBlock2D)
def _of_others(layer: BaseDropout) -> PlainLayer:
    return PlainLayer(keras.layers.Identity, {}, "drops nothing in training any more")


@plain_layer.register
def _(layer: own.DropConnect) -> PlainLayer:
    inside = layer.layer
    return PlainLayer(type(inside), {}, "drops no weights in training any more", inside)


def kernel_factors(layer: Any) -> dict[int, float]:
    """What the layers of kerasreg inside scale kernels by in inference, for the `id` of each."""
    return {
        id(kernel.variable): 1 - each.rate
        for each in all_layers(layer)
        if isinstance(each, own.DropConnect) and each.scaling == "inference"
        for kernel in masked_kernels(each.layer)
    }
