"""Finds callbacks that monitor what a logger adds to `logs`, and never see it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any


def blind_monitors(
    callbacks: Sequence[Any], logger: Any, added: Sequence[str], known: Collection[str]
) -> Iterator[str]:
    """A sentence on each callback that waits in vain, as Keras does not say why.

    Args:
        callbacks: Those of the training, in the order in which they are called.
        logger: The logger, which is one of them.
        added: What it adds to `logs`.
        known: What it could add, but for names that are a metric's of the model.
    """
    name, is_before = type(logger).__name__, True
    if sum(isinstance(each, type(logger)) for each in callbacks) > 1:
        return  # Another one may add what this one does not.
    for callback in callbacks:
        if callback is logger:
            is_before = False
        monitored = getattr(callback, "monitor", None)
        if monitored not in known:
            continue
        what = f"`{type(callback).__name__}` monitors `{monitored}`, which `{name}` adds to `logs`"
        if monitored not in added:
            yield f"{what} only if `in_logs` names it: `in_logs={(*added, monitored)!r}`."
        elif is_before:
            yield f"{what} after it: put the logger before it in `callbacks`."
