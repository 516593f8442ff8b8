"""kerasreg: regularisation for Keras 3."""

from kerasreg.callbacks import RegularizationLogger
from kerasreg.layers import Dropout
from kerasreg.optimizers import Proximal
from kerasreg.regularizers import L1, L2, ElasticNet, GroupLasso, Penalty
from kerasreg.sparsity_report import sparsity_report

__all__ = [
    "Dropout",
    "ElasticNet",
    "GroupLasso",
    "L1",
    "L2",
    "Penalty",
    "Proximal",
    "RegularizationLogger",
    "sparsity_report",
]
__version__ = "0.1.0"
