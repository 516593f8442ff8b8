"""kerasreg: regularisation for Keras 3."""

try:
    import keras  # noqa: F401
except ModuleNotFoundError as error:
    backend = (error.name or "").partition(".")[0]
    if backend not in ("tensorflow", "jax", "torch"):
        raise
    raise ModuleNotFoundError(
        f"Keras finds no `{backend}`, its backend. Install one of the three with `pip install "
        '"kerasreg[tensorflow]"`, `"kerasreg[jax]"` or `"kerasreg[torch]"`; for JAX or PyTorch '
        "set the environment variable KERAS_BACKEND to `jax` or `torch`.",
        name=backend,
    ) from error

from kerasreg.callbacks import DropoutRateScheduler, RegularizationLogger, StrengthScheduler
from kerasreg.compaction.compact import compact, strip
from kerasreg.compaction.coupled_groups import coupled_groups
from kerasreg.compaction.report import compaction_report
from kerasreg.compaction.rule import CompactionRule, compaction_rule
from kerasreg.compaction.sparse_file import save_sparse
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
from kerasreg.pruning import prune
from kerasreg.regularizers import (
    L0_5,
    L1,
    L2,
    L2_3,
    MCP,
    SCAD,
    SLOPE,
    BlockMCP,
    BlockSCAD,
    Box,
    ElasticNet,
    GroupLasso,
    Groups,
    KeepZeros,
    LogSum,
    OrthogonalRegularizer,
    Penalty,
    SparseGroupLasso,
    TopK,
    Weighted,
)
from kerasreg.regularizers.attachment import attach_regularizers, detach_regularizers
from kerasreg.statistics.sparsity_report import sparsity_report
from kerasreg.strength import regularization_path
from kerasreg.strength.max_strength import max_strength
from kerasreg.tensorboard.show import show

__all__ = [
    "AlphaDropout",
    "BlockMCP",
    "BlockSCAD",
    "Box",
    "CompactionRule",
    "DropBlock2D",
    "DropConnect",
    "DropPath",
    "Dropout",
    "DropoutRateScheduler",
    "ElasticNet",
    "GaussianDropout",
    "GroupLasso",
    "Groups",
    "KeepZeros",
    "L0_5",
    "L1",
    "L2",
    "L2_3",
    "LogSum",
    "MCP",
    "OrthogonalRegularizer",
    "Penalty",
    "Proximal",
    "RegularizationLogger",
    "SCAD",
    "SLOPE",
    "SparseGroupLasso",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "StrengthScheduler",
    "TopK",
    "Weighted",
    "attach_regularizers",
    "compact",
    "compaction_report",
    "compaction_rule",
    "coupled_groups",
    "detach_regularizers",
    "max_strength",
    "mc_predict",
    "prune",
    "regularization_path",
    "save_sparse",
    "show",
    "sparsity_report",
    "strip",
]
__version__ = "0.1.0"
