"""The TEXT tab: the sparsity report at the end of a training, as a table."""

import dashboard
import keras
import pytest
from dashboard import find_all, wait_for
from models import classifier, data

import kerasreg as kr
from kerasreg.sparsity_report import COLUMNS

pytestmark = dashboard.MARKS

CELLS = "return [...arguments[0].rows].map(row => [...row.cells].map(cell => cell.innerText));"


@pytest.fixture(scope="module")
def model():
    return classifier(optimizer=kr.Proximal(keras.optimizers.SGD(0.1), {".*last/bias": kr.L1(9.0)}))


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    logs = tmp_path_factory.mktemp("logs")
    logger = kr.RegularizationLogger(logs / "run")
    model.fit(*data(), 8, epochs=2, verbose=0, callbacks=[logger])
    with dashboard.tensorboard(logs) as address:
        yield address


def test_the_tab_shows_the_report(server, browser, model):
    browser.get(f"{server}/#text")

    def tables(_):
        found = [browser.execute_script(CELLS, table) for table in find_all(browser, "table")]
        return [table for table in found if table[0] == list(COLUMNS)]

    (table,) = wait_for(browser, tables)
    report = kr.sparsity_report(model)
    assert table[1:] == [list(row.cells()) for row in (*report.rows, report.total)]
    assert report.total.zeros >= 3
