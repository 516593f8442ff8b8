"""What weights lose together: entries, slices, blocks, runs of `n:m`, groups over weights."""

from kerasreg.regularizers.structures.joint_groups import JointGroups
from kerasreg.regularizers.structures.runs import Runs
from kerasreg.regularizers.structures.structure import Alive, Structure
from kerasreg.regularizers.structures.tiles import Blocks, Entries, Slices, Tiles, Tiling

__all__ = [
    "Alive",
    "Blocks",
    "Entries",
    "JointGroups",
    "Runs",
    "Slices",
    "Structure",
    "Tiles",
    "Tiling",
]
