"""Random masks and noise, several times faster than those of the backends' own generators."""

from kerasreg.layers.masks.drawing import (
    NoiseShape,
    drop,
    expectation,
    keep_mask,
    keep_probability,
    mask_shape,
    multiply_by_noise,
    random_words,
    standard_normal,
    uniform,
)
from kerasreg.layers.masks.fusion import compiled, compiled_mask
from kerasreg.layers.masks.seed import MaskSeed

__all__ = [
    "MaskSeed",
    "NoiseShape",
    "compiled",
    "compiled_mask",
    "drop",
    "expectation",
    "keep_mask",
    "keep_probability",
    "mask_shape",
    "multiply_by_noise",
    "random_words",
    "standard_normal",
    "uniform",
]
