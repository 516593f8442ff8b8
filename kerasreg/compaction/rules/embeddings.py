"""Embeddings."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasreg.compaction.call import Call
from kerasreg.compaction.channels import Channels
from kerasreg.compaction.rule import CompactionRule, compaction_rule


@compaction_rule(keras.layers.Embedding)
class EmbeddingRule(CompactionRule):
    """Columns can go; the rows are what the model's inputs mean."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """A column that is the same in all rows is constant."""
        table = call.numbers(layer.embeddings)
        same = (table == table[:1]).all(axis=0)
        out = call.new(-1, np.where(same, table[0], np.nan))
        rows = f"{call.name} looks up rows"
        call.hold(x, rows)
        call.mix(out.values[~same], x, rows)
        call.cut(layer.embeddings, 1, out)
        call.size("output_dim", out)
        return out
