"""Dropout in all its forms, several times faster than Keras's."""

from kerasreg.layers.alpha_dropout import AlphaDropout
from kerasreg.layers.drop_block2d import DropBlock2D
from kerasreg.layers.drop_connect import DropConnect
from kerasreg.layers.drop_path import DropPath
from kerasreg.layers.dropout import Dropout
from kerasreg.layers.gaussian_dropout import GaussianDropout
from kerasreg.layers.spatial_dropout1d import SpatialDropout1D
from kerasreg.layers.spatial_dropout2d import SpatialDropout2D
from kerasreg.layers.spatial_dropout3d import SpatialDropout3D

__all__ = [
    "AlphaDropout",
    "DropBlock2D",
    "DropConnect",
    "DropPath",
    "Dropout",
    "GaussianDropout",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
]
