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

    def positions(self, x: Channels, out: Channels) -> int:
        """None: rows are looked up."""
        return 0


@compaction_rule(keras.layers.ReversibleEmbedding)
class ReversibleEmbeddingRule(EmbeddingRule):
    """Also used in reverse, from channels to a score for each row."""

    def trace(self, layer: Any, call: Call, x: Channels, reverse: bool = False) -> Channels:
        """In reverse all rows stay."""
        if not reverse:
            return super().trace(layer, call, x)
        x = call.along(x, -1)
        out = call.new(-1)
        call.hold(out, f"{call.name} scores rows")
        call.size("output_dim", x)
        if layer.tie_weights:
            # The same numbers are looked up: nothing may be changed in them for this call.
            nonzero = (call.numbers(layer.embeddings) != 0).any(axis=0)
            reads = nonzero & (call.constants(x) != 0)
            call.mix(out, x.values[reads])
            call.present(x.values[nonzero], f"read by {call.name}")
            call.cut(layer.embeddings, 1, x)
            return out
        bias = call.bias((layer.input_dim,), allowed=False)
        read = call.read(layer.reverse_embeddings, 0, 1, bias)
        call.connect(read, x, out)
        call.cut(layer.embeddings, 1, x, produces=False)
        call.cut(layer.reverse_embeddings, 0, x, produces=False)
        return out
