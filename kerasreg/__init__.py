"""kerasreg: regularisation for Keras 3."""

from kerasreg.attachment import attach_regularizers, detach_regularizers
from kerasreg.callbacks import RegularizationLogger
from kerasreg.layers import Dropout
from kerasreg.optimizers import Proximal
from kerasreg.regularizers import L1, L2, MCP, ElasticNet, GroupLasso, KeepZeros, Penalty, TopK
from kerasreg.sparsity_report import sparsity_report

__all__ = [
    "Dropout",
    "ElasticNet",
    "GroupLasso",
    "KeepZeros",
    "L1",
    "L2",
    "MCP",
    "Penalty",
    "Proximal",
    "RegularizationLogger",
    "TopK",
    "attach_regularizers",
    "detach_regularizers",
    "sparsity_report",
]
__version__ = "0.1.0"
