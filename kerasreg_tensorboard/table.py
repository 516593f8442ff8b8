"""Reads what the tab shows from the server's data."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tensorboard.data.provider import RunTagFilter
from tensorboard.plugins.scalar import metadata as scalar_metadata

from kerasreg_tensorboard.names import (
    COMPACTED,
    COMPACTION_TAG,
    DEAD_PARTS,
    DEAD_UNITS,
    METRICS,
    PLUGIN_NAME,
    TOTAL_METRICS,
    TOTALS,
    WEIGHTS_TAG,
)

# A sparkline has no room for more; a model of a thousand weights gets fewer in each, so that the
# answer stays small enough to be asked for every few seconds.
MAX_POINTS = 100
MIN_POINTS = 20
MAX_POINTS_IN_ALL = 100_000

Series = list[tuple[int, float | str]]


@dataclass(frozen=True)
class TableReader:
    """Reads the runs of one experiment.

    Args:
        provider: TensorBoard's `DataProvider`.
        context: The request's context.
        experiment: The experiment's id; empty for the only one.
    """

    provider: Any
    context: Any
    experiment: str

    def read(self, wanted: str | None) -> dict[str, Any]:
        """The table of a run, as plain data that is valid JSON.

        Args:
            wanted: Name of the run; the newest one is read if there is none of that name.

        Returns:
            `{"runs", "run", "weights", "groups", "totals", "compaction"}`, with the history of each
            number as `[step, value]` pairs, the number of groups that span several weights, and
            `[before, after]` for what compaction changes.
        """
        runs = self.runs()
        if not runs:
            return {
                "runs": [],
                "run": None,
                "weights": [],
                "groups": 0,
                "totals": {},
                "compaction": {},
            }
        run = wanted if wanted in runs else runs[0]
        tensors = self._tensors(run)
        weights, groups = _described(tensors.get(WEIGHTS_TAG))
        of_weights = [
            {m: f"{m}/{weight['name']}" for m in (*METRICS, _dead(weight))} for weight in weights
        ]
        of_totals = {m: f"{TOTALS}/{m}" for m in TOTAL_METRICS}
        series = self._series(run, [t for tags in (*of_weights, of_totals) for t in tags.values()])

        def history(tags: dict[str, str]) -> dict[str, Series]:
            return {metric: series[tag] for metric, tag in tags.items() if tag in series}

        return {
            "runs": runs,
            "run": run,
            "weights": [
                weight | {"series": history(tags)}
                for weight, tags in zip(weights, of_weights, strict=True)
            ],
            "groups": groups,
            "totals": history(of_totals),
            "compaction": _compacted(tensors.get(COMPACTION_TAG)),
        }

    def runs(self) -> list[str]:
        """The runs that have weights to show, the newest first."""
        found = self.provider.list_tensors(
            self.context, experiment_id=self.experiment, plugin_name=PLUGIN_NAME
        )
        starts = {
            run.run_name: run.start_time or 0.0
            for run in self.provider.list_runs(self.context, experiment_id=self.experiment)
        }
        names = sorted(run for run, tags in found.items() if WEIGHTS_TAG in tags)
        return sorted(names, key=lambda run: -starts.get(run, 0.0))

    def _tensors(self, run: str) -> dict[str, Any]:
        """The latest tensor of each of our tags."""
        found = self.provider.read_tensors(
            self.context,
            experiment_id=self.experiment,
            plugin_name=PLUGIN_NAME,
            downsample=1,
            run_tag_filter=RunTagFilter(runs=[run], tags=[WEIGHTS_TAG, COMPACTION_TAG]),
        )
        return {tag: points[-1].numpy for tag, points in found.get(run, {}).items() if points}

    def _series(self, run: str, tags: list[str]) -> dict[str, Series]:
        """The history of each tag that has points."""
        found = self.provider.read_scalars(
            self.context,
            experiment_id=self.experiment,
            plugin_name=scalar_metadata.PLUGIN_NAME,
            downsample=max(MIN_POINTS, min(MAX_POINTS, MAX_POINTS_IN_ALL // len(tags))),
            run_tag_filter=RunTagFilter(runs=[run], tags=tags),
        )
        return {
            tag: [(point.step, _json_number(point.value)) for point in points]
            for tag, points in found.get(run, {}).items()
        }


def _dead(weight: dict[str, Any]) -> str:
    """What of a weight is counted, beside single entries."""
    return DEAD_PARTS if weight["parts"] else DEAD_UNITS


def _described(tensor: Any) -> tuple[list[dict[str, Any]], int]:
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


def _compacted(tensor: Any) -> dict[str, list[int]]:
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


def _json_number(value: float) -> float | str:
    """A number of float32's digits, or the name that JavaScript's `Number` reads."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return float(f"{value:.7g}")
