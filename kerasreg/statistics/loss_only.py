"""Answers why a model with penalties has no zeros: all of them act in the loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kerasreg.regularizers.from_keras import has_kink
from kerasreg.statistics.weights import AFTER_THE_STEP, IF_ADDED, IN_THE_LOSS, Weight


def loss_only(weights: Sequence[Weight]) -> Iterator[str]:
    """A sentence where penalties act in the loss and none after the step."""
    acting = [penalty for weight in weights for penalty in weight.penalties]
    in_the_loss = [penalty for penalty, place in acting if place in (IN_THE_LOSS, IF_ADDED)]
    if not in_the_loss or any(place == AFTER_THE_STEP for _, place in acting):
        return
    advice = "compile with `kerasreg.Proximal(optimizer, kerasreg.detach_regularizers(model))`"
    if not any(map(has_kink, in_the_loss)):
        advice = "give `kerasreg.Proximal` a penalty with a kink at zero, as `kerasreg.L1`"
    yield (
        "All penalties act in the loss, where they make weights small but never exactly zero. "
        f"For exact zeros {advice}."
    )
