"""What a person sees: a real training run in a real TensorBoard in a real browser."""

import dashboard
import pytest
from dashboard import PAGE_TEXT, colourful_pixels, wait_for
from models import classifier, data

import kerasreg as kr

pytestmark = dashboard.MARKS


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
