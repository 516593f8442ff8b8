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
TOTAL_METRICS = ("sparsity", "dead_units", "dead_groups", "regularization_loss")

# The parts of a weight that its penalty zeroes as a whole are shown where it has them, else its
# output units; both by one name.
DEAD, DEAD_UNITS, DEAD_PARTS = "dead", "dead_units", "dead_parts"

# The tag of this one is `dropout_rate/<dropout>`, of the dropout that acts on the weight's layer.
DROPOUT_RATE = "dropout_rate"

# What a weight's row can show: what every weight has, what those with a penalty have, and what is
# there only if it was asked for, or if there is a dropout.
OF_EVERY_WEIGHT = ("sparsity", "near_zero", "l1_norm", "l2_norm", "max_abs")
OF_PENALISED = ("regularization_loss", "penalty_share", "strength")
METRICS = (
    *OF_EVERY_WEIGHT,
    *OF_PENALISED,
    DEAD,
    DEAD_UNITS,
    "optimality_residual",
    DROPOUT_RATE,
)
