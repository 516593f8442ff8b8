"""Tables of TensorBoard's text pages."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table.

    Args:
        header: The names of the columns.
        rows: The cells, as plain text whatever is in them.

    Returns:
        The table.
    """
    lines = [_line(header), _line(["---"] * len(header)), *map(_line, rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_escape, cells)) + " |"


def _escape(cell: str) -> str:
    """Keeps names that contain HTML, Markdown or a cell's border as plain text."""
    text = html.escape(cell)
    return "".join(f"&#{ord(c)};" if c in "|`*_[]\\\n" else c for c in text)
