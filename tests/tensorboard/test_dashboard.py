"""What a person sees: a real training run in a real TensorBoard in a real browser."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from backends import BACKEND
from models import classifier, data
from PIL import Image

import kerasreg as kr

sys.path.insert(0, str(Path(__file__).parent))
import dashboard

pytestmark = [
    pytest.mark.chromium,
    pytest.mark.skipif(
        not (dashboard.CHROMIUM and dashboard.DRIVER),
        reason="chromium and chromedriver are not installed",
    ),
    pytest.mark.skipif(BACKEND != "tensorflow", reason="the files do not depend on the backend"),
]

WAIT = 40


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    logs = tmp_path_factory.mktemp("logs")
    for name in ("first", "second"):
        model, (x, y) = classifier(), data()
        logger = kr.RegularizationLogger(logs / name, threshold=0.05)
        validation = data(seed=1)
        model.fit(x, y, 8, epochs=6, verbose=0, validation_data=validation, callbacks=[logger])
    with dashboard.tensorboard(logs) as address:
        yield address


@pytest.fixture
def browser():
    with dashboard.chromium() as driver:
        yield driver
        errors = [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
        assert not errors


def wait_for(browser, condition):
    from selenium.webdriver.support.wait import WebDriverWait

    return WebDriverWait(browser, WAIT, poll_frequency=0.5).until(condition)


def colourful_pixels(png):
    """Pixels that are neither grey nor nearly so: lines of runs, not grids, axes or text."""
    rgb = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=int)
    return int(np.sum(rgb.max(-1) - rgb.min(-1) > 50))


PAGE_TEXT = """
    function text(node) {
      if (node.nodeType === Node.TEXT_NODE) return node.textContent;
      if (['STYLE', 'SCRIPT'].includes(node.tagName)) return '';
      const children = [...node.childNodes, ...(node.shadowRoot ? [node.shadowRoot] : [])];
      return children.map(text).join(' ');
    }
    return text(document.body).replace(/\\s+/g, ' ');
"""


@pytest.mark.parametrize("chart", ["all/near_zero", "all/regularization_loss", "all/data_loss"])
def test_time_series_draws_our_series(server, browser, chart):
    browser.get(f"{server}/?smoothing=0&tagFilter=%5E{chart.replace('/', '%2F')}%24#timeseries")

    def drawn(_):
        lines = browser.find_elements("css selector", "scalar-card line-chart")
        return len(lines) == 1 and colourful_pixels(lines[0].screenshot_as_png) > 200

    wait_for(browser, drawn)
    card = browser.find_element("css selector", "scalar-card")
    assert card.find_element("css selector", ".tag").get_attribute("title") == chart
    assert "first" in card.text and "second" in card.text


def test_the_totals_are_the_first_group(server, browser):
    browser.get(f"{server}/#timeseries")

    def groups(_):
        titles = browser.find_elements("css selector", "button .group-title")
        return [title.get_attribute("title") for title in titles]

    assert wait_for(browser, groups)[0] == "all"


def test_text_shows_the_configuration(server, browser):
    browser.get(f"{server}/#text")
    wait_for(browser, lambda _: "GroupLasso" in browser.execute_script(PAGE_TEXT))
    text = browser.execute_script(PAGE_TEXT)
    assert "classifier/first/kernel 6 × 16 ElasticNet alpha=0.5, l1=0.01, l2=0.01" in text


def test_histograms_are_drawn(server, browser):
    browser.get(f"{server}/#histograms")
    wait_for(browser, lambda _: "nonzero/first/kernel" in browser.execute_script(PAGE_TEXT))
    wait_for(browser, lambda _: colourful_pixels(browser.get_screenshot_as_png()) > 100_000)
