"""What the tests of TensorBoard's tabs share."""

import pytest
from helpers import dashboard


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
