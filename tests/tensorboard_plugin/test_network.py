"""What the picture of the network is told, from logs that a fake provider holds."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from kerasreg_tensorboard.names import WEIGHTS_TAG
from kerasreg_tensorboard.network import read_network
from kerasreg_tensorboard.table import Source, TableReader

RUN = Source(None, "", "run")


def weight(name, shape, units, order, layer=None, **others):
    fields = {"path": f"m/{name}", "size": int(np.prod(shape)), "penalty": "", "dropout": ""}
    layer = name.rpartition("/")[0] if layer is None else layer
    plain = {"name": name, "shape": shape, "units": units, "order": order, "layer": layer}
    return fields | plain | others


WEIGHTS = [
    weight("last/kernel", [4, 2], 2, 9, penalty="L1(l1=0.1)", dropout="drop"),
    weight("last/bias", [2], 0, 9),
    weight("first/kernel", [5, 4], 4, 1, parts=5, part="inputs"),
    weight("norm/gamma", [4], 0, 2),
    weight("lstm/cell/kernel", [4, 12], 12, 3, layer="lstm"),
    weight("lstm/cell/recurrent_kernel", [3, 12], 12, 3, layer="lstm", parts=6, part="blocks"),
]
POINTS = {
    "dead_units/last/kernel": [(0, 0), (10, 1), (20, 2)],
    "sparsity/last/kernel": [(0, 0.0), (10, 0.5), (20, 1.0)],
    "sparsity/last/bias": [(0, 1.0)],
    "dead_units/first/kernel": [(0, 4), (10, 4), (20, 4)],
    "dead_parts/first/kernel": [(0, 1), (10, 2), (20, 3)],
    "sparsity/first/kernel": [(0, 0.2), (10, 0.4), (20, 0.6)],
    "dead_units/lstm/cell/kernel": [(0, 0), (10, 3), (20, 6)],
    "dead_parts/lstm/cell/recurrent_kernel": [(0, 0), (10, 1), (20, float("nan"))],
    "sparsity/lstm/cell/kernel": [(0, 0.0), (10, 0.25), (20, 0.5)],
    "sparsity/lstm/cell/recurrent_kernel": [(0, 0.0), (10, 0.5), (20, 0.5)],
}


class Provider:
    """Has one run, with these weights and points."""

    def __init__(self, weights=WEIGHTS, points=POINTS):
        self.marker, self.points, self.asked = json.dumps({"weights": weights}), points, []

    def list_runs(self, ctx, *, experiment_id):
        return [SimpleNamespace(run_name="run", start_time=None)]

    def list_tensors(self, ctx, *, experiment_id, plugin_name):
        return {"run": {WEIGHTS_TAG: SimpleNamespace(max_step=0, max_wall_time=1.5)}}

    def read_tensors(self, ctx, *, run_tag_filter, **_):
        return {"run": {WEIGHTS_TAG: [SimpleNamespace(numpy=np.array(self.marker, dtype=object))]}}

    def read_scalars(self, ctx, *, downsample, run_tag_filter, **_):
        self.asked += run_tag_filter.tags
        return {
            "run": {
                tag: [SimpleNamespace(step=s, value=v) for s, v in self.points[tag][-downsample:]]
                for tag in run_tag_filter.tags
                if tag in self.points
            }
        }


def read(step=None, provider=None, run=RUN, **known):
    found = read_network(TableReader(provider or Provider()), run, step, **known)
    json.dumps(found, allow_nan=False)
    return found


def test_layers_with_units_in_the_order_of_computation():
    first, lstm, last = read()["layers"]
    assert [layer["name"] for layer in (first, lstm, last)] == ["first", "lstm", "last"]
    assert last == {
        "name": "last",
        "units": 2,
        "counted": 2,
        "word": "units",
        "dropout": "drop",
        "kernels": [
            {
                "name": "last/kernel",
                "shape": [4, 2],
                "penalty": "L1(l1=0.1)",
                "counted": 2,
                "word": "units",
            }
        ],
    }
    assert (first["units"], first["counted"], first["word"]) == (4, 5, "inputs")
    assert (lstm["units"], lstm["counted"], lstm["word"]) == (24, 18, "parts")
    assert [(k["counted"], k["word"]) for k in lstm["kernels"]] == [(12, "units"), (6, "blocks")]


@pytest.mark.parametrize(
    ("step", "alive", "zeros"),
    [
        (-1, [None] * 3, [None] * 3),
        (0, [4, 18, 2], [0.2, 0.0, 0.0]),
        (10, [3, 14, 1], [0.4, (0.25 * 48 + 0.5 * 36) / 84, 0.5]),
        (19, [3, 14, 1], [0.4, (0.25 * 48 + 0.5 * 36) / 84, 0.5]),
        (20, [2, None, 0], [0.6, 0.5, 1.0]),  # a NaN is no number
        (None, [2, None, 0], [0.6, 0.5, 1.0]),
        (1000, [2, None, 0], [0.6, 0.5, 1.0]),
    ],
)
def test_numbers_at_a_step(step, alive, zeros):
    found = read(step)
    assert found["alive"] == alive
    assert found["zeros"] == [z if z is None else pytest.approx(z) for z in zeros]


def test_numbers_of_each_kernel():
    assert read(10)["kernels"] == [[[2, 0.4]], [[3, 0.25], [1, 0.5]], [[1, 0.5]]]


def test_layers_that_the_page_has_are_not_sent_again():
    version = read()["version"]
    again = read(10, known=version)
    assert again["layers"] is None and again["alive"] == [3, 14, 1]
    assert read(known="older")["layers"] is not None


def test_only_what_is_shown_is_read():
    provider = Provider()
    read(provider=provider)
    assert sorted(provider.asked) == sorted(set(POINTS) - {"sparsity/last/bias", *NOT_SHOWN})


NOT_SHOWN = ["dead_units/first/kernel"]  # its parts are


def test_earlier_versions_did_not_say_the_layers():
    fields = ("name", "path", "shape", "size", "units", "penalty")
    provider = Provider([{key: each[key] for key in fields} for each in WEIGHTS])
    found = read(10, provider)
    assert [layer["name"] for layer in found["layers"]] == ["last", "first", "lstm/cell"]
    assert found["alive"] == [1, 0, None]  # of the recurrent kernel there are parts only


@pytest.mark.parametrize("marker", ["", "[]", '{"weights": [{}]}', '{"weights": []}'])
def test_without_weights_there_is_no_layer(marker):
    provider = Provider()
    provider.marker = marker
    found = read(provider=provider)
    assert found["layers"] == found["alive"] == found["kernels"] == []
    assert provider.asked == []


def test_a_run_that_is_not_there():
    assert read(run=Source(None, "", "gone"))["layers"] == []


@pytest.mark.parametrize("damage", [{"size": 0}, {"size": -3}, {"units": -1}, {"units": 10**30}])
def test_odd_sizes_break_nothing(damage):
    found = read(10, Provider([WEIGHTS[0] | damage]))
    assert len(found["layers"]) == len(found["alive"]) <= 1
