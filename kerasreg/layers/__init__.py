"""Dropout in all its forms, several times faster than Keras's."""

from kerasreg.layers.drop_block2d import DropBlock2D
from kerasreg.layers.drop_connect import DropConnect
from kerasreg.layers.drop_path import DropPath
from kerasreg.layers.dropout import AlphaDropout, Dropout, GaussianDropout
from kerasreg.layers.spatial_dropout import SpatialDropout1D, SpatialDropout2D, SpatialDropout3D

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
