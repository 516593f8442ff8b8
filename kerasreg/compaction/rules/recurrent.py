"""Recurrent layers."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasreg.compaction.call import Call, channels_in
from kerasreg.compaction.channels import Bools, Channels, Floats, on_numbers
from kerasreg.compaction.rule import (
    CompactionRule,
    compaction_rule,
    positions_of,
    rule_of,
)
from kerasreg.compaction.rules.merging import combined, product

layers = keras.layers

# How many gates, and which of them computes what is new in the state.
GATES = {layers.SimpleRNN: (1, 0), layers.LSTM: (4, 2), layers.GRU: (3, 2)}


@compaction_rule(layers.SimpleRNN, layers.LSTM, layers.GRU)
class RecurrentRule(CompactionRule):
    """Each unit reads all inputs and all units, through all its gates."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Any:
        """Cuts units and inputs; a unit is constant only where it is always zero."""
        if layer.stateful or layer.return_state:
            kept = "is stateful" if layer.stateful else "returns its state"
            return call.blocked([x], f"{call.name} {kept}")
        x = call.along(x, -1)
        cell, (gates, new) = layer.cell, _gates(layer)
        zero = _zero_units(layer, call, call.constants(x), new)
        units = call.new(-1, np.where(zero, 0.0, np.nan))
        tiled = np.tile(units.values, gates)
        shape = tuple(cell.bias.shape) if cell.bias is not None else _bias_shape(cell, gates)
        bias = call.bias(shape, 0 if len(shape) == 2 else ..., inside="cell")
        read = call.read(cell.kernel, 0, 1, bias)
        call.connect(read, x, tiled)
        recurrent = call.read(cell.recurrent_kernel, 0, 1, bias, folds=False, merges=False)
        call.connect(recurrent, units, tiled)
        call.cut(cell.kernel, 0, x, produces=False)
        call.cut(cell.kernel, 1, tiled)
        call.cut(cell.recurrent_kernel, 0, units, produces=False)
        call.cut(cell.recurrent_kernel, 1, tiled)
        call.cut_bias(bias, tiled)
        call.size("units", units)
        return units

    def positions(self, x: Channels, out: Channels) -> int:
        """All time steps, also where only the last output is returned."""
        return positions_of(x)


def _gates(layer: Any) -> tuple[int, int]:
    return next(gates for cls, gates in GATES.items() if isinstance(layer, cls))


def _bias_shape(cell: Any, gates: int) -> tuple[int, ...]:
    length = gates * cell.units
    return (2, length) if getattr(cell, "reset_after", False) else (length,)


def _zero_units(layer: Any, call: Call, inputs: Floats, new: int) -> Bools:
    """The units that stay at the zero that they begin with.

    They get zeros only, by weights or from each other: the largest set with that property.
    """
    cell, units = layer.cell, layer.cell.units
    columns = slice(new * units, (new + 1) * units)
    at_zero = on_numbers(cell.activation, np.zeros(1))
    noisy = call.numbers(cell.kernel)[inputs != 0][:, columns]
    zero = ~(noisy != 0).any(axis=0) & bool(at_zero[0] == 0)
    if cell.bias is not None:
        zero &= ~(call.numbers(cell.bias)[..., columns].reshape(-1, units) != 0).any(axis=0)
    recurrent = call.numbers(cell.recurrent_kernel)[:, columns] != 0
    while True:
        still = zero & ~recurrent[~zero].any(axis=0)
        if (still == zero).all():
            return np.asarray(zero)
        zero = still


@compaction_rule(layers.Bidirectional)
class BidirectionalRule(CompactionRule):
    """Both directions have equally many units."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Any:
        """Ties the directions."""
        if layer.merge_mode is None or layer.return_state or layer.stateful:
            return call.blocked([x], f"{call.name} returns several tensors, or is stateful")
        found = []
        for name in ("forward_layer", "backward_layer"):
            direction = getattr(layer, name)
            rule = rule_of(direction)
            units = getattr(direction, "units", None)
            if rule is None or units is None:
                return call.blocked([x], f"{call.name} has no rule for its layer")
            inner = call.inner(direction, name, (*call.shape[:-1], units))
            found += channels_in(rule.trace(direction, inner, x))
        call.tie(*found)
        if layer.merge_mode == "concat":
            both = np.concatenate([part.values for part in found])
            return found[0].after(call.shape, found[0].axis, both)
        if layer.merge_mode == "mul":
            return product(call, found)
        return combined(call, found, np.add, 0.5 if layer.merge_mode == "ave" else 1.0)

    def positions(self, x: Channels, out: Channels) -> int:
        """All time steps."""
        return positions_of(x)

    def parts(self, layer: Any) -> dict[str, Any]:
        """Both directions."""
        return {"layer": layer.forward_layer, "backward_layer": layer.backward_layer}
