"""Which axes of a layer's weight number its output units and its inputs.

Each kind of layer answers for itself, by `functools.singledispatch`. A layer of one's own joins:

    @unit_axes.register
    def _(layer: MyLayer, variable): ...
"""

from __future__ import annotations

import functools
import re
from typing import Any, NamedTuple

import keras


class UnitAxes(NamedTuple):
    """The axes of a weight that number units and inputs.

    Args:
        outputs: The axes that number the layer's output units; several number them together.
        inputs: The axes that number its inputs, not the positions of a convolution.
        heads: The axis that numbers the heads of an attention layer, if it has one.
    """

    outputs: tuple[int, ...]
    inputs: tuple[int, ...]
    heads: tuple[int, ...] = ()


@functools.singledispatch
def unit_axes(layer: Any, variable: Any) -> UnitAxes | None:
    """The axes of a weight that number units and inputs, as Keras lays kernels out.

    Args:
        layer: The layer that the weight belongs to.
        variable: The weight.

    Returns:
        The axes; `None` for a bias, a gain and everything else that has no units to lose.
    """
    rank = len(variable.shape)
    if rank < 2 or "bias" in variable.name:
        return None
    return UnitAxes((rank - 1,), (rank - 2,))


@unit_axes.register
def _of_einsum(layer: keras.layers.EinsumDense, variable: Any) -> UnitAxes | None:
    if unit_axes.dispatch(object)(layer, variable) is None:
        return None
    rank = len(variable.shape)
    # The kernel's axes that appear in the output and not in the input, as `bc,abc->` has them.
    operands, output = re.sub(r"[\s.]", "", layer.equation).split("->")
    inputs, kernel = operands.split(",")
    units = tuple(i for i, label in enumerate(kernel) if label in output and label not in inputs)
    if not units or len(kernel) != rank:
        units = (rank - 1,)
    others = tuple(axis for axis in range(rank) if axis not in units)
    # Attention numbers its units by a head and a place in it, and so what it puts together again.
    heads = next((axes[:1] for axes in (units, others) if len(axes) == 2 and rank == 3), ())
    return UnitAxes(units, others, heads)


@unit_axes.register(keras.layers.Conv1DTranspose)
@unit_axes.register(keras.layers.Conv2DTranspose)
@unit_axes.register(keras.layers.Conv3DTranspose)
def _of_transposed_convolution(layer: Any, variable: Any) -> UnitAxes | None:
    axes = unit_axes.dispatch(object)(layer, variable)
    return axes and UnitAxes(outputs=axes.inputs, inputs=axes.outputs)


@unit_axes.register(keras.layers.DepthwiseConv1D)
@unit_axes.register(keras.layers.DepthwiseConv2D)
@unit_axes.register(keras.layers.SeparableConv1D)
@unit_axes.register(keras.layers.SeparableConv2D)
def _of_depthwise_convolution(layer: Any, variable: Any) -> UnitAxes | None:
    axes = unit_axes.dispatch(object)(layer, variable)
    if axes is None or "pointwise" in variable.name:
        return axes
    # Each input channel has filters of its own.
    return UnitAxes(axes.inputs + axes.outputs, axes.inputs)


@unit_axes.register(keras.layers.BatchNormalization)
@unit_axes.register(keras.layers.GroupNormalization)
@unit_axes.register(keras.layers.LayerNormalization)
@unit_axes.register(keras.layers.Normalization)
@unit_axes.register(keras.layers.PReLU)
def _of_gains(layer: Any, variable: Any) -> None:
    return None
