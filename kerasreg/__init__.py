"""kerasreg: regularisation for Keras 3."""

from kerasreg.attachment import attach_regularizers, detach_regularizers
from kerasreg.callbacks import DropoutRateScheduler, RegularizationLogger
from kerasreg.layers import (
    AlphaDropout,
    DropBlock2D,
    DropConnect,
    Dropout,
    DropPath,
    GaussianDropout,
    SpatialDropout1D,
    SpatialDropout2D,
    SpatialDropout3D,
)
from kerasreg.monte_carlo import mc_predict
from kerasreg.optimizers import Proximal
from kerasreg.regularizers import L1, L2, MCP, ElasticNet, GroupLasso, KeepZeros, Penalty, TopK
from kerasreg.sparsity_report import sparsity_report

__all__ = [
    "AlphaDropout",
    "DropBlock2D",
    "DropConnect",
    "DropPath",
    "Dropout",
    "DropoutRateScheduler",
    "ElasticNet",
    "GaussianDropout",
    "GroupLasso",
    "KeepZeros",
    "L1",
    "L2",
    "MCP",
    "Penalty",
    "Proximal",
    "RegularizationLogger",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "TopK",
    "attach_regularizers",
    "detach_regularizers",
    "mc_predict",
    "sparsity_report",
]
__version__ = "0.1.0"
