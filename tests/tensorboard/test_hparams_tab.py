"""The HPARAMS tab: each run of a sweep once, with what was chosen and what came of it."""

import json
import urllib.request

import keras
import pytest
from helpers import dashboard
from helpers.dashboard import find_all, wait_for
from helpers.event_files import read
from helpers.models import classifier, data

import kerasreg as kr

# What is in the files, other tests say; these, that TensorBoard shows it.
pytestmark = [*dashboard.MARKS, pytest.mark.slow]

RUNS = {
    "L1 weak": {"penalty": kr.L1(1e-3), "strength": 1e-3},
    "L1 strong": {"penalty": kr.L1(1e-2), "strength": 1e-2},
    "größe <b>2</b>": {"penalty": kr.GroupLasso(1e-2), "strength": 2e-2},
}
COLUMNS = {  # as they are called: where Keras or the logger has written them
    "val_entropy": ("", "all/val_entropy"),
    "sparsity": ("", "all/sparsity"),
    "regularization_loss": ("", "all/regularization_loss"),
    "val_data_loss": ("", "all/val_data_loss"),
    "validation/epoch_entropy": ("validation", "epoch_entropy"),
}


def train(folder, hparams, epochs, initial_epoch=0):
    keras.utils.set_random_seed(0)
    optimizer = kr.Proximal(keras.optimizers.Adam(0.01), hparams["penalty"])
    model = classifier(optimizer=optimizer, penalties=False)
    callbacks = [
        kr.RegularizationLogger(
            folder, weights="kernel", threshold=0.1, hparams=hparams, verbose=0
        ),
        keras.callbacks.TensorBoard(folder),
    ]
    fit = {"validation_data": data(seed=1), "verbose": 0, "callbacks": callbacks}
    model.fit(*data(), 8, epochs, initial_epoch=initial_epoch, **fit)


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    for name, hparams in RUNS.items():
        train(folder / name, hparams, epochs=2)
    train(folder / name, hparams, epochs=4, initial_epoch=2)  # the last one is resumed
    return folder


@pytest.fixture(scope="module")
def server(logs):
    with dashboard.tensorboard(logs) as address:
        yield address


def open_view(browser, server, title):
    """Waits for the tab, and changes to one of its views."""
    browser.get(f"{server}/#hparams")
    wait_for(browser, lambda _: find_all(browser, "vaadin-grid-cell-content"))
    (tab,) = (tab for tab in find_all(browser, "paper-tab") if tab.text == title)
    tab.click()


def table(browser):
    """The rows of the table: the cells with text in them, below the name of their column."""
    cells = [cell.text for cell in find_all(browser, "vaadin-grid-cell-content") if cell.text]
    columns = ["Trial ID", "Show Metrics", "penalty", "strength", *COLUMNS]
    if cells[: len(columns)] != columns:
        return []
    columns.remove("Show Metrics")
    rows = zip(*[iter(cells[len(columns) + 1 :])] * len(columns), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def test_each_run_is_one_row_with_the_values_that_were_logged(server, browser, logs):
    open_view(browser, server, "TABLE VIEW")
    rows = {row["Trial ID"]: row for row in wait_for(browser, table)}
    assert len(table(browser)) == len(rows) and rows.keys() == RUNS.keys()
    for name, row in rows.items():
        penalty = RUNS[name]["penalty"]
        assert row["penalty"].startswith(f"{type(penalty).__name__}(")
        assert float(row["strength"]) == RUNS[name]["strength"]
        for column, (group, tag) in COLUMNS.items():
            (*_, (_, value)) = read(logs / name / group)[tag]
            assert float(row[column]) == pytest.approx(value, rel=1e-4)


def test_parallel_coordinates_draw_a_line_for_each_run(server, browser):
    open_view(browser, server, "PARALLEL COORDINATES VIEW")
    lines = wait_for(browser, lambda _: find_all(browser, ".foreground path"))
    assert len(lines) == len(RUNS)
    axes = [axis.text.split("\n")[-1] for axis in find_all(browser, ".axis")]
    assert axes == ["penalty", "strength", *COLUMNS]


def test_keras_callback_beside_writes_nothing_of_ours_and_we_nothing_of_its(server):
    with urllib.request.urlopen(f"{server}/data/plugin/scalars/tags", timeout=10) as reply:
        tags = json.load(reply)
    assert tags.keys() == {
        f"{run}{group}" for run in RUNS for group in ("", "/train", "/validation")
    }
    for run, its_tags in tags.items():
        of_keras = {tag for tag in its_tags if tag.startswith(("epoch_", "evaluation_"))}
        assert of_keras == (its_tags.keys() if run.endswith(("/train", "/validation")) else set())
