"""Layers and operations that act on each number by itself, or on nothing in inference."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

import kerasreg.layers as own
from kerasreg._keras_internals import operation_classes
from kerasreg.compaction.call import Call
from kerasreg.compaction.channels import Channels
from kerasreg.compaction.rule import CompactionRule, compaction_rule

layers = keras.layers


@compaction_rule(
    layers.ActivityRegularization,
    layers.AlphaDropout,
    layers.Dropout,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.Identity,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    own.AlphaDropout,
    own.DropBlock2D,
    own.DropPath,
    own.GaussianDropout,
    own.SpatialDropout1D,
    own.SpatialDropout2D,
    own.SpatialDropout3D,
)
class IdentityRule(CompactionRule):
    """What acts in training only."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """The input."""
        return x


@compaction_rule(own.Dropout)
class ClassicalDropoutRule(CompactionRule):
    """In its classical form it scales in inference."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """The input, scaled or not."""
        if layer.scaling == "training":
            return x
        out = call.like(x, call.constants(x) * (1 - layer.rate))
        call.edge(out, x)
        return out


@compaction_rule(layers.Activation)
class ActivationRule(CompactionRule):
    """A function, which may mix the channels."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """The function of each channel."""
        return call.apply(layer.activation, x)


@compaction_rule(layers.ReLU, layers.LeakyReLU, layers.ELU)
class ElementwiseRule(CompactionRule):
    """A function of each number, and of nothing else."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """The function of each channel."""
        return call.elementwise(layer.call, x)


@compaction_rule(layers.Rescaling)
class RescalingRule(CompactionRule):
    """A factor and an offset, one for all channels unless they are arrays."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """The function of each channel."""
        if np.ndim(layer.scale) or np.ndim(layer.offset):
            return call.blocked([x], f"{call.name} has a factor for each channel")[0]
        return call.elementwise(layer.call, x)


@compaction_rule(layers.PReLU)
class PReLURule(CompactionRule):
    """A slope for each channel, and for each position that does not share it."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """Cuts the slopes, unless all channels share them."""
        slopes = call.numbers(layer.alpha)
        axis = x.axis - 1
        lowest, highest = (
            f(slopes, axis=tuple(i for i in range(slopes.ndim) if i != axis))
            for f in (np.min, np.max)
        )
        number = call.constants(x)
        left = np.where(lowest == highest, number * lowest, np.nan)
        out = call.like(x, np.where(number >= 0, number, left))
        call.edge(out, x)
        if slopes.shape[axis] == len(x.values) > 1:
            call.cut(layer.alpha, axis, x, produces=False)
        return out


# Of one tensor, without another one among their arguments.
UNARY = (
    "Abs Absolute Cos Cosh Exp Expm1 Negative Positive Sign Sin Sinh Square "
    "Tanh Relu Relu6 Sigmoid Silu Softplus Softsign Gelu Elu Selu LeakyRelu HardSigmoid "
    "HardSilu HardTanh LogSigmoid Celu Mish Erf Cast Clip StopGradient Ceil Floor Round "
    "Arctan Arcsinh SquarePlus SoftShrink HardShrink TanhShrink Threshold SparsePlus SparseSigmoid"
).split()


@compaction_rule(*operation_classes(UNARY))
class UnaryRule(CompactionRule):
    """A function of each number, with arguments that are no tensors."""

    def trace(self, layer: Any, call: Call, x: Channels, *args: Any, **kwargs: Any) -> Channels:
        """The function of each channel."""
        return call.elementwise(lambda numbers: layer.call(numbers, *args, **kwargs), x)


@compaction_rule(*operation_classes("Log Log10 Log1p Log2 Reciprocal Rsqrt Sqrt Tan".split()))
class SingularRule(CompactionRule):
    """A function that is infinite somewhere; then a weight of zero on it does not help."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """The function of each channel, which is right wherever it stays."""
        out = call.elementwise(layer.call, x)
        call.present(out, f"{call.name} may be infinite")
        return out


# Operations of two tensors, or of a tensor and a number; see `merging` for the former.
def with_number(call: Call, layer: Any, args: list[Any]) -> Channels:
    """The channels of an operation of one tensor and one number or array.

    Args:
        call: The call.
        layer: The operation.
        args: Its two arguments, one of them a `Channels`.

    Returns:
        The `Channels` of the output; an array that differs by channel holds their width.
    """
    (place,) = (i for i, arg in enumerate(args) if isinstance(arg, Channels))
    x, other = args[place], args[1 - place]
    shape = tuple(np.shape(other) if not hasattr(other, "shape") else other.shape)
    if np.prod(shape, dtype=int) == 1 and len(shape) <= len(x.shape):
        number = ops.reshape(ops.convert_to_tensor(other), ())

        def function(numbers: Any) -> Any:
            pair = [numbers, ops.cast(number, numbers.dtype)]
            return layer.call(*(pair if place == 0 else reversed(pair)))

        return call.elementwise(function, x)
    if len(call.shape) != len(x.shape) or call.shape[x.axis] != x.length:
        return call.blocked([x], f"{call.name} repeats the channels")[0]
    out = call.like(x)
    call.edge(out, x)
    along = x.axis - len(x.shape) + len(shape)
    if along >= 0 and shape[along] != 1:
        call.hold(x, f"{call.name} has a number for each channel")
    return out
