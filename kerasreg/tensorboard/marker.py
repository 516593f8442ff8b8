"""The marker that makes TensorBoard show the Sparsity tab, and names the weights in it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from tensorboard.compat.proto import summary_pb2
from tensorboard.util.tensor_util import make_tensor_proto

from kerasreg.sparsity_report import describe_penalties
from kerasreg.weights import Weight
from kerasreg_tensorboard.names import PLUGIN_NAME, WEIGHTS_TAG


def add_marker(summary: summary_pb2.Summary, weights: Sequence[Weight]) -> None:
    """Adds what the Sparsity tab says of each weight beside its charts.

    Args:
        summary: The summary to add to.
        weights: The weights that are logged.
    """
    plugin = summary_pb2.SummaryMetadata.PluginData(plugin_name=PLUGIN_NAME)
    content = json.dumps({"weights": [_description(weight) for weight in weights]})
    summary.value.add(
        tag=WEIGHTS_TAG,
        metadata=summary_pb2.SummaryMetadata(
            plugin_data=plugin, data_class=summary_pb2.DATA_CLASS_TENSOR
        ),
        tensor=make_tensor_proto(content),
    )


def _description(weight: Weight) -> dict[str, Any]:
    shape = [int(length) for length in weight.variable.shape]
    axes = weight.unit_axes
    return {
        "name": weight.name,
        "path": weight.variable.path,
        "shape": shape,
        "size": math.prod(shape),
        "units": 0 if axes is None else math.prod(shape[axis] for axis in axes),
        "penalty": describe_penalties(weight),
    }
