"""What is read of many runs, from a provider that holds what it was given."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.compare_logs import PARAMETERS, marker
from tensorboard.plugins.hparams import metadata, plugin_data_pb2

from kerasreg_tensorboard import compare
from kerasreg_tensorboard.compare import CompareReader
from kerasreg_tensorboard.names import PLUGIN_NAME, WEIGHTS_TAG


class Provider:
    """Runs as `{name: {"scalars", "marker", "hparams", "start"}}`, and what was listed of them."""

    def __init__(self, **runs):
        self.runs = runs
        self.read, self.listed = [], []

    def list_runs(self, ctx, *, experiment_id):
        times = {name: run.get("start") for name, run in self.runs.items()}
        return [SimpleNamespace(run_name=n, start_time=t) for n, t in times.items()]

    def list_tensors(self, ctx, *, experiment_id, plugin_name, run_tag_filter):
        (tag,) = run_tag_filter.tags
        if plugin_name == PLUGIN_NAME:
            assert tag == WEIGHTS_TAG
            times = {n: run.get("written", 1) for n, run in self.runs.items() if "marker" in run}
            return {n: {tag: SimpleNamespace(max_wall_time=t)} for n, t in times.items()}
        assert (plugin_name, tag) == ("hparams", "_hparams_/session_start_info")
        found = {name: run["hparams"] for name, run in self.runs.items() if "hparams" in run}
        return {name: {tag: SimpleNamespace(plugin_content=c)} for name, c in found.items()}

    def read_tensors(self, ctx, *, experiment_id, plugin_name, downsample, run_tag_filter):
        self.read += run_tag_filter.runs
        markers = {name: json.dumps(self.runs[name]["marker"]) for name in run_tag_filter.runs}
        arrays = {name: np.array(text, dtype=object) for name, text in markers.items()}
        return {n: {WEIGHTS_TAG: [SimpleNamespace(numpy=a)]} for n, a in arrays.items()}

    def list_scalars(self, ctx, *, experiment_id, plugin_name, run_tag_filter):
        self.listed.append(sorted(run_tag_filter.runs))
        return {n: self.runs[n].get("scalars", {}) for n in run_tag_filter.runs if n in self.runs}

    def read_last_scalars(self, ctx, *, experiment_id, plugin_name, run_tag_filter):
        return {
            name: {
                tag: SimpleNamespace(step=step, value=value)
                for tag, (step, value) in run.get("scalars", {}).items()
                if tag in run_tag_filter.tags
            }
            for name, run in self.runs.items()
        }


def run(penalty="", **scalars):
    tags = {name.replace("__", "/"): point for name, point in scalars.items()}
    return {"marker": marker(penalty), "scalars": tags}


def read(provider):
    answer = CompareReader(provider).read(None, "")
    json.dumps(answer, allow_nan=False)
    return answer


def by_name(answer):
    return {run["name"]: run for run in answer["runs"]}


def hparams(**values):
    start = plugin_data_pb2.SessionStartInfo()
    for name, value in values.items():
        field = {bool: "bool_value", str: "string_value"}.get(type(value), "number_value")
        setattr(start.hparams[name], field, value)
    data = plugin_data_pb2.HParamsPluginData(session_start_info=start)
    return metadata.create_summary_metadata(data).plugin_data.content


def test_the_last_point_of_every_number_of_every_run():
    nan, inf = float("nan"), float("inf")
    first = run(all__sparsity=(7, 0.1), all__val_accuracy=(5, nan), sparsity__a=(7, 1.0))
    second = run(all__sparsity=(9, 1 / 3), all__loss=(9, -inf))
    answer = read(Provider(first=first, second=second, plain={"scalars": first["scalars"]}))
    assert answer["numbers"] == ["loss", "sparsity", "val_accuracy"]
    found = by_name(answer)
    assert set(found) == {"first", "second"}
    assert found["first"]["points"] == [None, (7, 0.1), (5, "NaN")]
    assert found["second"]["points"] == [(9, "-Infinity"), (9, 0.3333333), None]
    assert found["first"]["parameters"] == PARAMETERS


def test_the_newest_run_comes_first_then_by_name():
    runs = {name: run() for name in ("b", "a", "new", "old")}
    runs["new"]["start"], runs["old"]["start"] = 3.0, 1.0
    assert [each["name"] for each in read(Provider(**runs))["runs"]] == ["new", "old", "a", "b"]


def test_hyper_parameters_are_those_that_were_chosen():
    chosen = {"seed": 123456789, "rate": 1e-4, "name": "adam", "nesterov": True, "big": 1e300}
    runs = {"run": run() | {"hparams": hparams(**chosen)}, "other": run()}
    found = by_name(read(Provider(**runs)))
    assert found["run"]["hparams"] == chosen
    assert found["run"]["hparams"]["nesterov"] is True
    assert found["other"]["hparams"] == {}


@pytest.mark.parametrize("content", [b"", b"\xff\xff", b"\x08\x63", hparams()[:-1] + b"\x7f"])
def test_hyper_parameters_that_are_none(content):
    assert by_name(read(Provider(run=run() | {"hparams": content})))["run"]["hparams"] == {}


def test_hyper_parameters_that_are_no_json():
    values = hparams(rate=float("nan"), long="x" * 1000)
    found = by_name(read(Provider(run=run() | {"hparams": values})))["run"]["hparams"]
    assert found["rate"] == "NaN"
    assert len(found["long"]) == 200 and found["long"].endswith("…")


def test_penalties_in_words_the_most_frequent_first():
    several = run()
    names = ["L2(l2=1)"] * 2 + [""] + ["L1(l1=1)"] * 3
    several["marker"]["weights"] = [
        several["marker"]["weights"][0] | {"name": f"{i}", "penalty": name}
        for i, name in enumerate(names)
    ]
    several["scalars"] = {"strength/0": (4, 0.25), "strength/3": (3, 0.5), "strength/5": (5, 9.0)}
    found = by_name(read(Provider(run=several, plain=run())))
    assert found["run"]["penalties"] == [("L1(l1=1)", 3), ("L2(l2=1)", 2)]
    assert found["run"]["strength"] == (3, 0.5)  # of the first weight of each penalty
    assert found["plain"]["penalties"] == [] and found["plain"]["strength"] is None


def test_a_strength_that_is_no_number_is_said():
    found = by_name(read(Provider(run=run("L1", strength__first__kernel=(1, float("nan"))))))
    assert found["run"]["strength"] == (1, "NaN")


def test_a_marker_that_is_none_leaves_the_run():
    broken = {"marker": [], "scalars": {"all/sparsity": (1, 0.5)}}
    (found,) = read(Provider(run=broken))["runs"]
    assert found["parameters"] == 0 and found["points"] == [(1, 0.5)]


def test_nothing_is_read_twice_that_does_not_change():
    provider = Provider(a=run(), b=run())
    reader = CompareReader(provider)
    for _ in range(3):
        reader.read(None, "")
    assert sorted(provider.read) == ["a", "b"]
    provider.runs["b"]["written"], provider.runs["b"]["marker"] = 2, marker("L1(l1=1)")
    assert by_name(reader.read(None, ""))["b"]["penalties"] == [("L1(l1=1)", 2)]
    assert sorted(provider.read) == ["a", "b", "b"]
    del provider.runs["a"]
    assert set(by_name(reader.read(None, ""))) == {"b"}


def test_the_tags_of_many_weights_are_listed_in_turn(monkeypatch):
    """The oldest runs first; after a few requests every number of every run is known."""
    monkeypatch.setattr(compare, "WEIGHTS_LISTED_AT_ONCE", 4)  # a run has two
    runs = {f"{i}": run(**{f"all__number_{i}": (1, 1.0)}) | {"start": float(i)} for i in range(5)}
    provider = Provider(**runs)
    reader = CompareReader(provider)
    numbers = [reader.read(None, "")["numbers"] for _ in range(4)]
    assert provider.listed == [["0", "1"], ["2", "3"], ["0", "4"], ["1", "2"]]
    assert [len(each) for each in numbers] == [2, 4, 5, 5]
    provider.runs["1"]["scalars"]["all/late"] = (2, 1.0)
    for _ in range(3):
        numbers = reader.read(None, "")["numbers"]
    assert "late" in numbers


def test_a_run_with_more_weights_than_that_is_listed_alone(monkeypatch):
    monkeypatch.setattr(compare, "WEIGHTS_LISTED_AT_ONCE", 1)
    provider = Provider(a=run(all__x=(1, 1.0)), b=run(all__y=(1, 1.0)))
    reader = CompareReader(provider)
    assert [reader.read(None, "")["numbers"] for _ in range(2)] == [["y"], ["x", "y"]]


def test_experiments_are_kept_apart():
    reader = CompareReader(Provider(a=run(all__x=(1, 1.0))))
    assert reader.read(None, "one")["numbers"] == ["x"]
    reader.provider = Provider(b=run(all__y=(1, 1.0)))
    assert reader.read(None, "two")["numbers"] == ["y"]


def test_no_runs():
    assert read(Provider()) == {"numbers": [], "runs": []}


def test_the_answer_for_500_runs_stays_small():
    totals = {f"all__metric_number_{i}": (10**6, 1 / 3) for i in range(30)}
    chosen = hparams(**{f"parameter_{i}": "x" * 20 for i in range(20)})
    runs = {f"some/folder/run-{i}": run("L1(l1=1)", **totals) for i in range(500)}
    provider = Provider(**{name: each | {"hparams": chosen} for name, each in runs.items()})
    assert len(json.dumps(read(provider))) < 2e6
