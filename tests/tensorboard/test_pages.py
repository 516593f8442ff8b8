"""What the Sparsity tab is told of the weights, against the report."""

import html
import json
import re
import warnings

import keras
import pytest
from helpers.event_files import read
from helpers.models import classifier, kitchen_sink
from helpers.sparsity_logs import Log, model
from tensorboard.compat.proto import summary_pb2

import kerasreg as kr
from kerasreg.statistics.names import LayerNames
from kerasreg.statistics.sparsity_report import COLUMNS
from kerasreg.statistics.weights import find_weights
from kerasreg.tensorboard.pages import add_marker, configuration_page, report_page
from kerasreg_tensorboard.names import PLUGIN_NAME, WEIGHTS_TAG


@pytest.mark.parametrize("build", [classifier, kitchen_sink, model])
def test_the_marker_says_what_the_report_says(tmp_path, build):
    network = build()
    Log(tmp_path, network, first_step=3).close()
    ((step, content),) = read(tmp_path)[WEIGHTS_TAG]
    assert step == 3
    described = json.loads(content)["weights"]
    rows = kr.sparsity_report(network).rows
    assert [
        (d["path"], tuple(d["shape"]), d["size"], d["units"], d["penalty"]) for d in described
    ] == [(r.path, r.shape, r.parameters, r.units, r.penalty) for r in rows]
    assert [d["name"] for d in described] == [weight.name for weight in find_weights(network)]


def test_the_marker_is_data_of_the_plugin():
    summary = summary_pb2.Summary()
    add_marker(summary, [], {})
    assert summary.value[0].metadata.plugin_data.plugin_name == PLUGIN_NAME
    assert summary.value[0].metadata.data_class == summary_pb2.DATA_CLASS_TENSOR


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of TensorBoard's dependencies
    from tensorboard.plugin_util import markdown_to_safe_html


NAME = "a|b <em>&c *d* `e` _f_ [g](h) \\|\nk"


def cells(page):
    """The table as a reader sees it."""
    rendered = markdown_to_safe_html(page)
    assert "<em>" not in rendered
    lines = re.findall("<tr>(.*?)</tr>", rendered, re.DOTALL)
    return [
        tuple(html.unescape(cell) for cell in re.findall("<t[dh]>(.*?)</t[dh]>", line, re.DOTALL))
        for line in lines
    ]


def test_every_cell_of_the_report():
    report = kr.sparsity_report(classifier())
    expected = [COLUMNS, *(row.cells() for row in report.rows), report.total.cells()]
    assert cells(report_page(report)) == expected


def test_names_stay_plain_text():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name=NAME)], name="m")
    (row,) = kr.sparsity_report(model, "kernel").rows
    assert NAME in row.path
    assert cells(report_page(kr.sparsity_report(model, "kernel")))[1] == row.cells()
    page = configuration_page(model, LayerNames(model), find_weights(model, "kernel"), {})
    assert cells(page)[1][:2] == (row.path, "2 × 2")
