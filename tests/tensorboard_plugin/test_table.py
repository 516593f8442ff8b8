"""How much the table asks the server for."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from kerasreg_tensorboard.names import WEIGHTS_TAG
from kerasreg_tensorboard.table import MAX_POINTS_IN_ALL, TableReader


class Provider:
    """Has a number of weights, and as many points of each as it is asked for."""

    def __init__(self, weights):
        self.marker = json.dumps({"weights": [{"name": f"{i}/kernel"} for i in range(weights)]})

    def list_runs(self, ctx, *, experiment_id):
        return [SimpleNamespace(run_name="run", start_time=None)]

    def list_tensors(self, ctx, *, experiment_id, plugin_name):
        return {"run": {WEIGHTS_TAG: None}}

    def read_tensors(self, ctx, *, run_tag_filter, **_):
        point = SimpleNamespace(numpy=np.array(self.marker, dtype=object))
        return {"run": {WEIGHTS_TAG: [point]}}

    def read_scalars(self, ctx, *, downsample, run_tag_filter, **_):
        points = [SimpleNamespace(step=step, value=1 / 3) for step in range(downsample)]
        return {"run": dict.fromkeys(run_tag_filter.tags, points)}


@pytest.mark.parametrize("weights, points", [(0, 100), (10, 100), (1000, 24), (5000, 20)])
def test_the_answer_stays_small(weights, points):
    table = TableReader(Provider(weights), None, "").read(None)
    assert len(table["weights"]) == weights
    assert len(table["totals"]["sparsity"]) == points
    lengths = [len(history) for w in table["weights"] for history in w["series"].values()]
    assert lengths == [points] * 4 * weights
    assert sum(lengths) <= MAX_POINTS_IN_ALL or points == 20
