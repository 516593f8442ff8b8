"""Which of several processes writes the log."""

from __future__ import annotations

from typing import Any

import keras


def is_chief(model: Any) -> bool:
    """Whether this process is the one that writes; the others only take part in computing.

    Args:
        model: The model, which on TensorFlow knows the strategy that it was made in.

    Returns:
        Whether it is the first of a distributed training's processes, or the only one.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return bool(jax.process_index() == 0)
    if backend == "torch":
        from torch import distributed

        several = distributed.is_available() and distributed.is_initialized()
        return not several or bool(distributed.get_rank() == 0)
    return bool(model.distribute_strategy.extended.should_save_summary)
