"""Keeps what goes wrong in logging away from the training."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any


class Guard:
    """Runs the parts of a logger; the first failure is its last, with one warning.

    Args:
        name: Name of the logger.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.failed = False

    def run(self, action: Callable[..., None], *args: Any) -> None:
        """Runs a part, unless one has failed before."""
        if not self.failed:
            self.run_always(action, *args)

    def run_always(self, action: Callable[..., None], *args: Any) -> None:
        """Runs a part that tidies up."""
        try:
            action(*args)
        except Exception as error:
            self.failed = True
            warnings.warn(
                f"{self._name} failed in `{action.__name__}` and logs no more in this run; "
                f"training goes on. {type(error).__name__}: {error}",
                stacklevel=2,
            )
