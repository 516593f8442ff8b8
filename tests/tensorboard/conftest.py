"""What the tests of TensorBoard's tabs share."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import dashboard


@pytest.fixture(scope="module")
def chromium():
    with dashboard.chromium() as driver:
        yield driver


@pytest.fixture
def browser(chromium):
    """A browser with an empty page, whose console has to stay free of errors."""
    chromium.get("about:blank")
    yield chromium
    errors = [entry for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"]
    assert not errors
