"""The optimizer wrapper that makes zeros exact."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from kerasreg._backends import is_symbolic, outside_of_graphs
from kerasreg._checks import check_bool, invalid_value
from kerasreg._keras_internals import completes_update, know_variables
from kerasreg._tensors import Tensor, to_accumulator, to_float, to_number
from kerasreg.optimizers.averages import Averages
from kerasreg.optimizers.find_rule import check_rule, find_rule
from kerasreg.optimizers.held_zeros import HeldZeros, strengths_at_zero
from kerasreg.optimizers.one_update import AveragedUpdate, OneUpdate
from kerasreg.optimizers.state import State
from kerasreg.optimizers.steps import StepRule
from kerasreg.optimizers.targets import Target, Targets, check_penalty
from kerasreg.regularizers import Penalty
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

    | optimizer | penalties with a strength | constraints |
    |---|---|---|
    | SGD, Adam, AdamW, Nadam, Adamax, RMSprop, Adagrad, Adadelta, Lamb, Ftrl, Adafactor | with a \
      step size for each weight | yes |
    | Lion, Muon | entry by entry only (`L1`, `MCP`), by way of the gradients; second choice, as a \
      zero stays only while the gradients of minibatches let it. Muon treats vectors, embeddings \
      and `exclude_layers` as Adam does, and so all penalties act on those | yes |
    | ScheduleFreeAdamW, and classes without a rule | no | yes |
    | `MultiOptimizer` | a `Proximal` around those inside | |

    With `use_ema` the penalties act once more at the end of `fit`, on the averaged weights.

    No penalty moves a weight farther in one update than the optimizer could have, where that has a
    bound: after Adam, AdamW, Nadam, Adamax, RMSprop and Adagrad. The fixed points stay as they are,
    where a penalty undoes what the optimizer has done. A weight that the loss
    does not reach is left alone. A weight may have the constraint `NonNeg`, and no other.

    With `hold_zeros` a weight that is zero stays zero while its averaged gradient G is optimal
    there, as `|G| <= l1` for the lasso: a single minibatch has so much noise that zeros leave by
    chance. In each update `G += k * (g - G)` with the gradient g that is summed over replicas,
    accumulated and not clipped. The rate k of a weight is
    `min(1, max(2 * (0.1 * strength)^2 / noise, 4 / t, 1 / 1000))`, where `noise` is the variance of
    its gradients and t the number of updates: without noise it is 1, and the rule does nothing. It
    takes memory for one number a weight.

    Sources: Parikh & Boyd, Proximal Algorithms, 2014; Yun, Lozano & Yang, Adaptive Proximal
    Gradient Methods for Structured Neural Networks, 2021; Andrew & Gao, Scalable Training of
    L1-Regularized Log-Linear Models, 2007 (Lion, Muon); for `hold_zeros` Xiao, Dual Averaging
    Methods for Regularized Stochastic Learning, 2010, and Lee & Wright, Manifold Identification in
    Dual Averaging for Regularized Stochastic Online Learning, 2012.

    Args:
        inner_optimizer: An optimizer that is not yet built; also by name or configuration, as in
            `compile`.
        penalty: A `Penalty` for all kernels (weights of rank 2 or more that are neither biases nor
            embeddings; a constraint acts on embeddings, too; `GroupLasso(groups=...)` on what its
            groups name), or a dict from regular expressions, which must match the whole
            `variable.path`, to penalties.
        name: Name of the optimizer.
        model: The built model that it will train. With it patterns that match nothing are found at
            once, and `GroupLasso(axis="output")` learns the axes of each layer.
        hold_zeros: Whether zeros stay while their averaged gradients are optimal. That is left to
            penalties that know their subdifferential, and out for those to which every gradient is
            optimal at zero.

    Attributes:
        strength_scale: A variable that multiplies the strength of all penalties. Assign to it
            between training steps; nothing is compiled anew, and it is saved with the optimizer.
            What compiled code makes of it is bounded: NaN and negative numbers count as 0. Under
            `mixed_float16`, where Keras wraps the optimizer of a model, it is
            `model.optimizer.inner_optimizer.strength_scale`.

    Raises:
        ValueError: If the optimizer or a penalty is not supported; when the optimizer is built,
            if a pattern matches nothing, two match one weight, a weight has a constraint other than
            `NonNeg`, or its layer already has a penalty with a kink.

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
        hold_zeros: bool = True,
    ) -> None:
        rule = find_rule(inner_optimizer)
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = rule.optimizer
        self.penalty = check_penalty(penalty, model)
        self.hold_zeros = check_bool("hold_zeros", hold_zeros)
        self._rule = rule
        if type(rule).of is StepRule.of:  # Else it takes the weights to know.
            given = self.penalty
            check_rule(rule, [given] if isinstance(given, Penalty) else given.values())
        self._state = State(self)
        self._strength_scale = self._state.add("strength_scale", initializer="ones", later=False)
        self._targets = Targets({}, [])
        self._held: HeldZeros | None = None
        self._averages = Averages((), (), self._state)
        self._given: set[Target] = set()  # Those that have had a gradient.
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
        for target in self._targets.all:
            target.rule = self._rule.of(target.variable)
            check_rule(target.rule, [target.penalty])
        know_variables(self, variables)
        if self._rule.momentum:
            self._add_total_steps(self._targets.all)
        free, state = self._find_free(variables), self._state
        state.add("reached", (len(variables),), dtype="bool")
        state.add("free", free.shape, lambda *_, **__: ops.convert_to_tensor(free), "bool")
        averages = self.inner_optimizer.use_ema
        if self._rule.momentum and (averages or self._rule.reach is not None):
            state.add("total_rate")
        if averages:
            state.add("mean_rate")
        self._held = self._find_held()
        observed = [target for target in self._targets.all if target.penalty.averages]
        numbers = [self._get_variable_index(target.variable) for target in observed]
        self._averages = Averages(observed, numbers, state)
        self.inner_optimizer.build(variables)

    def _find_held(self) -> HeldZeros | None:
        """What holds the zeros of all penalties that can say when they are optimal."""
        strengths: dict[Target, float] = {}
        for penalty in self._targets.penalties:
            targets = [
                target
                for target in self._targets.all
                if target.penalty == penalty and 0 not in target.variable.shape
            ]
            found = strengths_at_zero(penalty, [target.variable for target in targets])
            strengths |= dict(zip(targets, found, strict=True)) if found is not None else {}
        numbers = [self._get_variable_index(target.variable) for target in strengths]
        if not strengths:
            return None
        return HeldZeros(strengths, self.hold_zeros, numbers, self._state)

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
        shared = None if self._rule.slots else self._state.add(name, later=False)
        for target in targets:
            target.total_step = shared
            if shared is None:
                number = self._get_variable_index(target.variable)
                own = self._state.add_like(name, target.variable, number, later=False)
                target.total_step = own

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
        variables, grads = list(trainable_variables or self._trainable_variables), list(grads)
        pairs = enumerate(zip(variables, grads, strict=True))
        positions = {self._var_key(v): i for i, (v, grad) in pairs if grad is not None}
        of_target = {
            target: positions[key]
            for target in self._targets.all
            if (key := self._var_key(target.variable)) in positions
        }
        given = {target: grads[i] for target, i in of_target.items()}
        self._given.update(given)
        inner = self.inner_optimizer
        happens = completes_update(inner)
        acting, scale = self._acting(given), self._bounded_scale()
        update = OneUpdate(inner, given, acting, scale, happens, self._held, self._averages)
        for target, grad in update.gradients_to_give().items():
            grads[of_target[target]] = grad
        # Read before the update, which advances a schedule; copied, as torch updates in place.
        rate = ops.copy(to_accumulator(inner.learning_rate))
        earlier = ops.copy(ops.convert_to_tensor(inner.iterations))
        inner.apply(grads, variables)
        reach = self._follow_rate(rate, earlier, happens)
        count = ops.convert_to_tensor(inner.iterations)
        update.penalize(self._targets.penalties, rate, count, reach)

    def _follow_rate(self, rate: Tensor, earlier: Tensor, happens: Tensor | None) -> Tensor | None:
        """Brings sum and mean of the rates up to date; returns how far a weight may have moved.

        Args:
            rate: The learning rate of the update.
            earlier: The number of updates before it.
            happens: Whether there is one; `None` if there is for sure.
        """
        inner, rule = self.inner_optimizer, self._rule
        rate = effective = ops.cast(rate, "float32")
        total_rate, mean_rate = self._state.get("total_rate"), self._state.get("mean_rate")
        if total_rate is not None:  # Earlier rates, which may have been larger, go on acting.
            before = to_accumulator(total_rate.value)
            total = rule.momentum * before + rate
            total = total if happens is None else ops.where(happens, total, before)
            total_rate.assign(total)
            effective = rule.momentum * total + rate if rule.nesterov else total
            rate = (1.0 - rule.momentum) * total
        if mean_rate is not None:
            # As Keras averages the weights, also those that do not move as gradients accumulate.
            effective = effective if happens is None else ops.where(happens, effective, 0.0)
            kept = ops.where(ops.equal(earlier, 0), 0.0, inner.ema_momentum)
            mean_rate.assign(kept * mean_rate.value + (1.0 - kept) * effective)
        return None if rule.reach is None else rule.reach * rate

    def _acting(self, given: Mapping[Target, Any]) -> dict[Target, Tensor | None]:
        """Whether the penalty of each weight acts by now; `None` if it surely does."""
        conditions: dict[Target, list[Tensor]] = {target: [] for target in given}
        for target in given:
            if type(target.penalty).frees is not Penalty.frees:
                free = self._state.get("free").value[self._get_variable_index(target.variable)]
                conditions[target].append(ops.logical_not(free))
        if keras.backend.backend() == "jax":
            moved = {t: grad for t, grad in given.items() if t.penalty.moves_resting}
            for target, reached in self._reach(moved).items():
                conditions[target].append(reached)
        return {
            target: functools.reduce(ops.logical_and, known) if known else None
            for target, known in conditions.items()
        }

    def _reach(self, given: Mapping[Target, Any]) -> dict[Target, Tensor]:
        """Whether the loss has reached each weight by now.

        On JAX a gradient that does not exist is one of zeros.
        """
        variable = self._state.get("reached")
        reached = list(ops.unstack(variable.value))
        indices = {target: self._get_variable_index(target.variable) for target in given}
        for target, index in indices.items():
            # Once it has, this costs nothing.
            reached[index] = ops.cond(
                reached[index],
                lambda: ops.convert_to_tensor(True),
                lambda grad=given[target]: ops.any(ops.not_equal(grad, 0)),
            )
        variable.assign(ops.stack(reached))
        return {target: reached[index] for target, index in indices.items()}

    @property
    def variables(self) -> list[Any]:
        """The wrapper's variables and those of the inner optimizer."""
        later = self._state.later
        new = set(map(id, later))
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
        self._state.save(store)

    def load_own_variables(self, store: Any) -> None:
        """Loads what is in the store; what is not there stays as it is."""
        self._unsaid = []
        self._state.load(store, len(self.inner_optimizer.variables))

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

    def share_held(self) -> float | None:
        """The share of the weights that are zero and stay so by their averaged gradients.

        Of those weights whose zeros are held; `None` where there are none.
        """
        if self._held is None or not self._held.holds:
            return None
        return self._held.share(self._bounded_scale())

    def noise_by_strength(self) -> dict[str, tuple[Penalty, float]]:
        """How many times the strength of its penalty the noise of a weight's gradients is.

        By the paths of those weights that a penalty with a kink at zero acts on, with the penalty.
        The noise is the standard deviation of an entry from one minibatch to the next.
        """
        if self._held is None:
            return {}
        ratios = self._held.noise_by_strength(to_float(self._strength_scale))
        return {t.variable.path: (t.penalty, ratio) for t, ratio in ratios.items()}

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """Lets the inner optimizer do what it does at the end of training.

        With `use_ema` that is to take the averaged weights; the penalties act on them once more.
        """
        inner, mean_rate = self.inner_optimizer, self._state.get("mean_rate")
        if mean_rate is None:
            inner.finalize_variable_values(var_list)
        else:
            given = [target for target in self._targets.all if target in self._given]
            acting = self._acting({target: ops.zeros(()) for target in given})
            end = AveragedUpdate(given, acting, self._bounded_scale(), self._averages)
            inner.finalize_variable_values(var_list)
            rule, rate = self._rule, ops.copy(mean_rate.value)
            reach = None if rule.reach is None else rule.reach * (1.0 - rule.momentum) * rate
            end.penalize(self._targets.penalties, rate, inner.iterations, reach)
        for target in self._targets.all:
            target.penalty.after_training(target.variable)

    def get_config(self) -> dict[str, Any]:
        """The inner optimizer and the penalties, serialised."""
        serialize = keras.saving.serialize_keras_object
        penalty = self.penalty
        return {
            "name": self.name,
            "hold_zeros": self.hold_zeros,
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
        names = {"name", "inner_optimizer", "penalty", "hold_zeros"}
        if not is_whole or not given.keys() <= names:
            raise invalid_value("config", "what `get_config` of a `Proximal` returns", config)
        if "class_name" in penalty:
            penalty = deserialize(penalty)
        else:
            penalty = {pattern: deserialize(p) for pattern, p in penalty.items()}
        inner, others = deserialize(config["inner_optimizer"]), {"name", "hold_zeros"}
        optimizer = cls(inner, penalty, **{k: v for k, v in config.items() if k in others})
        optimizer._is_copy = True
        return optimizer


def _of_inner(name: str) -> property:
    """An attribute of the inner optimizer, which can also be set."""

    def fget(self: Proximal) -> Any:
        return getattr(self.inner_optimizer, name)

    def fset(self: Proximal, value: Any) -> None:
        # Not what the constructor of Keras's class sets before there is an inner optimizer.
        if hasattr(self, "inner_optimizer"):
            if name == "use_ema" and value != self.inner_optimizer.use_ema and self.built:
                raise invalid_value(name, "what it was when the optimizer was built", value)
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
