"""What the tests of TensorBoard's tabs share."""

import pytest
from helpers import dashboard
from helpers.sparsity_tab import HURRY


@pytest.fixture(scope="session")
def chromium():
    with dashboard.chromium() as driver:
        yield driver


@pytest.fixture
def browser(chromium):
    """A browser with an empty page, whose console has to stay free of errors."""
    yield chromium
    errors = [entry for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"]
    chromium.get("about:blank")  # Its server may end before the next page.
    # TensorBoard's pages of plain data have no icon.
    assert not [entry for entry in errors if "/favicon.ico" not in entry["message"]]


@pytest.fixture
def hurried(browser):
    """A browser in which the tab asks for new points every 0.1 seconds."""
    script = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": HURRY})
    yield browser
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
