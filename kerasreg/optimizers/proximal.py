"""The optimizer wrapper that makes zeros exact."""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from kerasreg._backends import is_symbolic, outside_of_graphs
from kerasreg._checks import invalid_value
from kerasreg._keras_internals import know_variables
from kerasreg._tensors import Tensor, to_accumulator, to_number, to_numpy
from kerasreg.optimizers.apply_penalty import apply_penalty
from kerasreg.optimizers.steps import StepSizes, find_rule
from kerasreg.optimizers.targets import Target, Targets, check_penalty
from kerasreg.regularizers import Penalty
from kerasreg.regularizers.base import Update
from kerasreg.regularizers.penalty_map import match_penalties

LARGEST = float(np.finfo("float32").max)


@keras.saving.register_keras_serializable("kerasreg")
class Proximal(keras.optimizers.Optimizer):  # type: ignore[misc]
    """Applies penalties after each update of an optimizer, so that zeros are exact.

    After the inner optimizer's update each mapped weight becomes `penalty.prox(w, step)`, where
    `step` is the step size: how far the optimizer moves that weight for a gradient of one. In this
    metric the fixed points are those of loss + penalty for every supported optimizer. With the
    learning rate in its place, as after plain gradient descent, they are not: on the diabetes data
    the lasso's coefficients are then wrong by 0.36 after Adam, and by 4e-8 with the step size.

    No penalty moves a weight farther in one update than the optimizer could have. The fixed points
    stay as they are, where a penalty undoes what the optimizer has done. A weight that the loss
    does not reach is left alone.

    Sources: Parikh & Boyd, Proximal Algorithms, 2014; Yun, Lozano & Yang, Adaptive Proximal
    Gradient Methods for Structured Neural Networks, 2021.

    Args:
        inner_optimizer: SGD, Adam, AdamW, Nadam, Adamax, RMSprop or Adagrad, not yet built; also by
            name or configuration, as in `compile`.
        penalty: A `Penalty` for all kernels (weights of rank 2 or more that are neither biases nor
            embeddings; a constraint acts on embeddings, too), or a dict from regular expressions,
            which must match the whole `variable.path`, to penalties.
        name: Name of the optimizer.
        model: The built model that it will train. With it patterns that match nothing are found at
            once, and `GroupLasso(axis="output")` learns the axes of each layer.

    Attributes:
        strength_scale: A variable that multiplies the strength of all penalties. Assign to it
            between training steps; nothing is compiled anew, and it is saved with the optimizer.
            What compiled code makes of it is bounded: NaN and negative numbers count as 0. Under
            `mixed_float16`, where Keras wraps the optimizer of a model, it is
            `model.optimizer.inner_optimizer.strength_scale`.

    Raises:
        ValueError: If the optimizer or a penalty is not supported; when the optimizer is built,
            if a pattern matches nothing, two match one weight, a weight has a constraint, or its
            layer already has a penalty with a kink.

    Example:
    >>> optimizer = kerasreg.Proximal(keras.optimizers.Adam(1e-3), kerasreg.L1(1e-4))
    >>> model.compile(optimizer, "sparse_categorical_crossentropy")
    """

    def __init__(
        self,
        inner_optimizer: Any,
        penalty: Penalty | Mapping[str, Penalty],
        name: str | None = None,
        *,
        model: Any = None,
    ) -> None:
        rule = find_rule(inner_optimizer)
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = rule.optimizer
        self.penalty = check_penalty(penalty, model)
        self._rule = rule
        self._strength_scale = self.add_variable(
            (), initializer="ones", dtype="float32", name="strength_scale"
        )
        self._targets = Targets({}, [])
        self._reached: Any = None
        self._free: Any = None
        self._total_rate: Any = None
        # One that is made from a configuration may get what was decided before from the same file.
        self._is_copy = False
        self._unsaid: list[str] = []

    @property
    def strength_scale(self) -> Any:
        """The variable that multiplies the strength of all penalties."""
        return self._strength_scale

    @strength_scale.setter
    def strength_scale(self, value: Any) -> None:
        if not is_symbolic(value):
            number = to_number(value)
            if number is None or not 0 <= number <= LARGEST:
                expected = "a finite, non-negative number, which float32 can hold"
                raise invalid_value("strength_scale", expected, value)
        self._strength_scale.assign(value)

    def _bounded_scale(self) -> Tensor:
        """The factor, where a compiled function, or `assign`, may have set it unchecked."""
        scale = ops.convert_to_tensor(self._strength_scale)
        return ops.where(scale > 0, ops.minimum(scale, LARGEST), 0.0)

    def build(self, variables: Sequence[Any]) -> None:
        """Finds the weights of each penalty and makes the variables of both optimizers."""
        if self.built:
            return
        self._targets = Targets(self.penalty, variables)
        if self._rule.momentum:
            self._add_total_steps(self._targets.all)
        shape, free = (len(variables),), self._find_free(variables)
        self._reached = self.add_variable(shape, dtype="bool", name="reached")
        self._free = self.add_variable(
            shape, lambda *_, **__: ops.convert_to_tensor(free), dtype="bool", name="free"
        )
        if self._rule.momentum and self._rule.reach is not None:
            self._total_rate = self.add_variable((), dtype="float32", name="total_rate")
        self.inner_optimizer.build(variables)
        know_variables(self, variables)

    def _find_free(self, variables: Sequence[Any]) -> npt.NDArray[np.bool_]:
        """Which weights their penalty leaves alone, as they are now."""
        with outside_of_graphs():
            free = {
                id(t.variable): None if is_symbolic(t.variable) else t.penalty.frees(t.variable)
                for t in self._targets.all
            }
        self._unsaid = [reason for reason in free.values() if reason is not None]
        if not self._is_copy:
            self._say_what_is_free()
        return np.array([free.get(id(variable)) is not None for variable in variables])

    def _say_what_is_free(self) -> None:
        reasons, self._unsaid = self._unsaid, []
        for reason in reasons:
            warnings.warn(reason, stacklevel=3)

    def _add_total_steps(self, targets: Sequence[Target]) -> None:
        """With momentum, step sizes add up as the gradients do: to a number, or entry by entry."""
        name = "total_step"
        shared = None if self._rule.slots else self.add_variable((), dtype="float32", name=name)
        for target in targets:
            target.total_step = (
                self.add_variable_from_reference(target.variable, name)
                if shared is None
                else shared
            )

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]]) -> Any:
        """As `apply`, for pairs of a gradient and its weight; returns `iterations`."""
        super().apply_gradients(grads_and_vars)
        return self.iterations

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Updates the weights with the inner optimizer, then applies the penalties."""
        if not self.built:
            if trainable_variables is None:
                raise ValueError(
                    "When passing `grads` without `variables`, the optimizer must already be "
                    "built. Call `optimizer.build(trainable_variables)` first."
                )
            self.build(list(trainable_variables))
        self._say_what_is_free()
        variables = list(trainable_variables or self._trainable_variables)
        inner = self.inner_optimizer
        moved = {
            self._var_key(v) for v, grad in zip(variables, grads, strict=True) if grad is not None
        }
        targets = [t for t in self._targets.all if self._var_key(t.variable) in moved]
        # Read before the update, which advances a schedule; copied, as torch updates in place.
        rate = ops.copy(to_accumulator(inner.learning_rate))
        accumulates = inner.gradient_accumulation_steps
        earlier = ops.copy(ops.convert_to_tensor(inner.iterations)) if accumulates else None
        memories = {id(t): t.penalty.remember(ops.stop_gradient(t.variable.value)) for t in targets}
        inner.apply(grads, variables)
        count = ops.convert_to_tensor(inner.iterations)
        happened = None if earlier is None else count > earlier
        step_sizes = StepSizes(self._rule, rate, count, happened)
        reach = self._reach_of(rate, happened)
        acting, scale = self._acting(targets, variables, grads, happened), self._bounded_scale()
        for penalty in self._targets.penalties:
            chosen = [t for t in targets if t.penalty == penalty]
            updates = []
            for t in chosen:
                w, moments = ops.stop_gradient(t.variable.value), step_sizes.moments(t)
                update = Update(w, memories[id(t)], moments, step_sizes, reach, acting[id(t)])
                updates.append(update)
            if chosen:
                penalized = [t.variable for t in chosen]
                apply_penalty(penalty, penalized, updates, count, scale)

    def _reach_of(self, rate: Tensor, happened: Tensor | None) -> Tensor | None:
        """How far the optimizer could have moved a weight in this update."""
        if self._rule.reach is None:
            return None
        if self._total_rate is not None:  # Earlier rates, which may have been larger, go on acting.
            momentum, before = self._rule.momentum, to_accumulator(self._total_rate.value)
            total = momentum * before + ops.cast(rate, "float32")
            total = total if happened is None else ops.where(happened, total, before)
            self._total_rate.assign(total)
            rate = (1.0 - momentum) * total
        return self._rule.reach * rate

    def _acting(
        self,
        targets: Sequence[Target],
        variables: Sequence[Any],
        grads: Sequence[Any],
        happened: Tensor | None,
    ) -> dict[int, Tensor | None]:
        """Whether the penalty of each target acts in this update; `None` if it surely does."""
        conditions: dict[int, list[Tensor]] = {
            id(t): [] if happened is None else [happened] for t in targets
        }
        for target in targets:
            if type(target.penalty).frees is not Penalty.frees:
                free = self._free.value[self._get_variable_index(target.variable)]
                conditions[id(target)].append(ops.logical_not(free))
        if keras.backend.backend() == "jax":
            moved = [target for target in targets if target.penalty.moves_resting]
            for key, reached in self._reach(moved, variables, grads).items():
                conditions[key].append(reached)
        return {
            key: functools.reduce(ops.logical_and, known) if known else None
            for key, known in conditions.items()
        }

    def _reach(
        self, targets: Sequence[Target], variables: Sequence[Any], grads: Sequence[Any]
    ) -> dict[int, Tensor]:
        """Whether the loss has reached each target by now.

        On JAX a gradient that does not exist is one of zeros.
        """
        gradient = {self._var_key(v): g for v, g in zip(variables, grads, strict=True)}
        reached = list(ops.unstack(self._reached.value))
        indices = {id(t): self._get_variable_index(t.variable) for t in targets}
        for target in targets:
            index, key = indices[id(target)], self._var_key(target.variable)
            # Once it has, this costs nothing.
            reached[index] = ops.cond(
                reached[index],
                lambda: ops.convert_to_tensor(True),
                lambda key=key: ops.any(ops.not_equal(gradient[key], 0)),
            )
        self._reached.assign(ops.stack(reached))
        return {key: reached[index] for key, index in indices.items()}

    @property
    def variables(self) -> list[Any]:
        """The wrapper's variables and those of the inner optimizer."""
        # What version 0.1 did not have comes last, as the folder of a path keeps them by position.
        new = {id(variable) for variable in (self._reached, self._free, self._total_rate)}
        later = [v for v in self._variables if id(v) in new]
        earlier = [v for v in self._variables if id(v) not in new]
        return [*earlier, *self.inner_optimizer.variables, *later]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Assigns values to all `variables`, in their order."""
        if not self.built:
            super().set_weights(weights)  # which says so
        shapes = [tuple(variable.shape) for variable in self.variables]
        given = [tuple(weight.shape) for weight in weights]
        if given != shapes:
            raise invalid_value("weights", f"arrays of the shapes {shapes}", given)
        for variable, weight in zip(self.variables, weights, strict=True):
            variable.assign(weight)

    def save_own_variables(self, store: Any) -> None:
        """Saves the wrapper's state by name; Keras saves the inner optimizer beside it."""
        for name, variable in self._state().items():
            store[name] = to_numpy(variable.value)

    def load_own_variables(self, store: Any) -> None:
        """Loads what is in the store; what is not there stays as it is."""
        state, saved = self._state(), set(store.keys())
        # Until version 0.1 by position: two variables that nothing reads, the wrapper's state and
        # the inner optimizer's.
        own = len(saved) - len(self.inner_optimizer.variables) - 2
        by_position = dict(zip([*state][: max(own, 0)], itertools.count(2), strict=False))
        self._unsaid = []
        if "0" in saved and self._free is not None:  # Then no weight was left free.
            self._free.assign(ops.zeros_like(self._free.value))
        for name, variable in state.items():
            key = name if name in saved or "0" not in saved else str(by_position.get(name))
            if key in saved:
                variable.assign(store[key])

    def _state(self) -> dict[str, Any]:
        """The variables that the wrapper itself needs, by the names that files have for them."""
        state = {"strength_scale": self._strength_scale}
        for target in self._targets.all:
            if target.total_step is not None:
                own = f"_{self._get_variable_index(target.variable)}" if self._rule.slots else ""
                state[f"total_step{own}"] = target.total_step
        if self._reached is not None:
            state |= {"reached": self._reached, "free": self._free}
        if self._total_rate is not None:
            state["total_rate"] = self._total_rate
        return state

    @property
    def learning_rate(self) -> Any:
        """The inner optimizer's learning rate."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self.inner_optimizer.learning_rate = learning_rate

    @property
    def iterations(self) -> Any:
        """The inner optimizer's number of updates."""
        return self.inner_optimizer.iterations

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Scales the loss as the inner optimizer expects it."""
        return self.inner_optimizer.scale_loss(loss)

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Excludes weights from the inner optimizer's weight decay."""
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    def penalties_of(self, variables: Sequence[Any]) -> list[Penalty | None]:
        """The penalty of each of a model's variables, also before the optimizer is built."""
        if not self.built:
            return match_penalties(self.penalty, variables)
        acting = {self._var_key(t.variable): t.penalty for t in self._targets.all}
        return [acting.get(self._var_key(variable)) for variable in variables]

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """Lets the inner optimizer do what it does at the end of training."""
        self.inner_optimizer.finalize_variable_values(var_list)
        for target in self._targets.all:
            target.penalty.after_training(target.variable)

    def get_config(self) -> dict[str, Any]:
        """The inner optimizer and the penalties, serialised."""
        serialize = keras.saving.serialize_keras_object
        penalty = self.penalty
        return {
            "name": self.name,
            "inner_optimizer": serialize(self.inner_optimizer),
            "penalty": serialize(penalty)
            if isinstance(penalty, Penalty)
            else {pattern: serialize(p) for pattern, p in penalty.items()},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Proximal:
        """Makes an optimizer from `get_config`."""

        def deserialize(serialized: Any) -> Any:
            return keras.saving.deserialize_keras_object(serialized, custom_objects)

        given = config if isinstance(config, dict) else {}
        penalty: Any = given.get("penalty")
        is_whole = isinstance(penalty, dict) and isinstance(given.get("inner_optimizer"), dict)
        if not is_whole or not given.keys() <= {"name", "inner_optimizer", "penalty"}:
            raise invalid_value("config", "what `get_config` of a `Proximal` returns", config)
        if "class_name" in penalty:
            penalty = deserialize(penalty)
        else:
            penalty = {pattern: deserialize(p) for pattern, p in penalty.items()}
        optimizer = cls(deserialize(config["inner_optimizer"]), penalty, config.get("name"))
        optimizer._is_copy = True
        return optimizer


def _of_inner(name: str) -> property:
    """An attribute of the inner optimizer, which can also be set."""

    def fget(self: Proximal) -> Any:
        return getattr(self.inner_optimizer, name)

    def fset(self: Proximal, value: Any) -> None:
        # Not what the constructor of Keras's class sets before there is an inner optimizer.
        if hasattr(self, "inner_optimizer"):
            if name == "use_ema" and value:
                raise invalid_value(name, "False: averages of the weights have no zeros", value)
            setattr(self.inner_optimizer, name, value)

    return property(fget, fset)


for _name in (
    "weight_decay",
    "clipnorm",
    "global_clipnorm",
    "clipvalue",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
    "loss_scale_factor",
    "gradient_accumulation_steps",
):
    setattr(Proximal, _name, _of_inner(_name))
