"""Reads what the view of a run shows from the server's data.

A model may have tens of thousands of weights. So the page is told once which there are, and orders
them itself; it asks for one number of all of them only where it sorts by that, and for histories
only of the rows in view.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter
from typing import Any

from tensorboard.data.provider import RunTagFilter
from tensorboard.plugins.scalar import metadata as scalar_metadata

from kerasreg_tensorboard.marker import compacted, described, newest_first
from kerasreg_tensorboard.names import (
    COMPACTION_TAG,
    DEAD,
    DEAD_PARTS,
    DEAD_UNITS,
    DROPOUT_RATE,
    PLUGIN_NAME,
    TOTAL_METRICS,
    TOTALS,
    WEIGHTS_TAG,
)
from kerasreg_tensorboard.numbers import json_number

# TensorBoard itself keeps no more points of a chart, unless it is told to.
ALL_POINTS = 1000

# A sparkline has no room for more; where many are asked for, each gets fewer.
MAX_POINTS = 100
MIN_POINTS = 20
MAX_POINTS_IN_ALL = 20_000

# As many runs as a reader looks at in turn.
MARKERS_KEPT = 8

# What the page is told of all weights.
_ORDERED_BY = ("name", "shape", "size", "units", "penalty", "parts", "part")

Number = float | str
Series = list[tuple[int, Number]]
Weight = dict[str, Any]


@dataclass(frozen=True)
class Marker:
    """What a run says of itself.

    Args:
        version: Differs where the run has written it anew.
        weights: The weights, in the model's order.
        groups: The number of groups that span several weights.
    """

    version: str
    weights: list[Weight]
    groups: int


@dataclass(frozen=True)
class Source:
    """One run of an experiment, as a request asks for it.

    Args:
        context: The request's context.
        experiment: The experiment's id; empty for the only one.
        run: The name of the run, or what a request gives for it.
    """

    context: Any
    experiment: str
    run: str


@dataclass
class TableReader:
    """Reads runs, and keeps what they say once.

    Args:
        provider: TensorBoard's `DataProvider`.
    """

    provider: Any
    _markers: dict[tuple[str, str], Marker] = field(default_factory=dict)

    def overview(
        self, source: Source, step: int | None = None, known: str | None = None
    ) -> dict[str, Any]:
        """What stands above the table, and which weights the table has, as plain data for JSON.

        Args:
            source: The run; the newest one is read if there is none of that name.
            step: Step at which the numbers are wanted; `None` for the latest.
            known: The version of the weights that the page has already.

        Returns:
            `{"runs", "run", "version", "weights", "groups", "steps", "totals", "compaction"}`:
            the weights as a list for each field, or null where the page has them; the number of
            groups that span several of them; for each number of all weights together its value and
            its history, and `[before, after]` for what compaction changes.
        """
        written = self._written(source)
        runs = newest_first(self.provider, source.context, source.experiment, written)
        if not runs:
            empty: dict[str, Any] = {"groups": 0, "steps": [], "totals": {}, "compaction": {}}
            return {"runs": [], "run": None, "version": "", "weights": None} | empty
        if source.run not in written:
            source = dataclasses.replace(source, run=runs[0])
        marker = self._marker(source, written[source.run])
        tags = {metric: f"{TOTALS}/{metric}" for metric in TOTAL_METRICS}
        points = self._points(source, tags.values(), ALL_POINTS)
        return {
            "runs": runs,
            "run": source.run,
            "version": marker.version,
            "weights": None if known == marker.version else _by_field(marker.weights),
            "groups": marker.groups,
            "steps": sorted({step for series in points.values() for step, _ in series}),
            "totals": {
                metric: cell
                for metric, tag in tags.items()
                if (cell := _cell(points.get(tag, []), step, MAX_POINTS))
            },
            "compaction": compacted(self._tensor(source, COMPACTION_TAG)),
        }

    def columns(
        self, source: Source, metrics: Iterable[str], step: int | None
    ) -> dict[str, list[Number | None]]:
        """For each metric its value for every weight, in their order; `None` where it has none."""
        weights = self.marker(source).weights
        tags = {metric: [tag_of(metric, weight) for weight in weights] for metric in metrics}
        values = self.values(source, (tag for column in tags.values() for tag in column), step)
        return {metric: [values.get(tag) for tag in column] for metric, column in tags.items()}

    def values(self, source: Source, tags: Iterable[str], step: int | None) -> dict[str, Number]:
        """The value of each tag that has one at a step; `None` for the latest."""
        found = self._read(source, filter(None, tags), 1 if step is None else ALL_POINTS)
        last = ((tag, _last(points, step, attrgetter("step"))) for tag, points in found.items())
        return {tag: json_number(point.value) for tag, point in last if point is not None}

    def rows(
        self, source: Source, metrics: Sequence[str], step: int | None, numbers: Iterable[int]
    ) -> list[dict[str, Any]]:
        """What is shown of some weights, which go by their number in the model's order.

        Returns:
            For each `{"path", "cells"}`, with the value and the history of each metric that it has;
            nothing of a weight that is not there, as when another model logs into the run.
        """
        weights = dict(enumerate(self.marker(source).weights))
        chosen = [weights.get(number) for number in numbers]
        tags = [{m: tag_of(m, weight) for m in metrics} if weight else {} for weight in chosen]
        wanted = [tag for each in tags for tag in each.values() if tag]
        length = max(MIN_POINTS, min(MAX_POINTS, MAX_POINTS_IN_ALL // max(len(wanted), 1)))
        points = self._points(source, wanted, length if step is None else ALL_POINTS)
        return [
            {
                "path": weight["path"] if weight else "",
                "cells": {
                    metric: cell
                    for metric, tag in each.items()
                    if (cell := _cell(points.get(tag, []), step, length))
                },
            }
            for weight, each in zip(chosen, tags, strict=True)
        ]

    def _written(self, source: Source) -> dict[str, str]:
        """The runs that have weights to show, each with the version of what it says of them."""
        found = self.provider.list_tensors(
            source.context, experiment_id=source.experiment, plugin_name=PLUGIN_NAME
        )
        return {
            run: f"{series.max_step} {series.max_wall_time}"
            for run, tags in found.items()
            if (series := tags.get(WEIGHTS_TAG))
        }

    def marker(self, source: Source) -> Marker:
        """What a run says of itself; of no weights where there is no run of that name."""
        written = self._written(source)
        known = source.run in written
        return self._marker(source, written[source.run]) if known else Marker("", [], 0)

    def _marker(self, source: Source, version: str) -> Marker:
        """The marker of a run, which is read again only when it was written again."""
        key = (source.experiment, source.run)
        marker = self._markers.pop(key, None)
        if marker is None or marker.version != version:
            marker = Marker(version, *described(self._tensor(source, WEIGHTS_TAG)))
        self._markers[key] = marker
        for oldest in [*self._markers][:-MARKERS_KEPT]:
            self._markers.pop(oldest, None)
        return marker

    def _tensor(self, source: Source, tag: str) -> Any:
        """The latest tensor of a tag of ours; `None` where there is none."""
        found = self.provider.read_tensors(
            source.context,
            experiment_id=source.experiment,
            plugin_name=PLUGIN_NAME,
            downsample=1,
            run_tag_filter=RunTagFilter(runs=[source.run], tags=[tag]),
        )
        points = found.get(source.run, {}).get(tag)
        return points[-1].numpy if points else None

    def _points(self, source: Source, tags: Iterable[str], length: int) -> dict[str, Series]:
        """The history of each tag that has points, its last point always among them."""
        return {
            tag: [(point.step, json_number(point.value)) for point in points]
            for tag, points in self._read(source, tags, length).items()
        }

    def _read(self, source: Source, tags: Iterable[str], length: int) -> dict[str, Sequence[Any]]:
        tags = list(tags)
        if not tags:  # which would be all for TensorBoard
            return {}
        found = self.provider.read_scalars(
            source.context,
            experiment_id=source.experiment,
            plugin_name=scalar_metadata.PLUGIN_NAME,
            downsample=length,
            run_tag_filter=RunTagFilter(runs=[source.run], tags=tags),
        )
        points: dict[str, Sequence[Any]] = found.get(source.run, {})
        return points


def tag_of(metric: str, weight: Weight) -> str:
    """The tag that holds a metric of a weight; empty if none does."""
    if metric == DEAD:
        metric = DEAD_PARTS if weight["parts"] else DEAD_UNITS
    elif metric == DROPOUT_RATE:
        return f"{metric}/{weight['dropout']}" if weight["dropout"] else ""
    return f"{metric}/{weight['name']}"


def _by_field(weights: list[Weight]) -> dict[str, list[Any]]:
    """What the page orders weights by, as a list for each field, which takes less room."""
    return {key: [weight[key] for weight in weights] for key in _ORDERED_BY}


def _last(points: Sequence[Any], step: int | None, step_of: Callable[[Any], int]) -> Any:
    """The last point up to a step; `None` where there is none."""
    known = len(points) if step is None else bisect.bisect(points, step, key=step_of)
    return points[known - 1] if known else None


def _cell(series: Series, step: int | None, length: int) -> dict[str, Any] | None:
    """The value at a step, and a history of limited length; `None` before the first point."""
    last = _last(series, step, itemgetter(0))
    return None if last is None else {"value": last[1], "series": _thinned(series, length)}


def _thinned(series: Series, length: int) -> Series:
    """Points at equal distances, the first and the last among them."""
    if len(series) <= length:
        return series
    last = len(series) - 1
    return [series[round(i * last / (length - 1))] for i in range(length)]
