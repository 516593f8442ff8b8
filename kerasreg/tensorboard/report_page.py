"""The text page with the sparsity report of a trained model."""

from __future__ import annotations

from kerasreg.sparsity_report import COLUMNS, SparsityReport
from kerasreg.tensorboard.markdown import table


def report_page(report: SparsityReport) -> str:
    """A page of Markdown: the report's table, the total in its last line.

    Args:
        report: The report.

    Returns:
        The page.
    """
    return table(COLUMNS, (row.cells() for row in (*report.rows, report.total)))
