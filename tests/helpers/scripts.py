"""Copies of the examples, to run as a user does."""

import re
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def copy_of(name, tmp_path, **constants):
    """A copy of an example, which logs beside it; with other numbers at its top, if need be."""
    text = (EXAMPLES / name).read_text()
    for constant, value in constants.items():
        text, count = re.subn(rf"^{constant} = .*$", f"{constant} = {value!r}", text, flags=re.M)
        assert count == 1, constant
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / name).write_text(text)
    return tmp_path / "examples" / name
