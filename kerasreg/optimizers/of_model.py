"""The optimizers that train a model, and what each `Proximal` among them does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kerasreg._backends import strategy_scope
from kerasreg._checks import invalid_value
from kerasreg._keras_internals import batches_seen, held_optimizers, optimizers_within
from kerasreg.optimizers.proximal import Proximal
from kerasreg.regularizers import Penalty
from kerasreg.regularizers.penalty_map import acting_after_updates


class Optimizers:
    """The optimizers that may train a model, also those that are inside of others.

    One that is not yet built knows its weights only where it is the model's own, or has been given
    as the one that trains the model. Others join with `refresh` once they are built.

    Args:
        model: A model; a built one to ask for penalties.
        given: The optimizer of a training loop of one's own, or a list or dict of several; by
            default `model.optimizer` and all that other attributes of the model hold.

    Raises:
        ValueError: If what is given is no optimizer.
    """

    def __init__(self, model: Any, given: Any = None) -> None:
        own = getattr(model, "optimizer", None)
        if given is None:
            held = vars(model) | {"optimizer": own}
        else:
            held = dict(enumerate(given)) if isinstance(given, (list, tuple)) else given
            held = held if isinstance(held, Mapping) else {"": held}
        found = dict(held_optimizers(held))
        if given is not None and not found:
            expected = "a Keras optimizer, or a list or dict of optimizers"
            raise invalid_value("optimizer", expected, given)
        # Each once, under the first of its names.
        first = {id(each): name for name, each in reversed(found.items())}
        self._by_name = {name: each for name, each in found.items() if first[id(each)] == name}
        only = next(iter(self._by_name.values())) if len(self._by_name) == 1 else None
        self._of_all = own if given is None else only
        self._trained = list(model.trainable_variables) if getattr(model, "built", False) else []
        self._built: list[bool] = []
        self._penalties: dict[int, list[tuple[Penalty, Any]]] = {}
        self._acting: list[tuple[Any, Penalty, Any]] = []

    def proximals(self) -> list[Proximal]:
        """Each `Proximal`."""
        parts = (part for each in self._by_name.values() for part, _ in optimizers_within(each))
        return list({id(part): part for part in parts if isinstance(part, Proximal)}.values())

    def share_held(self) -> float | None:
        """The share of the weights that `Proximal` holds at zero; `None` where none does that."""
        shares = [p.share_held() for p in self.proximals() if p.built]
        known = [share for share in shares if share is not None]
        return sum(known) / len(known) if known else None

    def build(self, model: Any) -> None:
        """Builds those that have no optimizers in them before, as they ask a function for each."""
        for each in self._by_name.values():
            parts = [part for part, _ in optimizers_within(each)]
            if any(hasattr(part, "optimizers") and not part.optimizers for part in parts):
                with strategy_scope(model):
                    each.build(model.trainable_variables)

    def penalties_on(self, variable: Any) -> list[tuple[Penalty, Any]]:
        """The penalties of `Proximal` on a weight, each with the variable that scales it."""
        if not self._built:
            self.refresh()
        return self._penalties.get(id(variable), [])

    def weights_of(self, penalty: Penalty, strength_scale: Any) -> list[Any]:
        """All weights that a penalty of a `Proximal` acts on, which a variable scales."""
        if not self._built:
            self.refresh()
        return [w for w, p, scale in self._acting if scale is strength_scale and p == penalty]

    def refresh(self) -> bool:
        """Looks for optimizers that have been built meanwhile; returns whether that tells more."""
        built = [each.built for each in self._by_name.values()]
        if built == self._built:
            return False
        before, self._built, self._penalties = self._penalties, built, {}
        known = self._by_name.values(), self._of_all, self._trained
        self._acting = [(w, p, each.strength_scale) for w, p, each in acting_after_updates(*known)]
        for weight, penalty, scale in self._acting:
            self._penalties.setdefault(id(weight), []).append((penalty, scale))
        return self._penalties.keys() != before.keys()

    def innermost(self) -> dict[str, Any]:
        """The optimizers in use without those around them, by name; a single one as `""`."""
        found = self._by_name
        if len(found) > 1:  # `compile` may have made one that the model's own step never calls.
            found = {name: each for name, each in found.items() if batches_seen(each)}
        parts = [
            (name, part)
            for name, each in found.items()
            for part, _ in optimizers_within(each)
            if not hasattr(part, "inner_optimizer") and not hasattr(part, "optimizers")
        ]
        if len(parts) == 1:
            return {"": parts[0][1]}
        names = [name for name, _ in parts]
        return {
            name if names.count(name) == 1 else f"{name}_{part.name}": part for name, part in parts
        }

    def learning_rates(self) -> dict[str, Any]:
        """The learning rates of the `innermost` ones, by their names."""
        return {name: each.learning_rate for name, each in self.innermost().items()}
