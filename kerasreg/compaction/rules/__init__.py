"""The rules for Keras's layers and operations, and for those of kerasreg."""

from kerasreg.compaction.rules import (  # noqa: F401
    convolutions,
    dense,
    embeddings,
    merging,
    normalization,
    pointwise,
    shapes,
    wrappers,
)
