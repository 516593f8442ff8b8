"""What the log's writer and the tab agree on."""

from __future__ import annotations

# TensorBoard shows the tab where a run has data of this plugin.
PLUGIN_NAME = "kerasreg_sparsity"

# The tensor that names a run's weights, in JSON.
WEIGHTS_TAG = "kerasreg/weights"

# The tensor that says for each of these what the model has of it, and what compaction leaves.
COMPACTION_TAG = "kerasreg/compaction"
COMPACTED = ("parameters", "multiply_adds")

# A tag is `<metric>/<weight>`, or `all/<metric>` for all weights together.
TOTALS = "all"
METRICS = ("sparsity", "dead_units", "penalty_share", "strength")
TOTAL_METRICS = ("sparsity", "dead_units", "regularization_loss")
