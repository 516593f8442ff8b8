"""Reports what `compact` would take out of a model, and what keeps it from taking out more."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kerasreg._keras_internals import graph_of, input_layer
from kerasreg.compaction.analysis import analysed
from kerasreg.compaction.liveness import Kept
from kerasreg.compaction.rebuild import weights_of
from kerasreg.compaction.rule import CompactionRule, Refused, rule_of
from kerasreg.compaction.trace import Record, Trace
from kerasreg.compaction.uses import Edge
from kerasreg.statistics.tables import html_table, text_table

WIDTH = "a width of at least one, or a multiple of `round_to`"
# How reasons end that the user has asked for.
ASKED_FOR = (WIDTH, "kept by `keep`")
COLUMNS = ("layer", "channels", "constant", "parameters", "multiply-adds", "blocked by")


@dataclass(frozen=True)
class Size:
    """How large a layer or a model is.

    Args:
        channels: Number of its output's channels; 0 for a model.
        parameters: Number of its weights.
        multiply_adds: Multiplications with a weight for one sample, in all calls; an axis of
            unknown length counts once.
        bytes: Of its weights in a file.
    """

    channels: int
    parameters: int
    multiply_adds: int
    bytes: int


@dataclass(frozen=True)
class CompactionRow:
    """One layer of a report, or all of them.

    Args:
        path: The layer's name, behind those of the models that it is inside of; or `"total"`.
        before: Its size.
        after: Its size after `compact`.
        constant: How many of its channels always have the same value.
        blocked: How many channels stay that are constant or that nobody needs.
        reason: Why they stay, or most of them; or why nothing is known of the layer's channels.
    """

    path: str
    before: Size
    after: Size
    constant: int = 0
    blocked: int = 0
    reason: str = ""

    def cells(self) -> tuple[str, ...]:
        """The row as strings, in the order of the columns."""
        pairs = [
            (getattr(self.before, name), getattr(self.after, name))
            for name in ("channels", "parameters", "multiply_adds")
        ]
        channels, parameters, multiply_adds = (
            f"{a:,} → {b:,}" if a != b else f"{a:,}" if a else "" for a, b in pairs
        )
        blocked = f"{self.blocked:,}: {self.reason}" if self.blocked else self.reason
        constant = f"{self.constant:,}" if self.constant else ""
        return self.path, channels, constant, parameters, multiply_adds, blocked


@dataclass(frozen=True)
class CompactionReport:
    """The table that `compaction_report` returns, for `print` and for notebooks.

    Args:
        rows: A `CompactionRow` for each layer.
        total: The `CompactionRow` of all of them.
        unused_inputs: For the name of each input of the model the indices of the features that
            nobody reads.
        constant_outputs: For the name of each output the indices of the units that are constant.
        refused: Why `compact` refuses the model, if so; there are no rows then.
    """

    rows: tuple[CompactionRow, ...]
    total: CompactionRow
    unused_inputs: dict[str, tuple[int, ...]]
    constant_outputs: dict[str, tuple[int, ...]]
    refused: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data: `{"rows": [{...}, ...], "total": {...}, ...}`."""
        plain = dataclasses.asdict(self)
        for name in ("unused_inputs", "constant_outputs"):
            plain[name] = {key: list(indices) for key, indices in plain[name].items()}
        return {**plain, "rows": list(plain["rows"])}

    def __str__(self) -> str:
        cells = [row.cells() for row in self.rows]
        table = text_table(COLUMNS, cells, self.total.cells(), "<>>>><")
        return "\n".join([table, *self._notes()])

    def _repr_html_(self) -> str:
        cells = [row.cells() for row in self.rows]
        return html_table(COLUMNS, cells, self.total.cells(), self._notes())

    def _notes(self) -> list[str]:
        notes = [f"`compact` refuses the model. {self.refused}"] if self.refused else []
        notes += [
            f"{len(indices):,} features of input `{name}` are read by nobody: {_listed(indices)}"
            for name, indices in self.unused_inputs.items()
            if indices
        ]
        return notes + [
            f"{len(indices):,} units of output `{name}` are constant: {_listed(indices)}"
            for name, indices in self.constant_outputs.items()
            if indices
        ]


def compaction_report(
    model: Any,
    *,
    round_to: int = 1,
    keep: str | re.Pattern[str] | None = None,
    drop_inputs: bool = False,
) -> CompactionReport:
    """Reports what `compact` would take out of a model, and what keeps it from taking out more.

    Args:
        model: A built `Sequential` or functional model.
        round_to: As in `compact`.
        keep: As in `compact`.
        drop_inputs: As in `compact`.

    Returns:
        A `CompactionReport` with `.rows`, `.total`, `.unused_inputs`, `.constant_outputs` and
        `.to_dict()`; of a model that `compact` refuses with `.refused`, which says why.

    Raises:
        ValueError: If the model is no built Keras model, or another argument is invalid.

    Example:
    >>> hidden = keras.layers.Dense(8, "relu", name="hidden")
    >>> network = keras.Sequential([keras.Input((4,)), hidden, keras.layers.Dense(2, name="last")])
    >>> _ = hidden.kernel.assign(hidden.kernel * [1, 0, 1, 0, 0, 1, 0, 0])
    >>> report = kerasreg.compaction_report(network)
    >>> print(report)
    layer ... channels ... blocked by
    ...
    hidden ... 8 → 3 ... 5 ... 40 → 15 ...
    last ... 2 ... 18 → 8 ...
    ...
    total ... 58 → 23 ...
    >>> report.total.after.parameters
    23
    """
    try:
        trace, kept = analysed(model, round_to=round_to, keep=keep, drop_inputs=drop_inputs)
        rows = _rows(trace, kept)
    except Refused as error:
        size = Size(0, model.count_params(), 0, sum(map(_bytes_of, model.weights)))
        return CompactionReport((), CompactionRow("total", size, size), {}, {}, str(error))
    unused = {
        input_layer(tensor).name: _indices(~kept.live[x.values])
        for tensor, x in zip(model.inputs, trace.inputs[id(model)], strict=True)
    }
    total = CompactionRow(
        "total", _sum(row.before for row in rows), _sum(row.after for row in rows)
    )
    return CompactionReport(tuple(rows), total, unused, constant_outputs(model, trace))


def _rows(trace: Trace, kept: Kept) -> list[CompactionRow]:
    """The rows of all layers."""
    records: dict[int, list[Record]] = {}
    for record in trace.records:
        records.setdefault(id(record.layer), []).append(record)
    reasons = Reasons(kept)
    rows = [_row(calls, kept, reasons) for calls in records.values()]
    return rows + [_removed(record) for record in trace.removed]


def constant_outputs(model: Any, trace: Trace) -> dict[str, tuple[int, ...]]:
    """For the name of each output of a model the indices of the units that are constant."""
    return {
        name: _indices(~np.isnan(trace.facts.constants[x.values]))
        for name, x in zip(graph_of(model).output_names, trace.outputs, strict=True)
    }


def _row(calls: list[Record], kept: Kept, reasons: Reasons) -> CompactionRow:
    """The row of a layer from all of its calls."""
    layer, out = calls[0].layer, calls[0].outputs[0]
    arrays = weights_of(layer, None if calls[0].blocks else kept, calls[0].path)
    after = {key: int(array.size) for key, array in arrays.items()}
    constant = ~np.isnan(kept.facts.constants[out.values])
    stuck = out.values[kept.alive[out.values] & (constant | ~kept.live[out.values])]
    found = collections.Counter(map(reasons.of, stuck.tolist()))
    reason = found.most_common(1)[0][0] if found else calls[0].blocks
    return CompactionRow(
        calls[0].path,
        _size(calls, len(out.values)),
        _size(calls, kept.count(out.values), after),
        int(constant.sum()),
        len(stuck),
        reason,
    )


def _removed(record: Record) -> CompactionRow:
    """The row of a layer in a branch that is left out."""
    channels = len(record.outputs[0].values)
    return CompactionRow(record.path, _size([record], channels), Size(0, 0, 0, 0), channels)


def _size(calls: list[Record], channels: int, sizes: dict[Any, int] | None = None) -> Size:
    """The size of a layer whose weights have so many numbers each, by default as they are."""
    layer, out = calls[0].layer, calls[0].outputs[0]
    if sizes is None:
        sizes = {id(variable): int(np.prod(variable.shape)) for variable in layer.weights}
    held = {id(variable): variable for variable in layer.weights}
    kernels = sum(n for key, n in sizes.items() if key in held and len(held[key].shape) > 1)
    rule = rule_of(layer) or CompactionRule()
    where = [rule.positions(c.inputs[0] if c.inputs else out, c.outputs[0]) for c in calls]
    # A bias that is added has the dtype that the layer gives its weights.
    dtypes = {key: held[key].dtype if key in held else layer.variable_dtype for key in sizes}
    size = sum(n * _item_size(dtypes[key]) for key, n in sizes.items())
    return Size(channels, sum(sizes.values()), sum(where) * kernels, size)


def _bytes_of(variable: Any) -> int:
    return int(np.prod(variable.shape)) * _item_size(variable.dtype)


def _item_size(dtype: str) -> int:
    """The bytes of a number of a dtype, whose name has its bits in it."""
    bits = re.search(r"\d+", dtype)
    return int(bits[0]) // 8 if bits else 1


def dead_channels(trace: Trace, kept: Kept) -> tuple[int, list[tuple[str, int]]]:
    """The channels of layers with weights that are constant or that nobody needs.

    Those of the model's outputs, which are its contract, are not among them.

    Returns:
        How many there are, and those of them that stay, each as the path of its layer and a value.
    """
    constant, ends = ~np.isnan(trace.facts.constants), np.zeros(trace.facts.count, bool)
    for x in trace.outputs:
        ends[x.values] = True
    records = {id(each.layer): each for each in trace.records if each.layer.weights}
    count = sum(len(each.outputs[0].values) for each in trace.removed if each.layer.weights)
    stuck = []
    for record in records.values():
        values = np.unique(record.outputs[0].values)
        dead = values[(constant | ~kept.live)[values] & ~ends[values]]
        count += len(dead)
        stuck += [(record.path, value) for value in dead[kept.alive[dead]].tolist()]
    return count, stuck


class Reasons:
    """Why channels stay that are constant or that nobody needs.

    Args:
        kept: What stays.
    """

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        constant = ~np.isnan(kept.facts.constants)
        self._passed_on: dict[int, int] = {}
        for use in kept.facts.uses:
            if isinstance(use, Edge):
                same = constant[use.inputs] & constant[use.outputs] & kept.live[use.outputs]
                pairs = zip(use.inputs[same].tolist(), use.outputs[same].tolist(), strict=True)
                self._passed_on.update(pairs)
        self._of_slots: dict[int, str] = {}
        for values, reason in kept.facts.holds:
            for slot in np.unique(kept.slots[values]).tolist():
                self._of_slots.setdefault(slot, reason)
        for value, reason in kept.why.items():
            slot = int(kept.slots[value])
            self._of_slots.setdefault(slot, f"goes with a channel that is {reason}")

    def of(self, value: int) -> str:
        """Who needs a live value, or else its width; of a constant, who needs what it becomes."""
        if not self._kept.live[value]:
            slot = int(self._kept.slots[value])
            return self._of_slots.get(slot, WIDTH)
        while value in self._passed_on:
            value = self._passed_on[value]
        return self._kept.why.get(value, "")


def _sum(sizes: Iterable[Size]) -> Size:
    columns = [dataclasses.astuple(size)[1:] for size in sizes]
    return Size(0, *(sum(column) for column in zip(*columns, strict=True)))


def _indices(where: Any) -> tuple[int, ...]:
    return tuple(map(int, np.flatnonzero(where)))


def _listed(indices: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, indices[:12]))
    return f"{shown}, …" if len(indices) > 12 else shown
