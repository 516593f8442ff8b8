"""Markdown of texts that may contain anything."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of cells that are plain text whatever is in them."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(plain_text, cells)) + " |" for cells in lines)


def plain_text(text: str) -> str:
    """Markdown of a text that may contain HTML, Markdown or a cell's border."""
    text = html.escape(text)
    return "".join(f"&#{ord(c)};" if c in "|`*_[]\\\n" else c for c in text)
