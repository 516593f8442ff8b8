"""Which runs there are, and what each says of itself once: its weights, what compaction leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from kerasreg_tensorboard.names import COMPACTED


def newest_first(provider: Any, context: Any, experiment: str, names: Iterable[str]) -> list[str]:
    """Names of runs, that of the run that began last first."""
    runs = provider.list_runs(context, experiment_id=experiment)
    starts = {run.run_name: run.start_time or 0.0 for run in runs}
    return sorted(sorted(names), key=lambda name: -starts.get(name, 0.0))


def described(tensor: Any) -> tuple[list[dict[str, Any]], int]:
    """The weights that a tensor describes, and the number of groups that span several of them.

    None if it is not one that kerasreg has written.
    """
    try:
        content = json.loads(tensor.item(), parse_constant=_refuse)
        weights = [_later_fields(w, number) | w for number, w in enumerate(content["weights"])]
        read = [{key: kind(weight[key]) for key, kind in _FIELDS.items()} for weight in weights]
        return read, int(content.get("groups", 0))
    except _NOT_OURS:
        return [], 0


def compacted(tensor: Any) -> dict[str, list[int]]:
    """What the model has and what compaction leaves, as far as that is known."""
    try:
        sizes = json.loads(tensor.item(), parse_constant=_refuse)
        pairs = {name: (before, after) for name, (before, after) in sizes.items()}
        return {name: [*map(int, pairs[name])] for name in COMPACTED}
    except _NOT_OURS:
        return {}


# What reading a tensor raises that kerasreg has not written, or where there is none.
_NOT_OURS = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


def _text(value: Any) -> str:
    text = str(value)
    text.encode()  # raises for half of a surrogate pair, which no answer can hold
    return text


def _shape(value: Any) -> list[int]:
    if not isinstance(value, list):
        raise TypeError(value)
    return [int(side) for side in value]


# What is said of each weight.
_FIELDS: dict[str, Callable[[Any], Any]] = {
    "name": _text,
    "path": _text,
    "shape": _shape,
    "size": int,
    "units": int,
    "penalty": _text,
    "parts": int,
    "part": _text,
    "layer": _text,
    "order": int,
    "dropout": _text,
}


def _later_fields(weight: dict[str, Any], number: int) -> dict[str, Any]:
    """What earlier versions did not say: a layer was the path, and came as Keras lists it."""
    layer = str(weight["name"]).rpartition("/")[0]
    return {"parts": 0, "part": "", "layer": layer, "order": number, "dropout": ""}


def _refuse(constant: str) -> None:
    raise ValueError(constant)
