"""The Sparsity tab as a person sees it, in a real browser."""

import pytest
from helpers import dashboard, structured
from helpers.dashboard import wait_for
from helpers.sparsity_logs import HTML, Log, model, write_runs
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

import kerasreg as kr

pytestmark = dashboard.MARKS

CONTRASTS = """
    const light = (color) => {
      const channel = (c) => (c <= 10 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
      const [r, g, b] = color.match(/[\\d.]+/g).map(Number).map(channel);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = light(getComputedStyle(document.body).backgroundColor);
    const ratio = (color) => {
      const pair = [light(color), ground].sort((a, b) => a - b);
      return (pair[1] + 0.05) / (pair[0] + 0.05);
    };
    const texts = document.querySelectorAll(
      'label, select, dt, dd span, button, td, th span, p, output, summary');
    const lines = document.querySelectorAll('.line');
    return [
      ground,
      Math.min(...[...texts].map((node) => ratio(getComputedStyle(node).color))),
      Math.min(...[...lines].map((node) => ratio(getComputedStyle(node).stroke))),
    ];"""
REQUESTS = "return performance.getEntriesByType('resource').map((entry) => entry.name);"


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    write_runs(folder)
    return folder


@pytest.fixture(scope="module")
def server(logs):
    with dashboard.tensorboard(logs) as address:
        yield address


def sorted_by(browser):
    return browser.execute_script(
        "return [...document.querySelectorAll('thead th')].map((th) => th.ariaSort);"
    )


def test_cells_are_the_logged_numbers(server, browser):
    open_tab(browser, server)
    lasso = "GroupLasso(strength=0.0001, axis=0, size_scaling=True)"
    l1, both = "L1(l1=0.001)", f"L2(l2=1e-05); {lasso}, after the step"
    expected = [
        ["first/kernel", "6 × 12", "80.00%", "4 of 12", "25.00%", "0.001", l1],
        ["first/bias", "12", "0.00%", "", "", "", ""],
        ["größer 2/kernel", "12 × 4", "100.00%", "5 of 12 inputs", "75.00%", "NaN", both],
        [f"{HTML}/kernel", "4 × 3", "20.00%", "1 of 3", "", "", ""],
    ]
    wait_for_rows(browser, expected)
    assert summary(browser) == {
        "Sparsity": "40.00%",
        "Dead units": "4 of 19",
        "Dead groups": "",
        "Penalty": "0.002",
        "Parameters": "144",
        "Parameters after compaction": "61 of 144",
        "Multiply-adds after compaction": "55 of 132",
        "Step": "40",
    }


@pytest.mark.slow
def test_parts_have_their_words(server, hurried, logs):
    browser, network = hurried, structured.model()
    penalties = structured.PENALTIES
    network.compile(kr.Proximal("sgd", penalties, model=network), "mse")
    log = Log(logs / "shapes", network)
    counts = {name: min(number, 3) for name, (_, number) in structured.PARTS.items()}
    points = {f"dead_parts/{name}": count for name, count in counts.items()}
    log.write(10, {"all/sparsity": 0.5, "all/dead_groups": 5.0, "dead_units/units/kernel": 1.0})
    log.write(20, points | {"all/dead_groups": 6.0})
    log.close()
    open_tab(browser, server)
    known = "return [...document.getElementById('run').options].map((option) => option.value)"
    wait_for(browser, lambda _: "shapes" in browser.execute_script(known))
    choose(browser, "run", "shapes")
    wait_for(browser, lambda _: summary(browser)["Dead groups"] == "6 of 8")
    cells = {row[0]: row[3] for row in rows(browser)}
    for name, (word, number) in structured.PARTS.items():
        assert cells[name] == f"{counts[name]} of {number} {word}"
    assert cells["units/kernel"] == "1 of 4"
    sides = browser.execute_script(
        "return [...document.querySelectorAll('td:nth-child(4) .sparkline')]"
        ".map((node) => node.getBoundingClientRect().left);"
    )
    assert max(sides) - min(sides) < 1  # below each other, however long the words are


@pytest.mark.slow
def test_without_compaction_there_is_no_word_of_it(server, browser):
    shown = "return [...document.querySelectorAll('dl div')].map((item) => item.offsetHeight > 0);"
    open_tab(browser, server, "second")
    before = [True, True, False, True, True]  # The third are groups, of which there are none.
    assert browser.execute_script(shown) == [*before, True, True, True]
    choose(browser, "run", "first")
    wait_for(browser, lambda _: summary(browser)["Step"] == "10")
    assert browser.execute_script(shown) == [*before, False, False, True]


@pytest.mark.slow
def test_sparklines_are_drawn(server, browser):
    open_tab(browser, server)
    drawn = "return document.querySelectorAll('tbody .line[d*=L]').length;"
    wait_for(browser, lambda _: browser.execute_script(drawn) == 11)
    paths = browser.execute_script(
        "return [...document.querySelectorAll('tbody .line')].map((line) => ["
        "  line.getAttribute('d'), line.getBoundingClientRect().height,"
        "  getComputedStyle(line.parentNode).visibility]);"
    )
    points = [d.count("L") for d, _, _ in paths]
    assert points == [5, 5, 5, 5, 5, 0, 0, 0, 5, 5, 5, 4, 5, 5, 0, 0]  # a NaN is no point
    assert [shown for _, _, shown in paths] == ["visible" if n else "hidden" for n in points]
    heights = [height for _, height, _ in paths]
    assert heights[0] == pytest.approx(16 * 0.8, abs=0.2)  # from 0% to 80% of the whole
    assert heights[8] == pytest.approx(16, abs=0.2)
    penalty = browser.find_elements("css selector", "dl .line")[3].get_attribute("d")
    assert penalty.count("M") == 2  # the NaN in between parts the line


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("by_keyboard", [False, True])
def test_sorting(server, browser, by_keyboard):
    from selenium.webdriver.common.keys import Keys

    open_tab(browser, server)
    first, bias, second, html = names(browser)
    button = header(browser, "Sparsity")

    def press():
        button.send_keys(Keys.ENTER) if by_keyboard else button.click()
        return names(browser), sorted_by(browser)[2]

    assert press() == ([second, first, html, bias], "descending")
    assert press() == ([bias, html, first, second], "ascending")
    assert press() == ([first, bias, second, html], "none")
    header(browser, "Strength").click()
    # NaN is among those without a strength.
    assert names(browser) == [first, bias, second, html]
    assert sorted_by(browser) == ["none"] * 5 + ["descending", "none"]
    header(browser, "Weight").click()
    header(browser, "Weight").click()
    assert names(browser) == [html, bias, first, second]


@pytest.mark.slow
def test_the_keyboard_reaches_everything(server, browser):
    from selenium.webdriver.common.keys import Keys

    open_tab(browser, server)
    browser.find_element("id", "run-tab").click()
    reached = []
    for _ in range(16):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        node = browser.switch_to.active_element
        reached.append(node.get_attribute("id") or node.get_attribute("type") or node.aria_role)
        outline = "return getComputedStyle(document.activeElement).outlineStyle;"
        assert browser.execute_script(outline) == "solid"
    fold = "DisclosureTriangle"
    controls = ["run", "other", "step", fold, "name", "penalty", "checkbox", fold]
    assert reached == [*controls, "region", *["button"] * 7]  # the table itself, to scroll it


@pytest.mark.slow
def test_the_chosen_run_is_kept_after_a_reload(server, browser):
    open_tab(browser, server, "first")
    assert rows(browser)[0][2:4] == ["20.00%", "1 of 12"]
    browser.refresh()
    enter_frame(browser)
    assert browser.find_element("id", "run").get_attribute("value") == "first"
    assert summary(browser)["Step"] == "10"


@pytest.mark.slow
def test_new_points_come_by_themselves(server, hurried, logs):
    browser = hurried
    log = Log(logs / "live", model(html="later"))
    open_tab(browser, server)
    live = "return [...document.getElementById('run').options].map((option) => option.value)"
    wait_for(browser, lambda _: "live" in browser.execute_script(live))
    choose(browser, "run", "live")
    hint = browser.find_element("css selector", "#run-view .hint")
    wait_for(browser, lambda _: hint.text.startswith("No points yet."))
    header(browser, "Sparsity").click()
    browser.execute_script(
        "document.querySelector('#run-view tbody tr').mark = 1;"
        "const table = document.querySelector('#run-view .table');"
        "table.style.cssText = 'height: 150px; min-height: 0; flex: none'; table.scrollTop = 30;"
    )
    log.write(10, {"all/sparsity": 0.1, "sparsity/first/kernel": 0.5, "sparsity/first/bias": 0.6})
    wait_for(browser, lambda _: summary(browser)["Sparsity"] == "10.00%")
    assert names(browser)[:2] == ["first/bias", "first/kernel"]
    assert (
        browser.execute_script("return document.querySelectorAll('#run-view tbody tr')[1].mark")
        == 1
    )
    assert browser.switch_to.active_element.text.startswith("Sparsity")
    assert (
        browser.execute_script("return document.querySelector('#run-view .table').scrollTop") == 30
    )
    assert hint.text == ""
    log.close()


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("dark", [False, True])
def test_contrast_follows_the_theme(server, browser, dark):
    open_tab(browser, server, dark=dark)
    ground, text, line = browser.execute_script(CONTRASTS)
    assert (ground < 0.1) == dark
    assert text >= 4.5 and line >= 3
    browser.execute_script("parent.document.body.classList.toggle('dark-mode')")
    wait_for(browser, lambda _: (browser.execute_script(CONTRASTS)[0] < 0.1) != dark)
    _, text, line = browser.execute_script(CONTRASTS)
    assert text >= 4.5 and line >= 3


@pytest.mark.slow
def test_html_in_a_name_stays_text(server, browser):
    open_tab(browser, server)
    assert f"{HTML}/kernel" in names(browser)
    assert not browser.find_elements("css selector", "img")
    assert browser.execute_script("return window.pwned ?? parent.pwned ?? null") is None


@pytest.mark.slow
def test_every_request_stays_below_the_path_prefix(logs, browser):
    with dashboard.tensorboard(logs, path_prefix="/deep/below") as address:
        open_tab(browser, address)
        requests = browser.execute_script(REQUESTS)
        errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        browser.get("about:blank")
    # There TensorBoard does not find its own font, nor an icon.
    missing = ("/font-roboto/", "/favicon.ico")
    assert [e for e in errors if not any(name in e["message"] for name in missing)] == []
    assert any("/table" in request for request in requests)
    assert all(request.startswith(f"{address}/data/plugin/") for request in requests)


@pytest.mark.slow
def test_a_hidden_tab_asks_for_nothing(server, hurried):
    browser = hurried
    open_tab(browser, server)
    browser.execute_script(
        "window.asked = 0; const ask = window.fetch;"
        "window.fetch = (...args) => { window.asked += 1; return ask(...args); };"
    )
    asked = "return window.asked"
    wait_for(browser, lambda _: browser.execute_script(asked) > 3)
    browser.execute_script("parent.location.hash = '#timeseries'")
    wait_for(browser, lambda _: browser.execute_script("return innerHeight") == 0)
    pause = "setTimeout(arguments[0], 50_000)"  # a second
    browser.execute_async_script(pause)  # for what was on its way
    before = browser.execute_script(asked)
    browser.execute_async_script(pause)
    assert browser.execute_script(asked) == before
    browser.execute_script("parent.location.hash = '#kerasreg_sparsity'")
    wait_for(browser, lambda _: browser.execute_script(asked) > before)


@pytest.mark.slow
@pytest.mark.parametrize("failure", ["throw 0", "return new Response('', { status: 500 })"])
def test_a_server_that_is_gone_is_said_and_waited_for(server, hurried, failure):
    browser = hurried
    open_tab(browser, server)
    before = rows(browser)
    browser.execute_script(
        "window.ask = window.fetch;"
        f"window.fetch = async () => {{ {failure} }};"
        "document.getElementById('run').dispatchEvent(new Event('change'));"
    )
    status = browser.find_element("css selector", "[role=status]")
    wait_for(browser, lambda _: status.text.startswith("TensorBoard does not answer."))
    assert rows(browser) == before
    browser.execute_script("window.fetch = window.ask;")
    wait_for(browser, lambda _: status.text == "")
