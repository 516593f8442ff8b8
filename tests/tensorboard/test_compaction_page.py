"""What the log says of compaction, against the report."""

import json

import keras
import numpy as np
import pytest
from helpers.dead_channels import kill
from helpers.event_files import read
from helpers.models import Subclassed, classifier, data
from tensorboard.compat.proto import summary_pb2

import kerasreg as kr
from kerasreg.tensorboard import compaction_page
from kerasreg.tensorboard.compaction_page import add_compaction
from kerasreg_tensorboard.names import COMPACTION_TAG

SCALARS = {"all/compacted_parameters", "all/compacted_multiply_adds"}


class Kill(keras.callbacks.Callback):
    """Takes units out while the model trains."""

    def on_epoch_end(self, epoch, logs=None):
        kill(self.model.get_layer("first"), zero=[epoch])


@pytest.mark.slow
def test_it_is_said_once_of_the_trained_model(tmp_path):
    model, (x, y) = classifier(), data()
    logger = kr.RegularizationLogger(tmp_path, 1)
    model.fit(x, y, 20, epochs=3, verbose=0, callbacks=[Kill(), logger])
    points, after = read(tmp_path), kr.compaction_report(model).total.after
    assert points["all/compacted_parameters"] == [(6, after.parameters)]
    assert points["all/compacted_multiply_adds"] == [(6, after.multiply_adds)]
    ((step, content),) = points[COMPACTION_TAG]
    before, left = json.loads(content)["parameters"]
    assert step == 6 and (before, left) == (model.count_params(), after.parameters)
    assert left < before
    ((_, page),) = points["sparsity_report"]
    *_, heading, sentence, rows = page.decode().split("\n\n")
    assert heading == "## Compaction"
    assert f"{left:,} of {before:,} parameters, {after.multiply_adds:,} of" in sentence
    assert "| first | 16 → 13 |" in rows and "| total |" in rows


def test_in_a_training_loop_of_ones_own(tmp_path):
    logger = kr.RegularizationLogger(tmp_path, verbose=0)
    logger.set_model(classifier())
    logger.log(3)
    assert not SCALARS & set(read(tmp_path))
    logger.close()
    assert [step for step, _ in read(tmp_path)["all/compacted_parameters"]] == [3]


@pytest.mark.slow
def test_a_model_that_cannot_be_compacted(tmp_path):
    """Says why, in place of what was said of another model before."""
    model = Subclassed()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(*data(), 20, verbose=0, callbacks=[kr.RegularizationLogger(tmp_path)])
    points = read(tmp_path)
    assert not SCALARS & set(points)
    assert points[COMPACTION_TAG][-1][1] == b"{}"
    *_, page = points["sparsity_report"][-1][1].decode().split("\n\n")
    assert page.startswith("`compact` cannot take this model: Invalid value for argument")
    assert "Subclassed" in page and "<" not in page


@pytest.mark.slow
def test_a_failure_is_no_failure_of_the_log(tmp_path, monkeypatch):
    def fail(model):
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(compaction_page, "compaction_report", fail)
    model, (x, y) = classifier(), data()
    model.fit(x, y, 20, verbose=0, callbacks=[kr.RegularizationLogger(tmp_path)])
    page = read(tmp_path)["sparsity_report"][0][1].decode()
    assert "| total |" in page and "broken on purpose" in page


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(value):
    model = classifier()
    model.get_layer("first").kernel.assign(np.full((6, 16), value))
    summary = summary_pb2.Summary()
    assert add_compaction(summary, model).startswith("After compaction")
    assert SCALARS <= {each.tag for each in summary.value}
