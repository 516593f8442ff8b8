"""Reads event files back with the reader of TensorBoard's server."""

import warnings
from collections import defaultdict

import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of TensorBoard's dependencies
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
    from tensorboard.util import tensor_util


def read(log_dir):
    """All points, as `{tag: [(step, value), ...]}`, the way TensorBoard shows them."""
    accumulator = EventAccumulator(str(log_dir), size_guidance={"tensors": 0})
    accumulator.Reload()
    points = defaultdict(list)
    for tag in accumulator.Tags()["tensors"]:
        for event in accumulator.Tensors(tag):
            value = np.asarray(tensor_util.make_ndarray(event.tensor_proto))
            points[tag].append((event.step, value.item() if value.size == 1 else value))
    return dict(points)


def steps(log_dir, tag="all/sparsity"):
    """The steps of one chart."""
    return [step for step, _ in read(log_dir)[tag]]
