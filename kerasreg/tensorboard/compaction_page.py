"""Says what compaction would leave of a model, in the tabs Text, Time Series and Sparsity."""

from __future__ import annotations

from typing import Any

import numpy as np
from tensorboard.compat.proto import summary_pb2

from kerasreg.compaction.report import COLUMNS, compaction_report
from kerasreg.tensorboard.markdown import plain_text, table
from kerasreg.tensorboard.pages import add_tensor
from kerasreg.tensorboard.points import add_totals
from kerasreg_tensorboard.names import COMPACTED, COMPACTION_TAG


def add_compaction(summary: summary_pb2.Summary, model: Any) -> str:
    """Adds what `compact` would leave of a model as it is now.

    Args:
        summary: The summary to add to.
        model: The model.

    Returns:
        Markdown: the report, or why there is none.
    """
    sizes: dict[str, tuple[int, int]] = {}
    report, refused = None, ""
    try:
        with np.errstate(all="ignore"):  # of weights that are infinite
            report = compaction_report(model)
        refused = report.refused
    except Exception as error:  # The rest of the log does not depend on it.
        refused = str(error)
    if report is None or refused:
        page = f"`compact` cannot take this model: {plain_text(refused)}"
    else:
        total = report.total
        sizes = {
            name: (getattr(total.before, name), getattr(total.after, name)) for name in COMPACTED
        }
        add_totals(summary, {f"compacted_{name}": after for name, (_, after) in sizes.items()})
        left = ", ".join(
            f"{after:,} of {before:,} {name.replace('_', '-')}"
            for name, (before, after) in sizes.items()
        )
        rows = table(COLUMNS, (row.cells() for row in (*report.rows, total)))
        page = f"After compaction: {left}.\n\n{rows}"
    add_tensor(summary, COMPACTION_TAG, sizes)
    return page
