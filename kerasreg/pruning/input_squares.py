"""What the weights of a layer are multiplied by: the sums of its squares.

Each kind of layer answers for itself, by `functools.singledispatch`. A layer of one's own joins:

    @input_squares.register
    def _(layer: MyLayer, variable, inputs): ...
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._tensors import Tensor, to_accumulator


@functools.singledispatch
def input_squares(layer: Any, variable: Any, inputs: Any) -> Tensor | None:
    """The sum over samples and positions of the squares of what each entry is multiplied by.

    Args:
        layer: A layer that has just been called.
        variable: A weight of it, or of a layer below it.
        inputs: The first argument of the call.

    Returns:
        A float32 tensor that broadcasts to the weight; `None` where the inputs do not tell, as of
        a recurrent kernel.
    """
    return None


@input_squares.register
def _of_dense(layer: keras.layers.Dense, variable: Any, inputs: Any) -> Tensor | None:
    return _over_others(inputs, -1)[:, None] if variable.name == "kernel" else None


@input_squares.register
def _of_einsum(layer: keras.layers.EinsumDense, variable: Any, inputs: Any) -> Tensor | None:
    if variable.name != "kernel":
        return None
    first, kernel = re.sub(r"\s", "", layer.equation).split("->")[0].split(",")
    front, _, back = first.partition("...")
    axes = {label: i for i, label in enumerate(front)}
    axes |= {label: len(inputs.shape) - len(back) + i for i, label in enumerate(back)}
    common = [label for label in kernel if label in axes]
    squares = _over_others(inputs, *(axes[label] for label in common))
    in_kernel = ops.transpose(
        squares, [sorted(common, key=axes.__getitem__).index(c) for c in common]
    )
    shape = [n if c in common else 1 for c, n in zip(kernel, variable.shape, strict=True)]
    return ops.reshape(in_kernel, shape)


@input_squares.register(keras.layers.Conv1D)
@input_squares.register(keras.layers.Conv2D)
@input_squares.register(keras.layers.Conv3D)
def _of_convolution(layer: Any, variable: Any, inputs: Any) -> Tensor | None:
    if variable.name != "kernel":
        return None
    # Each group of filters sees its own channels.
    squares = ops.reshape(_of_channels(layer, inputs), (layer.groups, -1))
    return ops.transpose(ops.repeat(squares, variable.shape[-1] // layer.groups, axis=0))


@input_squares.register(keras.layers.Conv1DTranspose)
@input_squares.register(keras.layers.Conv2DTranspose)
@input_squares.register(keras.layers.Conv3DTranspose)
def _of_transposed_convolution(layer: Any, variable: Any, inputs: Any) -> Tensor | None:
    return _of_channels(layer, inputs) if variable.name == "kernel" else None


@input_squares.register(keras.layers.DepthwiseConv1D)
@input_squares.register(keras.layers.DepthwiseConv2D)
def _of_depthwise_convolution(layer: Any, variable: Any, inputs: Any) -> Tensor | None:
    return _of_channels(layer, inputs)[:, None] if variable.name == "kernel" else None


@input_squares.register(keras.layers.SeparableConv1D)
@input_squares.register(keras.layers.SeparableConv2D)
def _of_separable_convolution(layer: Any, variable: Any, inputs: Any) -> Tensor | None:
    if variable.name == "depthwise_kernel":
        return _of_channels(layer, inputs)[:, None]
    if variable.name != "pointwise_kernel" or layer.padding == "causal":
        return None
    # What lies between the two convolutions.
    between = ops.depthwise_conv(
        inputs,
        layer.depthwise_kernel,
        strides=layer.strides,
        padding=layer.padding,
        data_format=layer.data_format,
        dilation_rate=layer.dilation_rate,
    )
    return _of_channels(layer, between)[:, None]


@input_squares.register
def _of_recurrent(layer: keras.layers.RNN, variable: Any, inputs: Any) -> Tensor | None:
    if variable is not getattr(layer.cell, "kernel", None):
        return None
    first = getattr(layer.cell, "data_format", None) == "channels_first"  # behind the time
    return _over_others(inputs, 2 if first else -1)[:, None]


@input_squares.register
def _of_embedding(layer: keras.layers.Embedding, variable: Any, inputs: Any) -> Tensor | None:
    if variable.name != "embeddings":
        return None
    # A row is multiplied by one as often as it is looked up.
    rows = ops.cast(ops.reshape(inputs, (-1,)), "int32")
    ones = ops.ones(rows.shape, dtype="float32")
    return ops.segment_sum(ones, rows, num_segments=variable.shape[0])[:, None]


@input_squares.register
def _of_two_ways(layer: keras.layers.ReversibleEmbedding, variable: Any, inputs: Any) -> None:
    return None


def _of_channels(layer: Any, inputs: Any) -> Tensor:
    return _over_others(inputs, 1 if layer.data_format == "channels_first" else -1)


def _over_others(x: Any, *axes: int) -> Tensor:
    """The sum of squares over all axes but some, which stay in their order."""
    kept = [axis % len(x.shape) for axis in axes]
    others: Sequence[int] = [axis for axis in range(len(x.shape)) if axis not in kept]
    return ops.sum(ops.square(to_accumulator(x)), axis=others)
