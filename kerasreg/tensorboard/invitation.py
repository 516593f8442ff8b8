"""What the logger tells its user to do: open TensorBoard, at the charts that matter."""

from __future__ import annotations

import json
import os
import shlex
from urllib.parse import quote

from kerasreg_tensorboard.names import TOTALS

MAIN_CHARTS = ("sparsity", "near_zero", "data_loss", "val_data_loss", "penalty", "dead_units")


def invitation(log_dir: str) -> str:
    """The command that starts TensorBoard, and the address of the main charts.

    TensorBoard smooths charts unless it is told not to, which hides when zeros come and go.

    Args:
        log_dir: Folder of the run.

    Returns:
        Three lines to print.
    """
    parent = os.path.dirname(log_dir.rstrip("/"))
    # Runs are folders side by side; the folder around them shows them all.
    shown = parent if parent and not parent.endswith((":/", "/")) else log_dir
    pins = json.dumps([{"plugin": "scalars", "tag": f"{TOTALS}/{name}"} for name in MAIN_CHARTS])
    return (
        f"kerasreg logs to {log_dir}. To look at it:\n"
        f"    tensorboard --logdir {shlex.quote(shown)}\n"
        f"    http://localhost:6006/?smoothing=0&pinnedCards={quote(pins)}#timeseries"
    )
