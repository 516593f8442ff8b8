"""What the tabs HPARAMS and Custom Scalars need beside the charts themselves."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from tensorboard.compat.proto import summary_pb2

from kerasreg.tensorboard.hparams import (
    Metric,
    Value,
    add_experiment,
    add_session_end,
    add_session_start,
)
from kerasreg.tensorboard.layout import add_layout, validation_metrics
from kerasreg.weights import Weight
from kerasreg_tensorboard.names import TOTALS

# Where `keras.callbacks.TensorBoard` writes the metrics of the validation, and under which name.
_KERAS_GROUP = "validation"
_KERAS_PREFIX = "epoch_"


class Dashboards:
    """Says when which of it is written: each method returns a summary to write at once.

    Args:
        log_dir: Folder of the run.
        weights: The weights that are logged.
        hparams: Hyper-parameters of the run, or `None` to leave it out of the HPARAMS tab.
    """

    def __init__(
        self, log_dir: str, weights: Sequence[Weight], hparams: Mapping[str, Value] | None
    ) -> None:
        self._log_dir = log_dir
        self._weights = weights
        self._hparams = hparams
        self._announced = False

    def at_start(self) -> summary_pb2.Summary:
        """The layout of Custom Scalars, as far as it is known."""
        summary = summary_pb2.Summary()
        add_layout(summary, self._weights)
        return summary

    def after_first_epoch(self, metrics: Sequence[str]) -> summary_pb2.Summary:
        """The layout with charts of the metrics, and the run's row in HPARAMS.

        There is no row before: without its columns, which nothing can add to later, the tab
        would show every chart as one.

        Args:
            metrics: Names of Keras's metrics that are logged as totals.

        Returns:
            The summary, empty after the first call.
        """
        summary = summary_pb2.Summary()
        if not self._announced:
            self._announced = True
            add_layout(summary, self._weights, metrics)
            if self._hparams is not None:
                add_session_start(summary, self._hparams)
                add_experiment(summary, self._hparams, self._columns(metrics))
        return summary

    def at_end(self, ok: bool = True) -> summary_pb2.Summary:
        """The end of the row, and the row itself where no epoch has ended."""
        summary = self.after_first_epoch(())
        if self._hparams is not None:
            add_session_end(summary, ok)
        return summary

    def _columns(self, metrics: Sequence[str]) -> list[Metric]:
        validated = validation_metrics(metrics)
        names = validated or [name for name in metrics if not name.startswith("val_")]
        names = [*names, "sparsity", "regularization_loss"]
        names += [name for name in ("val_data_loss", "val_loss") if name in metrics]
        return [Metric(f"{TOTALS}/{name}", name) for name in names] + self._of_keras(validated)

    def _of_keras(self, validated: Sequence[str]) -> list[Metric]:
        """The metrics that Keras's own callback has begun to log into the same folder."""
        if not os.path.isdir(os.path.join(self._log_dir, _KERAS_GROUP)):
            return []  # A column that a run has nothing for takes its line off the plot.
        tags = [_KERAS_PREFIX + name.removeprefix("val_") for name in validated]
        return [Metric(tag, f"{_KERAS_GROUP}/{tag}", _KERAS_GROUP) for tag in tags]
