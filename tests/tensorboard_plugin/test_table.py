"""How much the table asks the server for."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from kerasreg_tensorboard.names import COMPACTION_TAG, WEIGHTS_TAG
from kerasreg_tensorboard.table import MAX_POINTS_IN_ALL, TableReader

WEIGHT = {"name": "a", "path": "m/a", "shape": [2], "size": 2, "units": 2, "penalty": ""}


class Provider:
    """Has a number of weights, and as many points of each as it is asked for."""

    def __init__(self, weights):
        names = [f"{i}/kernel" for i in range(weights)]
        self.marker = json.dumps({"weights": [WEIGHT | {"name": name} for name in names]})

    def list_runs(self, ctx, *, experiment_id):
        return [SimpleNamespace(run_name="run", start_time=None)]

    def list_tensors(self, ctx, *, experiment_id, plugin_name):
        return {"run": {WEIGHTS_TAG: None}}

    def read_tensors(self, ctx, *, run_tag_filter, **_):
        point = SimpleNamespace(numpy=np.array(self.marker, dtype=object))
        return {"run": {WEIGHTS_TAG: [point]}}

    def read_scalars(self, ctx, *, downsample, run_tag_filter, **_):
        points = [SimpleNamespace(step=step, value=1 / 3) for step in range(downsample)]
        return {"run": dict.fromkeys(run_tag_filter.tags, points)}


@pytest.mark.parametrize("weights, points", [(0, 100), (10, 100), (1000, 24), (5000, 20)])
def test_the_answer_stays_small(weights, points):
    table = TableReader(Provider(weights), None, "").read(None)
    assert len(table["weights"]) == weights
    assert len(table["totals"]["sparsity"]) == points
    lengths = [len(history) for w in table["weights"] for history in w["series"].values()]
    assert lengths == [points] * 4 * weights
    assert sum(lengths) <= MAX_POINTS_IN_ALL or points == 20


@pytest.mark.parametrize(
    ("parts", "shown"), [({}, "dead_units"), ({"parts": 3, "part": "heads"}, "dead_parts")]
)
def test_parts_are_read_where_a_weight_has_them_else_its_units(parts, shown):
    """Version 0.1 said nothing of them."""
    provider = Provider(0)
    groups = {"groups": 5} if parts else {}
    provider.marker = json.dumps({"weights": [WEIGHT | parts]} | groups)
    table = TableReader(provider, None, "").read(None)
    [weight] = table["weights"]
    assert {key for key in weight["series"] if key.startswith("dead")} == {shown}
    assert (weight["parts"], weight["part"]) == (parts.get("parts", 0), parts.get("part", ""))
    assert table["groups"] == groups.get("groups", 0)


def test_earlier_versions_did_not_say_where_a_layer_stands():
    provider = Provider(0)
    names = ["block/dense/kernel", "block/dense/bias", "kernel"]
    provider.marker = json.dumps({"weights": [WEIGHT | {"name": name} for name in names]})
    found = TableReader(provider, None, "").read(None)["weights"]
    places = [(weight["layer"], weight["order"], weight["dropout"]) for weight in found]
    assert places == [("block/dense", 0, ""), ("block/dense", 1, ""), ("", 2, "")]


BROKEN = ["", "{}", "[]", "null", '{"weights": 3}', '{"weights": [{}]}', '{"weights": ["a"]}']
BROKEN += [json.dumps({"weights": [WEIGHT | {"size": float("nan")}]}), "[" * 100_000]
DAMAGE = [
    *({"size": size} for size in ("1e999", None, "x", [])),
    *({key: number} for key in ("units", "parts", "order") for number in ("-1e999", None)),
    *({"shape": shape} for shape in ("abc", "12", 3, None, [None], ["x"], [[1]], {"1": 1})),
    *(
        {key: "half of a pair: \ud800"}
        for key in ("name", "path", "penalty", "part", "layer", "dropout")
    ),
]
BROKEN += [json.dumps({"weights": [WEIGHT, WEIGHT | damage]}) for damage in DAMAGE]
BROKEN += [json.dumps({"weights": [WEIGHT | {"shape": ["?"]}]}).replace('"?"', "1e999")]
BROKEN = [marker.replace('"1e999"', "1e999").replace('"-1e999"', "-1e999") for marker in BROKEN]


@pytest.mark.parametrize("marker", BROKEN, ids=lambda marker: marker[-60:])
def test_a_marker_that_is_none(marker):
    """The page still gets the list of runs, to choose another."""
    provider = Provider(0)
    provider.marker = marker
    table = TableReader(provider, None, "").read(None)
    assert table["runs"] == ["run"] and table["weights"] == []


@pytest.mark.parametrize("tensor", [np.zeros(3), np.zeros(0), np.array(b"\xff", dtype=object)])
def test_a_tensor_that_is_no_marker(tensor):
    provider = Provider(0)
    point = SimpleNamespace(numpy=tensor)
    provider.read_tensors = lambda ctx, **_: {"run": {WEIGHTS_TAG: [point]}}
    assert TableReader(provider, None, "").read(None)["weights"] == []


SIZES = {"parameters": [3, 2], "multiply_adds": [2, 1]}
NO_SIZES = [{}, [], None, *(SIZES | {"parameters": x} for x in ([1], [1, 2, 3], 3, None, ["x", 1]))]


@pytest.mark.parametrize("sizes", [SIZES, *NO_SIZES])
def test_what_compaction_leaves(sizes):
    """Both numbers of both, or nothing."""
    provider = Provider(2)
    marker = provider.read_tensors(None, run_tag_filter=None)["run"]
    point = SimpleNamespace(numpy=np.array(json.dumps(sizes), dtype=object))
    provider.read_tensors = lambda ctx, **_: {"run": marker | {COMPACTION_TAG: [point]}}
    table = TableReader(provider, None, "").read(None)
    assert table["compaction"] == (SIZES if sizes is SIZES else {})
    assert len(table["weights"]) == 2
