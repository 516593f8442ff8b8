"""The pages of documentation keep up with the package."""

import re
from pathlib import Path

import kerasreg as kr

DOCS = Path(__file__).parent.parent / "docs"


def test_the_api_page_has_every_public_name_and_no_other():
    page = (DOCS / "api.md").read_text()
    names = re.findall(r"`kr\.(\w+)`", page)
    assert sorted(names) == sorted(kr.__all__)
