"""Reads the split of the loss at the moments when it is exact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kerasreg.callbacks.penalty_mean import PenaltyMean, penalty_mean_for


class LossSplit:
    """Data loss and penalty behind Keras's `loss` and `val_loss`.

    Keras starts all metrics anew for each epoch and each evaluation, so the mean of the training
    batches has to be read before a validation begins.
    """

    def __init__(self) -> None:
        self._mean: PenaltyMean | None = None
        self._resets = 0
        self._train: float | None = None
        self._validation: float | None = None
        self._in_epoch = False

    def begin_fit(self, model: Any) -> None:
        """Attaches to a model whose steps are Keras's own; another one gets no split."""
        self._mean = penalty_mean_for(model)

    def begin_epoch(self) -> None:
        """Takes note that Keras has just started its metrics anew."""
        self._train = self._validation = None
        self._in_epoch = True
        self._resets = self._mean.resets if self._mean else 0

    def begin_evaluation(self) -> None:
        """Reads the training batches' mean before the evaluation clears it."""
        if self._in_epoch:
            self._train = self._read()

    def end_evaluation(self) -> None:
        """Reads the validation batches' mean."""
        if self._in_epoch and self._mean is not None:
            self._validation = self._mean.mean()

    def end_epoch(self) -> None:
        """Reads the training batches' mean where there was no evaluation."""
        if self._train is None:
            self._train = self._read()
        self._in_epoch = False

    def end_fit(self) -> None:
        """Detaches from the model."""
        if self._mean is not None:
            self._mean.detach()
            self._mean = None

    def split(self, logs: Mapping[str, Any]) -> dict[str, float]:
        """Data loss and penalty of the training batches so far, and of the validation.

        Args:
            logs: Keras's logs, with `loss` and perhaps `val_loss`.

        Returns:
            `data_loss` and `penalty`, which add up to `loss`, and the same with `val_`; without
            those that are not known exactly.
        """
        train = self._read() if self._in_epoch else self._train
        parts: dict[str, float] = {}
        for prefix, penalty in (("", train), ("val_", self._validation)):
            loss = logs.get(f"{prefix}loss")
            if penalty is not None and loss is not None:
                parts[f"{prefix}data_loss"] = float(loss) - penalty
                parts[f"{prefix}penalty"] = penalty
        return parts

    def _read(self) -> float | None:
        # Someone else's `evaluate` in the meantime has started the mean anew.
        if self._mean is None or self._mean.resets != self._resets:
            return None
        return self._mean.mean()
