"""`Dense`."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg.compaction.call import Call
from kerasreg.compaction.channels import Channels
from kerasreg.compaction.rule import CompactionRule, compaction_rule
from kerasreg.compaction.rules.affine import affine


@compaction_rule(keras.layers.Dense)
class DenseRule(CompactionRule):
    """Each unit reads all inputs with a weight."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Channels:
        """Cuts units and inputs, folds constants into the bias."""
        x = call.along(x, -1)
        units = affine(call, x, -1, layer.kernel, 0, 1, call.bias((layer.units,)))
        call.size("units", units)
        return call.apply(layer.activation, units)
