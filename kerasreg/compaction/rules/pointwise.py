"""Layers and operations that act on each number by itself, or on nothing in inference."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

import kerasreg.layers as own
from kerasreg._keras_internals import identity_layers, operation_classes, taken_for_bias
from kerasreg._tensors import to_numpy
from kerasreg.compaction.call import Call
from kerasreg.compaction.channels import Channels, along_axis
from kerasreg.compaction.liveness import Kept
from kerasreg.compaction.rule import CompactionRule, compaction_rule

layers = keras.layers


def classes(names: str) -> list[type]:
    """The layers of these names that this version of Keras has."""
    return [cls for name in names.split() if (cls := getattr(layers, name, None)) is not None]


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
    *identity_layers(),
    # Of images; those that look at colours need all of them.
    *classes("RandomErasing RandomFlip RandomPerspective RandomRotation RandomShear"),
    *classes("RandomTranslation RandomZoom RandomElasticTransform RandomGaussianBlur"),
)
class IdentityRule(CompactionRule):
    """What acts in training only."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """The input."""
        return x


@compaction_rule(
    *classes("RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast"),
    *classes("RandomGrayscale RandomHue RandomInvert RandomPosterization RandomSaturation"),
    *classes("RandomSharpness"),
)
class ColoursRule(CompactionRule):
    """What acts in training only, and then needs all colours."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """The input, whose width stays."""
        call.hold(x, f"{call.name} changes colours")
        return x


@compaction_rule(layers.Masking)
class MaskingRule(CompactionRule):
    """Looks at all features, but for those that always have the value that it looks for."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """What is not masked stays as it is, the rest is zero."""
        skipped = call.constants(x) == layer.mask_value
        out = call.like(x, np.where(skipped & (layer.mask_value == 0), 0.0, np.nan))
        looks = f"{call.name} looks at all features"
        call.edge(out, x)
        call.mix(out, x.values[~skipped], looks)
        call.present(x, looks)
        return out


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
        """The function of each channel; what differs by channel is cut."""
        if np.ndim(layer.scale) == np.ndim(layer.offset) == 0:
            return call.elementwise(layer.call, x)
        rank, numbers = len(x.shape), []
        for key in ("scale", "offset"):
            given = np.asarray(getattr(layer, key), np.float64)
            shape = given.shape
            if key == "scale" and shape and keras.config.image_data_format() == "channels_first":
                shape += (1,) * (3 - len(shape))
            if len(shape) > rank or call.shape != x.shape:
                return call.blocked([x], f"{call.name} repeats the channels")[0]
            added = rank - len(shape)
            numbers.append(along_axis(given.reshape((1,) * added + shape), x.axis))
            if x.axis >= added and shape[x.axis - added] > 1:
                call.entry(key, given, x.axis - added, x)
        out = call.like(x, call.constants(x) * numbers[0] + numbers[1])
        call.edge(out, x)
        return out


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
    "HardSilu HardTanh LogSigmoid Celu Mish Erf Erfc Cast SaturateCast Clip StopGradient Ceil "
    "Floor Round Trunc Arctan Arcsinh Squareplus SoftShrink HardShrink TanhShrink Threshold "
    "SparsePlus SparseSigmoid Fabs Exp2 Cbrt Deg2rad Rad2deg Copy ConvertToTensor Sinc Signbit "
    "Isnan Isinf Isfinite LogicalNot NanToNum OnesLike ZerosLike Heaviside I0"
).split()


@compaction_rule(*operation_classes(UNARY))
class UnaryRule(CompactionRule):
    """A function of each number, with arguments that are no tensors."""

    def trace(self, layer: Any, call: Call, x: Channels, *args: Any, **kwargs: Any) -> Channels:
        """The function of each channel."""
        if any(np.ndim(getattr(layer, bound, 0)) for bound in ("x_min", "x_max")):
            return call.blocked([x], f"{call.name} has bounds for each channel")[0]
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
        The `Channels` of the output; an array is cut where it has numbers for each channel.
    """
    (place,) = (i for i, arg in enumerate(args) if isinstance(arg, Channels))
    x, other = args[place], args[1 - place]
    if isinstance(other, (list, tuple)):
        args[1 - place] = other = np.asarray(other, x.dtype)
    shape = tuple(np.shape(other) if not hasattr(other, "shape") else other.shape)
    if np.prod(shape, dtype=int) == 1 and len(shape) <= len(x.shape):
        number = ops.reshape(ops.convert_to_tensor(other), ())

        def function(numbers: Any) -> Any:
            pair = [numbers, ops.cast(number, numbers.dtype)]
            return layer.call(*(pair if place == 0 else reversed(pair)))

        return call.elementwise(function, x)
    along = x.axis - len(x.shape) + len(shape)
    if type(layer).__name__ == "Add" and taken_for_bias(shape):
        call.hold(x, f"{call.name} adds an array along another axis")
    if len(call.shape) != len(x.shape) or call.shape[x.axis] != x.length:
        return call.blocked([x], f"{call.name} repeats the channels")[0]
    if along < 0 or shape[along] == 1:
        out = call.like(x)
        call.edge(out, x)
        return out
    return _with_array(call, layer, args, place, along)


def _with_array(call: Call, layer: Any, args: list[Any], place: int, axis: int) -> Channels:
    """The same where the array has a number, or several, for each channel along an axis."""
    x, other = args[place], args[1 - place]
    array = to_numpy(other)
    numbers, known = along_axis(array, axis), call.constants(x)
    both = ~np.isnan(known) & ~np.isnan(numbers)
    pair = [ops.convert_to_tensor(each[both].astype("float32")) for each in (known, numbers)]
    constants = np.full(known.shape, np.nan)
    if both.any():
        constants[both] = to_numpy(layer.call(*(pair if place == 0 else reversed(pair))))
    reads = np.ones(known.shape, bool)
    if type(layer).__name__ == "Multiply":
        reads = numbers != 0
        constants[~reads] = 0
    out = call.like(x, constants)
    call.edge(out.values[reads], x.values[reads])
    if isinstance(other, keras.Variable):
        call.hold(x, f"{call.name} has a variable for each channel")
        return out

    def shorter(kept: Kept, given: tuple[Any, ...]) -> tuple[Any, ...]:
        left = np.take(array, kept.widths(x.values), axis=axis)
        same = left if isinstance(other, np.ndarray) else ops.convert_to_tensor(left, other.dtype)
        return (given[0], same) if place == 0 else (same, given[1])

    call.rewrite(shorter)
    return out
