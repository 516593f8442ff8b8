"""When what the tabs need is written."""

import dataclasses
import re

import keras
import pytest
from helpers.models import classifier, kitchen_sink
from tensorboard.compat.proto import summary_pb2
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.util.tensor_util import make_ndarray

from kerasreg.statistics.weights import find_weights
from kerasreg.tensorboard.dashboards import Dashboards, add_layout, weight_categories

BY_LAYER = ("Sparsity by layer", "Share of the penalty by layer", "Dead units by layer")


def layout(weights, metrics=()):
    """The layout as `{category: {chart: content}}`."""
    summary = summary_pb2.Summary()
    add_layout(summary, weight_categories(weights), metrics)
    (value,) = summary.value
    proto = layout_pb2.Layout.FromString(make_ndarray(value.tensor).item())
    assert [category.closed for category in proto.category[:2]] == [False, True]
    return {c.title: {chart.title: chart for chart in c.chart} for c in proto.category}


def mlp(layers):
    return keras.Sequential(
        [keras.Input((2,)), *(keras.layers.Dense(2, name=f"d{i}") for i in range(layers))]
    )


@pytest.mark.parametrize(
    "count, charts, lines",
    [(1, 1, 1), (2, 2, 1), (3, 3, 1), (4, 3, 2), (18, 3, 6), (19, 6, 4), (36, 6, 6), (90, 6, 6)],
)
def test_categories_are_bounded(count, charts, lines):
    shown = layout(find_weights(mlp(count)))
    sparsity = shown["Sparsity by layer"].values()
    assert len(sparsity) == charts
    tags = [list(chart.multiline.tag) for chart in sparsity]
    assert max(map(len, tags)) == lines
    flat = [tag for chart in tags for tag in chart]
    assert flat == [rf"sparsity/d{i}/kernel$" for i in range(min(count, 36))]
    (*_, (title, bands)) = shown.items()
    assert title.startswith("Weight magnitudes") and len(bands) == min(count, 6)
    assert list(bands) == [f"d{i}/kernel" for i in reversed(range(min(count, 6)))]


def test_the_largest_weights_have_charts():
    units = [2, 9, 3, 8, 1, 2, 7, 5]  # so that the kernels have 2, 18, 27, 24, 8, 2, 14 and 35
    dense = [keras.layers.Dense(n, name=f"d{i}") for i, n in enumerate(units)]
    weights = find_weights(keras.Sequential([keras.Input((1,)), *dense]))
    (*_, bands) = layout(weights).values()
    assert list(bands)[::-1] == [f"d{i}/kernel" for i in (1, 2, 3, 4, 6, 7)]


@pytest.mark.parametrize("name", ["a", "größe (1)+", "<b>[x]</b>", "a.b|c", "two words", "k#2"])
def test_a_chart_shows_its_weight_and_no_other(name):
    weight = dataclasses.replace(find_weights(classifier(), "first/kernel")[0], name=name)
    shown = layout([weight])
    for category in BY_LAYER:
        (chart,) = shown[category].values()
        (regex,) = chart.multiline.tag
        metric = regex.partition("/")[0].replace("\\", "")
        others = [f"{metric}/{name}{end}" for end in ("#2", "2", "/bias")]
        tags = [f"{metric}/{name}", *others, f"{metric}/xyz", f"all/{metric}", f"{metric}/abbc"]
        assert [tag for tag in tags if re.match(regex, tag)] == [f"{metric}/{name}"]
    (*_, bands) = shown.values()
    (series,) = bands[name].margin.series
    found = (series.lower, series.value, series.upper)
    assert found == (f"nonzero_mean/{name}", f"nonzero_rms/{name}", f"max_abs/{name}")


def test_charts_are_those_of_weights_that_have_what_they_show():
    def tags(weights, category):
        charts = layout(weights).get(category, {}).values()
        return [tag.removesuffix("$") for chart in charts for tag in chart.multiline.tag]

    weights = find_weights(classifier())
    kernels = [f"{name}/kernel" for name in ("first", "second", "last")]
    assert tags(weights, "Sparsity by layer") == [f"sparsity/{name}" for name in kernels]
    assert tags(weights, "Dead units by layer") == [f"dead_units/{name}" for name in kernels]
    penalized = [f"penalty_share/{re.escape(w.name)}" for w in weights if w.penalties]
    assert len(penalized) == 5
    assert tags(weights, "Share of the penalty by layer") == penalized
    biases = find_weights(classifier(penalties=False), "bias")
    assert tags(biases, "Sparsity by layer") == [f"sparsity/{w.name}" for w in biases]
    assert not tags(biases, "Dead units by layer")
    assert not tags(biases, "Share of the penalty by layer")


def test_overview():
    metrics = ["accuracy", "loss", "val_accuracy", "val_loss", "val_f1", "val_data_loss"]
    overview = layout(find_weights(classifier()), metrics)["Overview"]
    assert list(overview)[2:] == ["Validation accuracy", "Validation f1"]
    assert list(overview["Validation f1"].multiline.tag) == ["all/val_f1$"]
    many = [f"val_{i}" for i in range(20)]
    assert len(layout(find_weights(classifier()), many)["Overview"]) == 6


def test_two_builds_of_a_model_have_one_layout():
    assert layout(find_weights(kitchen_sink())) == layout(find_weights(kitchen_sink()))


LAYOUT = "custom_scalars__config__"
ROW = ["_hparams_/session_start_info", "_hparams_/experiment"]
END = "_hparams_/session_end_info"


@pytest.fixture
def weights():
    return find_weights(classifier())


def tags(summary):
    return [value.tag for value in summary.value]


def overview(summary):
    layout = layout_pb2.Layout.FromString(make_ndarray(summary.value[0].tensor).item())
    return [chart.title for chart in layout.category[0].chart]


def columns(summary):
    content = summary.value[2].metadata.plugin_data.content
    experiment = hparams_metadata.parse_experiment_plugin_data(content)
    return [(metric.name.group, metric.name.tag) for metric in experiment.metric_infos]


def test_each_is_written_in_its_time(tmp_path, weights):
    dashboards = Dashboards(str(tmp_path), weights, lambda: {"a": 1})
    start = dashboards.layout()
    assert tags(start) == [LAYOUT] and len(overview(start)) == 2
    first = dashboards.after_first_epoch(["accuracy", "val_accuracy"])
    assert tags(first) == [LAYOUT, *ROW]
    assert overview(first) == [*overview(start), "Validation accuracy"]
    assert tags(dashboards.after_first_epoch(["accuracy", "val_accuracy"])) == []
    assert tags(dashboards.at_end()) == [END]


def test_a_run_without_epochs_has_its_row_in_the_end(tmp_path, weights):
    end = Dashboards(str(tmp_path), weights, lambda: {"a": 1}).at_end(ok=False)
    assert tags(end) == [LAYOUT, *ROW, END]
    content = end.value[-1].metadata.plugin_data.content
    info = hparams_metadata.parse_session_end_info_plugin_data(content)
    assert info.status == api_pb2.STATUS_FAILURE


def test_without_hparams_there_is_the_layout_only(tmp_path, weights):
    dashboards = Dashboards(str(tmp_path), weights, None)
    summaries = [dashboards.layout(), dashboards.after_first_epoch([]), dashboards.at_end()]
    assert list(map(tags, summaries)) == [[LAYOUT], [LAYOUT], []]


OWN = ["all/sparsity", "all/regularization_loss"]
MORE = ["all/dead_units", "all/near_zero", "all/l2_norm"]
COMPACTED = ["all/compacted_parameters", "all/compacted_multiply_adds"]


@pytest.mark.parametrize(
    "metrics, expected",
    [
        ([], [*OWN, *MORE]),
        (["loss", "accuracy"], ["all/loss", "all/accuracy", *OWN, MORE[0]]),
        (["accuracy", "val_accuracy"], ["all/val_accuracy", *OWN, *MORE[:2]]),
        (
            ["val_f1", "val_data_loss", "data_loss", "penalty", "val_penalty"],
            ["all/val_f1", *OWN, "all/val_data_loss", MORE[0]],
        ),
        (
            ["data_loss", "penalty", "f1", "total_loss"],
            ["all/f1", *OWN, "all/data_loss", MORE[0]],
        ),
        (["val_loss"], [*OWN, "all/val_loss", *MORE[:2]]),
        (list("abcd"), ["all/a", "all/b", "all/c", "all/d", *OWN]),
    ],
)
def test_columns(tmp_path, weights, metrics, expected):
    first = Dashboards(str(tmp_path), weights, dict).after_first_epoch(metrics)
    assert columns(first) == [("", tag) for tag in [*expected, *COMPACTED]]


def test_metrics_that_keras_logs_beside_are_columns(tmp_path, weights):
    (tmp_path / "validation").mkdir()
    first = Dashboards(str(tmp_path), weights, dict).after_first_epoch(["f1", "val_f1", "val_loss"])
    assert columns(first) == [
        *(("", tag) for tag in ["all/val_f1", *OWN, "all/val_loss"]),
        ("validation", "epoch_f1"),
        *(("", tag) for tag in COMPACTED),
    ]
