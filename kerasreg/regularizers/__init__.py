"""Penalties on weights and activations."""

from kerasreg.regularizers.base import Penalty
from kerasreg.regularizers.block_mcp import BlockMCP
from kerasreg.regularizers.block_scad import BlockSCAD
from kerasreg.regularizers.box import Box
from kerasreg.regularizers.elastic_net import ElasticNet
from kerasreg.regularizers.group_lasso import GroupLasso
from kerasreg.regularizers.groups import Groups
from kerasreg.regularizers.keep_zeros import KeepZeros
from kerasreg.regularizers.l1 import L1
from kerasreg.regularizers.l2 import L2
from kerasreg.regularizers.log_sum import LogSum
from kerasreg.regularizers.lq import L0_5, L2_3
from kerasreg.regularizers.mcp import MCP
from kerasreg.regularizers.orthogonal import OrthogonalRegularizer
from kerasreg.regularizers.scad import SCAD
from kerasreg.regularizers.slope import SLOPE
from kerasreg.regularizers.sparse_group_lasso import SparseGroupLasso
from kerasreg.regularizers.top_k import TopK
from kerasreg.regularizers.weighted import Weighted

__all__ = [
    "BlockMCP",
    "BlockSCAD",
    "Box",
    "ElasticNet",
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
    "SCAD",
    "SLOPE",
    "SparseGroupLasso",
    "TopK",
    "Weighted",
]
