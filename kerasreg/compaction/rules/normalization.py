"""Normalisations that do not mix channels, or do so in a way that can be undone."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasreg.compaction.call import Call
from kerasreg.compaction.channels import Channels
from kerasreg.compaction.liveness import Kept
from kerasreg.compaction.rule import CompactionRule, compaction_rule


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


@compaction_rule(
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    keras.layers.UnitNormalization,
    keras.layers.Softmax,
)
class MixingRule(CompactionRule):
    """All outputs depend on all channels, constant or not."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """Everything stays."""
        return call.blocked([x], f"{call.name} mixes the channels")[0]
