"""Reads the split of the loss at the moments when it is exact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from kerasreg.callbacks.split_steps import SplitSteps

Means: TypeAlias = tuple[float, float]


class LossSplit:
    """Data loss and penalty behind Keras's `loss` and `val_loss`.

    Keras starts all metrics anew for each epoch and each evaluation, so the means of the training
    batches have to be read before a validation begins.
    """

    def __init__(self) -> None:
        self._steps: SplitSteps | None = None
        self._resets = 0
        self._train: Means | None = None
        self._validation: Means | None = None
        self._in_epoch = False

    def begin_fit(self, model: Any) -> None:
        """Attaches to a model whose steps are Keras's own; another one gets no split."""
        self._steps = SplitSteps.within(model)  # of another logger in the same training
        if self._steps is not None and self._steps.in_use:
            self._steps.detach()  # of a training that was cut off
            self._steps = None
        if self._steps is None and SplitSteps.fits(model):
            self._steps = SplitSteps.of(model)
            self._steps.attach()

    def begin_epoch(self) -> None:
        """Takes note that Keras has just started its metrics anew."""
        self._train = self._validation = None
        self._in_epoch = True
        self._resets = self._steps.mean.resets if self._steps else 0

    def begin_evaluation(self) -> None:
        """Reads the training batches' means before the evaluation clears them."""
        if self._in_epoch:
            self._train = self._read()

    def end_evaluation(self) -> None:
        """Reads the validation batches' means."""
        if self._in_epoch and self._steps is not None:
            self._validation = self._steps.mean.means()

    def end_epoch(self) -> None:
        """Reads the training batches' means where there was no evaluation."""
        if self._train is None:
            self._train = self._read()
        self._in_epoch = False

    def end_fit(self, model: Any) -> None:
        """Detaches from the model."""
        steps, self._steps = SplitSteps.within(model), None
        if steps is not None:
            steps.detach()

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
        for prefix, means in (("", train), ("val_", self._validation)):
            loss = logs.get(f"{prefix}loss")
            if means is not None and loss is not None:
                data_loss, penalty = _adding_up(float(loss), *means)
                parts[f"{prefix}data_loss"] = data_loss
                parts[f"{prefix}penalty"] = penalty
        return parts

    def _read(self) -> Means | None:
        # Someone else's `evaluate` in the meantime has started the means anew.
        if self._steps is None or self._steps.mean.resets != self._resets:
            return None
        return self._steps.mean.means()


def _adding_up(loss: float, data_loss: float, penalty: float) -> Means:
    """Takes the larger part from the sum: that costs it no digit, and the parts add up to it."""
    if abs(data_loss) < abs(penalty):
        return data_loss, loss - data_loss
    return loss - penalty, penalty
