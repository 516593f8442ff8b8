"""Normalisations that do not mix channels, or do so in a way that can be undone."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasreg._keras_internals import layer_scale, operation_classes
from kerasreg.compaction.call import Call
from kerasreg.compaction.channels import Channels, along_axis
from kerasreg.compaction.liveness import Kept
from kerasreg.compaction.rule import CompactionRule, compaction_rule
from kerasreg.compaction.rules.reductions import axes_of


@compaction_rule(keras.layers.BatchNormalization)
class BatchNormalizationRule(CompactionRule):
    """In inference a factor and an offset for each channel."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """A channel with the factor 0 is constant, and needs nothing."""
        x = call.along(x, layer.axis)
        mean, variance = map(call.numbers, (layer.moving_mean, layer.moving_variance))
        factor = 1 / np.sqrt(variance + layer.epsilon)
        if layer.gamma is not None:
            factor = factor * call.numbers(layer.gamma)
        constant = (call.constants(x) - mean) * factor
        constant[factor == 0] = 0
        if layer.beta is not None:
            constant = constant + call.numbers(layer.beta)
        out = call.like(x, constant)
        reads = factor != 0
        call.edge(out.values[reads], x.values[reads])
        for variable in (layer.gamma, layer.beta):
            call.cut(variable, 0, out)
        for variable in (layer.moving_mean, layer.moving_variance):
            call.cut(variable, 0, out, produces=False)
        return out


@compaction_rule(keras.layers.RMSNormalization)
class RMSNormalizationRule(CompactionRule):
    """Zeros can go: the mean of the squares is then over fewer, which scale and epsilon undo."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """All channels but zeros are needed, and zeros are where they stay."""
        if [axis % len(x.shape) for axis in np.ravel(layer.axis)] != [len(x.shape) - 1]:
            return call.blocked([x], f"{call.name} mixes the channels")[0]
        x = call.along(x, -1)
        zero = call.constants(x) == 0
        out = call.like(x, np.where(zero, 0.0, np.nan))
        mixes = f"{call.name} mixes the channels"
        call.mix(out, x.values[~zero], mixes)
        call.hold(x.values[~zero], mixes)
        call.edge(out, x)
        call.present(x, mixes)
        call.cut(layer.scale, 0, out)
        call.size("epsilon", out)
        return out

    def config(self, layer: Any, kept: Kept) -> dict[str, Any]:
        """Epsilon for the mean over fewer channels."""
        return {"epsilon": layer.epsilon / self._left(layer, kept)}

    def weights(self, layer: Any, arrays: dict[int | str, Any], kept: Kept) -> None:
        """The scale for the mean over fewer channels."""
        factor = np.sqrt(self._left(layer, kept))
        arrays[id(layer.scale)] = arrays[id(layer.scale)] / factor

    def _left(self, layer: Any, kept: Kept) -> float:
        """The share of the channels that stays."""
        total = int(np.prod(layer.scale.shape))
        return float(kept.sizes(layer).get("epsilon", total)) / total


@compaction_rule(keras.layers.UnitNormalization, *operation_classes(["Normalize"]))
class UnitNormalizationRule(CompactionRule):
    """Zeros can go: they do not count in the norm."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """Over positions each channel by itself."""
        if getattr(layer, "order", 2) != 2:
            return call.blocked([x], f"{call.name} mixes the channels")[0]
        zero = call.constants(x) == 0
        out = call.like(x, np.where(zero, 0.0, np.nan))
        call.edge(out, x)
        if x.axis in axes_of(layer, len(x.shape)):
            mixes = f"{call.name} mixes the channels"
            call.mix(out.values[~zero], x.values[~zero], mixes)
            # A zero that stays, for whatever reason, counts, too.
            call.present(x, mixes)
        return out


@compaction_rule(keras.layers.LayerNormalization)
class LayerNormalizationRule(CompactionRule):
    """The mean is over all channels, so that all stay; where the factor is 0 none is needed."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """The channels with the factor 0 are constant."""
        mixes = f"{call.name} mixes the channels"
        axes = sorted(axes_of(layer, len(x.shape)))
        if x.axis not in axes or layer.gamma is None or getattr(layer, "rms_scaling", False):
            return call.blocked([x], mixes)[0]
        place = axes.index(x.axis)
        offset = np.zeros(layer.gamma.shape) if layer.beta is None else call.numbers(layer.beta)
        zero = along_axis(call.numbers(layer.gamma), place) == 0
        out = call.like(x, np.where(zero, along_axis(offset, place), np.nan))
        call.mix(out.values[~zero], x, mixes)
        call.hold(x, mixes)
        return out


@compaction_rule(keras.layers.GroupNormalization)
class GroupNormalizationRule(CompactionRule):
    """Whole groups can go."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """Of a group that is needed all channels are; one of zeros only stays at its offset."""
        mixes = f"{call.name} mixes the channels of a group"
        x = call.along(x, layer.axis)
        groups = x.values.reshape(layer.groups, -1)
        size = groups.shape[1]
        gone = np.repeat((call.facts.constants[groups] == 0).all(axis=1), size)
        if layer.gamma is not None:
            gone |= call.numbers(layer.gamma) == 0
        offset = np.zeros(len(gone)) if layer.beta is None else call.numbers(layer.beta)
        out = call.like(x, np.where(gone, offset, np.nan))
        for group, made, constant in zip(
            groups, out.values.reshape(groups.shape), gone.reshape(groups.shape), strict=True
        ):
            call.mix(made[~constant], group, mixes)
        call.tie(x, np.repeat(groups[:, 0], size))
        for variable in (layer.gamma, layer.beta):
            call.cut(variable, 0, out)
        call.size("groups", groups[:, 0])
        return out


@compaction_rule(keras.layers.Normalization)
class FeatureNormalizationRule(CompactionRule):
    """A mean and a deviation for each feature, as numbers or as `adapt` has found them."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """Cuts both where they differ by channel."""
        rank = len(x.shape)
        axes = sorted(axis % rank for axis in layer.axis)
        mean, deviation = call.numbers(layer.mean), np.sqrt(call.numbers(layer.variance))
        mean, deviation = (
            along_axis(numbers, x.axis)
            for numbers in (mean, np.maximum(deviation, keras.config.epsilon()))
        )
        known = call.constants(x)
        constant = mean + known * deviation if layer.invert else (known - mean) / deviation
        out = call.like(x, constant)
        call.edge(out, x)
        if x.axis in axes:
            self._cut(layer, call, out, axes.index(x.axis) - len(axes))
        return out

    def _cut(self, layer: Any, call: Call, out: Channels, axis: int) -> None:
        """Cuts variables, or numbers in the configuration, which may have fewer axes."""
        if layer.input_mean is None:
            call.cut(layer.adapt_mean, axis, out, produces=False)
            call.cut(layer.adapt_variance, axis, out, produces=False)
            return
        for key, given in (("mean", layer.input_mean), ("variance", layer.input_variance)):
            numbers = np.asarray(given)
            if numbers.ndim + axis >= 0 and numbers.shape[axis] == len(out.values):
                call.entry(key, numbers, axis, out)

    def assigned(self, layer: Any) -> None:
        """Lets the layer compute with the weights that it has got."""
        layer.finalize_state()


@compaction_rule(layer_scale())
class LayerScaleRule(CompactionRule):
    """A factor for each channel; where it is 0 the channel is zero, and needs nothing."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """Cuts the factors."""
        x = call.along(x, -1)
        factor = call.numbers(layer.gamma)
        reads = factor != 0
        out = call.like(x, np.where(reads, call.constants(x) * factor, 0.0))
        call.edge(out.values[reads], x.values[reads])
        call.cut(layer.gamma, 0, out)
        call.size("projection_dim", out)
        return out
