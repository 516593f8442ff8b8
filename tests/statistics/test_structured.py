"""What penalties zero as a whole is counted in their own shape, against NumPy."""

import keras
import numpy as np
import pytest
from helpers import pruned, structured
from helpers.backends import to_numpy
from helpers.event_files import read

import kerasreg as kr
from kerasreg.statistics.device import DeviceStatistics
from kerasreg.statistics.host import HostStatistics
from kerasreg.statistics.structured import StructuredWeights
from kerasreg.statistics.weights import find_weights

AXES = {"query": 1, "key": 1, "value": 2, "attention_output": 0, "inputs": 0}


def compiled(wrap=lambda optimizer: optimizer):
    network = structured.model()
    sgd = keras.optimizers.SGD(0.0)
    network.compile(wrap(kr.Proximal(sgd, structured.PENALTIES, model=network)), "mse")
    return network


def expected(network):
    """The number of zero parts of each weight by name, and of zero groups."""
    values = {v.path.removeprefix("model/"): to_numpy(v.value) for v in network.weights}
    counts = {}
    for name, w in values.items():
        layer = name.split("/")[-2]
        if layer in AXES:
            counts[name] = structured.zero_slices(w, AXES[layer])[0]
        elif layer == "blocks":
            counts[name] = int(np.sum(pruned.block_norms(w, (4, 1)) == 0))
        elif layer == "runs":
            counts[name] = int(np.sum(pruned.run_counts(w, 4, 0) <= 2))
    pair = [values["first/kernel"], values["second/kernel"]]
    norms = pruned.group_norms(structured.GROUPS, pair, ["first/kernel", "second/kernel"])
    return counts, int(np.sum(norms == 0))


@pytest.mark.parametrize("wrap", [lambda each: each, keras.optimizers.LossScaleOptimizer])
def test_the_report_counts_in_the_shape_asked_for(wrap):
    network = compiled(wrap)
    report, (counts, groups) = kr.sparsity_report(network), expected(network)
    rows = {row.path.removeprefix("model/"): row for row in report.rows}
    parts = {name: row.parts for name, row in rows.items() if row.parts is not None}
    assert {n: (p.word, p.number) for n, p in parts.items()} == structured.PARTS
    assert {n: p.zero for n, p in parts.items()} == counts
    assert counts["attention/query/kernel"] == 2 and 0 < counts["runs/kernel"] < 10
    assert rows["attention/query/kernel"].cells()[5].endswith(" of 12, 2 of 4 heads")
    assert rows["units/kernel"].cells()[5] == "1 of 4"
    [line] = report.lines
    assert line.endswith(f"groups=Groups(8 groups, 2 patterns)): {groups} of 8 groups are zero.")
    assert line in str(report) and line in report._repr_html_()
    [of_groups] = report.to_dict()["groups"]
    assert (of_groups["zero"], of_groups["number"]) == (groups, 8)
    # What layers have told a penalty, of all its weights, is no part of its words.
    assert "layout" not in str(report)


def test_groups_are_counted_where_only_one_of_their_weights_is_chosen():
    network = compiled()
    report = kr.sparsity_report(network, "second/kernel")
    assert [each.zero for each in report.groups] == [expected(network)[1]]


@pytest.mark.slow
def test_the_device_counts_the_same():
    weights = find_weights(compiled())
    on_host, on_device = (
        measure(weights, 0.1, histograms=False)() for measure in (HostStatistics, DeviceStatistics)
    )
    assert on_device().parts == on_host().parts
    assert on_device().groups == on_host().groups


def test_nothing_is_read_again_for_output_units_and_single_weights():
    network = structured.model()
    penalties = {".*units/kernel": kr.TopK(0.5, axis=-1), ".*single/kernel": kr.TopK(0.5)}
    network.compile(kr.Proximal("sgd", penalties), "mse")
    weights = find_weights(network, "units|single")
    assert StructuredWeights(weights).now() == []


def test_a_penalty_that_does_not_fit_its_weight_is_no_reason_to_fail():
    """It says so where it acts."""
    network = structured.model()
    network.get_layer("inputs").kernel.regularizer = kr.GroupLasso(0.01, axis="heads")
    [row] = kr.sparsity_report(network, "units").rows
    assert row.parts is None
    weights = find_weights(network, "inputs")
    assert StructuredWeights(weights).now() == []


@keras.saving.register_keras_serializable("kerasreg_tests")
class Failing(kr.L2):
    """A penalty of one's own that cannot say what it zeroes."""

    def structure(self, shapes, paths):
        raise RuntimeError("no idea")


def test_a_structure_that_fails_ends_the_log_and_not_the_training(tmp_path):
    layer = keras.layers.Dense(2, kernel_regularizer=Failing(0.1))
    network = keras.Sequential([keras.Input((2,)), layer])
    network.compile("sgd", "mse")
    logger = kr.RegularizationLogger(tmp_path, verbose=0)
    x = np.zeros((4, 2), "float32")
    with pytest.warns(UserWarning, match="logs no more in this run.*no idea"):
        assert len(network.fit(x, x, epochs=2, verbose=0, callbacks=[logger]).history["loss"]) == 2


@pytest.mark.slow
def test_the_log_has_a_chart_for_each(tmp_path):
    network = compiled()
    logger = kr.RegularizationLogger(tmp_path, verbose=0, in_logs=["dead_groups"])
    x, y = np.zeros((4, 3, 6), "float32"), np.zeros((4, 3, 2), "float32")
    history = network.fit(x, y, epochs=2, verbose=0, callbacks=[logger]).history
    counts, groups = expected(network)
    found = read(tmp_path)
    logged = {tag: points for tag, points in found.items() if tag.startswith("dead_parts/")}
    assert logged.keys() == {f"dead_parts/{name}" for name in counts}
    for name, count in counts.items():
        assert [step for step, _ in logged[f"dead_parts/{name}"]] == [1, 2]
        assert logged[f"dead_parts/{name}"][-1][1] == count
    assert found["all/dead_groups"][-1] == (2, groups)
    assert history["dead_groups"][-1] == groups
    assert str(groups) + " of 8 groups are zero" in found["sparsity_report"][0][1].decode()
