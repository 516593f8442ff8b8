"""Layers around layers."""

from __future__ import annotations

from typing import Any

import keras

import kerasreg.layers as own
from kerasreg.compaction.call import Call, channels_in
from kerasreg.compaction.channels import Channels
from kerasreg.compaction.rule import CompactionRule, compaction_rule, rule_of

layers = keras.layers


@compaction_rule(own.DropConnect)
class DropConnectRule(CompactionRule):
    """In inference the layer inside, but for the classical form, which scales its kernel."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Any:
        """What the layer inside does."""
        rule = rule_of(layer.layer)
        if rule is None or layer.scaling == "inference" and layer.rate:
            return call.blocked([x], f"{call.name} has no rule for its layer")[0]
        return rule.trace(layer.layer, call.inner(layer.layer, "layer", call.shape), x)

    def parts(self, layer: Any) -> dict[str, Any]:
        """The layer inside."""
        return {"layer": layer.layer}


@compaction_rule(layers.SpectralNormalization)
class SpectralNormalizationRule(CompactionRule):
    """In inference the layer inside, whose kernel has been divided in training already."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Any:
        """What the layer inside does; the vector that training goes on with is cut as its units."""
        inside = layer.layer
        rule = rule_of(inside)
        units = getattr(inside, "units", getattr(inside, "filters", None))
        if rule is None or units != layer.kernel.shape[-1]:
            return call.blocked([x], f"{call.name} has no rule for its layer")[0]
        out = rule.trace(inside, call.inner(inside, "layer", call.shape), x)
        if len(out.values) == units:
            call.cut(layer.vector_u, 1, out, produces=False)
        return out

    def parts(self, layer: Any) -> dict[str, Any]:
        """The layer inside."""
        return {"layer": layer.layer}


@compaction_rule(layers.TimeDistributed)
class TimeDistributedRule(CompactionRule):
    """A layer for each time step."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Any:
        """What the layer inside does to one step, if its channels do not lie along time."""
        rule = rule_of(layer.layer)
        if rule is None or x.axis < 2 or len(call.shape) < 3:
            return call.blocked([x], f"{call.name} has no rule for its layer")[0]
        step = x.after((x.shape[0], *x.shape[2:]), x.axis - 1, x.values)
        shape = (call.shape[0], *call.shape[2:])
        found = channels_in(rule.trace(layer.layer, call.inner(layer.layer, "layer", shape), step))
        out = found[0]
        return out.after(call.shape, out.axis + 1, out.values)

    def parts(self, layer: Any) -> dict[str, Any]:
        """The layer inside."""
        return {"layer": layer.layer}
