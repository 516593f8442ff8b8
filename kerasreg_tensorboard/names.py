"""What the log's writer and the tab agree on."""

from __future__ import annotations

# TensorBoard shows the tab where a run has data of this plugin.
PLUGIN_NAME = "kerasreg_sparsity"

# The tensor that names a run's weights, in JSON.
WEIGHTS_TAG = "kerasreg/weights"

# The tensor that says for each of these what the model has of it, and what compaction leaves.
COMPACTION_TAG = "kerasreg/compaction"
COMPACTED = ("parameters", "multiply_adds")

# A tag is `<metric>/<weight>`, or `all/<metric>` for all weights together. The parts of a weight
# that its penalty zeroes as a whole are shown where it has them, else its output units.
TOTALS = "all"
DEAD_UNITS, DEAD_PARTS = "dead_units", "dead_parts"
METRICS = ("sparsity", "penalty_share", "strength")
TOTAL_METRICS = ("sparsity", DEAD_UNITS, "dead_groups", "regularization_loss")
