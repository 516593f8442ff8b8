"""Recurrent layers."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasreg.compaction.call import Call, channels_in
from kerasreg.compaction.channels import Bools, Channels, Floats, Ints, on_numbers
from kerasreg.compaction.rule import (
    CompactionRule,
    compaction_rule,
    positions_of,
    rule_of,
)
from kerasreg.compaction.rules.convolutions import border, channel_axis
from kerasreg.compaction.rules.merging import combined, product

layers = keras.layers

CONVOLUTIONS = (layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D)

# How many gates, and which of them computes what is new in the state.
GATES = {layers.SimpleRNN: (1, 0), layers.LSTM: (4, 2), layers.GRU: (3, 2)}
GATES.update(dict.fromkeys(CONVOLUTIONS, (4, 2)))


@compaction_rule(*GATES)
class RecurrentRule(CompactionRule):
    """Each unit reads all inputs and all units, through all its gates."""

    def trace(self, layer: Any, call: Call, x: Channels) -> Any:
        """Cuts units and inputs; a unit is constant only where it is always zero."""
        if layer.stateful or layer.return_state:
            kept = "is stateful" if layer.stateful else "returns its state"
            return call.blocked([x], f"{call.name} {kept}")
        axis, obstacle, size = self.form(layer)
        x = call.along(x, axis)
        cell, (gates, new) = layer.cell, _gates(layer)
        zero = _zero_units(layer, call, call.constants(x), new)
        units = call.new(axis, np.where(zero, 0.0, np.nan))
        tiled = np.tile(units.values, gates)
        shape = tuple(cell.bias.shape) if cell.bias is not None else _bias_shape(cell, tiled)
        bias = call.bias(shape, 0 if len(shape) == 2 else ..., inside="cell")
        read = call.read(cell.kernel, -2, -1, bias, folds=not obstacle, obstacle=obstacle)
        call.connect(read, x, tiled)
        recurrent = call.read(cell.recurrent_kernel, -2, -1, bias, folds=False, merges=False)
        call.connect(recurrent, units, tiled)
        call.cut(cell.kernel, -2, x, produces=False)
        call.cut(cell.kernel, -1, tiled)
        call.cut(cell.recurrent_kernel, -2, units, produces=False)
        call.cut(cell.recurrent_kernel, -1, tiled)
        call.cut_bias(bias, tiled)
        call.size(size, units)
        return units

    def form(self, layer: Any) -> tuple[int, str, str]:
        """The axis of the channels, what keeps constants from folding, the entry of the width."""
        if not isinstance(layer, CONVOLUTIONS):
            return -1, "", "units"
        # From behind, as the output may have no axis of time.
        axis = channel_axis(layer) if channel_axis(layer) < 0 else 1 - layer.cell.kernel.ndim
        return axis, border(layer), "filters"

    def positions(self, x: Channels, out: Channels) -> int:
        """All time steps, also where only the last output is returned."""
        steps = (x.shape[1] or 1) if len(out.shape) < len(x.shape) else 1
        return steps * positions_of(out)


def _gates(layer: Any) -> tuple[int, int]:
    return next(gates for cls, gates in GATES.items() if isinstance(layer, cls))


def _bias_shape(cell: Any, tiled: Ints) -> tuple[int, ...]:
    return (2, len(tiled)) if getattr(cell, "reset_after", False) else (len(tiled),)


def _zero_units(layer: Any, call: Call, inputs: Floats, new: int) -> Bools:
    """The units that stay at the zero that they begin with.

    They get zeros only, by weights or from each other: the largest set with that property.
    """
    cell, units = layer.cell, layer.cell.recurrent_kernel.shape[-2]
    columns = slice(new * units, (new + 1) * units)
    at_zero = on_numbers(cell.activation, np.zeros(1))
    kernel, recurrent = (
        (call.numbers(variable) != 0)[..., columns].any(axis=tuple(range(variable.ndim - 2)))
        for variable in (cell.kernel, cell.recurrent_kernel)
    )
    zero = ~kernel[inputs != 0].any(axis=0) & bool(at_zero[0] == 0)
    if cell.bias is not None:
        zero &= ~(call.numbers(cell.bias)[..., columns].reshape(-1, units) != 0).any(axis=0)
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
            if not isinstance(rule, RecurrentRule):
                return call.blocked([x], f"{call.name} has no rule for its layer")
            axis = rule.form(direction)[0]
            if layer.merge_mode == "concat" and axis != -1:
                return call.blocked([x], f"{call.name} joins the directions along another axis")
            shape = list(call.shape)
            shape[axis] = direction.cell.recurrent_kernel.shape[-2]
            inner = call.inner(direction, name, tuple(shape))
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
