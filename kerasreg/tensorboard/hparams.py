"""A run's row in the HPARAMS tab: what was chosen for it, and what came of it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias, TypeGuard

import keras
import numpy as np
from tensorboard.compat.proto import summary_pb2
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata

from kerasreg._checks import invalid_value, is_number
from kerasreg.statistics.weights import describe_regularizer

Value: TypeAlias = bool | int | float | str


def check_hparams(argument: str, hparams: Any) -> dict[str, Value] | Literal[False] | None:
    """Returns hyper-parameters as plain values, or raises and names the one that is none.

    Booleans, finite numbers and strings are; a regularizer becomes its description, as
    `"L1(l1=0.001)"`. `None` and `False` stay as they are.
    """
    if hparams is None or hparams is False:
        return hparams
    if not isinstance(hparams, Mapping) or not all(key and _is_text(key) for key in hparams):
        expected = "a dict with names as keys, `None`, or `False` for no row"
        raise invalid_value(argument, expected, hparams)
    return {key: _plain(f"{argument}[{key!r}]", value) for key, value in hparams.items()}


def _plain(argument: str, value: Any) -> Value:
    if isinstance(value, keras.regularizers.Regularizer):
        name, strengths = describe_regularizer(value)
        return f"{name}({strengths})"
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, bool) or _is_text(plain):
        return plain
    if isinstance(plain, (int, float)) and is_number(plain) and math.isfinite(plain):
        return plain
    expected = "a boolean, a finite number, a string that UTF-8 can hold or a regularizer"
    raise invalid_value(argument, expected, value)


def _is_text(value: Any) -> TypeGuard[str]:
    """Whether it is a string that an event file can hold: no half of a surrogate pair."""
    return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)


def add_session_start(summary: summary_pb2.Summary, hparams: Mapping[str, Value | None]) -> None:
    """Adds the values that were chosen for the run, but for those that are `None`.

    The session gets no name of its own: TensorBoard then calls it by the run's, which is what
    the other tabs call it, and the row stays one when the run is resumed.
    """
    start = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
    for name, value in hparams.items():
        if value is not None:
            setattr(start.hparams[name], _kind(value)[0], value)
    _add(summary, hparams_metadata.SESSION_START_INFO_TAG, session_start_info=start)


def add_session_end(summary: summary_pb2.Summary, ok: bool = True) -> None:
    """Adds that the run has ended, well or not."""
    status = api_pb2.STATUS_SUCCESS if ok else api_pb2.STATUS_FAILURE
    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    _add(summary, hparams_metadata.SESSION_END_INFO_TAG, session_end_info=end)


def add_experiment(
    summary: summary_pb2.Summary,
    hparams: Mapping[str, Value | None],
    metrics: Iterable[api_pb2.MetricInfo],
) -> None:
    """Adds the columns of the table; without them every chart of every run would be one.

    TensorBoard takes the columns from one run that it finds, for all runs, so that the runs of a
    sweep should have the same hyper-parameters: a run that lacks a column has no line in the
    parallel coordinates. A 0 in a column, as a strength of 0, turns its logarithmic axis off.
    The columns name no values: those of this run alone would filter the other runs away.

    Args:
        summary: The summary to add to.
        hparams: Name and value of each; `None` of a number that this run does not have.
        metrics: The other columns, the most important first: five are shown, and the first is
            what the lines of the parallel coordinates are coloured by.
    """
    experiment = api_pb2.Experiment(
        hparam_infos=[
            api_pb2.HParamInfo(name=name, type=_kind(value)[1], differs=True)
            for name, value in hparams.items()
        ],
        metric_infos=metrics,
        time_created_secs=time.time(),
    )
    _add(summary, hparams_metadata.EXPERIMENT_TAG, experiment=experiment)


def metric(tag: str, name: str, group: str = "") -> api_pb2.MetricInfo:
    """A column with the last point of a chart, in a folder `group` below the run's."""
    chart = api_pb2.MetricName(group=group, tag=tag)
    return api_pb2.MetricInfo(name=chart, display_name=name)


def _kind(value: Value | None) -> tuple[str, int]:
    """The field that holds a value, and the type of its column."""
    if isinstance(value, bool):
        return "bool_value", api_pb2.DATA_TYPE_BOOL
    if isinstance(value, str):
        return "string_value", api_pb2.DATA_TYPE_STRING
    return "number_value", api_pb2.DATA_TYPE_FLOAT64


def _add(summary: summary_pb2.Summary, tag: str, **info: Any) -> None:
    content = plugin_data_pb2.HParamsPluginData(**info)
    summary.value.add(
        tag=tag,
        metadata=hparams_metadata.create_summary_metadata(content),
        tensor=hparams_metadata.NULL_TENSOR,
    )
