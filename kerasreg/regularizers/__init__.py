"""Penalties on weights and activations."""

from kerasreg.regularizers.base import Penalty
from kerasreg.regularizers.elastic_net import ElasticNet
from kerasreg.regularizers.group_lasso import GroupLasso
from kerasreg.regularizers.keep_zeros import KeepZeros
from kerasreg.regularizers.l1 import L1
from kerasreg.regularizers.l2 import L2
from kerasreg.regularizers.mcp import MCP
from kerasreg.regularizers.top_k import TopK

__all__ = ["ElasticNet", "GroupLasso", "KeepZeros", "L1", "L2", "MCP", "Penalty", "TopK"]
