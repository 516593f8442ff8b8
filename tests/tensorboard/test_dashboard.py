"""What a person sees: a real training run in a real TensorBoard in a real browser."""

import keras
import pytest
from helpers import dashboard
from helpers.dashboard import PAGE_TEXT, colourful_pixels, find_all, wait_for
from helpers.models import classifier, data

import kerasreg as kr
from kerasreg.statistics.sparsity_report import COLUMNS

# What is in the files, other tests say; these, that TensorBoard shows it.
pytestmark = [*dashboard.MARKS, pytest.mark.slow]

CELLS = "return [...arguments[0].rows].map(row => [...row.cells].map(cell => cell.innerText));"


@pytest.fixture(scope="module")
def models():
    zeros = kr.Proximal(keras.optimizers.SGD(0.1), {".*last/bias": kr.L1(9.0)})
    return {"first": classifier(), "second": classifier(optimizer=zeros)}


@pytest.fixture(scope="module")
def server(models, tmp_path_factory):
    logs = tmp_path_factory.mktemp("logs")
    for name, model in models.items():
        x, y = data()
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


def test_text_shows_the_report_of_each_run(server, browser, models):
    browser.get(f"{server}/#text")

    def tables(_):
        found = [browser.execute_script(CELLS, table) for table in find_all(browser, "table")]
        reports = [table[1:] for table in found if table[0] == list(COLUMNS)]
        return reports if len(reports) == len(models) else None

    shown = wait_for(browser, tables)
    for model in models.values():
        report = kr.sparsity_report(model)
        assert [list(row.cells()) for row in (*report.rows, report.total)] in shown
    assert report.total.zeros >= 3


def test_histograms_are_drawn(server, browser):
    browser.get(f"{server}/#histograms")
    wait_for(browser, lambda _: "nonzero/first/kernel" in browser.execute_script(PAGE_TEXT))
    wait_for(browser, lambda _: colourful_pixels(browser.get_screenshot_as_png()) > 100_000)
