"""The tab's routes in a real TensorBoard, with both of its readers and below a path prefix."""

import http.client
import json
import time
import urllib.parse
import urllib.request

import numpy as np
import pytest
from helpers import dashboard
from helpers.backends import BACKEND
from helpers.marks import slow
from helpers.sparsity_logs import COMPACTION, HTML, Log, model, values, write_runs

pytestmark = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="the files do not depend on the backend"
)

PLUGIN = "data/plugin/kerasreg_sparsity"
NAMES = ["first/kernel", "first/bias", "größer 2/kernel", f"{HTML}/kernel"]


@pytest.fixture(scope="module", params=[slow(("true", "")), ("false", "/deep/below")])
def server(request, tmp_path_factory):
    logs = tmp_path_factory.mktemp("logs")
    write_runs(logs)
    log = Log(logs / "resumed", model(units=7))
    for step in range(300):
        log.write(step, {"all/sparsity": step, "sparsity/first/kernel": np.inf})
    log.close()
    log = Log(logs / "resumed", model(units=9), first_step=300)
    log.write(300, {"all/sparsity": -np.inf})
    log.close()
    load_fast, prefix = request.param
    arguments = ["--load_fast", load_fast]
    with dashboard.tensorboard(logs, path_prefix=prefix, extra_args=arguments) as address:
        wait_until_all_is_read(address)
        yield address


def wait_until_all_is_read(address):
    """TensorBoard answers before it has read every run."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        runs = [table(address, run=name) for name in ("first", "second", "resumed")]
        steps = [run["totals"].get("sparsity", [[None]])[-1][0] for run in runs]
        if steps == [10, 40, 300]:
            return
        time.sleep(0.2)
    raise RuntimeError("TensorBoard does not read the logs.")


def get(address):
    with urllib.request.urlopen(address, timeout=20) as reply:
        return reply.headers.get_content_type(), reply.read().decode()


def table(server, **query):
    kind, text = get(f"{server}/{PLUGIN}/table?{urllib.parse.urlencode(query)}")
    assert kind == "application/json"
    assert "NaN" not in text.replace('"NaN"', "")
    return json.loads(text)


def test_every_number_that_was_logged(server):
    found = table(server, run="second")
    assert found["runs"] == ["resumed", "second", "first"]
    assert found["run"] == "second"
    histories = {f"all/{metric}": history for metric, history in found["totals"].items()}
    for weight in found["weights"]:
        for metric, history in weight["series"].items():
            histories[f"{metric}/{weight['name']}"] = history
    assert set(histories) == set(values(0))
    for tag, history in histories.items():
        assert [step for step, _ in history] == [0, 10, 20, 30, 40]
        expected = [values(step)[tag] for step, _ in history]
        np.testing.assert_allclose([float(v) for _, v in history], expected, rtol=3e-7)


def test_weights_are_described_in_the_order_of_the_model(server):
    weights = table(server, run="first")["weights"]
    assert [weight["name"] for weight in weights] == NAMES
    assert [weight["units"] for weight in weights] == [12, 0, 4, 3]
    assert [weight["shape"] for weight in weights] == [[6, 12], [12], [12, 4], [4, 3]]
    lasso = "GroupLasso(strength=0.0001, axis=0, size_scaling=True)"
    assert weights[2]["penalty"] == f"L2(l2=1e-05); {lasso}, after the step"
    parts = [(weight["parts"], weight["part"]) for weight in weights]
    assert parts == [(0, ""), (0, ""), (12, "inputs"), (0, "")]


def test_what_compaction_leaves_of_the_run(server):
    assert table(server, run="second")["compaction"] == COMPACTION
    assert table(server, run="first")["compaction"] == {}


def test_a_resumed_run_has_its_latest_weights_and_few_points(server):
    found = table(server, run="resumed")
    assert found["weights"][0]["units"] == 9
    history = found["totals"]["sparsity"]
    assert len(history) == 100 and history[-1] == [300, "-Infinity"]
    assert found["weights"][0]["series"]["sparsity"][-1] == [299, "Infinity"]


@pytest.mark.parametrize("query", [{}, {"run": "gone"}, {"run": "plain"}, {"run": "../second"}])
def test_without_a_run_of_that_name_it_is_the_newest(server, query):
    assert table(server, **query)["run"] == "resumed"


def test_an_experiment_has_the_same_routes(server):
    kind, text = get(f"{server}/experiment/any/{PLUGIN}/table?run=first")
    assert kind == "application/json" and json.loads(text)["run"] == "first"


@pytest.mark.parametrize(
    "name, kind, part",
    [
        ("index.js", "text/javascript", "export function render"),
        ("table.js", "text/javascript", "class WeightTable"),
        ("style.css", "text/css", "color-scheme: dark"),
    ],
)
def test_static_files(server, name, kind, part):
    found, text = get(f"{server}/{PLUGIN}/{name}")
    assert found == kind and part in text


@pytest.mark.parametrize(
    "path",
    [
        "../plugin.py",
        "..%2Fplugin.py",
        "static/../../plugin.py",
        "index.js/../../plugin.py",
        "%2Fetc%2Fpasswd",
        "plugin.py",
        "",
    ],
)
def test_nothing_else_is_served(server, path):
    parts = urllib.parse.urlsplit(server)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)  # sends `..` as it is
    connection.request("GET", f"{parts.path}/{PLUGIN}/{path}")
    assert connection.getresponse().status == 404
    connection.close()


def test_the_tab_is_there(server):
    listed = json.loads(get(f"{server}/data/plugins_listing")[1])["kerasreg_sparsity"]
    assert listed["enabled"] and listed["tab_name"] == "Sparsity"


@pytest.mark.slow
def test_without_our_data_there_is_no_tab(tmp_path):
    log = Log(tmp_path / "plain")
    log.write(0, {"sparsity/first/kernel": 0.5})
    log.close()
    with dashboard.tensorboard(tmp_path) as address:
        assert not json.loads(get(f"{address}/data/plugins_listing")[1])["kerasreg_sparsity"][
            "enabled"
        ]
        empty = {"runs": [], "weights": [], "groups": 0, "totals": {}, "compaction": {}}
        assert table(address, run="plain") == empty | {"run": None}
