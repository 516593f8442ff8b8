"""Keeps failures of a logger away from the training."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Guard:
    """Runs the parts of a logger; the first failure is its last, with one warning.

    Args:
        name: Name of the logger.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.failed = False

    def run(self, action: Callable[..., T], *args: Any) -> T | None:
        """Runs a part, unless one has failed before; returns its result, if there is one."""
        return None if self.failed else self.run_always(action, *args)

    def run_always(self, action: Callable[..., T], *args: Any) -> T | None:
        """Runs a part that tidies up."""
        try:
            return action(*args)
        except Exception as error:
            self.failed = True
            warnings.warn(
                f"{self._name} failed in `{action.__name__}` and logs no more in this run; "
                f"training goes on. {type(error).__name__}: {error}",
                stacklevel=2,
            )
            return None
