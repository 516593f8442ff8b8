"""The variables that `Proximal` itself needs, and what a file keeps of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from keras import ops

from kerasreg._tensors import to_numpy


class State:
    """Variables of an optimizer, by the names that files have for them.

    Args:
        optimizer: The optimizer that owns the variables.
    """

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer
        self._by_name: dict[str, Any] = {}
        # What version 0.1 did not have comes last among all variables, as the folder of a path
        # keeps them by position.
        self._later: set[str] = set()

    def add(
        self,
        name: str,
        shape: Sequence[int] = (),
        initializer: Any = "zeros",
        dtype: str = "float32",
        later: bool = True,
    ) -> Any:
        """Makes a variable."""
        variable = self._optimizer.add_variable(shape, initializer, dtype=dtype, name=name)
        return self._keep(name, variable, later)

    def add_like(self, name: str, weight: Any, number: int, later: bool = True) -> Any:
        """Makes a variable of the shape of a weight, which is the one of that number."""
        variable = self._optimizer.add_variable_from_reference(weight, name)
        return self._keep(f"{name}_{number}", variable, later)

    def _keep(self, name: str, variable: Any, later: bool) -> Any:
        self._by_name[name] = variable
        if later:
            self._later.add(name)
        return variable

    def get(self, name: str) -> Any:
        """The variable of that name, `None` where there is none."""
        return self._by_name.get(name)

    @property
    def later(self) -> list[Any]:
        """The variables that version 0.1 did not have."""
        return [self._by_name[name] for name in self._by_name if name in self._later]

    def save(self, store: Any) -> None:
        """Saves all by name."""
        for name, variable in self._by_name.items():
            store[name] = to_numpy(variable.value)

    def load(self, store: Any, inner_size: int) -> None:
        """Loads what is in the store; what is not there stays as it is.

        Args:
            store: What a file has for the optimizer.
            inner_size: The number of variables of the optimizer inside.
        """
        saved = set(store.keys())
        # Until version 0.1 by position: two variables that nothing reads, the wrapper's state and
        # the inner optimizer's.
        earlier = [name for name in self._by_name if name not in self._later]
        own = max(len(saved) - inner_size - 2, 0)
        by_position = dict(zip(earlier[:own], itertools.count(2), strict=False))
        if "0" in saved and "free" in self._by_name:  # Then no weight was left free.
            free = self._by_name["free"]
            free.assign(ops.zeros_like(free.value))
        for name, variable in self._by_name.items():
            key = name if name in saved or "0" not in saved else str(by_position.get(name))
            if key in saved:
                variable.assign(store[key])
