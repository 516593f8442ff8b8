"""A TensorBoard server on this machine and a headless Chromium that looks at it."""

import contextlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

from helpers.backends import BACKEND

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

MARKS = [
    pytest.mark.chromium,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed"
    ),
    pytest.mark.skipif(BACKEND != "tensorflow", reason="the files do not depend on the backend"),
]

PAGE_TEXT = """
    function text(node) {
      if (node.nodeType === Node.TEXT_NODE) return node.textContent;
      if (['STYLE', 'SCRIPT'].includes(node.tagName)) return '';
      const children = [...node.childNodes, ...(node.shadowRoot ? [node.shadowRoot] : [])];
      return children.map(text).join(' ');
    }
    return text(document.body).replace(/\\s+/g, ' ');
"""

FIND_ALL = """
    function all(root) {
      const roots = root.shadowRoot ? [root.shadowRoot, ...root.children] : [...root.children];
      return roots.flatMap(node => [node, ...all(node)]);
    }
    const [selector, root] = arguments;
    return all(root || document).filter(node => node.matches?.(selector));
"""


@contextlib.contextmanager
def tensorboard(log_dir, timeout=60, path_prefix="", extra_args=()):
    """Serves a folder on 127.0.0.1; yields the address; ends the server in any case."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}{path_prefix}"
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(log_dir)]
    command += ["--path_prefix", path_prefix, *extra_args]
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port), "--reload_interval", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # its data server is a process of its own
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    try:
        deadline = time.monotonic() + timeout
        while not _answers(f"{address}/data/runs"):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("The TensorBoard server does not answer.")
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=60)


def _answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.read().strip() not in (b"", b"[]")
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@contextlib.contextmanager
def chromium(width=1500, height=1200):
    """Yields a Selenium driver of a headless Chromium with a profile of its own."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory() as profile:
        for flag in (*FLAGS, f"--window-size={width},{height}", f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        try:
            yield driver
        finally:
            driver.quit()


def wait_for(browser, condition, timeout=40):
    """Waits until a function of the browser returns something, and returns that."""
    from selenium.webdriver.support.wait import WebDriverWait

    return WebDriverWait(browser, timeout, poll_frequency=0.1).until(condition)


def find_all(browser, selector, root=None):
    """The elements that a selector matches, through all shadow roots, in the page's order."""
    return browser.execute_script(FIND_ALL, selector, root)


def colourful_pixels(png):
    """Pixels that are neither grey nor nearly so: lines of runs, not grids, axes or text."""
    rgb = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=int)
    return int(np.sum(rgb.max(-1) - rgb.min(-1) > 50))


# What the Web Content Accessibility Guidelines 2.1 demand on level AA, as far as that
# can be computed.
AXE = """
    const done = arguments[arguments.length - 1];
    axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] }).then(
      ({ violations, passes }) => done({
        passed: passes.map((rule) => rule.id),
        failed: violations.flatMap(({ id, nodes }) =>
          nodes.map((node) => [id, node.html, node.failureSummary])),
      }),
      (error) => done({ passed: [], failed: [['axe', '', String(error)]] }));
"""


def assert_accessible(browser):
    """Asserts that axe-core finds nothing in the frame that the browser looks into."""
    from axe_core_python.base import AXE_SCRIPT

    browser.execute_script(AXE_SCRIPT + "; window.axe = axe;")
    found = browser.execute_async_script(AXE)
    problems = "\n\n".join("\n".join(map(str, each)) for each in found["failed"])
    assert not found["failed"], problems
    # It has looked at what there is.
    assert {"color-contrast", "button-name", "html-has-lang"} <= set(found["passed"])


def open_sparsity_tab(browser, server, view, dark=False):
    """Opens one of the views of the Sparsity tab, and looks into its frame."""
    browser.get(f"{server}/?darkMode={str(dark).lower()}#kerasreg_sparsity")
    enter_sparsity_frame(browser)
    browser.find_element("id", f"{view}-tab").click()
    rows = f"#{view}-view tbody tr"
    wait_for(browser, lambda _: browser.find_elements("css selector", rows))


def enter_sparsity_frame(browser):
    """Looks into the frame of the Sparsity tab, once it has views."""
    browser.switch_to.default_content()
    selector = "iframe[src*=kerasreg_sparsity]"
    wait_for(browser, lambda _: browser.find_elements("css selector", selector))
    browser.switch_to.frame(browser.find_element("css selector", selector))
    wait_for(browser, lambda _: browser.find_elements("css selector", "[role=tab]"))
