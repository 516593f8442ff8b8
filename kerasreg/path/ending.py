"""Whether a path has reached its end before its last strength."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from kerasreg.path.grid import DENSE_TO_SPARSE

# A model that explains less of the loss than this part of what the best one does has collapsed.
COLLAPSED = 0.1


def is_over(rows: Sequence[Mapping[str, Any]], direction: str, null_loss: float) -> bool:
    """Whether there is nothing to be expected of a further strength.

    Args:
        rows: What is known of the strengths so far.
        direction: Which end the path began with.
        null_loss: The loss of the best model without its penalised weights; infinite where it is
            not known.
    """
    if not rows:
        return False
    last = rows[-1]
    if not math.isfinite(last["data_loss"]):
        return True
    if direction != DENSE_TO_SPARSE:
        return False
    explained = [null_loss - row["data_loss"] for row in rows]
    best = max(explained)
    collapsed = math.isfinite(null_loss) and best > 0 and explained[-1] < COLLAPSED * best
    return last["sparsity"] == 1.0 or collapsed
