"""Tables of reports, for `print` and for notebooks."""

from __future__ import annotations

import html
from collections.abc import Sequence

Cells = Sequence[str]


def text_table(head: Cells, rows: Sequence[Cells], total: Cells, sides: str) -> str:
    """A table in lines of text.

    Args:
        head: The names of the columns.
        rows: A string for each column, in each row.
        total: The last row.
        sides: `<` or `>` for each column: on which side its strings stand.
    """
    table = [head, *rows, total]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    aligned = [f"{side}{width}" for side, width in zip(sides, widths, strict=True)]
    lines = ["  ".join(map(format, row, aligned)).rstrip() for row in table]
    rule = "─" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def html_table(
    head: Cells, rows: Sequence[Cells], total: Cells | None, notes: Sequence[str]
) -> str:
    """A table in HTML, with a paragraph for each note below it; arguments as for `text_table`.

    Without colours of its own, so that a notebook shows it in its light or dark ones.
    """

    def line(cells: Cells, tag: str) -> str:
        inner = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)
        return f"<tr>{inner}</tr>"

    body = "".join(line(row, "td") for row in rows)
    foot = "" if total is None else f"<tfoot>{line(total, 'th')}</tfoot>"
    return f"<table><thead>{line(head, 'th')}</thead><tbody>{body}</tbody>{foot}</table>" + "".join(
        f"<p>{html.escape(note)}</p>" for note in notes
    )
