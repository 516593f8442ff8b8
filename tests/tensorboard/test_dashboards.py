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

import kerasreg as kr
from kerasreg.statistics.weights import find_weights
from kerasreg.tensorboard.dashboards import Dashboards, add_layout

BY_LAYER = ("Sparsity by layer", "Share of the penalty by layer", "Dead units by layer")


def layout(weights, metrics=None):
    """The layout as `{category: {chart: content}}`."""
    summary = summary_pb2.Summary()
    add_layout(summary, weights, metrics)
    (value,) = summary.value
    proto = layout_pb2.Layout.FromString(make_ndarray(value.tensor).item())
    assert [category.closed for category in proto.category[:2]] == [False, True]
    return {c.title: {chart.title: chart for chart in c.chart} for c in proto.category}


def mlp(layers):
    return keras.Sequential(
        [keras.Input((2,)), *(keras.layers.Dense(2, name=f"d{i}") for i in range(layers))]
    )


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize(
    "count, charts, lines",
    [(1, 1, 1), (3, 1, 3), (10, 1, 10), (11, 2, 6), (36, 4, 9), (60, 6, 10), (90, 6, 10)],
)
def test_categories_are_bounded(count, charts, lines):
    shown = layout(find_weights(mlp(count)))
    titles = {title.partition(": the")[0]: title for title in shown}
    sparsity = shown[titles["Sparsity by layer"]]
    assert len(sparsity) == charts
    numbers = [f" ({n} of {charts})" for n in range(1, charts + 1)] if charts > 1 else [""]
    assert list(sparsity) == [f"Sparsity{number}" for number in numbers]
    tags = [list(chart.multiline.tag) for chart in sparsity.values()]
    assert max(map(len, tags)) == lines
    flat = [tag for chart in tags for tag in chart]
    assert flat == [rf"sparsity/d{i}/kernel$" for i in range(min(count, 60))]
    (*_, (title, bands)) = shown.items()
    assert title.startswith("Weight magnitudes") and len(bands) == min(count, 6)
    assert list(bands) == [f"d{i}/kernel" for i in reversed(range(min(count, 6)))]
    left_out = [title for title in shown if "largest of" in title]
    expected = [f": the 60 largest of {count} weights"] * 3 if count > 60 else []
    expected += [f": the 6 largest of {count} weights"] if count > 6 else []
    assert [f": the{title.partition(': the')[2]}" for title in left_out] == expected


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


def tags_of(chart):
    return [tag.removesuffix("$").replace("\\", "") for tag in chart.multiline.tag]


def test_overview():
    metrics = ["accuracy", "loss", "val_accuracy", "val_loss", "val_f1", "data_loss"]
    overview = layout(find_weights(classifier()), [*metrics, "val_data_loss"])["Overview"]
    expected = {
        "Sparsity": ["all/sparsity"],
        "Data loss": ["all/data_loss", "all/val_data_loss"],
        "Penalty": ["all/penalty", "all/regularization_loss"],
        "Strength": tags_of(overview["Strength"]),
        "Validation accuracy": ["all/val_accuracy"],
        "Validation f1": ["all/val_f1"],
        "Near zero": ["all/near_zero"],
        "Data loss + penalty = total": ["all/data_loss", "all/penalty", "all/total_loss"],
    }
    assert {title: tags_of(chart) for title, chart in overview.items()} == expected
    assert list(overview) == list(expected)
    many = [f"val_{i}" for i in range(20)]
    assert len(layout(find_weights(classifier()), ["data_loss", *many])["Overview"]) == 10


def test_without_a_split_there_are_no_charts_of_it():
    overview = layout(find_weights(classifier()), [])["Overview"]
    assert list(overview) == ["Sparsity", "Penalty", "Strength", "Near zero"]


def penalised(layers, of=None):
    made = [
        keras.layers.Dense(
            2, kernel_regularizer=None if of and i not in of else kr.L1(0.1), name=f"d{i}"
        )
        for i in range(layers)
    ]
    return find_weights(keras.Sequential([keras.Input((2,)), *made]))


def test_strengths_of_penalised_weights_come_first_then_those_of_another_run():
    few = tags_of(layout(penalised(2, of=[0]))["Overview"]["Strength"])
    assert few == [f"strength/d{i}/{name}" for i in range(2) for name in ("kernel", "bias")]
    some = tags_of(layout(penalised(8, of=[1, 7]))["Overview"]["Strength"])
    assert len(some) == 10 and {"strength/d1/kernel", "strength/d7/kernel"} < set(some)


def test_more_strengths_are_in_a_category_of_their_own():
    shown = layout(penalised(25))
    first = shown["Overview"]["Strength (1 of 3)"]
    others = shown["Strength by layer"]
    assert list(others) == ["Strength (2 of 3)", "Strength (3 of 3)"]
    tags = [tag for chart in (first, *others.values()) for tag in tags_of(chart)]
    assert tags == [f"strength/d{i}/kernel" for i in range(25)]


def test_parts_and_groups():
    title = "Dead parts: inputs, heads, blocks, slices, groups"
    assert title not in layout(penalised(3))
    layers = [
        keras.layers.Dense(2, kernel_regularizer=kr.GroupLasso(0.1, axis=0), name="a"),
        keras.layers.Dense(2, name="b"),
    ]
    model = keras.Sequential([keras.Input((2,)), *layers])
    shown = layout(find_weights(model))[title]
    assert {name: tags_of(chart) for name, chart in shown.items()} == {
        "Dead parts": ["dead_parts/a/kernel"]
    }
    model = keras.Sequential([keras.Input((2,)), *(keras.layers.Dense(2) for _ in "ab")])
    groups = kr.coupled_groups(model)
    model.compile(kr.Proximal(keras.optimizers.SGD(0.1), kr.GroupLasso(0.1, groups=groups)), "mse")
    model.optimizer.build(model.trainable_variables)
    shown = layout(find_weights(model))[title]
    assert tags_of(shown["Groups of several weights"]) == ["all/dead_groups"]


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
    assert tags(start) == [LAYOUT] and len(overview(start)) == 6
    first = dashboards.after_first_epoch(["data_loss", "accuracy", "val_accuracy"])
    assert tags(first) == [LAYOUT, *ROW]
    assert set(overview(first)) == {*overview(start), "Validation accuracy"}
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


@pytest.mark.fast_cases(4)
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
