"""The Sparsity tab as a browser has drawn it."""

from helpers.dashboard import wait_for

ROWS = """return [...document.querySelectorAll('#run-view tbody tr')].map(
    (row) => [...row.cells].map((cell) => cell.textContent.trim()));"""
NAMES = """return [...document.querySelectorAll('#run-view tbody .cut')].map(
    (name) => name.textContent);"""
SUMMARY = """return Object.fromEntries([...document.querySelectorAll('dl div')].map(
    (item) => [...item.children].map((part) => part.textContent)));"""

# In the tab's frame what waits for seconds waits for a fiftieth of them.
HURRY = """if (window !== window.top)
    window.setTimeout = ((plain) => (f, ms) => plain(f, ms / 50))(window.setTimeout);"""


def enter_frame(browser):
    """Looks into the tab's frame, once it has rows."""
    browser.switch_to.default_content()
    selector = "iframe[src*=kerasreg_sparsity]"
    wait_for(browser, lambda _: browser.find_elements("css selector", selector))
    browser.switch_to.frame(browser.find_element("css selector", selector))
    wait_for(browser, lambda _: browser.execute_script(NAMES))


def open_tab(browser, server, run="second", dark=False):
    """Opens the view of a run as at a first visit, and chooses a run."""
    browser.get(f"{server}/data/runs")  # of the same origin, whose storage it has
    browser.execute_script("sessionStorage.clear(); localStorage.clear();")
    browser.execute_script("sessionStorage.setItem('kerasreg_sparsity.view', '\"run\"')")
    browser.get(f"{server}/?darkMode={str(dark).lower()}#kerasreg_sparsity")
    enter_frame(browser)
    choose(browser, "run", run)
    step = {"first": "10", "second": "40"}.get(run)
    wait_for(browser, lambda _: step is None or summary(browser)["Step"] == step)


def choose(browser, label, value):
    """Chooses from the list of that id."""
    from selenium.webdriver.support.select import Select

    Select(browser.find_element("id", label)).select_by_value(value)


def summary(browser):
    """The numbers above the table, by their words."""
    return browser.execute_script(SUMMARY)


def rows(browser):
    """The text of the cells of each row in the page."""
    return browser.execute_script(ROWS)


def names(browser):
    """The names of the weights and groups in the page."""
    return browser.execute_script(NAMES)


def header(browser, label):
    """The button above a column."""
    found = [
        b
        for b in browser.find_elements("css selector", "#run-view thead button")
        if b.text == label
    ]
    return found[0]


def wait_for_rows(browser, expected):
    """Waits until the rows are those."""
    try:
        wait_for(browser, lambda _: rows(browser) == expected, 15)
    except Exception:
        assert rows(browser) == expected
