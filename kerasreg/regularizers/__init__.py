"""Penalties on weights and activations."""

from kerasreg.regularizers.base import Penalty
from kerasreg.regularizers.elastic_net import ElasticNet
from kerasreg.regularizers.group_lasso import GroupLasso
from kerasreg.regularizers.l1 import L1
from kerasreg.regularizers.l2 import L2

__all__ = ["ElasticNet", "GroupLasso", "L1", "L2", "Penalty"]
