"""Attributes of layers that are others for no longer than a context lasts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, TypeAlias

Attributes: TypeAlias = list[tuple[Any, dict[str, Any]]]
"""Layers, each with attributes by name."""


@contextlib.contextmanager
def replaced(attributes: Attributes) -> Iterator[None]:
    """Within it these layers have these attributes, as another `call`."""
    with contextlib.ExitStack() as stack:
        for layer, others in attributes:
            # Past what Keras and PyTorch do on setting attributes.
            own: Any = vars(layer)
            stack.callback(own.update, {name: own[name] for name in others if name in own})
            for name in others:
                stack.callback(own.pop, name)
            own.update(others)
        yield
