"""What a process does that trains one part of a path beside others."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kerasreg.strength.checkpoint import Checkpoint
from kerasreg.strength.part import Part, PartTrainer, Rows
from kerasreg.strength.samples import Samples

Warned = list[tuple[str, type[Warning]]]


def train_part(
    backend: str, common: bytes, own: bytes, data: Any, validation: Any
) -> tuple[Part, Rows, Checkpoint, Warned]:
    """Trains one part.

    Args:
        backend: Keras's backend, as it is in the process that waits.
        common: A `PackedModel`, pickled.
        own: The part and its checkpoint, pickled.
        data: Samples as a tuple.
        validation: Those of the validation, if any.

    Returns:
        The part, its rows, its checkpoint, and the warnings.
    """
    if keras.backend.backend() != backend:
        raise RuntimeError(
            f"This process has Keras with the backend {keras.backend.backend()!r} already, and "
            f"cannot train a part of a path with {backend!r}. Expected KERAS_BACKEND={backend} in "
            "the environment of all of joblib's workers."
        )
    packed = pickle.loads(common)
    packed.apply_settings()
    part, checkpoint = pickle.loads(own)
    with (
        keras.saving.custom_object_scope(packed.custom_objects),
        warnings.catch_warnings(record=True) as caught,
    ):
        where = part.describe(packed.plan)
        try:
            plan = packed.unpack(_own(data), _own(validation) if validation else None)
            with PartTrainer(plan, part.number) as trainer:
                # Keras makes its metrics by a first batch, for which a `fit` would shuffle once.
                trainer.training.measure(plan.samples)
                rows = trainer.follow(part, checkpoint, _show_nothing)
        except Exception as error:
            # One that every process can read, which others are not.
            kind = ValueError if isinstance(error, ValueError) else RuntimeError
            raise kind(f"{where}: {type(error).__name__}: {error}") from error
    return part, rows, checkpoint, [(str(w.message), w.category) for w in caught]


def _show_nothing(done: int, values: Sequence[tuple[str, float]]) -> None:
    """The process that waits has the progress bar."""


def _own(data: Any) -> Samples:
    """Samples that may be written to, as joblib's may not, which PyTorch warns of."""
    return Samples(*keras.tree.map_structure(np.array, data))
