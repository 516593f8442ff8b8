"""What axe-core, the checker of most browsers' tools, says of the Sparsity tab."""

import pytest
from helpers import dashboard
from helpers.compare_logs import write_few
from helpers.dashboard import assert_accessible, open_sparsity_tab, wait_for

pytestmark = [*dashboard.MARKS, pytest.mark.slow]

DARK = "parent.document.body.classList.toggle('dark-mode', arguments[0])"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    logs = tmp_path_factory.mktemp("logs")
    write_few(logs)
    with dashboard.tensorboard(logs) as address:
        yield address


def set_dark(browser, dark):
    browser.execute_script(DARK, dark)
    is_dark = "return document.documentElement.classList.contains('dark')"
    wait_for(browser, lambda _: browser.execute_script(is_dark) == dark)


@pytest.mark.parametrize("view", ["compare", "run"])
def test_there_is_nothing_to_complain_of(server, browser, view):
    open_sparsity_tab(browser, server, view)
    for dark in (False, True):
        set_dark(browser, dark)
        assert_accessible(browser)


def test_the_card_of_a_run_too(server, browser):
    open_sparsity_tab(browser, server, "compare")
    browser.execute_script("document.querySelector('.points .best').focus()")
    assert not browser.execute_script("return document.querySelector('.card').hidden")
    for dark in (False, True):
        set_dark(browser, dark)
        assert_accessible(browser)


CONTRASTS = """
    const light = (color) => {
      const channel = (c) => (c <= 10 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
      const [r, g, b] = color.match(/[\\d.]+/g).map(Number).map(channel);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = light(getComputedStyle(document.body).backgroundColor);
    return Object.fromEntries(Object.entries(arguments[0]).map(([selector, property]) => {
      const nodes = [...document.querySelectorAll(`.chart ${selector}`)];
      const ratios = nodes.map((node) => {
        const pair = [light(getComputedStyle(node)[property]), ground].sort((a, b) => a - b);
        return (pair[1] + 0.05) / (pair[0] + 0.05);
      });
      return [selector, Math.min(...ratios)];
    }));"""
OF_CHART = {"text": "fill", ".point": "fill", ".best": "stroke", ".frontier": "stroke"}


def test_the_chart_stands_out(server, browser):
    """Words by 4.5 to 1, marks by 3 to 1, for each of the styles."""
    open_sparsity_tab(browser, server, "compare")
    for dark in (False, True):
        set_dark(browser, dark)
        for style in range(6):
            browser.execute_script(
                "for (const point of document.querySelectorAll('.point:not(.best)'))"
                "  point.setAttribute('class', `point style-${arguments[0]}`);",
                style,
            )
            ratios = browser.execute_script(CONTRASTS, OF_CHART)
            assert ratios.pop("text") >= 4.5
            assert min(ratios.values()) >= 3


DAMAGE = {
    "select-name": "document.querySelector('#compare-view label').remove()",
    "color-contrast": "document.querySelector('.compare h2').style.color = '#bbb'",
    "button-name": "document.querySelector('.runs tbody button').textContent = ''",
    "aria-required-children": "document.querySelector('ul.legend').setAttribute('role', 'menu')",
}


def test_what_is_wrong_is_found(server, browser):
    """Each of these is a fault of its own; without them the tests above could not fail."""
    open_sparsity_tab(browser, server, "compare")
    for rule, script in DAMAGE.items():
        browser.execute_script(script)
        with pytest.raises(AssertionError, match=rule):
            assert_accessible(browser)
