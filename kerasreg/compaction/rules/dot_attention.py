"""Attention without heads: `Attention`, `AdditiveAttention`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kerasreg.compaction.call import Call, channels_in
from kerasreg.compaction.channels import Channels
from kerasreg.compaction.rule import CompactionRule, compaction_rule

layers = keras.layers


@compaction_rule(layers.Attention, layers.AdditiveAttention)
class DotAttentionRule(CompactionRule):
    """Weighted means of values; what adds the same to all scores of a query is not needed."""

    def trace(
        self,
        layer: Any,
        call: Call,
        inputs: Sequence[Channels],
        mask: Any = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        """Ties queries and keys, passes values on."""
        if return_attention_scores:
            return call.blocked(inputs, f"{call.name} returns its scores")
        query, value, *others = [call.along(x, -1) for x in inputs]
        key = others[0] if others else value
        constants = call.constants(value)
        if channels_in(mask):  # Zeros stand where a query is masked.
            constants = np.where(constants == 0, 0.0, np.nan)
        out = call.new(-1, constants)
        call.tie(out, value)
        call.edge(out, value)
        useful = self._useful(layer, call, query, key)
        varying = out.values[np.isnan(constants)]
        call.tie(query, key)
        for x in (query, key):
            call.mix(varying, x.values[useful])
            # What stays for whatever reason is part of the scores, too.
            call.present(x, f"read by {call.name}")
        if np.ndim(layer.scale):
            call.cut(layer.scale, 0, query, produces=False)
        return out

    def _useful(self, layer: Any, call: Call, query: Channels, key: Channels) -> Any:
        """Which channels make a difference between scores."""
        useful = np.isnan(call.constants(key))
        additive = isinstance(layer, layers.AdditiveAttention) or layer.score_mode == "concat"
        if not additive:
            return useful & (call.constants(query) != 0)
        return useful & (call.numbers(layer.scale) != 0 if layer.scale is not None else True)
