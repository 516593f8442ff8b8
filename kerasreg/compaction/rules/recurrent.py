"""Recurrent layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kerasreg.compaction.call import Call, channels_in
from kerasreg.compaction.channels import Bools, Channels, Floats, Ints, count_axis, on_numbers
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
LAYERS = {layers.SimpleRNN: (1, 0), layers.LSTM: (4, 2), layers.GRU: (3, 2)}
LAYERS.update(dict.fromkeys(CONVOLUTIONS, (4, 2)))
CELLS = {layers.SimpleRNNCell: (1, 0), layers.LSTMCell: (4, 2), layers.GRUCell: (3, 2)}
GATES = {**LAYERS, **CELLS}


@compaction_rule(*CELLS)
class CellRule(CompactionRule):
    """Its configuration is that of an `RNN`, whose rule says what it computes."""


@compaction_rule(*LAYERS, layers.RNN)
class RecurrentRule(CompactionRule):
    """Each unit reads all inputs and all units, through all its gates."""

    def trace(self, layer: Any, call: Call, x: Channels, initial_state: Any = None) -> Any:
        """Cuts units and inputs; a unit is constant only where it is always zero."""
        states = channels_in(initial_state)
        gates, new = gates_of(layer)
        if layer.stateful or not gates:
            reason = "is stateful" if layer.stateful else "has no rule for its cell"
            return call.blocked([x, *states], f"{call.name} {reason}")
        axis, obstacle, size = self.form(layer)
        x, *states = [call.along(each, axis) for each in (x, *states)]
        cell = layer.cell
        # Of an `RNN` the configuration is the cell's.
        inner = call.inner(cell, "cell", call.shape) if type(layer) is layers.RNN else None
        zero = _zero_units(cell, call, call.constants(x), new, [*map(call.constants, states)])
        units = call.new(axis, np.where(zero, 0.0, np.nan))
        tiled = np.tile(units.values, gates)
        shape = tuple(cell.bias.shape) if cell.bias is not None else _bias_shape(cell, tiled)
        part = 0 if len(shape) == 2 else ...
        bias = inner.bias(shape, part) if inner else call.bias(shape, part, inside="cell")
        read = call.read(cell.kernel, -2, -1, bias, folds=not obstacle, obstacle=obstacle)
        call.connect(read, x, tiled)
        recurrent = call.read(cell.recurrent_kernel, -2, -1, bias, folds=False, merges=False)
        for each in (units, *states[:1]):
            call.connect(recurrent, each, tiled)
        for state in states:
            call.tie(units, state)
            call.edge(units, state)
        call.cut(cell.kernel, -2, x, produces=False)
        call.cut(cell.kernel, -1, tiled)
        call.cut(cell.recurrent_kernel, -2, units, produces=False)
        call.cut(cell.recurrent_kernel, -1, tiled)
        call.cut_bias(bias, tiled)
        (inner or call).size(size, units)
        return [units, *self._last_states(call, units, axis)] if layer.return_state else units

    def _last_states(self, call: Call, units: Channels, axis: int) -> list[Channels]:
        """The states that are returned: the output, and of an LSTM what it has in memory."""
        found = []
        for place, shape in enumerate(call.shapes[1:]):
            values = units.values
            if place:
                values = call.facts.new(len(values), call.constants(units))
                call.tie(units, values)
                call.edge(values, units)
            found.append(units.after(shape, count_axis(axis, len(shape)), values))
        return found

    def parts(self, layer: Any) -> dict[str, Any]:
        """The cell of an `RNN`."""
        known = type(layer) is layers.RNN and rule_of(layer.cell) is not None
        return {"cell": layer.cell} if known else {}

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


def gates_of(layer: Any) -> tuple[int, int]:
    """How many gates a layer has, none if it is not known, and which computes what is new."""
    part = layer.cell if type(layer) is layers.RNN else layer
    return next((kind for cls, kind in GATES.items() if isinstance(part, cls)), (0, 0))


def _bias_shape(cell: Any, tiled: Ints) -> tuple[int, ...]:
    return (2, len(tiled)) if getattr(cell, "reset_after", False) else (len(tiled),)


def _zero_units(cell: Any, call: Call, inputs: Floats, new: int, states: Sequence[Floats]) -> Bools:
    """The units that stay at the zero that they begin with.

    They get zeros only, by weights or from each other: the largest set with that property.
    """
    units = cell.recurrent_kernel.shape[-2]
    columns = slice(new * units, (new + 1) * units)
    at_zero = on_numbers(cell.activation, np.zeros(1))
    kernel, recurrent = (
        (call.numbers(variable) != 0)[..., columns].any(axis=tuple(range(variable.ndim - 2)))
        for variable in (cell.kernel, cell.recurrent_kernel)
    )
    zero = ~kernel[inputs != 0].any(axis=0) & bool(at_zero[0] == 0)
    if cell.bias is not None:
        zero &= ~(call.numbers(cell.bias)[..., columns].reshape(-1, units) != 0).any(axis=0)
    for state in states:
        zero &= state == 0
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
            if not isinstance(rule, RecurrentRule) or not gates_of(direction)[0]:
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
