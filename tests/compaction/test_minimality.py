"""What derivatives find needless in a compacted model has a reason in the report."""

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND
from helpers.marks import slow
from helpers.needless_channels import needless_channels
from helpers.random_graphs import RandomGraph

import kerasreg as kr

pytestmark = [
    pytest.mark.filterwarnings("ignore:What plain Keras has no layer for"),
    pytest.mark.filterwarnings("ignore:Layer '.*' .* was passed an input with a mask"),
]
FAST, ALL = (2, 4) if BACKEND == "jax" else (8, 20)
SEEDS = [*range(FAST), *(slow(seed) for seed in range(FAST, ALL))]

# Without what is needless to the data only: a unit of a recurrent layer or a transposed convolution
# that gets constants changes in time, or from place to place, but not from sample to sample.
COMMON = ["residual", "concatenate", "shared", "nested", "wrapped", "operations", "merge"]
BLOCKS = {
    2: ["dense", "dense"],
    3: ["dense", "conv", "attention", "distributed", "reshaped"],
    4: ["conv", "conv", "grouped", "depthwise", "separable", "pooled", "padded", "gate"],
}


class Graph(RandomGraph):
    """A random graph in which normalisations do not mix channels, but for one behind attention."""

    def block(self, x):
        if len(x.shape) == 2 and self.kind == "tokens":
            return super().block(x)
        return getattr(self, self.pick(COMMON + 2 * BLOCKS[len(x.shape)]))(x)

    def norm(self, x):
        return keras.layers.BatchNormalization()(x) if self.chance(0.4) else x


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_left_has_a_reason(seed):
    graph = Graph(400 + seed)
    small = kr.compact(graph.model)
    rows = {row.path: row for row in kr.compaction_report(small).rows}
    found = needless_channels(small, graph.data(64))
    for tensor in small.outputs:
        found.pop(tensor._keras_history.operation.name, None)
    for path, needless in found.items():
        row = rows[path]
        if "rms_norm" in path:
            continue  # A factor of zero does not take a channel out of the mean.
        assert np.count_nonzero(needless) <= row.blocked, (path, np.flatnonzero(needless))
        assert bool(row.reason) == bool(row.blocked)


def test_the_oracle_sees_what_compact_has_not_taken_out():
    graph = Graph(400)
    assert any(each.any() for each in needless_channels(graph.model, graph.data(64)).values())
