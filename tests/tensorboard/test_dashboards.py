"""When what the tabs need is written."""

import pytest
from models import classifier
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.util.tensor_util import make_ndarray

from kerasreg.tensorboard.dashboards import Dashboards
from kerasreg.weights import find_weights

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
    dashboards = Dashboards(str(tmp_path), weights, {"a": 1})
    start = dashboards.at_start()
    assert tags(start) == [LAYOUT] and len(overview(start)) == 2
    first = dashboards.after_first_epoch(["accuracy", "val_accuracy"])
    assert tags(first) == [LAYOUT, *ROW]
    assert overview(first) == [*overview(start), "Validation accuracy"]
    assert tags(dashboards.after_first_epoch(["accuracy", "val_accuracy"])) == []
    assert tags(dashboards.at_end()) == [END]


def test_a_run_without_epochs_has_its_row_in_the_end(tmp_path, weights):
    end = Dashboards(str(tmp_path), weights, {"a": 1}).at_end(ok=False)
    assert tags(end) == [LAYOUT, *ROW, END]
    content = end.value[-1].metadata.plugin_data.content
    info = hparams_metadata.parse_session_end_info_plugin_data(content)
    assert info.status == api_pb2.STATUS_FAILURE


def test_without_hparams_there_is_the_layout_only(tmp_path, weights):
    dashboards = Dashboards(str(tmp_path), weights, None)
    summaries = [dashboards.at_start(), dashboards.after_first_epoch([]), dashboards.at_end()]
    assert list(map(tags, summaries)) == [[LAYOUT], [LAYOUT], []]


OWN = ["all/sparsity", "all/regularization_loss"]


@pytest.mark.parametrize(
    "metrics, expected",
    [
        ([], OWN),
        (["loss", "accuracy"], ["all/loss", "all/accuracy", *OWN]),
        (["accuracy", "val_accuracy"], ["all/val_accuracy", *OWN]),
        (["val_f1", "val_data_loss", "val_penalty"], ["all/val_f1", *OWN, "all/val_data_loss"]),
        (["val_loss"], [*OWN, "all/val_loss"]),
    ],
)
def test_columns(tmp_path, weights, metrics, expected):
    first = Dashboards(str(tmp_path), weights, {}).after_first_epoch(metrics)
    assert columns(first) == [("", tag) for tag in expected]


def test_metrics_that_keras_logs_beside_are_columns(tmp_path, weights):
    (tmp_path / "validation").mkdir()
    first = Dashboards(str(tmp_path), weights, {}).after_first_epoch(["f1", "val_f1", "val_loss"])
    assert columns(first)[-1] == ("validation", "epoch_f1")
    assert columns(first)[:-1] == [
        ("", "all/val_f1"),
        *(("", tag) for tag in [*OWN, "all/val_loss"]),
    ]
