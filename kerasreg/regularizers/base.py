"""The base class of all penalties."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import numbers
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from kerasreg._checks import check_non_negative, definer, invalid_value, is_number
from kerasreg._keras_internals import register_regularizer_string
from kerasreg._tensors import Tensor, cast_like, to_accumulator
from kerasreg.regularizers.strength_scale import StrengthScale
from kerasreg.regularizers.structures import Entries, Structure, Tiles
from kerasreg.regularizers.update import Update

PACKAGE = "kerasreg"

# What answers faster than the formulas, or for them, and by which of them.
SHORTCUTS = {
    "_terms": ("_value", "__call__"),
    "value_from_norms": ("_terms", "_value", "__call__"),
    "update": ("_prox", "prox"),
    "divisible_axes": ("_prox", "prox", "update"),
    "has_kink": ("_terms", "_value", "__call__", "_prox", "prox"),
    "moves_resting": ("update",),
    "formula": ("_terms", "_value", "__call__"),
    "resting": ("_residual", "residuals", "subdifferential_distance"),
}

P = TypeVar("P", bound="type[Penalty]")


def register_penalty(cls: P) -> P:
    """Makes a penalty loadable by Keras, as a dict and as the string `"kerasreg>Name"`."""
    keras.saving.register_keras_serializable(PACKAGE)(cls)
    register_regularizer_string(f"{PACKAGE}>{cls.__name__}", cls)
    return cls


def later(default: Any) -> Any:
    """A field that its class has not always had.

    Where it has its default, configurations and words are those of before.
    """
    return dataclasses.field(default=default, metadata={"later": True})


@dataclasses.dataclass(frozen=True)
class Penalty(keras.regularizers.Regularizer):  # type: ignore[misc]
    """A penalty on weights: a Keras regularizer that also knows its proximal operator.

    A subclass is a frozen dataclass whose fields are plain numbers. It says how to compute
    its value, its proximal operator and its subdifferential on tensors that are already wide
    enough to sum in; this class takes care of dtypes and of Keras's configuration.

    Source: Parikh & Boyd, Proximal Algorithms, 2014.

    Example:
    >>> penalty = kerasreg.L1(0.5)
    >>> float(penalty(np.array([1.0, -2.0], "float32")))
    1.5
    >>> z = penalty.prox(np.array([1.0, 0.25], "float32"), step=1.0)
    >>> keras.ops.convert_to_numpy(z).tolist()
    [0.5, 0.0]
    """

    is_separable: ClassVar[bool] = False
    """Whether it acts on every entry of a weight by itself, so that a part can be taken alone."""

    needs_whole: ClassVar[bool] = False
    """Whether no part can be taken alone all the same, as entries are told apart by their place."""

    is_constraint: ClassVar[bool] = False
    """Whether it only allows or forbids weights: it has no strength, and no place in a loss."""

    moves_resting: ClassVar[bool] = True
    """Whether it may change a weight that the optimizer does not move, as one without gradients."""

    scalar_metric_only: ClassVar[bool] = False
    """Whether its proximal operator needs one step size for all weights, as that of SGD."""

    formula: ClassVar[str] = ""
    """What is added to the loss, or what is allowed, in plain text and the arguments' names.

    A class with another `_value` or `_terms` than the one that it inherits from starts without.
    """

    strength_scale: ClassVar[StrengthScale | None] = None
    """What multiplies its value while a model trains; only the copy by `scaled_by` has one."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Takes no shortcut over from a class whose formula has been replaced since."""
        super().__init_subclass__(**kwargs)

        def place(name: str) -> int:
            return cls.__mro__.index(definer(cls, name))

        for shortcut, formulas in SHORTCUTS.items():
            if min(map(place, formulas)) < place(shortcut):
                setattr(cls, shortcut, getattr(Penalty, shortcut))

    def __call__(self, w: Tensor) -> Tensor:
        """The value of the penalty.

        Args:
            w: Weight or activation of any shape and floating dtype.

        Returns:
            A scalar tensor, in float32 at least.

        Raises:
            ValueError: If a layer asks for the value of a constraint.
        """
        if isinstance(w, keras.Variable):  # A layer asks, and an error can name its weight.
            if self.is_constraint:
                raise ValueError(
                    f"Invalid regularizer on weight `{w.path}`. Expected a penalty that can be "
                    f"part of a loss; give {type(self).__name__} to `Proximal` instead. Received: "
                    f"regularizer={self!r}"
                )
            self.check_weight(w)
        value = self._value(to_accumulator(w))
        return value if self.strength_scale is None else value * self.strength_scale.like(value)

    def prox(self, w: Tensor, step: Tensor) -> Tensor:
        """The proximal operator, `argmin_z sum_i (z_i - w_i)^2 / (2 step_i) + penalty(z)`.

        Args:
            w: Weight of any shape and floating dtype.
            step: Non-negative scalar, or tensor of the shape of `w` (a diagonal metric).

        Returns:
            A tensor of the shape and dtype of `w`; with a step of 0, `w` itself, or the nearest
            that a constraint allows.

        Raises:
            ValueError: If `step` is a number, and negative or not finite.
        """
        if isinstance(step, numbers.Real):
            check_non_negative("step", step)
        wide = to_accumulator(w)
        return cast_like(self._prox(wide, cast_like(ops.convert_to_tensor(step), wide)), w)

    def remember(self, w: Tensor) -> Any:
        """What `update` has to know of the weight as it was before the optimizer's update.

        Args:
            w: Weight before the update.

        Returns:
            A new tensor that `update` receives, or `None`; on PyTorch `w` itself would change.
        """
        return None

    def update(
        self, updates: Iterable[Update], count: Tensor, strength_scale: Tensor
    ) -> Iterable[Tensor]:
        """The weights after the optimizer's update and this penalty: by default each its `prox`.

        A class with another `_prox` or `prox` than the one that it inherits from starts with this.

        Args:
            updates: One for each of the weights that the penalty acts on.
            count: Number of updates so far, this one included: an integer scalar. It stands still
                while the optimizer accumulates gradients.
            strength_scale: Scalar that multiplies the strength of the penalty.

        Returns:
            A tensor for each weight, of its shape and dtype.
        """
        return (self.prox(u.w, u.step(strength_scale)) for u in updates)

    def allowed(self, w: Tensor) -> Tensor:
        """The nearest weight that a constraint in it allows, as `positive`; by default all are.

        An `update` is cut off where it is beyond the reach of the optimizer, but not this.

        Args:
            w: Weight of any shape and floating dtype.

        Returns:
            A tensor of the shape and dtype of `w`.
        """
        return w

    def subdifferential_distance(self, w: Tensor, grad: Tensor) -> Tensor:
        """Distance from optimality, `dist(-grad, subdifferential(w))`.

        It is zero exactly where `w` is a stationary point of loss + penalty.

        Args:
            w: Weight of any shape.
            grad: Gradient of the loss without the penalty, of the same shape.

        Returns:
            A scalar tensor, the Euclidean distance.
        """
        wide = to_accumulator(w)
        residual = self._residual(wide, cast_like(ops.convert_to_tensor(grad), wide))
        return ops.sqrt(ops.sum(ops.square(residual)))

    def residuals(
        self, ws: Sequence[Tensor], grads: Sequence[Tensor], paths: Sequence[str] = ()
    ) -> Iterable[Tensor]:
        """The shortest vectors from `-grads` to the subdifferential, up to the sign.

        An entry is zero where it is optimal.

        Args:
            ws: The weights that the penalty acts on, or parts of them if it is separable.
            grads: Gradients of the loss without the penalty, of the same shapes.
            paths: The paths of the weights, for a penalty that knows weights by them.

        Returns:
            A tensor of the shape of each weight, one after the other.
        """
        for w, grad in zip(ws, grads, strict=True):
            w, grad = to_accumulator(w), to_accumulator(grad)
            if self.implements("_residual"):
                yield self._residual(w, grad)
            else:  # What is known of the whole weight, in the direction of its gradient.
                length = ops.sqrt(ops.sum(ops.square(grad)))
                distance = self.subdifferential_distance(w, grad)
                yield grad * (distance / ops.where(length > 0, length, 1.0))

    def resting(
        self,
        zeros: Sequence[Tensor],
        grads: Sequence[Tensor],
        strength_scale: Tensor,
        paths: Sequence[str] = (),
    ) -> Iterator[Tensor]:
        """Where zeros are optimal: a boolean tensor for each weight, which broadcasts to it.

        Args:
            zeros: Which entries of the weights are zero, as booleans.
            grads: Gradients of the loss without the penalty.
            strength_scale: Scalar that multiplies the strength of the penalty.
            paths: The paths of the weights, for a penalty that knows weights by them.
        """
        inverse = 1.0 / ops.maximum(strength_scale, 1e-30)
        scaled = [grad * cast_like(inverse, grad) for grad in grads]
        # Of the others it only matters that they are not zero.
        ws = [cast_like(ops.logical_not(z), g) for z, g in zip(zeros, grads, strict=True)]
        for zero, residual in zip(zeros, self.residuals(ws, scaled, paths), strict=True):
            yield ops.logical_and(zero, ops.equal(residual, 0))

    def group_norms(self, w: Tensor) -> Tensor:
        """Euclidean norm of each group that the penalty zeroes together.

        Args:
            w: Weight of any shape.

        Returns:
            A tensor with one norm a group; here each weight is a group of its own.
        """
        return ops.abs(to_accumulator(w))

    def dual_norm(self, grad: Tensor) -> Tensor:
        """The smallest factor on the penalty at which a weight of zeros stays zero.

        `min c such that -grad lies in c * subdifferential(0)`: the dual norm where the penalty is
        a norm, as `max |grad| / l1` of the lasso.

        Args:
            grad: Gradient of the loss without the penalty where the weight is zero; of any shape.

        Returns:
            A scalar tensor; infinity where no factor is large enough.
        """
        wide = to_accumulator(grad)
        if 0 in wide.shape:
            return ops.zeros((), wide.dtype)
        # A penalty of strength 0 keeps zeros where nothing moves them.
        return ops.where(ops.any(wide != 0), self._dual_norm(wide), 0.0)

    def structure(self, shapes: Sequence[Sequence[int]], paths: Sequence[str]) -> Structure | None:
        """What it sets to zero as a whole: the entries if it is separable.

        Args:
            shapes: The shapes of weights that it acts on; of all if it `spans_weights`.
            paths: Their paths.

        Returns:
            The structure; `None` where a class does not say.

        Raises:
            ValueError: If a weight cannot be divided so.
        """
        entries = Tiles("weights", [Entries()] * len(shapes), shapes)
        return entries if self.is_separable else None

    def divisible_axes(self, w: Tensor) -> tuple[int, ...]:
        """The axes along which each slice of a weight is acted on by itself.

        So a part along one of them can be taken alone; by default all axes if it is separable.

        Args:
            w: Weight, or another tensor of its shape.
        """
        is_divisible = self.is_separable and not self.needs_whole
        return tuple(range(len(w.shape))) if is_divisible else ()

    @property
    def main_strength(self) -> float | None:
        """The first hyper-parameter, as `l1` or `alpha`: what a path of strengths varies.

        `None` where there is none, or it is no number.
        """
        names = [field.name for field in dataclasses.fields(self)]
        value = getattr(self, names[0]) if names else None
        return float(value) if value is not None and is_number(value) else None

    @property
    def has_kink(self) -> bool:
        """Whether it has a kink at zero, so that `Proximal` makes zeros exact with it.

        By default unless its main strength is 0; a penalty with a gradient everywhere says no, and
        a class derived from it with another formula says so again.
        """
        return self.main_strength != 0

    def value_from_norms(self, l1_norm: float, l2_norm: float) -> float | None:
        """The value, where the norms of the weight are enough to know it: faster for a log.

        A class with another `_value` or `__call__` than the one that it inherits from starts
        without.

        Args:
            l1_norm: Sum of the magnitudes.
            l2_norm: Euclidean norm.

        Returns:
            The value; `None` where the norms are not enough, which must not depend on them.
        """
        return None

    @property
    def patterns(self) -> tuple[str, ...] | None:
        """Regular expressions for the paths of its weights, where it names them itself."""
        return None

    @property
    def spans_weights(self) -> bool:
        """Whether it acts on several weights together, so that one alone has no value."""
        return False

    def shares(self, ws: Sequence[Tensor], paths: Sequence[str]) -> list[Tensor]:
        """What each of several weights adds to the value of the penalty on all of them.

        Args:
            ws: All weights that it acts on.
            paths: Their paths.

        Returns:
            A scalar tensor for each, in float32 at least; by default the value on it alone.
        """
        return [self(w) for w in ws]

    def dual_norms(self, grads: Sequence[Tensor], paths: Sequence[str]) -> list[Tensor]:
        """The `dual_norm` of each of several weights, with what it shares with the others.

        Args:
            grads: The gradients of all weights that it acts on, at zeros.
            paths: The paths of the weights.

        Returns:
            A scalar tensor for each.
        """
        return [self.dual_norm(grad) for grad in grads]

    def check_weight(self, variable: Any) -> None:
        """Raises if it cannot act on a weight, as for want of an axis; by default it can."""

    def unpenalised(self, shape: tuple[int, ...]) -> npt.NDArray[np.bool_] | None:
        """Which entries of a weight it leaves free at every strength; `None` if it leaves none."""
        return None

    def on_layer(self, layer: Any, variable: Any) -> Penalty:
        """The penalty with what only the layer of its weight can tell; by default the same."""
        return self

    def on_layers(self, model: Any, pairs: Sequence[tuple[Any, Any]]) -> list[Penalty]:
        """The penalty for each of several weights with what only their layers can tell.

        Args:
            model: The model.
            pairs: The weights that the penalty acts on, each with its layer: `(layer, weight)`.
        """
        return [self.on_layer(layer, variable) for layer, variable in pairs]

    def frees(self, variable: Any) -> str | None:
        """Why a weight is left alone for what it is when the optimizer is built, if it is."""
        return None

    def trains(self, memory: Any, count: Tensor) -> Tensor | None:
        """Which entries of a weight may change in an update; `None` if all may.

        Gradients of the others are 0 for the optimizer.

        Args:
            memory: What `remember` returned before the update.
            count: Number of updates before this one.
        """
        return None

    @property
    def at_once(self) -> Penalty:
        """What it comes to in the end, where it has a schedule; else itself."""
        return self

    @property
    def needs_data(self) -> bool:
        """Whether it depends on data that only `prune` has, so that it cannot act in training."""
        return False

    @property
    def averages(self) -> int:
        """Over how many updates the average of `observe` reaches; 0 where nothing is averaged."""
        return 0

    def observe(self, w: Tensor, grad: Tensor) -> Tensor:
        """What of a weight before an update, and its gradient, is averaged for `update`.

        Args:
            w: The weight.
            grad: The gradient of the loss.

        Returns:
            A float32 tensor of the shape of the weight.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement `observe`.")

    @property
    def needs_step(self) -> bool:
        """Whether it depends on the step size, so that the optimizer must have one."""
        return not self.is_constraint

    def after_training(self, variable: Any) -> None:
        """Looks at a weight at the end of `fit`, to warn of what has become of it."""

    @classmethod
    def implements(cls, *methods: str) -> bool:
        """Whether the class, or one between it and `Penalty`, defines any of these methods."""
        return any(getattr(cls, method) is not getattr(Penalty, method) for method in methods)

    @classmethod
    def has_prox(cls) -> bool:
        """Whether it can act after an update, by a proximal operator or an `update` of its own."""
        return cls.implements("_prox", "prox", "update")

    def scaled_by(self, strength_scale: StrengthScale) -> Penalty:
        """A copy for weights on which `strength_scale` multiplies its value in the loss."""
        scaled = copy.copy(self)
        object.__setattr__(scaled, "strength_scale", strength_scale)
        return scaled

    @property
    def unscaled(self) -> Penalty:
        """The penalty itself, without what scales it on some weights."""
        return self if self.strength_scale is None else copy.copy(self)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy gets: not what scales it, which belongs to weights of one model."""
        return {name: value for name, value in vars(self).items() if name != "strength_scale"}

    @property
    def arguments(self) -> dict[str, Any]:
        """What the constructor was given, by name; what came `later` only if it is not default."""
        return {
            field.name: value
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != field.default
            or not field.metadata.get("later")
        }

    def __repr__(self) -> str:
        """The call that makes it; for classes with `@dataclass(repr=False)`."""
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{type(self).__qualname__}({arguments})"

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, as plain numbers."""
        given = self.arguments
        return {k: v for k, v in dataclasses.asdict(self).items() if k in given}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Penalty:
        """Makes a penalty from `get_config`."""
        try:
            inspect.signature(cls).bind(**config)
        except TypeError as error:  # an unknown name, one that is missing, or no names at all
            expected = f"the arguments of {cls.__name__} ({error})"
            raise invalid_value("config", expected, config) from None
        return cls(**config)

    def _value(self, w: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} does not implement `_value`.")

    def _terms(self, w: Tensor) -> Tensor:
        """The value of each entry, where the value is a sum over them; for `Weighted`."""
        raise NotImplementedError(f"{type(self).__name__} does not implement `_terms`.")

    def _prox(self, w: Tensor, step: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} does not implement `_prox`.")

    def _residual(self, w: Tensor, grad: Tensor) -> Tensor:
        """The shortest vector from `-grad` to the subdifferential, up to the sign."""
        raise NotImplementedError(f"{type(self).__name__} does not implement `_residual`.")

    def _dual_norm(self, grad: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} does not implement `_dual_norm`.")

    def _check_strengths(self, *names: str) -> None:
        for name in names:
            object.__setattr__(self, name, check_non_negative(name, getattr(self, name)))
