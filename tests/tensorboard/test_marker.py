"""What the Sparsity tab is told of the weights, against the report."""

import json

import pytest
from event_files import read
from models import classifier, kitchen_sink
from sparsity_logs import Log, model
from tensorboard.compat.proto import summary_pb2

import kerasreg as kr
from kerasreg.tensorboard.marker import add_marker
from kerasreg.weights import find_weights
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
    add_marker(summary, find_weights(model()))
    assert summary.value[0].metadata.plugin_data.plugin_name == PLUGIN_NAME
    assert summary.value[0].metadata.data_class == summary_pb2.DATA_CLASS_TENSOR
