"""The rules for Keras's layers and operations, and for those of kerasreg."""

from kerasreg.compaction.rules import (  # noqa: F401
    attention,
    bilinear,
    convolutions,
    dense,
    dot_attention,
    einsum,
    embeddings,
    merging,
    normalization,
    pointwise,
    recurrent,
    reductions,
    shapes,
    slices,
    wrappers,
)
