"""The penalties of a model that one `strength_scale` multiplies."""

from __future__ import annotations

import re
from typing import Any

import keras

from kerasreg._checks import check_built, invalid_value
from kerasreg._tensors import to_float
from kerasreg.callbacks.penalised_units import PenalisedUnits
from kerasreg.optimizers import Proximal
from kerasreg.optimizers.of_model import Optimizers
from kerasreg.regularizers import Penalty
from kerasreg.regularizers.live_strength import scale_penalties


class ScaledPenalties:
    """Penalties of a model in the loss and by `Proximal`, to be scaled together.

    Args:
        model: A built model.
        where: `"loss"` or `"proximal"` for those there only; `None` for both.
        pattern: Chooses the weights whose penalties in the loss are scaled; `None` for all.
        optimizers: Those that train the model; by default those that it holds.

    Attributes:
        units: What the penalties of `Proximal` that make zeros set to zero; `None` without any.

    Raises:
        ValueError: If there are none, or one cannot be scaled.
    """

    def __init__(
        self,
        model: Any,
        where: str | None,
        pattern: re.Pattern[str] | None,
        optimizers: Optimizers | None = None,
    ) -> None:
        check_built(model)
        optimizers = optimizers or Optimizers(model)
        optimizers.build(model)
        proximals = [] if where == "loss" else optimizers.proximals()
        self._proximals = [each for each in proximals if _has_strength(each)]
        targets = _targets(model, optimizers) if self._proximals else []
        penalized = {id(v): v for v in model.trainable_variables if v.regularizer is not None}
        in_the_loss = [] if where == "proximal" else list(penalized.values())
        # One that is not built may not know its weights yet.
        if not in_the_loss and not targets and all(each.built for each in self._proximals):
            places = {"loss": " in the loss", "proximal": " by `Proximal`"}
            place = places.get(where or "", ", in the loss or by `Proximal`,")
            expected = f"a model with a penalty on weights{place} that has a strength"
            raise invalid_value("model", expected, model.name)
        if pattern is not None:
            paths = "\n  ".join(variable.path for variable in in_the_loss)
            in_the_loss = [v for v in in_the_loss if pattern.search(v.path)]
            if not in_the_loss:
                expected = f"a pattern found in one of the paths with a penalty\n  {paths}\n"
                raise invalid_value("weights", expected, pattern.pattern)
        sparse = [(variable, penalty) for variable, penalty in targets if penalty.has_kink]
        self.units = PenalisedUnits(sparse) if sparse else None
        self._scales = scale_penalties(model, in_the_loss)

    @property
    def strength_scale(self) -> float:
        """What scales the penalties of the first `Proximal` now; 1 where there is none."""
        return to_float(self._proximals[0].strength_scale) if self._proximals else 1.0

    @property
    def batches_per_update(self) -> int:
        """How many batches' gradients `Proximal` accumulates for an update."""
        steps = [each.gradient_accumulation_steps or 1 for each in self._proximals]
        return max(steps, default=1)

    def assign(self, strength_scale: float) -> None:
        """Scales all of them, from the next training step on."""
        for proximal in self._proximals:
            proximal.strength_scale = strength_scale
        for scale in self._scales:
            scale.assign(strength_scale)


def _has_strength(proximal: Proximal) -> bool:
    return not all(penalty.is_constraint for penalty in keras.tree.flatten(proximal.penalty))


def _targets(model: Any, optimizers: Optimizers) -> list[tuple[Any, Penalty]]:
    """The weights that a `Proximal` has a penalty with a strength for, and that penalty."""
    return [
        (variable, penalty)
        for variable in model.trainable_variables
        for penalty, _ in optimizers.penalties_on(variable)
        if not penalty.is_constraint
    ]
