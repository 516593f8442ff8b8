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
from kerasreg.optimizers.of_model import Optimizers
from kerasreg.statistics.names import LayerNames
from kerasreg.statistics.sparsity_report import COLUMNS
from kerasreg.statistics.weights import find_weights
from kerasreg.tensorboard.pages import add_marker, configuration_page, report_page
from kerasreg.tensorboard.training_page import training_page
from kerasreg_tensorboard.names import PLUGIN_NAME, WEIGHTS_TAG


@pytest.mark.fast_cases(1)
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


def test_the_page_has_headings_and_the_formula_of_each_penalty():
    network = classifier()
    page = configuration_page(network, LayerNames(network), find_weights(network), {"drop": 0.25})
    headings = re.findall("^## (.*)$", page, re.MULTILINE)
    assert headings == ["Weights", "Activities", "Penalties", "Dropout"]
    formulas = dict(row for row in cells(page) if len(row) == 2)
    assert formulas["L1"] == "l1 sum |w|" and formulas["ElasticNet"] == kr.ElasticNet.formula
    assert formulas["keras.L1L2"] == kr.ElasticNet.formula
    assert report_page(kr.sparsity_report(network)).startswith("## Sparsity\n")


@keras.saving.register_keras_serializable("kerasreg_tests")
class Foreign(keras.regularizers.Regularizer):
    def __call__(self, x):
        return keras.ops.sum(x**4)

    def get_config(self):
        return {"power": 4}


def test_a_foreign_penalty_shows_its_configuration():
    layer = keras.layers.Dense(2, kernel_regularizer=Foreign())
    network = keras.Sequential([keras.Input((2,)), layer])
    page = configuration_page(network, LayerNames(network), find_weights(network), {})
    assert ("Foreign", "power=4") in cells(page)


def training(model, fit=None, optimizer=None):
    return dict(cells(training_page(model, Optimizers(model, optimizer), fit or {})))


def test_how_a_model_is_trained():
    schedule = keras.optimizers.schedules.CosineDecay(0.25, 100)
    optimizer = kr.Proximal(keras.optimizers.Adam(schedule, beta_1=0.75), {".*kernel": kr.L1(0.1)})
    said = training(classifier(optimizer=optimizer, penalties=False), {"epochs": 3, "steps": 7})
    assert said["optimizer"] == "Adam in Proximal"
    assert said["learning rate"].startswith("CosineDecay(initial_learning_rate=0.25, decay_steps=1")
    assert "beta_1=0.75" in said["other settings of the optimizer"]
    assert said["loss"] == (
        "SparseCategoricalCrossentropy(reduction=sum_over_batch_size, from_logits=True)"
    )
    assert said["epochs"] == "3" and said["batches an epoch"] == "7"
    assert said["backend"].split()[0] == keras.backend.backend()
    assert said["dtype policy"] == "float32"
    assert keras.__version__ in said["versions"] and said["kerasreg"]


@pytest.mark.parametrize(
    "loss, words",
    [
        ("mse", "mse"),
        (keras.losses.mean_squared_error, "mean_squared_error"),
        (lambda y, p: keras.ops.mean(y - p), "<lambda>"),
        (["mse"], "mse"),
    ],
)
def test_losses_in_words(loss, words):
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    network.compile(keras.optimizers.SGD(0.1), loss)
    said = training(network)
    assert said["loss"] == words and said["optimizer"] == "SGD" and said["learning rate"] == "0.1"
    assert "epochs" not in said


def test_a_model_that_is_not_compiled():
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, dtype="bfloat16")])
    said = training(network)
    assert "optimizer" not in said and "loss" not in said and "bfloat16" in said["dtype policy"]
