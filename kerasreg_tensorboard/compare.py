"""Reads the latest numbers of all runs, for the view that compares them."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError
from tensorboard.data.provider import RunTagFilter
from tensorboard.plugins.hparams import error as hparams_error
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.scalar import metadata as scalar_metadata

from kerasreg_tensorboard.marker import described, newest_first
from kerasreg_tensorboard.names import PLUGIN_NAME, TOTALS, WEIGHTS_TAG
from kerasreg_tensorboard.numbers import json_number

# What is said of a run beside its numbers stays short, so that the answer does.
MAX_PENALTIES = 8
MAX_HPARAMS = 50
MAX_LETTERS = 200

# To list all tags of all runs takes seconds where they are many. A request lists those of so many
# weights, and the next one goes on from there.
WEIGHTS_LISTED_AT_ONCE = 2_000

Point = tuple[int, float | str]


@dataclass(frozen=True)
class Description:
    """What the marker of a run says of its model.

    Args:
        written: When the marker was written; a resumed run writes it anew.
        weights: Number of weights that are logged.
        parameters: Number of parameters in them.
        penalties: Each penalty in words, and on how many weights it acts; the most frequent first.
        penalised: The name of a weight for each of them.
    """

    written: float
    weights: int
    parameters: int
    penalties: list[tuple[str, int]]
    penalised: list[str]


@dataclass
class CompareReader:
    """Reads the runs of experiments, and keeps what does not change from one request to the next.

    Args:
        provider: TensorBoard's `DataProvider`.
    """

    provider: Any
    _experiments: dict[str, _Known] = field(default_factory=dict)

    def read(self, context: Any, experiment: str) -> dict[str, Any]:
        """The last point of every number of every run, as plain data that is valid JSON.

        Args:
            context: The request's context.
            experiment: The experiment's id; empty for the only one.

        Returns:
            `{"numbers": names, "runs": runs}`, the newest run first. A run is `{"name",
            "parameters", "penalties", "hparams", "strength", "points"}`: penalties in words, each
            with the number of its weights; the largest of their strengths, or null; and for each
            of the names `[step, value]` or null.
        """
        known = self._experiments.setdefault(experiment, _Known())
        log = _Log(self.provider, context, experiment)
        known.update(log)
        names, runs = sorted(known.numbers), known.runs
        points = log.last_points([f"{TOTALS}/{name}" for name in names])
        penalised = {weight for run in runs.values() for weight in run.penalised}
        strengths = log.last_points([f"strength/{weight}" for weight in penalised])
        hparams = log.hparams()
        found = {tag for run in runs for tag in points.get(run, {})}
        names = [name for name in names if f"{TOTALS}/{name}" in found]
        return {
            "numbers": names,
            "runs": [
                {
                    "name": name,
                    "parameters": run.parameters,
                    "penalties": run.penalties,
                    "hparams": hparams.get(name, {}),
                    "strength": _largest(strengths.get(name, {}), run),
                    "points": [points.get(name, {}).get(f"{TOTALS}/{each}") for each in names],
                }
                for name, run in runs.items()
            ],
        }


class _Known:
    """What is known of an experiment.

    Attributes:
        runs: What our runs say of themselves, the newest run first.
        numbers: The names of the numbers of all weights together that were found in any of them.
    """

    def __init__(self) -> None:
        self.runs: dict[str, Description] = {}
        self.numbers: set[str] = set()
        self._listed: dict[str, int] = {}
        self._request = itertools.count(1)

    def update(self, log: _Log) -> None:
        """Reads the markers that are new, and goes on to list the numbers of the runs."""
        written = log.markers()
        kept = {
            name: run
            for name, run in self.runs.items()
            if name in written and run.written == written[name]
        }
        described = kept | log.describe({n: t for n, t in written.items() if n not in kept})
        self.runs = {name: described[name] for name in written}
        request, left = next(self._request), WEIGHTS_LISTED_AT_ONCE
        chosen: list[str] = []
        # The oldest first, which have all of their numbers.
        for name in sorted(reversed(self.runs), key=lambda name: self._listed.get(name, 0)):
            left -= self.runs[name].weights
            if chosen and left < 0:
                break
            chosen.append(name)
        if chosen:
            self.numbers |= log.numbers(chosen)
        self._listed |= dict.fromkeys(chosen, request)


@dataclass(frozen=True)
class _Log:
    """The data of an experiment, as TensorBoard's server has them."""

    provider: Any
    context: Any
    experiment: str

    def markers(self) -> dict[str, float]:
        """When our runs wrote their markers, the run that began last first."""
        found = self._list(self.provider.list_tensors, PLUGIN_NAME, tags=[WEIGHTS_TAG])
        ours = {run: tags[WEIGHTS_TAG] for run, tags in found.items() if WEIGHTS_TAG in tags}
        names = newest_first(self.provider, self.context, self.experiment, ours)
        return {name: ours[name].max_wall_time or 0.0 for name in names}

    def describe(self, written: dict[str, float]) -> dict[str, Description]:
        """Reads the markers of runs, given when they were written."""
        if not written:
            return {}
        found = self.provider.read_tensors(
            self.context,
            experiment_id=self.experiment,
            plugin_name=PLUGIN_NAME,
            downsample=1,
            run_tag_filter=RunTagFilter(runs=list(written), tags=[WEIGHTS_TAG]),
        )
        return {
            run: _describe(found.get(run, {}).get(WEIGHTS_TAG), time)
            for run, time in written.items()
        }

    def numbers(self, runs: list[str]) -> set[str]:
        """The names of the numbers of all weights together."""
        found = self._list(self.provider.list_scalars, scalar_metadata.PLUGIN_NAME, runs=runs)
        prefix = f"{TOTALS}/"
        tags = {tag for tags in found.values() for tag in tags}
        return {tag.removeprefix(prefix) for tag in tags if tag.startswith(prefix)}

    def hparams(self) -> dict[str, dict[str, Any]]:
        """The hyper-parameters of each run that has a row in the HPARAMS tab."""
        tag = hparams_metadata.SESSION_START_INFO_TAG
        found = self._list(self.provider.list_tensors, hparams_metadata.PLUGIN_NAME, tags=[tag])
        return {run: _hparams(tags[tag].plugin_content) for run, tags in found.items()}

    def last_points(self, tags: list[str]) -> dict[str, dict[str, Point]]:
        """The last point of each chart of each run."""
        if not tags:
            return {}
        found = self.provider.read_last_scalars(
            self.context,
            experiment_id=self.experiment,
            plugin_name=scalar_metadata.PLUGIN_NAME,
            run_tag_filter=RunTagFilter(tags=tags),
        )
        return {
            run: {tag: (point.step, json_number(point.value)) for tag, point in points.items()}
            for run, points in found.items()
        }

    def _list(self, method: Any, plugin: str, **chosen: list[str]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = method(
            self.context,
            experiment_id=self.experiment,
            plugin_name=plugin,
            run_tag_filter=RunTagFilter(**chosen),
        )
        return found


def _describe(points: Any, written: float) -> Description:
    weights, _ = described(points[-1].numpy if points else None)
    counts = Counter(weight["penalty"] for weight in weights if weight["penalty"])
    first = {weight["penalty"]: weight["name"] for weight in reversed(weights)}
    frequent = counts.most_common(MAX_PENALTIES)
    return Description(
        written,
        len(weights),
        sum(weight["size"] for weight in weights),
        [(_short(penalty), count) for penalty, count in frequent],
        [first[penalty] for penalty, _ in frequent],
    )


def _largest(strengths: dict[str, Point], run: Description) -> Point | None:
    """The largest strength of a run's penalties; of NaN and the like the first."""
    tags = [f"strength/{weight}" for weight in run.penalised]
    found = [strengths[tag] for tag in tags if tag in strengths]
    numbers = [point for point in found if not isinstance(point[1], str)]
    return max(numbers, key=lambda point: point[1], default=found[0] if found else None)


def _hparams(content: bytes) -> dict[str, Any]:
    try:
        start = hparams_metadata.parse_session_start_info_plugin_data(content)
    except (hparams_error.HParamsError, DecodeError):
        return {}
    values = {name: _plain(start.hparams[name]) for name in sorted(start.hparams)[:MAX_HPARAMS]}
    return {_short(name): value for name, value in values.items() if value is not None}


def _plain(value: Any) -> bool | float | str | None:
    """A value of protobuf's; lists and the like are none that TensorBoard shows."""
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        return json_number(value.number_value, digits=17)
    if kind == "string_value":
        return _short(value.string_value)
    return bool(value.bool_value) if kind == "bool_value" else None


def _short(text: str) -> str:
    return text if len(text) <= MAX_LETTERS else f"{text[: MAX_LETTERS - 1]}…"
