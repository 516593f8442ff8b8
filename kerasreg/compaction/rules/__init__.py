"""The rules for Keras's layers and operations, and for those of kerasreg."""

from kerasreg.compaction.rules import (  # noqa: F401
    attention,
    convolutions,
    dense,
    einsum,
    embeddings,
    merging,
    normalization,
    pointwise,
    recurrent,
    shapes,
    wrappers,
)
