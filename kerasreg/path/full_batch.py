"""Gradient steps on all samples at once."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg.samples import Samples


class FullBatch(keras.utils.PyDataset):  # type: ignore[misc]
    """All samples as one batch, several times an epoch: an epoch of one step is mostly overhead.

    Args:
        samples: The samples.
        steps: Steps an epoch.
    """

    def __init__(self, samples: Samples, steps: int) -> None:
        super().__init__()
        self.samples = samples
        parts = (samples.x, samples.y, samples.sample_weight)
        tensors = keras.tree.map_structure(
            lambda a: None if a is None else keras.ops.convert_to_tensor(a), parts
        )
        self._batch = tensors if samples.sample_weight is not None else tensors[:2]
        self._steps = steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> Any:
        return self._batch
