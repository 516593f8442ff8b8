"""Convolutions: of all channels, in groups, of each channel, transposed."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasreg.compaction.call import Call
from kerasreg.compaction.channels import Channels, Floats
from kerasreg.compaction.rule import CompactionRule, compaction_rule, positions_of
from kerasreg.compaction.rules.affine import affine

layers = keras.layers


# So many kernels to read take seconds; what filters of one channel have is then kept together.
MANY_GROUPS = 16


def channel_axis(layer: Any) -> int:
    """The axis of the channels of an image layer."""
    return 1 if getattr(layer, "data_format", None) == "channels_first" else -1


def border(layer: Any) -> str:
    """Why output positions see different numbers of positions of the input, if they do."""
    same = layer.padding == "valid" or all(size == 1 for size in layer.kernel_size)
    return "" if same else f"padding '{layer.padding}'"


@compaction_rule(layers.Conv1D, layers.Conv2D, layers.Conv3D)
class ConvolutionRule(CompactionRule):
    """Each filter reads all channels of its group."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """Cuts filters and channels."""
        axis = channel_axis(layer)
        x = call.along(x, axis)
        if layer.groups == len(x.values) > MANY_GROUPS:
            return self._of_single_channels(layer, call, x)
        if layer.groups > 1:
            return self._in_groups(layer, call, x, axis)
        bias = call.bias((layer.filters,))
        filters = affine(call, x, axis, layer.kernel, -2, -1, bias, border(layer))
        call.size("filters", filters)
        return call.apply(layer.activation, filters)

    def _of_single_channels(self, layer: Any, call: Call, x: Channels) -> Channels:
        """A depthwise convolution by another name."""
        kernel = call.numbers(layer.kernel)
        kernel = kernel.reshape(*kernel.shape[:-2], len(x.values), -1)
        out = depthwise(call, layer, x, kernel)
        call.cut(layer.kernel, -1, out)
        call.size("filters", out)
        call.size("groups", x)
        return call.apply(layer.activation, with_bias(call, layer, out))

    def _in_groups(self, layer: Any, call: Call, x: Channels, axis: int) -> Channels:
        """All groups keep equally many channels and filters; one that is dead goes."""
        groups, each = layer.groups, layer.filters // layer.groups
        inputs = x.values.reshape(groups, -1)
        reads, sums = [], []
        for group in range(groups):
            part = slice(group * each, (group + 1) * each)
            bias = call.bias((layer.filters,), part)
            obstacle = border(layer)
            read = call.read(
                layer.kernel, -2, -1, bias, not obstacle, part=(..., part), obstacle=obstacle
            )
            reads.append(read)
            sums.append(read.constants(call.facts.constants[inputs[group]]))
        total = np.concatenate(sums)
        if layer.bias is not None:
            total = total + call.numbers(layer.bias)
        out = call.new(axis, total, length=layer.filters)
        outputs = out.values.reshape(groups, each)
        for read, reading, made in zip(reads, inputs, outputs, strict=True):
            call.connect(read, reading, made)
        places = len(layer.kernel_size)
        view = (*layer.kernel.shape[:-1], groups, each)
        call.grid(
            layer.kernel, places + 1, {places: inputs, places + 2: outputs}, view, (places + 2,)
        )
        call.grid_bias(call.bias((layer.filters,)), outputs)
        call.balance(inputs, outputs)
        call.size("filters", out)
        call.size("groups", outputs)
        return call.apply(layer.activation, out)


@compaction_rule(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
class TransposedConvolutionRule(CompactionRule):
    """As a convolution, but what a constant becomes depends on the position."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """Cuts filters and channels; merges constants."""
        axis = channel_axis(layer)
        x = call.along(x, axis)
        bias = call.bias((layer.filters,))
        filters = affine(call, x, axis, layer.kernel, -1, -2, bias, "transposed")
        call.size("filters", filters)
        return call.apply(layer.activation, filters)

    def positions(self, x: Channels, out: Channels) -> int:
        """Those of the input."""
        return positions_of(x)


def depthwise(call: Call, layer: Any, x: Channels, numbers: Floats) -> Channels:
    """The channels that filters of single channels make, before a bias.

    Args:
        call: The call of the layer.
        layer: A layer with padding.
        x: The input, shape `(..., channels, ...)`.
        numbers: The kernel, shape `(*window, channels, multiplier)`.

    Returns:
        `channels * multiplier` channels; those of one input channel stay or go together.
    """
    multiplier = numbers.shape[-1]
    window = tuple(range(numbers.ndim - 2))
    zero = (numbers == 0).all(axis=window).ravel()
    sources = np.repeat(x.values, multiplier)
    known = call.facts.constants[sources]
    constant = known * numbers.sum(axis=window).ravel()
    if border(layer):
        constant[known != 0] = np.nan
    constant[zero] = 0
    out = call.new(x.axis, constant, length=len(sources))
    call.tie(out, sources)
    call.edge(out.values[~zero], sources[~zero])
    return out


def with_bias(call: Call, layer: Any, x: Channels) -> Channels:
    """The channels after the bias of a layer, if it has one."""
    if layer.bias is None:
        return x
    out = call.like(x, call.constants(x) + call.numbers(layer.bias))
    call.edge(out, x)
    call.cut(layer.bias, 0, out)
    return out


@compaction_rule(layers.DepthwiseConv1D, layers.DepthwiseConv2D)
class DepthwiseRule(CompactionRule):
    """Each filter reads one channel."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """Cuts channels with all their filters."""
        x = call.along(x, channel_axis(layer))
        out = depthwise(call, layer, x, call.numbers(layer.kernel))
        call.cut(layer.kernel, -2, x, produces=False)
        return call.apply(layer.activation, with_bias(call, layer, out))


@compaction_rule(layers.SeparableConv1D, layers.SeparableConv2D)
class SeparableRule(CompactionRule):
    """Filters of single channels, then `Dense` at each position."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """Cuts filters and channels."""
        x = call.along(x, channel_axis(layer))
        middle = depthwise(call, layer, x, call.numbers(layer.depthwise_kernel))
        call.cut(layer.depthwise_kernel, -2, x, produces=False)
        bias = call.bias((layer.filters,))
        filters = affine(call, middle, x.axis, layer.pointwise_kernel, -2, -1, bias)
        call.size("filters", filters)
        return call.apply(layer.activation, filters)
