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
from kerasreg.layers.base_dropout import BaseDropout
from kerasreg.layers.masked_kernels import masked_kernels


@dataclass(frozen=True)
class PlainLayer:
    """A class of Keras and its arguments.

    Args:
        cls: The class.
        arguments: Those of its arguments that are its own.
        loses: What the layer does that plain Keras has no layer for, in words.
    """

    cls: type
    arguments: dict[str, Any]
    loses: str = ""


@functools.singledispatch
def plain_layer(layer: Any) -> PlainLayer | None:
    """What computes the same as a layer in inference, and in training as far as Keras can.

    Args:
        layer: A layer.

    Returns:
        A class of Keras with its arguments; `None` for a layer that stays what it is.
    """
    return None


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


def kernel_factors(layer: Any) -> list[tuple[Any, float]]:
    """The kernels that a layer of kerasreg scales in inference, each with the factor."""
    if isinstance(layer, own.DropConnect) and layer.scaling == "inference":
        return [(kernel.variable, 1 - layer.rate) for kernel in masked_kernels(layer.layer)]
    return []
