"""How to look at a log: what is printed, and the server that `kerasreg.show` starts."""

import importlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import webbrowser
from types import SimpleNamespace

import pytest
from helpers import dashboard
from helpers.dashboard import find_all, wait_for
from helpers.models import classifier, data
from helpers.processes import environment

import kerasreg as kr
from kerasreg.tensorboard import show as module
from kerasreg.tensorboard.show import invitation
from kerasreg_tensorboard.names import PLUGIN_NAME

FOLDERS = {  # and what TensorBoard is to show
    "/data/runs/first": "/data/runs",
    "/data/runs/first/": "/data/runs",
    "/data/my runs/it's $1 & *": "/data/my runs",
    "/data/" + "a long name, " * 40 + "/run": "/data/" + "a long name, " * 40,
    "gs://bucket/runs/first": "gs://bucket/runs",
    "gs://bucket/first": "gs://bucket",
    "gs://bucket": "gs://bucket",
    "/first": "/first",
    os.path.abspath("first"): os.path.abspath("first"),  # not all of the project
    os.path.expanduser("~/first"): os.path.expanduser("~/first"),
}


@pytest.mark.parametrize("log_dir, shown", FOLDERS.items(), ids=range(len(FOLDERS)))
def test_invitation(log_dir, shown):
    _, command, link, tabs = invitation(log_dir).split("\n")
    assert shlex.split(command) == ["tensorboard", "--logdir", shown]
    assert link.startswith("    http://localhost:6006/") and len(link.strip()) <= 150
    assert "CUSTOM SCALARS" in tabs and "SPARSITY" in tabs


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs of a test")
    for name in ("first", "second"):
        logger = kr.RegularizationLogger(folder / name, verbose=0)
        classifier().fit(*data(), 16, epochs=3, verbose=0, callbacks=[logger])
    return folder


@pytest.fixture(scope="module")
def server(logs):
    with kr.show(logs) as server:
        yield server


def fetch(address):
    with urllib.request.urlopen(address, timeout=30) as reply:
        return reply.read().decode()


def answers(address):
    try:
        fetch(address)
    except (urllib.error.URLError, ConnectionError):
        return False
    return True


def wait_until(condition, timeout=30):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_it_serves_the_runs_and_the_tab(server):
    assert "<title>TensorBoard</title>" in fetch(server.url)
    wait_until(lambda: json.loads(fetch(f"{server.url}/data/runs")) == ["first", "second"])
    assert PLUGIN_NAME in json.loads(fetch(f"{server.url}/data/plugins_listing"))


def test_again_it_is_the_same_server(server, logs, capsys):
    assert kr.show(str(logs), 0) is server
    assert capsys.readouterr().out == f"TensorBoard of {logs}: {server.url}{module.FIRST_TAB}\n"
    assert repr(server) == f"<TensorBoard of {str(logs)!r} at {server.url}>"


@pytest.mark.slow
def test_it_ends_when_it_is_closed(tmp_path):
    with kr.show(tmp_path / "not there yet") as server:
        assert server.is_running and answers(server.url)
        port = int(server.url.rpartition(":")[2])
    assert not server.is_running and not answers(server.url)
    server.close()
    again = kr.show(tmp_path / "not there yet", port)
    assert again is not server and again.url == server.url
    with pytest.raises(RuntimeError, match=f"(?s)cannot serve '{tmp_path}' at port {port}.*in use"):
        kr.show(tmp_path, port)
    again.close()


def test_it_says_what_keeps_the_server_from_starting(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "tensorboard.py").write_text("raise ImportError('half an installation')")
    with pytest.raises(RuntimeError, match="(?s)cannot serve .*half an installation"):
        kr.show(tmp_path)
    monkeypatch.setattr(module, "TIMEOUT", 0.5)
    (tmp_path / "tensorboard.py").write_text("import time; time.sleep(60)")
    with pytest.raises(RuntimeError, match="did not answer within 0.5 s"):
        kr.show(tmp_path)


END = """
import os, signal, sys
import kerasreg as kr
server = kr.show(sys.argv[1])
heavy = {"tensorboard.main", "tensorboard.program", "tensorboard.backend", "werkzeug"}
print(server.url, *heavy & set(sys.modules), flush=True)
os.kill(os.getpid(), getattr(signal, sys.argv[2])) if len(sys.argv) > 2 else None
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", [[], ["SIGTERM"], ["SIGKILL"]], ids=["end", "term", "kill"])
def test_it_ends_with_python(tmp_path, end):
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", END, str(tmp_path), *end]
    run = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    assert run.returncode == (-getattr(signal, end[0]) if end else 0), run.stderr
    address = run.stdout.splitlines()[-1]
    assert address.startswith("http://localhost:") and " " not in address
    wait_until(lambda: not answers(address))


def test_it_opens_the_browser_where_there_is_one(server, logs, monkeypatch):
    opened = []
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(sys, "platform", "linux")
    kr.show(logs)
    assert opened == []  # a browser in the terminal would take the place of Python
    monkeypatch.setenv("DISPLAY", ":0")
    kr.show(logs)
    assert opened == [server.url + module.FIRST_TAB]

    def fail(url):
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "open", fail)
    assert kr.show(logs) is server


@pytest.fixture
def notebook(monkeypatch):
    """What a cell of a notebook shows, in place of IPython's own."""
    shown = []
    ipython = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()))
    display = SimpleNamespace(
        IFrame=lambda src, width, height: f"{src} {width}", display=shown.append
    )
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return shown


def test_a_notebook_shows_it_below_the_cell(server, logs, notebook, monkeypatch):
    monkeypatch.setattr(webbrowser, "open", lambda url: pytest.fail("a window opens"))
    kr.show(logs)
    assert notebook == [f"{server.url}{module.FIRST_TAB} 100%"]


def test_a_notebook_elsewhere_reaches_it_by_the_proxy(server, logs, notebook, monkeypatch):
    ports = []
    of_tensorboard = importlib.import_module("tensorboard.notebook")
    monkeypatch.setattr(of_tensorboard, "display", lambda port: ports.append(port))
    monkeypatch.setenv("TENSORBOARD_PROXY_URL", "/proxy/%PORT%/")
    kr.show(logs)
    assert ports == [int(server.url.rpartition(":")[2])] and notebook == []


BAD = {
    "log_dir": [None, 3, "", b"", __file__],
    "port": [-1, 65536, 1.5, "6006", None, True],
}


@pytest.mark.parametrize("argument, value", [(a, v) for a, values in BAD.items() for v in values])
def test_bad_arguments(tmp_path, argument, value):
    arguments = {"log_dir": tmp_path, argument: value}
    with pytest.raises(
        ValueError, match=f"argument `{argument}`. Expected .* Received: {argument}"
    ):
        kr.show(**arguments)


@pytest.fixture
def link(server):
    """What is printed, at the port of this server."""
    *_, link, _ = invitation("/data/runs/first").split("\n")
    return link.strip().replace("http://localhost:6006", server.url)


def chromium_only(test):
    for mark in dashboard.MARKS:
        test = mark(test)
    return test


@pytest.mark.slow
@chromium_only
def test_the_link_opens_custom_scalars_without_smoothing(link, browser):
    browser.get(link)
    active = wait_for(browser, lambda _: browser.find_elements("css selector", ".mdc-tab--active"))
    assert [tab.text for tab in active] == ["CUSTOM SCALARS"]
    (slider,) = wait_for(browser, lambda _: find_all(browser, "paper-slider"))
    assert float(slider.get_attribute("aria-valuenow")) == 0
    wait_for(browser, lambda _: find_all(browser, "vz-line-chart2"))
