"""The picture of the network as drawn, against the numbers in the log."""

import math

import pytest
from helpers import dashboard
from helpers.dashboard import wait_for
from helpers.sparsity_logs import HTML, Log, model, write_deep, write_runs
from helpers.sparsity_tab import names, open_tab

pytestmark = [*dashboard.MARKS, pytest.mark.slow]

DRAW = """
    const [run, step, done] = arguments;
    const module = new URL("network.js", document.querySelector("link[href$='style.css']").href);
    import(module).then(async ({ NetworkPicture }) => {
      window.chosen = [];
      window.picture = new NetworkPicture((name) => chosen.push(name));
      document.body.replaceChildren(picture.node);
      await picture.update(run, step);
      done(null);
    }).catch((error) => done(String(error)));"""
MOVE = """
    const [run, step, done] = arguments;
    picture.update(run, step).then(() => done(null), (error) => done(String(error)));"""
BARS = """
    const width = (node) => node.getBoundingClientRect().width;
    return [...document.querySelectorAll("[role=option]")].map((layer) => [
      layer.querySelector(".layer-name").textContent,
      layer.querySelector(".layer-count").textContent,
      ...[".layer-place", ".layer-bar", ".layer-units", ".alive", ".layer-weights", ".nonzero"].map(
        (part) => width(layer.querySelector(part))),
    ]);"""
DETAILS = "return [...document.querySelectorAll('.network-details p')].map((p) => p.textContent);"
CONTRASTS = """
    const light = (color) => {
      const channel = (c) => (c <= 10 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
      const [r, g, b] = color.match(/[\\d.]+/g).map(Number).map(channel);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const hover = Object.assign(document.createElement("i"), { style: "color: var(--hover)" });
    document.body.append(hover);
    const grounds = [[document.body, "backgroundColor"], [hover, "color"]].map(
      ([node, property]) => getComputedStyle(node)[property]);
    const least = (selector, property) => Math.min(...grounds.flatMap((ground) =>
      [...document.querySelectorAll(selector)].map((node) => {
        const pair = [getComputedStyle(node)[property], ground].map(light).sort((a, b) => a - b);
        return (pair[1] + 0.05) / (pair[0] + 0.05);
      })));
    return [
      light(grounds[0]),
      least(".network p, .layer-name, .layer-count", "color"),
      least(".alive, .nonzero", "backgroundColor"),
      least(".layer-units", "borderTopColor"),
    ];"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    write_runs(folder)
    log = Log(folder / "wide", model(units=1000))
    log.write(7, {"all/sparsity": 0.1, "dead_units/first/kernel": 250.0})
    log.close()
    write_deep(folder / "deep", 1000)
    with dashboard.tensorboard(folder) as address:
        yield address


def draw(browser, server, run, step=None, dark=False):
    """A picture alone in the tab's frame."""
    open_tab(browser, server, "first", dark)
    assert browser.execute_async_script(DRAW, run, step) is None


def move(browser, run, step):
    assert browser.execute_async_script(MOVE, run, step) is None


def test_widths_are_units_and_fillings_what_is_alive(server, browser):
    draw(browser, server, "second", 40)
    first, second, third = browser.execute_script(BARS)
    assert [first[0], second[0], third[0]] == ["first", "größer 2", HTML]
    assert [first[1], second[1], third[1]] == [
        "8 of 12 units alive",
        "7 of 12 inputs alive",
        "2 of 3 units alive",
    ]
    # Units, what is alive of what is counted, what of the weights is not zero.
    expected = [(12, 8 / 12, 0.2), (4, 7 / 12, 0.0), (3, 2 / 3, 0.8)]
    for bar, (units, alive, nonzero) in zip((first, second, third), expected, strict=True):
        _, _, place, width, whole, filled, line, filled_line = bar
        assert width == whole == line == pytest.approx(place * units / 12, abs=0.1)
        assert filled == pytest.approx((whole - 2) * alive, abs=0.1)  # within a border of a pixel
        assert filled_line == pytest.approx(line * nonzero, abs=0.1)
    assert first[2] > 300
    assert not browser.find_elements("css selector", "img")


def test_it_moves_with_the_step_and_nothing_is_made_anew(server, browser):
    draw(browser, server, "second", 0)
    browser.execute_script(
        "window.made = []; new MutationObserver((records) => made.push(...records.flatMap((r) =>"
        "[...r.addedNodes, ...r.removedNodes].filter((n) => n.nodeType === 1))))"
        ".observe(document.body, { childList: true, subtree: true });"
    )
    fillings = []
    for step in (0, 10, 25, 40, None, 0):
        move(browser, "second", step)
        bars = browser.execute_script(BARS)
        fillings.append([bar[5] / (bar[4] - 2) for bar in bars[:2]])
    assert browser.execute_script("return made.length") == 0
    dead = [(0, 0), (1, 10 / 8), (2, 20 / 8), (4, 5), (4, 5), (0, 0)]
    for filled, (first, second) in zip(fillings, dead, strict=True):
        # Counts are whole numbers; the log of this test has fractions.
        assert filled == pytest.approx([(12 - first) / 12, math.floor(12 - second) / 12], abs=1e-3)


def test_another_run_has_other_bars(server, browser):
    draw(browser, server, "second")
    move(browser, "wide", None)
    (first, *_), third = browser.execute_script(BARS)[0], browser.execute_script(BARS)[2]
    _, count, place, width, whole, filled, *_ = browser.execute_script(BARS)[0]
    assert first == "first" and count == "750 of 1,000 units alive"
    assert width == pytest.approx(place, abs=0.1)
    assert filled == pytest.approx((whole - 2) * 0.75, abs=0.1)
    assert third[3] == pytest.approx(place * math.sqrt(3 / 1000), abs=0.1)
    caption = browser.find_element("css selector", ".network-caption").text
    assert "square root" in caption and caption.startswith("3 layers")
    assert third[1] == "" and third[5] == 0  # nothing of it was logged
    move(browser, "first", 10)
    assert "square root" not in browser.find_element("css selector", ".network-caption").text


def test_the_last_that_was_asked_for_is_shown(server, browser):
    draw(browser, server, "second", 0)
    browser.execute_async_script(
        "const done = arguments[0], plain = window.fetch; let late = 300;"
        "window.fetch = async (...args) => { const wait = late; late = 0;"
        "  await new Promise((go) => setTimeout(go, wait)); return plain(...args); };"
        "Promise.all([picture.update('wide', 7), picture.update('second', 40)]).then(() => {"
        "  window.fetch = plain; done(); });"
    )
    assert browser.execute_script(BARS)[0][1] == "8 of 12 units alive"


def test_a_layer_says_its_numbers(server, browser):
    from selenium.webdriver.common.action_chains import ActionChains

    draw(browser, server, "second", 40)
    assert browser.execute_script(DETAILS)[0].startswith("Point at a bar")
    layers = browser.find_elements("css selector", "[role=option]")
    ActionChains(browser).move_to_element(layers[1]).perform()
    lasso = "L2(l2=1e-05); GroupLasso(strength=0.0001, axis=0, size_scaling=True), after the step"
    assert browser.execute_script(DETAILS) == [
        "größer 2, 7 of 12 inputs alive, 100.00% of the weights are zero",
        f"größer 2/kernel, 12 × 4, 5 of 12 inputs dead, 100.00% zeros, {lasso}",
    ]
    move(browser, "second", 0)
    assert "0 of 12 inputs dead, 0.00% zeros" in browser.execute_script(DETAILS)[1]
    labels = [layer.get_attribute("aria-label") for layer in layers]
    assert labels[0] == "first, 12 of 12 units alive, 0.00% of the weights are zero"
    title = layers[2].find_element("css selector", "[title]").get_attribute("title")
    assert title == HTML


def test_keys_and_clicks_choose_a_layer(server, browser):
    from selenium.webdriver.common.keys import Keys

    draw(browser, server, "second")
    browser.execute_script("document.body.tabIndex = -1; document.body.focus();")
    reached = []
    browser.switch_to.active_element.send_keys(Keys.TAB)
    for key in (None, Keys.ARROW_DOWN, Keys.END, Keys.ARROW_DOWN, Keys.ARROW_UP, Keys.HOME):
        if key is not None:
            browser.switch_to.active_element.send_keys(key)
        reached.append(browser.switch_to.active_element.get_attribute("data-number"))
    assert reached == ["0", "1", "2", "2", "1", "0"]
    outline = "return getComputedStyle(document.activeElement).outlineStyle;"
    assert browser.execute_script(outline) == "solid"
    assert browser.execute_script(DETAILS)[0].startswith("first, ")
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    layers = browser.find_elements("css selector", "[role=option]")
    assert [layer.get_attribute("aria-selected") for layer in layers] == ["true", "false", "false"]
    layers[1].click()
    assert [layer.get_attribute("aria-selected") for layer in layers] == ["false", "true", "false"]
    layers[1].click()
    assert browser.execute_script("return chosen") == ["first", "größer 2", None]
    assert [layer.get_attribute("tabindex") for layer in layers] == ["-1", "0", "-1"]


def test_it_is_in_the_view_of_a_run(server, browser):
    """Moved by the slider of the steps; a click on a bar filters the table."""
    from selenium.webdriver.common.keys import Keys

    def counts():
        return [bar[1] for bar in browser.execute_script(BARS)]

    open_tab(browser, server)
    assert counts() == []  # folded
    browser.find_element("css selector", ".network-fold summary").click()
    wait_for(browser, lambda _: counts() and counts()[0] == "8 of 12 units alive")
    browser.find_element("id", "step").send_keys(Keys.HOME)
    wait_for(browser, lambda _: counts()[0] == "12 of 12 units alive")
    every = names(browser)
    browser.find_elements("css selector", "[role=option]")[0].click()
    wait_for(browser, lambda _: names(browser) == ["first/kernel", "first/bias"])
    browser.find_elements("css selector", "[role=option]")[2].click()
    wait_for(browser, lambda _: names(browser) == [f"{HTML}/kernel"])
    browser.find_elements("css selector", "[role=option]")[2].click()
    wait_for(browser, lambda _: names(browser) == every)


@pytest.mark.parametrize("dark", [False, True])
def test_contrast(server, browser, dark):
    draw(browser, server, "second", 10, dark=dark)
    ground, text, filled, edge = browser.execute_script(CONTRASTS)
    assert (ground < 0.1) == dark
    assert text >= 4.5 and filled >= 3 and edge >= 3


@pytest.mark.parametrize("width", [1500, 800, 400])
def test_a_thousand_layers_scroll_in_a_box_of_their_own(server, browser, width):
    size = browser.get_window_size()
    try:
        browser.set_window_size(width, 900)
        draw(browser, server, "deep")
        bars = browser.execute_script(BARS)
        whole, *heights, page, window = browser.execute_script(
            "const list = document.querySelector('.network-layers');"
            "return [list.scrollHeight, list.clientHeight, picture.node.offsetHeight,"
            "  document.documentElement.scrollWidth, innerWidth];"
        )
    finally:
        browser.set_window_size(size["width"], size["height"])
    assert len(bars) == 1000 and whole > 5000
    assert heights[0] <= 420 and heights[1] <= 600 and page <= window
    for number in (0, 500, 999):
        _, _, place, bar, box, filled, *_ = bars[number]
        assert bar == pytest.approx(place * math.sqrt((1 + number) / 1000), abs=0.5) or bar == 4
        assert filled == pytest.approx((box - 2) * alive(number), abs=0.5)


def alive(number):
    return 1 - (number // 2) / (number + 1)
