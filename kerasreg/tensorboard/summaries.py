"""Points of TensorBoard's charts, made without TensorFlow."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from tensorboard.compat.proto import summary_pb2, types_pb2
from tensorboard.plugins.histogram import metadata as histogram_metadata
from tensorboard.plugins.scalar import metadata as scalar_metadata
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.util.tensor_util import make_tensor_proto

_SCALAR = scalar_metadata.create_summary_metadata(display_name=None, description=None)


def add_scalar(summary: summary_pb2.Summary, tag: str, value: float) -> None:
    """Adds a point to the chart `tag`; NaN and infinity are written as they are."""
    point = summary.value.add(tag=tag, metadata=_SCALAR)
    point.tensor.dtype = types_pb2.DT_FLOAT
    point.tensor.tensor_shape.SetInParent()
    point.tensor.float_val.append(value)


def add_text(summary: summary_pb2.Summary, tag: str, markdown: str) -> None:
    """Adds a page of Markdown."""
    summary.MergeFrom(text_pb(tag, markdown))


def add_histogram(summary: summary_pb2.Summary, tag: str, buckets: npt.NDArray[np.float64]) -> None:
    """Adds a histogram that is already counted.

    Args:
        summary: The summary to add to.
        tag: Name of the histogram.
        buckets: Array of shape `(n, 3)` with rows `[left, right, count]`.
    """
    summary.value.add(
        tag=tag,
        metadata=histogram_metadata.create_summary_metadata(display_name=None, description=None),
        tensor=make_tensor_proto(np.asarray(buckets, dtype=np.float64)),
    )
