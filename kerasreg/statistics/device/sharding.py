"""Where results lie of a program whose arguments are spread over devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kerasreg._tensors import Tensor


def everywhere(values: Sequence[Tensor]) -> Any:
    """JAX's sharding for a copy on each device that holds a part of a weight; `None` for one."""
    if keras.backend.backend() != "jax":
        return None
    import jax

    for value in values:
        if len(value.sharding.device_set) > 1:
            replicated: Any = jax.sharding.PartitionSpec
            return jax.sharding.NamedSharding(value.sharding.mesh, replicated())
    return None
