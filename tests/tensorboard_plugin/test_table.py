"""How much the table asks the server for."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from kerasreg_tensorboard.marker import described
from kerasreg_tensorboard.names import COMPACTION_TAG, WEIGHTS_TAG
from kerasreg_tensorboard.table import MARKERS_KEPT, MAX_POINTS_IN_ALL, Source, TableReader

WEIGHT = {"name": "a", "path": "m/a", "shape": [2], "size": 2, "units": 2, "penalty": ""}


class Provider:
    """Has a number of weights, and as many points of each as it is asked for."""

    def __init__(self, weights):
        names = [f"{i}/kernel" for i in range(weights)]
        self.marker = json.dumps({"weights": [WEIGHT | {"name": name} for name in names]})
        self.written = 0.0
        self.read = []

    def list_runs(self, ctx, *, experiment_id):
        return [SimpleNamespace(run_name="run", start_time=None)]

    def list_tensors(self, ctx, *, experiment_id, plugin_name):
        series = SimpleNamespace(max_step=0, max_wall_time=self.written)
        return {"run": {WEIGHTS_TAG: series}}

    def read_tensors(self, ctx, *, run_tag_filter, **_):
        self.read += run_tag_filter.tags
        point = SimpleNamespace(numpy=np.array(self.marker, dtype=object))
        return {"run": {WEIGHTS_TAG: [point]} if WEIGHTS_TAG in run_tag_filter.tags else {}}

    def read_scalars(self, ctx, *, downsample, run_tag_filter, **_):
        points = [SimpleNamespace(step=step, value=step / 3) for step in range(downsample)]
        return {"run": dict.fromkeys(run_tag_filter.tags, points)}


SOURCE = Source(None, "", "run")


def weights_of(provider):
    """What the page is told, a dictionary for each weight."""
    fields = TableReader(provider).overview(SOURCE)["weights"]
    return [dict(zip(fields, row, strict=True)) for row in zip(*fields.values(), strict=True)]


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("asked, points", [(1, 100), (40, 100), (200, 25), (1000, 20)])
@pytest.mark.parametrize("step", [None, 99_999])
def test_the_answer_stays_small(asked, points, step):
    reader, metrics = TableReader(Provider(5000)), ("sparsity", "dead", "strength", "max_abs")
    rows = reader.rows(SOURCE, metrics, step, range(asked))
    lengths = [len(cell["series"]) for row in rows for cell in row["cells"].values()]
    assert lengths == [points] * 4 * asked
    assert sum(lengths) <= MAX_POINTS_IN_ALL or points == 20


def test_a_number_at_a_step_is_the_last_up_to_it():
    reader = TableReader(Provider(2))
    read = {step: reader.columns(SOURCE, ["sparsity"], step)["sparsity"] for step in (-1, 3, 2000)}
    assert read == {-1: [None, None], 3: [1.0, 1.0], 2000: [333.0, 333.0]}
    ((row,),) = [reader.rows(SOURCE, ["sparsity"], 3, [1])]
    assert row["cells"]["sparsity"]["value"] == 1.0
    assert row["cells"]["sparsity"]["series"][-1] == (999, 333.0)
    assert reader.rows(SOURCE, ["sparsity"], -1, [1])[0]["cells"] == {}


@pytest.mark.parametrize("numbers", [[2], [-1], [10**30]])
def test_rows_that_are_not_there(numbers):
    assert TableReader(Provider(2)).rows(SOURCE, ["sparsity"], None, numbers) == [
        {"path": "", "cells": {}}
    ]


def test_weights_are_told_and_read_again_only_where_they_changed():
    provider = Provider(2)
    reader = TableReader(provider)
    first = reader.overview(SOURCE)
    again = reader.overview(SOURCE, known=first["version"])
    assert len(first["weights"]["name"]) == 2 and again["weights"] is None
    assert provider.read.count(WEIGHTS_TAG) == 1
    provider.written, provider.marker = 1.0, Provider(3).marker
    assert len(reader.overview(SOURCE, known=first["version"])["weights"]["name"]) == 3


def test_as_many_markers_are_kept_as_somebody_looks_at():
    provider = Provider(2)
    provider.list_tensors = lambda ctx, **_: {
        str(i): {WEIGHTS_TAG: SimpleNamespace(max_step=0, max_wall_time=0.0)} for i in range(20)
    }
    reader = TableReader(provider)
    for i in range(20):
        reader.overview(Source(None, "", str(i)))
    assert list(reader._markers) == [("", str(i)) for i in range(20 - MARKERS_KEPT, 20)]


@pytest.mark.parametrize(
    ("parts", "shown"), [({}, "dead_units"), ({"parts": 3, "part": "heads"}, "dead_parts")]
)
def test_parts_are_read_where_a_weight_has_them_else_its_units(parts, shown):
    """Version 0.1 said nothing of them."""
    provider = Provider(0)
    groups = {"groups": 5} if parts else {}
    provider.marker = json.dumps({"weights": [WEIGHT | parts]} | groups)
    provider.read_scalars = lambda ctx, run_tag_filter, **_: {
        "run": {tag: [SimpleNamespace(step=0, value=len(tag))] for tag in run_tag_filter.tags}
    }
    reader = TableReader(provider)
    assert reader.columns(SOURCE, ["dead"], None) == {"dead": [len(f"{shown}/a")]}
    [weight] = weights_of(provider)
    assert (weight["parts"], weight["part"]) == (parts.get("parts", 0), parts.get("part", ""))
    assert reader.overview(SOURCE)["groups"] == groups.get("groups", 0)


def test_a_dropout_rate_is_that_of_the_layer():
    provider = Provider(0)
    weights = [WEIGHT | {"dropout": "drop"}, WEIGHT]
    provider.marker = json.dumps({"weights": weights})
    provider.read_scalars = lambda ctx, run_tag_filter, **_: {
        "run": {tag: [SimpleNamespace(step=0, value=0.5)] for tag in run_tag_filter.tags}
        if set(run_tag_filter.tags) == {"dropout_rate/drop"}
        else {}
    }
    assert TableReader(provider).columns(SOURCE, ["dropout_rate"], None) == {
        "dropout_rate": [0.5, None]
    }


def test_earlier_versions_did_not_say_where_a_layer_stands():
    provider = Provider(0)
    names = ["block/dense/kernel", "block/dense/bias", "kernel"]
    provider.marker = json.dumps({"weights": [WEIGHT | {"name": name} for name in names]})
    tensor = np.array(provider.marker, dtype=object)
    found, _ = described(tensor)
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
    assert TableReader(provider).overview(SOURCE)["runs"] == ["run"]
    assert weights_of(provider) == []


@pytest.mark.parametrize("tensor", [np.zeros(3), np.zeros(0), np.array(b"\xff", dtype=object)])
def test_a_tensor_that_is_no_marker(tensor):
    provider = Provider(0)
    point = SimpleNamespace(numpy=tensor)
    provider.read_tensors = lambda ctx, **_: {"run": {WEIGHTS_TAG: [point]}}
    assert weights_of(provider) == []


SIZES = {"parameters": [3, 2], "multiply_adds": [2, 1]}
NO_SIZES = [{}, [], None, *(SIZES | {"parameters": x} for x in ([1], [1, 2, 3], 3, None, ["x", 1]))]


@pytest.mark.parametrize("sizes", [SIZES, *NO_SIZES])
def test_what_compaction_leaves(sizes):
    """Both numbers of both, or nothing."""
    provider = Provider(2)
    marker = SimpleNamespace(numpy=np.array(provider.marker, dtype=object))
    point = SimpleNamespace(numpy=np.array(json.dumps(sizes), dtype=object))
    tensors = {WEIGHTS_TAG: [marker], COMPACTION_TAG: [point]}
    provider.read_tensors = lambda ctx, **_: {"run": tensors}
    found = TableReader(provider).overview(SOURCE)["compaction"]
    assert found == (SIZES if sizes is SIZES else {})
    assert len(weights_of(provider)) == 2
