"""The view that compares runs, read from the page as it is drawn."""

import math

import numpy as np
import pytest
from helpers import dashboard
from helpers.compare_logs import PATH, RUNS, sweep_point, write_few, write_run, write_sweep
from helpers.dashboard import wait_for
from helpers.sparsity_logs import HTML

pytestmark = [*dashboard.MARKS, pytest.mark.slow]

PATH_RUNS = {f"path/L1 {strength:g}": point for strength, point in PATH.items()}
PLACED = {name: (x, y) for name, (x, y, _) in RUNS.items() if y is not None and math.isfinite(y)}
PLACED |= PATH_RUNS
NUMBER = len(RUNS) + len(PATH)

MIDDLES = """
    const middle = (node) => {
      const { left, right, top, bottom } = node.getBoundingClientRect();
      return [(left + right) / 2, (top + bottom) / 2];
    };
"""
TICKS = (
    MIDDLES
    + """return [...document.querySelectorAll(`.tick.${arguments[0]}`)].map((tick) => [
        tick.querySelector('text').textContent,
        middle(tick.querySelector('path'))[arguments[0] === 'x' ? 0 : 1]]);"""
)
POINTS = (
    MIDDLES
    + """return Object.fromEntries([...document.querySelectorAll('.points path')].map((point) => [
        point.getAttribute('aria-label').split(': ')[0], middle(point)]));"""
)
BEST = """return [...document.querySelectorAll('.points .best')].map(
    (point) => point.getAttribute('aria-label').split(': ')[0]);"""
CORNER = """const { left, top } = document.querySelector('.chart').getBoundingClientRect();
    return [left, top];"""
CARD = (
    """const card = document.querySelector('.card'); return card.hidden ? null : card.innerText;"""
)
ROWS = """return [...document.querySelectorAll('.runs tbody tr')].map(
    (row) => Object.fromEntries([...row.cells].map((cell, i) => [
      document.querySelectorAll('.runs thead th')[i].textContent, cell.textContent])));"""


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    write_few(folder)
    return folder


@pytest.fixture(scope="module")
def server(logs):
    with dashboard.tensorboard(logs) as address:
        yield address


def open_view(browser, server, runs=NUMBER):
    """Opens the view as at a first visit, once all runs are there; without TensorBoard around."""
    browser.get(f"{server}/data/plugin_entry.html?name=kerasreg_sparsity")
    browser.execute_script("sessionStorage.clear()")
    browser.refresh()
    wait_for_runs(browser, runs)


def wait_for_runs(browser, runs):
    number = "return Number(document.querySelector('.runs table')?.ariaRowCount) - 1"
    wait_for(browser, lambda _: browser.execute_script(number) == runs)


def rows(browser):
    """The rows of the table in view, from the names of their columns to their cells."""
    return browser.execute_script(ROWS)


def names(browser):
    return [row["Run"] for row in rows(browser)]


def choose(browser, label, text):
    """Chooses an option of the list with a label."""
    from selenium.webdriver.support.select import Select

    Select(labelled(browser, label)).select_by_visible_text(text)


def labelled(browser, label):
    (found,) = [each for each in browser.find_elements("tag name", "label") if each.text == label]
    return browser.find_element("id", found.get_attribute("for"))


def text(browser, selector):
    return browser.find_element("css selector", f".compare {selector}").text


def number(tick):
    """What a tick says, as `90%`, `1.2K` or `1e-4`."""
    ends = {"%": 0.01, "K": 1e3, "M": 1e6}
    return float(tick.rstrip("".join(ends))) * ends.get(tick[-1], 1.0)


def drawn(browser, log_x=False):
    """The points in the numbers of the axes, by their places between the ticks."""
    sides = []
    for side, scale in (("x", np.log10 if log_x else np.asarray), ("y", np.asarray)):
        ticks = browser.execute_script(TICKS, side)
        assert len(ticks) >= 2 and len({words for words, _ in ticks}) == len(ticks)
        slope, start = np.polyfit([at for _, at in ticks], scale([number(t) for t, _ in ticks]), 1)
        sides.append((slope, start))
    points = browser.execute_script(POINTS)
    found = {
        n: [a * at + b for (a, b), at in zip(sides, place, strict=True)]
        for n, place in points.items()
    }
    return {name: (10**x if log_x else x, y) for name, (x, y) in found.items()}


def assert_drawn(browser, expected, log_x=False):
    found = drawn(browser, log_x)
    assert set(found) == set(expected)
    for name, (x, y) in expected.items():
        assert found[name][0] == pytest.approx(x, rel=0.02 if log_x else 0, abs=2e-3), name
        assert found[name][1] == pytest.approx(y, abs=3e-3), name


def point(browser, name):
    (found,) = browser.find_elements("css selector", f".points [aria-label^='{name}: ']")
    return found


def hover(browser, node):
    from selenium.webdriver import ActionChains

    ActionChains(browser).move_to_element(node).perform()


def assert_opened(browser, name):
    """Waits for the view of a run to show this one."""
    wait_for(browser, lambda _: browser.find_element("id", "run-view").is_displayed())
    assert browser.find_element("id", "run-tab").get_attribute("aria-selected") == "true"
    assert not browser.find_element("id", "compare-view").is_displayed()
    run = "return document.querySelector('#run-view #run').value"
    wait_for(browser, lambda _: browser.execute_script(run) == name)


def test_points_stand_between_their_ticks(server, browser):
    open_view(browser, server)
    assert_drawn(browser, PLACED)
    labels = [node.text for node in browser.find_elements("css selector", ".axis-label")]
    assert labels == ["Sparsity", "val_accuracy"]
    assert text(browser, "h2") == "val_accuracy against Sparsity: the last points of 8 runs"


def test_the_frontier_goes_through_the_runs_that_none_beats(server, browser):
    open_view(browser, server)
    best = ["path/L1 1", "path/L1 0.1", "alone"]
    assert sorted(browser.execute_script(BEST)) == sorted(best)
    points, corner = browser.execute_script(POINTS), np.array(browser.execute_script(CORNER))
    first, second, third = (np.array(points[name]) - corner for name in best)
    line = browser.find_element("css selector", ".chart .frontier").get_attribute("d")
    corners = line.replace("M", "").replace("H", ",").replace("V", ",").split(",")
    # Level to the place of the next, and up to it.
    expected = [*first, second[0], second[1], third[0], third[1]]
    np.testing.assert_allclose(np.array(corners, dtype=float), expected, atol=0.6)
    assert [row["Run"] for row in rows(browser) if row["Frontier"]] != []
    assert {row["Run"] for row in rows(browser) if row["Frontier"]} == set(best)
    assert "no run has both higher val_accuracy and higher Sparsity" in text(browser, ".legend")


@pytest.mark.parametrize(
    ("label", "side", "best"),
    [
        ("Better y", "lower", {"path/L1 1"}),
        ("Better x", "lower", {HTML, "live", "path/L1 0.001", "alone"}),
        ("Better x", "neither", set()),
    ],
)
def test_the_reader_says_what_is_better(server, browser, label, side, best):
    open_view(browser, server)
    choose(browser, label, side)
    assert set(browser.execute_script(BEST)) == best
    assert ("frontier" in text(browser, ".legend")) == bool(best)
    browser.refresh()  # It is kept.
    wait_for_runs(browser, NUMBER)
    assert set(browser.execute_script(BEST)) == best


HIGHER = ["val_accuracy", "acc", "val_auc_1", "mean_io_u", "f1_score", "precision_at_recall"]
HIGHER += ["sparse_top_k_categorical_accuracy", "r2_score", "true_positives", "cosine_similarity"]
LOWER = ["val_data_loss", "mean_absolute_error", "false_negatives", "accuracy_loss", "poisson"]
LOWER += ["binary_crossentropy", "accumulated", "brier_score", "kl_divergence", "my_metric"]


def test_which_way_is_better_follows_from_the_name(server, browser):
    open_view(browser, server)
    guess = """const [names, done] = arguments;
        import(new URL('compare_axes.js', document.styleSheets[0].href)).then(
          ({ guessedBetter }) => done(names.map(guessedBetter)));"""
    assert browser.execute_async_script(guess, HIGHER) == ["higher"] * len(HIGHER)
    assert browser.execute_async_script(guess, LOWER) == ["lower"] * len(LOWER)


def test_the_points_of_a_path_are_connected_in_the_order_of_x(server, browser):
    open_view(browser, server)
    (line,) = browser.find_elements("css selector", ".paths path")
    places = [pair.split(",") for pair in line.get_attribute("d")[1:].split("L")]
    points, corner = browser.execute_script(POINTS), np.array(browser.execute_script(CORNER))
    expected = [np.array(points[name]) - corner for name in PATH_RUNS]
    np.testing.assert_allclose(np.array(places, dtype=float), expected, atol=0.6)
    assert "path L1 (4 runs)" in text(browser, ".legend")
    assert text(browser, ".legend").startswith("4 runs")


@pytest.mark.parametrize(
    ("axis", "label", "of"),
    [
        ("Strength", "Strength (log scale)", lambda strength, sparsity: strength),
        ("strength", "strength (log scale)", lambda strength, sparsity: strength),
        ("Penalty", "Penalty", lambda strength, sparsity: strength / 2),
        ("Parameters after compaction", "", lambda strength, sparsity: 1000 * (1 - sparsity) ** 2),
    ],
)
def test_other_numbers_across(server, browser, axis, label, of):
    """All of which the runs of the path alone have."""
    open_view(browser, server)
    choose(browser, "x axis", axis)
    choose(browser, "y axis", "val_data_loss")
    shown = browser.find_element("css selector", ".axis-label").text
    assert shown == (label or "Parameters after compaction (log scale)")
    expected = {
        f"path/L1 {strength:g}": (of(strength, sparsity), 1 - accuracy)
        for strength, (sparsity, accuracy) in PATH.items()
    }
    assert_drawn(browser, expected, log_x=axis != "Penalty")
    assert labelled(browser, "Better y").get_attribute("value") == "lower"
    assert f"7 runs without {axis}" in text(browser, ".note")


def test_weights_left_are_counted_and_the_scale_is_chosen(server, browser):
    open_view(browser, server)
    choose(browser, "x axis", "Weights left")
    expected = {name: (1000 * (1 - x), y) for name, (x, y) in PLACED.items()}
    assert_drawn(browser, expected, log_x=True)
    labelled(browser, "Log x").click()
    found = drawn(browser)
    assert found["alone"][0] == pytest.approx(500, abs=3)
    assert found["path/L1 1"][0] == pytest.approx(10, abs=3)


def test_other_numbers_of_the_log_upwards(server, browser):
    open_view(browser, server)
    choose(browser, "y axis", "l1_norm")
    expected = {name: (x, 10 - x) for name, (x, _) in PATH_RUNS.items()}
    assert_drawn(browser, expected)


def test_runs_that_have_no_place_are_named(server, browser):
    open_view(browser, server)
    note = "Not in the chart: 1 run without val_accuracy; 2 runs whose val_accuracy is not finite."
    assert text(browser, ".note") == note
    cells = {row["Run"]: row["val_accuracy"] for row in rows(browser)}
    assert [cells["nan"], cells["endless"], cells["bare"]] == ["NaN", "∞", ""]
    assert "plain" not in cells
    labelled(browser, "Log x").click()
    assert "is not positive" not in text(browser, ".note")


def test_the_pointer_names_a_run(server, browser):
    open_view(browser, server)
    assert browser.execute_script(CARD) is None
    hover(browser, point(browser, "alone"))
    card = browser.execute_script(CARD).split("\n")
    assert card[0] == "alone"
    pairs = dict(zip(card[1::2], card[2::2], strict=False))
    assert pairs["Step"] == "100" and pairs["val_accuracy"] == "0.97"
    assert pairs["Sparsity"] == "50.00%"
    assert {"optimizer", "adam", "rate", "0.01"} <= set(card)
    hover(browser, point(browser, "path/L1 0.1"))
    card = browser.execute_script(CARD)
    assert card.startswith("path/L1 0.1\n") and "L1(l1=0.1), after the step" in card
    assert "Strength\n0.1" in card
    hover(browser, browser.find_element("css selector", ".compare h2"))
    assert browser.execute_script(CARD) is None


def test_the_card_stays_within_the_chart(server, browser):
    inside = """const [card, frame] = ['.card', '.chart-frame'].map(
        (name) => document.querySelector(name).getBoundingClientRect());
        return card.left >= frame.left - 1 && card.right <= frame.right + 1;"""
    open_view(browser, server)
    for name in ("path/L1 1", HTML.split('"')[0], "worse"):
        hover(browser, browser.find_element("css selector", f".points [aria-label^='{name}']"))
        assert browser.execute_script(inside)


def test_a_click_opens_the_run(server, browser):
    dashboard.open_sparsity_tab(browser, server, "compare")
    wait_for_runs(browser, NUMBER)
    for name in ("alone", "path/L1 0.1"):
        point(browser, name).click()
        assert_opened(browser, name)
        browser.find_element("id", "compare-tab").click()


def test_the_table_opens_the_run(server, browser):
    open_view(browser, server)
    (button,) = [
        b
        for b in browser.find_elements("css selector", ".runs td, .runs tbody button")
        if b.text == "worse"
    ]
    button.click()
    assert_opened(browser, "worse")


def test_the_keyboard_goes_through_the_runs(server, browser):
    from selenium.webdriver.common.keys import Keys

    open_view(browser, server)
    labelled(browser, "Filter runs").send_keys(Keys.TAB)
    order = sorted(PLACED, key=lambda name: PLACED[name])

    def press(key):
        browser.switch_to.active_element.send_keys(key)
        label = browser.switch_to.active_element.get_attribute("aria-label")
        assert browser.execute_script(CARD).split("\n")[0] == label.split(": ")[0]
        return label

    focused = browser.switch_to.active_element.get_attribute("aria-label")
    assert focused == f"{HTML}: Sparsity 5.00%, val_accuracy 0.5"
    reached = [press(Keys.ARROW_RIGHT).split(": ")[0] for _ in PLACED]
    assert reached == [*order[1:], order[-1]]
    assert press(Keys.HOME).startswith(order[0])
    assert press(Keys.END).startswith(order[-1])
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert browser.execute_script(CARD) is None
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert_opened(browser, order[-1])


def test_the_table_has_all_numbers_and_sorts_by_any(server, browser):
    def press(label):
        buttons = browser.find_elements("css selector", ".runs th button")
        next(button for button in buttons if button.text == label).click()
        return rows(browser)

    open_view(browser, server)
    row = next(row for row in rows(browser) if row["Run"] == "path/L1 0.01")
    assert row == {
        "Run": "path/L1 0.01",
        "Frontier": "",
        "Step": "100",
        "Sparsity": "50.00%",
        "Weights left": "500",
        "Parameters after compaction": "250",
        "Penalty": "0.005",
        "Strength": "0.01",
        "val_accuracy": "0.93",
        "val_data_loss": "0.07",
        "optimizer": "",
        "penalty": "L1",
        "rate": "",
        "strength": "0.01",
        "Penalties": "L1(l1=0.01), after the step",
    }
    assert next(row["Step"] for row in rows(browser) if row["Run"] == "live") == "20"
    found = [row["Run"] for row in press("val_accuracy")]
    assert found[0] == "endless"
    assert found[1:9] == sorted(PLACED, key=lambda name: -PLACED[name][1])
    assert set(found[9:]) == {"nan", "bare"}  # without a number: at the end in both directions
    found = [row["Run"] for row in press("val_accuracy")]
    assert found[:8] == sorted(PLACED, key=lambda name: PLACED[name][1])
    assert [row["optimizer"] for row in press("optimizer")][:3] == ["sgd", "adam", ""]
    assert [row["Run"] for row in press("Run")][:2] == ["worse", "path/L1 1"]


@pytest.mark.parametrize(
    ("words", "runs"),
    [
        ("adam", {"alone"}),
        ("PATH l1=0.01", {"path/L1 0.01"}),
        ("rate=0.1", {"worse"}),
        ("<img", {HTML}),
        ("nothing of that name", set()),
    ],
)
def test_runs_that_match_a_text(server, browser, words, runs):
    open_view(browser, server)
    labelled(browser, "Filter runs").send_keys(words)
    assert set(names(browser)) == runs
    assert set(browser.execute_script(POINTS)) == runs
    assert text(browser, "[role=status]") == f"{len(runs)} of 11 runs match the filter."
    labelled(browser, "Filter runs").clear()


def test_html_in_a_name_stays_text(server, browser):
    open_view(browser, server)
    hover(browser, browser.find_element("css selector", ".points [aria-label^='<img']"))
    assert browser.execute_script(CARD).startswith(HTML)
    assert not browser.find_elements("css selector", "img")
    assert browser.execute_script("return window.pwned ?? parent.pwned ?? null") is None


@pytest.mark.parametrize("width", [400, 800])
def test_nothing_is_wider_than_the_window(server, browser, width):
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    size = browser.get_window_size()
    try:
        browser.set_window_size(width, 1000)
        open_view(browser, server)
        wait_for(browser, lambda _: browser.execute_script(wide) <= 0)
        assert_drawn(browser, PLACED)
    finally:
        browser.set_window_size(size["width"], size["height"])


def test_new_points_and_runs_come_by_themselves(server, hurried, logs):
    browser = hurried
    dashboard.open_sparsity_tab(browser, server, "compare")
    wait_for_runs(browser, NUMBER)
    hover(browser, point(browser, "alone"))
    first = browser.execute_script("return document.querySelector('.points path').mark = 1")
    write_run(logs / "later", totals={"sparsity": 0.7, "val_accuracy": 0.7, "val_auc": 0.5})
    wait_for(browser, lambda _: "later" in names(browser))
    assert_drawn(browser, PLACED | {"later": (0.7, 0.7)})
    assert first and browser.execute_script(CARD).startswith("alone")
    assert "val_auc" in rows(browser)[0]


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 6, 100, 500])
def test_many_runs(tmp_path, browser, number):
    write_sweep(tmp_path, number)
    with dashboard.tensorboard(tmp_path) as address:
        open_view(browser, address, number)
        factors = [1 - 0.003 * (7 * i % 5) for i in range(number)]
        points = [sweep_point(i, number)[1] for i in range(number)]
        expected = {
            f"run {i:03}": (f * p["sparsity"], f * p["val_accuracy"])
            for i, (f, p) in enumerate(zip(factors, points, strict=True))
        }
        assert_drawn(browser, expected)
        last = max(expected, key=expected.__getitem__)
        hover(browser, point(browser, last))
        assert browser.execute_script(CARD).startswith(f"{last}\n")
        assert min(number, 10) <= len(rows(browser)) < 60
        browser.get("about:blank")
