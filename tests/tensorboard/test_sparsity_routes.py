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
SHOWN = ["sparsity", "dead", "penalty_share", "strength"]
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
        steps = [(run["steps"] or [None])[-1] for run in runs]
        if steps == [10, 40, 300]:
            return
        time.sleep(0.2)
    raise RuntimeError("TensorBoard does not read the logs.")


def get(address):
    with urllib.request.urlopen(address, timeout=20) as reply:
        return reply.headers.get_content_type(), reply.read().decode()


def ask(server, route, **query):
    text_of_query = urllib.parse.urlencode(query, doseq=True)
    kind, text = get(f"{server}/{PLUGIN}/{route}?{text_of_query}")
    assert kind == "application/json"
    assert "NaN" not in text.replace('"NaN"', "")
    return json.loads(text)


def table(server, **query):
    return ask(server, "table", **query)


def rows(server, run, metrics, **query):
    return ask(server, "rows", run=run, metric=metrics, weight=range(len(NAMES)), **query)


@pytest.mark.slow
def test_every_number_that_was_logged(server):
    found = table(server, run="second")
    assert found["runs"] == ["resumed", "second", "first"]
    assert (found["run"], found["steps"]) == ("second", [0, 10, 20, 30, 40])
    cells = {f"all/{metric}": cell for metric, cell in found["totals"].items()}
    for name, parts, row in zip(
        NAMES, found["weights"]["parts"], rows(server, "second", SHOWN), strict=True
    ):
        for metric, cell in row["cells"].items():
            tag = metric if metric != "dead" else "dead_parts" if parts else "dead_units"
            cells[f"{tag}/{name}"] = cell
    assert set(cells) == set(values(0))
    for tag, cell in cells.items():
        assert [step for step, _ in cell["series"]] == [0, 10, 20, 30, 40]
        expected = [values(step)[tag] for step, _ in cell["series"]]
        np.testing.assert_allclose([float(v) for _, v in cell["series"]], expected, rtol=3e-7)
        assert cell["value"] == cell["series"][-1][1]


@pytest.mark.parametrize("step, shown", [(10, 10), (25, 20), (10**9, 40)])
def test_numbers_of_a_step(server, step, shown):
    """Those of the last point up to it."""
    column = ask(server, "columns", run="second", metric="sparsity", step=step)["sparsity"]
    assert column == pytest.approx([values(shown)[f"sparsity/{name}"] for name in NAMES])
    of_rows = rows(server, "second", ["sparsity"], step=step)
    assert [row["cells"]["sparsity"]["value"] for row in of_rows] == column
    totals = table(server, run="second", step=step)["totals"]
    assert totals["sparsity"]["value"] == pytest.approx(values(shown)["all/sparsity"])
    assert len(totals["sparsity"]["series"]) == 5


@pytest.mark.parametrize(
    "query", [{"metric": "no such"}, {}, {"run": "gone", "metric": "sparsity"}]
)
def test_what_is_not_there_is_empty(server, query):
    query = {"run": "second"} | query
    assert all(not column for column in ask(server, "columns", **query).values())
    cells = [row["cells"] for row in ask(server, "rows", **query, weight=[0, "x", 99])]
    assert cells == [{}, {}]


def test_weights_are_described_in_the_order_of_the_model(server):
    weights = table(server, run="first")["weights"]
    assert weights["name"] == NAMES
    assert weights["units"] == [12, 0, 4, 3]
    assert weights["shape"] == [[6, 12], [12], [12, 4], [4, 3]]
    assert weights["size"] == [72, 12, 48, 12]
    lasso = "GroupLasso(strength=0.0001, axis=0, size_scaling=True)"
    assert weights["penalty"][2] == f"L2(l2=1e-05); {lasso}, after the step"
    assert weights["parts"] == [0, 0, 12, 0] and weights["part"] == ["", "", "inputs", ""]
    paths = [row["path"] for row in rows(server, "first", [])]
    assert [path.partition("/")[2] for path in paths] == NAMES


def test_what_compaction_leaves_of_the_run(server):
    assert table(server, run="second")["compaction"] == COMPACTION
    assert table(server, run="first")["compaction"] == {}


def test_a_resumed_run_has_its_latest_weights_and_few_points(server):
    found = table(server, run="resumed")
    assert found["weights"]["units"][0] == 9
    assert found["steps"] == list(range(301))
    history = found["totals"]["sparsity"]["series"]
    assert len(history) == 100 and history[-1] == [300, "-Infinity"]
    cell = rows(server, "resumed", ["sparsity"])[0]["cells"]["sparsity"]
    assert len(cell["series"]) == 100 and cell["series"][-1] == [299, "Infinity"]


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
        ("table.js", "text/javascript", "class LineTable"),
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


@pytest.mark.slow
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
        found = table(address, run="plain")
        assert (found["runs"], found["run"], found["weights"]) == ([], None, None)
