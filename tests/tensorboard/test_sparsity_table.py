"""What a person does with the table of a run: filter, sort, group, compare, go back in time."""

import re

import pytest
from helpers import dashboard
from helpers.dashboard import wait_for
from helpers.marks import slow
from helpers.sparsity_logs import HTML, name_of, write_large, write_runs
from helpers.sparsity_tab import (
    choose,
    enter_frame,
    header,
    names,
    open_tab,
    rows,
    summary,
    wait_for_rows,
)

pytestmark = [*dashboard.MARKS, pytest.mark.slow]

FIRST, BIAS, SECOND, LAST = "first/kernel", "first/bias", "größer 2/kernel", f"{HTML}/kernel"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    logs = tmp_path_factory.mktemp("logs")
    write_runs(logs)
    with dashboard.tensorboard(logs) as address:
        yield address


@pytest.fixture(scope="module", params=[2000, slow(20_000)])
def large(request, tmp_path_factory):
    """A server with a run of many weights, and their number."""
    logs = tmp_path_factory.mktemp("logs")
    write_large(logs / "large", request.param)
    with dashboard.tensorboard(logs) as address:
        yield address, request.param


def wait_for_names(browser, *expected):
    try:
        wait_for(browser, lambda _: names(browser) == [*expected], 15)
    except Exception:
        assert names(browser) == [*expected]


def write(browser, label, text):
    field = browser.find_element("id", label)
    field.clear()
    field.send_keys(text)


def move_slider(browser, place):
    browser.execute_script(
        "const slider = document.getElementById('step'); slider.value = arguments[0];"
        "slider.dispatchEvent(new Event('input'));",
        place,
    )


def check(browser, label):
    """Ticks a box, or takes the tick away."""
    boxes = browser.find_elements("css selector", "#run-view label:has(input[type=checkbox])")
    for box in boxes:
        if box.get_attribute("textContent").strip() == label:
            browser.execute_script("arguments[0].click()", box)
            return
    raise AssertionError(f"There is no box {label}.")


def labels(browser):
    """The words above the columns, from the left to the right."""
    return browser.execute_script(
        "return [...document.querySelectorAll('#run-view thead button')].map((b) => b.textContent);"
    )


@pytest.mark.parametrize(
    "pattern, found",
    [
        ("KERN", [FIRST, SECOND, LAST]),
        ("^first/(bias|kernel)$", [FIRST, BIAS]),
        ("größer \\d", [SECOND]),
        ("onerror=", [LAST]),
        ("nowhere", []),
    ],
)
def test_names_are_filtered_by_a_pattern(server, browser, pattern, found):
    open_tab(browser, server)
    write(browser, "name", pattern)
    wait_for_names(browser, *found)
    hint = browser.find_element("css selector", "#run-view .hint").text
    assert hint == ("" if found else "No weight passes the filters.")


@pytest.mark.parametrize(
    "pattern, message",
    [("(first", "This is no regular expression."), ("(.*)*(.*)*(.*)*$^x", "This takes too long")],
)
def test_a_pattern_that_is_wrong_or_takes_years(server, browser, pattern, message):
    open_tab(browser, server)
    write(browser, "name", pattern)
    error = browser.find_element("id", "name-error")
    wait_for(browser, lambda _: error.text.startswith(message))
    assert browser.find_element("id", "name").get_attribute("aria-invalid") == "true"
    assert len(names(browser)) == 4
    write(browser, "name", "bias")
    wait_for_names(browser, BIAS)
    assert error.text == ""


def test_penalties_are_filtered(server, browser):
    open_tab(browser, server)
    options = "return [...document.getElementById('penalty').options].map((each) => each.text);"
    assert browser.execute_script(options) == ["All", "GroupLasso", "L1", "L2", "Without"]
    for penalty, found in {
        "L1": [FIRST],
        "GroupLasso": [SECOND],
        "none": [BIAS, LAST],
        "": [FIRST, BIAS, SECOND, LAST],
    }.items():
        choose(browser, "penalty", penalty)
        wait_for_names(browser, *found)


def test_columns_are_chosen_and_kept(server, browser):
    open_tab(browser, server)
    assert labels(browser)[2:6] == ["Sparsity", "Dead units", "Penalty share", "Strength"]
    for box in ("Dead units", "Near zero", "Strength", "Penalty share"):
        check(browser, box)
    assert labels(browser) == ["Weight", "Shape", "Sparsity", "Near zero", "Penalty"]
    wait_for(browser, lambda _: rows(browser)[0][2:4] == ["80.00%", ""])
    browser.refresh()
    enter_frame(browser)
    assert labels(browser) == ["Weight", "Shape", "Sparsity", "Near zero", "Penalty"]


def test_groups_have_totals_and_fold(server, browser):
    open_tab(browser, server)
    check(browser, "Penalty value")
    check(browser, "Group by layer")
    l1 = "L1(l1=0.001)"
    group = ["first 2", "84", "68.57%", "4 of 12", "25.00%", "", "", ""]  # .8 of 72, and 12
    wait_for(browser, lambda _: len(rows(browser)) == 7)
    shown = rows(browser)
    assert shown[0] == group
    assert shown[1] == ["kernel", "6 × 12", "80.00%", "4 of 12", "25.00%", "", "0.001", l1]
    assert shown[2][:4] == ["bias", "12", "0.00%", ""]
    assert [row[0] for row in shown[3:]] == ["größer 2 1", "kernel", f"{HTML} 1", "kernel"]
    fold = browser.find_element("css selector", "#run-view tbody button[aria-expanded]")
    assert fold.accessible_name == "first, 2 weights"
    fold.send_keys(" ")
    assert fold.get_attribute("aria-expanded") == "false"
    assert [row[0] for row in rows(browser)][:3] == ["first 2", "größer 2 1", "kernel"]
    assert browser.switch_to.active_element == fold
    for button, number in (("Unfold all", 7), ("Fold all", 3)):
        xpath = f"//button[text()='{button}']"
        browser.find_element("xpath", xpath).click()
        assert len(rows(browser)) == number
    header(browser, "Sparsity").click()
    assert [row[2] for row in rows(browser)] == ["100.00%", "68.57%", "20.00%"]


def test_two_runs_stand_side_by_side(server, browser):
    open_tab(browser, server)
    choose(browser, "other", "first")
    lasso = "GroupLasso(strength=0.0001, axis=0, size_scaling=True)"
    l1, both = "L1(l1=0.001)", f"L2(l2=1e-05); {lasso}, after the step"
    share, tenth = ["25.00%", "25.00%", "0.00%"], ["0.001", "0.001", "0"]
    dead = [["4 of 12", "1 of 12", "-3"], ["5 of 12 inputs", "1 of 12 inputs", "-4"]]
    wait_for_rows(
        browser,
        [
            [FIRST, "6 × 12", "80.00%", "20.00%", "-60.00%", *dead[0], *share, *tenth, l1],
            [BIAS, "12", "0.00%", "0.00%", "0.00%", *[""] * 10],
            [SECOND, "12 × 4", "100.00%", "25.00%", "-75.00%", *dead[1], "75.00%", "75.00%"]
            + ["0.00%", "NaN", "0.0001", "NaN", both],
            [LAST, "4 × 3", "20.00%", "5.00%", "-15.00%", "1 of 3", "1 of 3", "0", *[""] * 7],
        ],
    )
    assert labels(browser)[3:6] == ["second", "first", "Difference"]
    headings = (
        "return [...document.querySelectorAll('[scope=colgroup]')].map((h) => h.textContent);"
    )
    expected = ["Sparsity", "Dead units", "Penalty share", "Strength"]
    assert browser.execute_script(headings) == expected
    header(browser, "Difference").click()
    assert names(browser) == [BIAS, LAST, FIRST, SECOND]


def test_groups_of_two_runs_are_accessible(server, browser):
    open_tab(browser, server)
    choose(browser, "other", "first")
    check(browser, "Group by layer")
    browser.find_element("css selector", ".columns summary").click()
    write(browser, "name", "(kernel")
    wait_for(browser, lambda _: browser.find_element("id", "name-error").text)
    wait_for(browser, lambda _: "Difference" in labels(browser) and len(rows(browser)) == 7)
    dashboard.assert_accessible(browser)


def test_numbers_of_a_step(server, browser):
    """The slider goes back in time with all that is shown."""
    open_tab(browser, server)
    move_slider(browser, 2)
    wait_for(browser, lambda _: summary(browser)["Step"] == "20")
    assert summary(browser)["Sparsity"] == "20.00%"
    assert summary(browser)["Penalty"] == "NaN"
    assert rows(browser)[0][2:6] == ["40.00%", "2 of 12", "25.00%", "0.001"]
    assert rows(browser)[2][2:6] == ["50.00%", "3 of 12 inputs", "75.00%", "0.0002"]
    slider = browser.find_element("id", "step")
    assert slider.get_attribute("aria-valuetext") == "20"
    dots = (
        "return [...document.querySelectorAll('#run-view tbody tr:first-child .dot')]"
        ".map((dot) => Number(dot.getAttribute('cx')));"
    )
    wait_for(browser, lambda _: browser.execute_script(dots) == [44] * 4)  # in the middle
    browser.refresh()
    enter_frame(browser)
    wait_for(browser, lambda _: summary(browser)["Step"] == "20")
    move_slider(browser, 4)
    wait_for(browser, lambda _: summary(browser)["Step"] == "40")
    output = browser.find_element("css selector", "output").text
    assert output == "latest (40)"


def test_headers_stand_above_their_columns(server, browser):
    open_tab(browser, server)
    check(browser, "Near zero")
    for other in ("", "first"):
        choose(browser, "other", other)
        wait_for(browser, lambda _, other=other: ("Difference" in labels(browser)) == bool(other))
        edges = browser.execute_script(
            """const box = (node) => {
              const { left, right } = node.getBoundingClientRect();
              return [Math.round(left), Math.round(right)];
            };
            const heads = [...document.querySelectorAll('#run-view thead [scope=col]')];
            const cells = [...document.querySelector('#run-view tbody tr').cells];
            return [heads.map(box).sort((a, b) => a[0] - b[0]), cells.map(box)];"""
        )
        assert edges[0] == edges[1]


def test_many_weights(large, browser):
    """Few of them are in the page, which scrolls as if all were."""
    server, count = large
    open_tab(browser, server, "large")
    wait_for(browser, lambda _: summary(browser)["Parameters"] == f"{10 * count:,}")
    table = browser.find_element("css selector", "#run-view table")
    assert table.get_attribute("aria-rowcount") == str(count + 1)
    sent = browser.execute_script(
        "return performance.getEntriesByType('resource')"
        ".reduce((sum, { decodedBodySize }) => sum + decodedBodySize, 0);"
    )
    assert 5 * count < sent < 5e6
    scroll = "document.querySelector('#run-view .table').scrollTop = arguments[0];"
    for place in (0, count // 2, count - 1):
        browser.execute_script(scroll, place * 34)
        name = name_of(place)
        wait_for(browser, lambda _, name=name: name in names(browser))
        expected = f"{100 * (place * 7919 % count / count):.2f}%"
        cells = lambda name=name: next(row for row in rows(browser) if row[0] == name)  # noqa: E731
        wait_for(browser, lambda _, cells=cells, expected=expected: cells()[2] == expected)
        assert cells()[3] == "1 of 5"
        assert len(rows(browser)) < 100
        index = (
            "return [...document.querySelectorAll('#run-view tbody tr')].map((r) => r.ariaRowIndex)"
        )
        first, *more = map(int, browser.execute_script(index))
        assert [first, *more] == list(range(first, first + len(more) + 1))
        assert names(browser)[0] == name_of(first - 2)  # the header is row 1
        shown = browser.execute_script(
            "const [row] = [...document.querySelectorAll('#run-view tbody tr')]"
            ".filter((row) => row.cells[0].textContent.includes(arguments[0]));"
            "const box = row.getBoundingClientRect(), all = row.closest('.table')"
            ".getBoundingClientRect(); return box.top >= all.top && box.bottom <= all.bottom;",
            name,
        )
        assert shown


def test_many_weights_are_sorted_filtered_and_grouped(large, browser):
    server, count = large
    open_tab(browser, server, "large")
    wait_for(browser, lambda _: summary(browser)["Parameters"] == f"{10 * count:,}")
    header(browser, "Sparsity").click()
    most = f"{100 * (count - 1) / count:.2f}%"
    wait_for(browser, lambda _: rows(browser)[0][2] == most)
    write(browser, "name", "dense_77/")
    wait_for(browser, lambda _: len(names(browser)) == 2)
    check(browser, "Group by layer")
    both = [n * 7919 % count / count for n in (154, 155)]
    total = ["block/dense_77 2", "20", f"{50 * sum(both):.2f}%", "2 of 10"]
    wait_for(browser, lambda _: rows(browser)[0][:4] == total)
    assert re.fullmatch("kernel|bias", rows(browser)[1][0])


@pytest.mark.parametrize("width", [400, 800, 1500])
def test_narrow_pages(server, browser, width):
    """Nothing but the table goes beyond the edge, and names stay in view beside it."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        open_tab(browser, server)
        beyond = browser.execute_script(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth;"
        )
        assert beyond == 0
        left = "return document.querySelector('#run-view tbody th').getBoundingClientRect().left;"
        before = browser.execute_script(left)
        browser.execute_script("document.querySelector('#run-view .table').scrollLeft = 200;")
        assert browser.execute_script(left) == before
        cut = browser.execute_script(
            """const [name] = [...document.querySelectorAll('#run-view tbody .cut')].slice(-1);
            const all = name.closest('th').getBoundingClientRect();
            const end = name.querySelector('.end').getBoundingClientRect();
            const start = name.querySelector('.start');
            return [end.right <= all.right, start.scrollWidth > start.clientWidth, name.title];"""
        )
        fits, is_cut, title = cut
        assert fits and is_cut == (width == 400) and title.endswith(LAST)
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_arrows_go_through_the_views(server, browser):
    from selenium.webdriver.common.keys import Keys

    open_tab(browser, server)
    tabs = browser.find_elements("css selector", "[role=tab]")
    compare, run = tabs
    run.click()

    def shown():
        return [
            tab.get_attribute("aria-selected") == "true"
            and browser.find_element("id", tab.get_attribute("aria-controls")).is_displayed()
            and tab == browser.switch_to.active_element
            for tab in tabs
        ]

    assert shown() == [False, True]
    for key, expected in (
        (Keys.ARROW_RIGHT, [True, False]),
        (Keys.ARROW_LEFT, [False, True]),
        (Keys.HOME, [True, False]),
        (Keys.END, [False, True]),
        (Keys.ARROW_LEFT, [True, False]),
    ):
        browser.switch_to.active_element.send_keys(key)
        assert shown() == expected
