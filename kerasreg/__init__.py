"""kerasreg: regularisation for Keras 3."""

from kerasreg.attachment import attach_regularizers, detach_regularizers
from kerasreg.callbacks import DropoutRateScheduler, RegularizationLogger, StrengthScheduler
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
from kerasreg.max_strength import max_strength
from kerasreg.monte_carlo import mc_predict
from kerasreg.optimizers import Proximal
from kerasreg.path import regularization_path
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
    "StrengthScheduler",
    "TopK",
    "attach_regularizers",
    "detach_regularizers",
    "max_strength",
    "mc_predict",
    "regularization_path",
    "sparsity_report",
]
__version__ = "0.1.0"
