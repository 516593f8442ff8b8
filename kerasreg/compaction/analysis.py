"""What is known of a model, and what of it stays."""

from __future__ import annotations

from typing import Any

from kerasreg._checks import check_bool, check_integer
from kerasreg.compaction.liveness import Kept
from kerasreg.compaction.terms import LeftOut, without_terms
from kerasreg.compaction.trace import Record, Trace


def analysed(model: Any, *, round_to: int, keep: Any, drop_inputs: bool) -> tuple[Trace, Kept]:
    """What is known of a model, and what of it stays; see `compact`."""
    round_to = check_integer("round_to", round_to, "a positive integer", least=1)
    drop_inputs = check_bool("drop_inputs", drop_inputs)
    removed: list[Record] = []
    left_out: LeftOut = {}
    needed: set[int] = set()
    while True:
        trace = Trace(model, keep, drop_inputs, left_out)
        kept = Kept(trace.facts, round_to)
        found = without_terms(kept, left_out)
        # What is left out may turn out to be needed, as for a width that something else counts.
        needed |= {
            key
            for key, short in left_out.items()
            if not short.inputs.keys() <= (found[key].inputs.keys() if key in found else set())
        }
        found = {key: short for key, short in found.items() if key not in needed}
        if {k: set(short.inputs) for k, short in found.items()} == {
            k: set(short.inputs) for k, short in left_out.items()
        }:
            left = {id(record.layer) for record in trace.records}
            trace.removed = [record for record in removed if id(record.layer) not in left]
            return trace, kept
        # Once more, without what only leads to them.
        removed, left_out = removed or trace.records, found
