"""The penalties of a model that one `strength_scale` multiplies."""

from __future__ import annotations

import re
from typing import Any

from kerasreg._checks import check_built, invalid_value
from kerasreg.optimizers import Proximal
from kerasreg.optimizers.proximal import find_proximal
from kerasreg.regularizers import Penalty
from kerasreg.regularizers.live_strength import scale_penalties


class ScaledPenalties:
    """Penalties of a model in the loss and by `Proximal`, to be scaled together.

    Args:
        model: A built model.
        where: `"loss"` or `"proximal"` for those there only; `None` for both.
        pattern: Chooses the weights whose penalties in the loss are scaled; `None` for all.

    Attributes:
        sparse_weights: The weights on which `Proximal` has a penalty that makes zeros.
        are_separable: Whether those penalties act on every entry of a weight by itself.

    Raises:
        ValueError: If there are none, or one cannot be scaled.
    """

    def __init__(self, model: Any, where: str | None, pattern: re.Pattern[str] | None) -> None:
        check_built(model)
        self._optimizer = None if where == "loss" else find_proximal(model)
        targets = [] if self._optimizer is None else _targets(self._optimizer, model)
        penalized = {id(v): v for v in model.trainable_variables if v.regularizer is not None}
        in_the_loss = [] if where == "proximal" else list(penalized.values())
        if not in_the_loss and not targets:
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
        self.sparse_weights = [variable for variable, penalty in targets if penalty.has_kink]
        self.are_separable = all(p.is_separable for _, p in targets if p.has_kink)
        self._scales = scale_penalties(model, in_the_loss)

    @property
    def strength_scale(self) -> Any:
        """The variable that scales the penalties of `Proximal`, `None` where there is none."""
        return None if self._optimizer is None else self._optimizer.strength_scale

    @property
    def batches_per_update(self) -> int:
        """How many batches' gradients `Proximal` accumulates for an update."""
        inner = None if self._optimizer is None else self._optimizer.inner_optimizer
        return getattr(inner, "gradient_accumulation_steps", None) or 1

    def assign(self, strength_scale: float) -> None:
        """Scales all of them, from the next training step on."""
        if self._optimizer is not None:
            self._optimizer.strength_scale = strength_scale
        for scale in self._scales:
            scale.assign(strength_scale)


def _targets(optimizer: Proximal, model: Any) -> list[tuple[Any, Penalty]]:
    """The weights that `Proximal` has a penalty with a strength for, and that penalty."""
    trained = model.trainable_variables
    penalties = optimizer.penalties_of(trained)
    return [
        (variable, penalty)
        for variable, penalty in zip(trained, penalties, strict=True)
        if penalty is not None and not penalty.is_constraint
    ]
