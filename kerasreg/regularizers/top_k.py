"""The constraint that only so many weights are not zero."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from keras import ops

from kerasreg._checks import (
    check_bool,
    check_choice,
    check_fraction,
    check_integer,
    check_positive,
    invalid_value,
)
from kerasreg._tensors import Tensor, cast_like, to_numpy
from kerasreg.regularizers.axes import Axis
from kerasreg.regularizers.base import Penalty, later, register_penalty
from kerasreg.regularizers.groups import Groups, OnGroups
from kerasreg.regularizers.selection import keep
from kerasreg.regularizers.structures import Structure
from kerasreg.regularizers.unit_shape import OnLayer, UnitShape
from kerasreg.regularizers.update import Update

Scope: TypeAlias = Literal["weight", "global"]
Saliency: TypeAlias = Literal["magnitude", "metric", "taylor", "activation"]
Cost: TypeAlias = Literal["parameters", "macs"]


@register_penalty
@dataclasses.dataclass(frozen=True, repr=False)
class TopK(OnGroups, Penalty):
    """Keeps at most `(1 - sparsity) * n` weights, the largest, and sets the rest to zero.

    Or so many units, channels, heads, blocks or groups, or n of every m weights:

    | argument | what is kept or dropped as a whole |
    |---|---|
    | none of these | each weight |
    | `axis="output"`, `"input"`, `"heads"`, or integers | a slice along the axis, as `GroupLasso` \
      has it: a unit or filter, an input, a head |
    | `block=(4, 1)` | a block of 4 × 1 along the last two axes |
    | `pattern="2:4"` | each weight, but of every four neighbours two are kept |
    | `groups=kr.coupled_groups(model)` | a channel in all layers that it comes from |

    Magnitude pruning as a proximal step, for `Proximal`. The support, the set of weights that are
    not zero, is chosen after the first update and then every `frequency` updates, from all
    weights as this one update moves them; in between zeros stay zeros. A weight that is kept while
    it is zero is set to the smallest positive number, so that it can train. From `begin_step` to
    `end_step` the sparsity rises as
    `sparsity - (sparsity - initial_sparsity) * (1 - progress)^power`.

    A unit is as large as the Euclidean norm of its weights' saliencies. With `scope="global"` units
    are compared by norm² / cost, so that a large unit must gain more than a small one.

    Sources: Blumensath & Davies, Iterative Hard Thresholding, 2009; Zhu & Gupta, To Prune, or Not
    to Prune, 2017 (the schedule); LeCun, Denker & Solla, Optimal Brain Damage, 1989 (metric);
    Molchanov et al., Pruning Convolutional Neural Networks for Resource Efficient Inference, 2017
    (taylor); Sun et al., A Simple and Effective Pruning Approach for Large Language Models, 2023
    (activation); Mishra et al., Accelerating Sparse Deep Neural Networks, 2021 (2:4).

    Args:
        sparsity: Fraction of the weights, or units, that are zero in the end. May be left out with
            `pattern`, whose it is `1 - n / m`.
        scope: `"weight"`: this fraction of each weight tensor; of `groups`, of those that have
            parts in the same tensors, as the channels of one residual stream. `"global"`: of all
            tensors with this penalty together, in which a tensor's magnitudes are divided by their
            root mean square, so that no layer goes for having small weights.
        saliency: What is largest: `"magnitude"` compares `|w|`, `"metric"` compares `w^2 / step`,
            with the optimizer's step; for Adam an estimate of what the loss gains by the weight.
            `"taylor"` compares the average of `|w * gradient|` over the last `frequency` updates,
            for the memory of one number a weight; what is zero stays so. `"activation"` compares
            `|w| * ||x||` with the layer's inputs, in `kerasreg.prune` only. All but the first need
            no scaling for `scope="global"`.
        initial_sparsity: Sparsity at `begin_step`.
        begin_step: Number of updates before the first selection; until then nothing is done.
        end_step: Number of updates after which `sparsity` is reached; the last selection of the
            schedule falls on it. By default it holds from the start.
        power: Exponent of the schedule; 3 prunes fast at first, 1 evenly.
        frequency: Updates from one selection to the next.
        freeze: Whether the support stays as it is from `end_step` on. Without a schedule the
            selection goes on.
        axis: `"output"`, `"input"` or `"heads"`, an integer or a tuple of integers that number the
            units together. A weight does not know its layer, so words need
            `Proximal(..., model=model)`, or `kerasreg.prune`. The units of the last layer are the
            outputs of the model: leave it out with a pattern. Beside `pattern` an integer: the axis
            along which the weights are neighbours.
        block: The lengths of a block along the last axes of a weight: inputs and outputs of a
            `Dense` or `Conv` kernel. A block at the end of an axis may be smaller.
        pattern: `"n:m"`. Neighbours lie along the axis that the layer sums over, as sparse tensor
            cores want it: the last but one of `Dense` and `Conv` kernels. Of other layers, as
            attention, it is known with `Proximal(..., model=model)`.
        groups: `Groups` of slices of several weights, as `coupled_groups` finds them. They name
            their weights themselves.
        cost: By what units gain with `scope="global"`: `"parameters"`, or `"macs"`: the
            multiply-adds of their weights, for which `Proximal` needs `model=model`, too.
        layout: What the layers of `model` have told; filled in by `Proximal` and `prune`.

    At least one weight or unit is kept of what is compared, unless `sparsity` is 1: of each tensor,
    or of all together with `scope="global"`, where a whole tensor may be dropped. A warning names
    it. Of units one of each tensor is kept there, too.

    Raises:
        ValueError: If an argument is invalid, or later if a weight has no such axis.

    Example:
    >>> penalty = kerasreg.TopK(0.9, end_step=2000)
    >>> optimizer = kerasreg.Proximal(keras.optimizers.Adam(1e-3), penalty)
    >>> two_of_four = kerasreg.Proximal("adam", kerasreg.TopK(pattern="2:4"))
    >>> half = kerasreg.TopK(0.5, groups=kerasreg.coupled_groups(model))
    """

    formula: ClassVar[str] = (
        "at most (1 - sparsity) n weights, or of what it drops as a whole, are not zero"
    )
    is_constraint: ClassVar[bool] = True

    sparsity: float | None = None
    scope: Scope = "weight"
    saliency: Saliency = "magnitude"
    initial_sparsity: float = 0.0
    begin_step: int = 0
    end_step: int = 0
    power: float = 3.0
    frequency: int = 100
    freeze: bool = True
    axis: Axis | None = later(None)
    block: tuple[int, ...] | None = later(None)
    pattern: str | None = later(None)
    groups: Groups | None = later(None)
    cost: Cost = later("parameters")
    layout: tuple[OnLayer, ...] | None = later(None)

    def __post_init__(self) -> None:
        """Validates the arguments."""
        shape = UnitShape.checked(self.axis, self.block, self.pattern, self.groups, self.layout)
        for field in dataclasses.fields(shape):
            object.__setattr__(self, field.name, getattr(shape, field.name))
        self._check_sparsities(shape.run)
        check_choice("scope", self.scope, Scope)
        check_choice("saliency", self.saliency, Saliency)
        check_choice("cost", self.cost, Cost)
        if self.scope == "global" and self.pattern is not None:
            expected = "'weight' with `pattern`, which is the same everywhere"
            raise invalid_value("scope", expected, self.scope)
        if self.scope != "global" and self.cost == "macs":
            expected = "'parameters' unless `scope` is 'global', where costs are compared"
            raise invalid_value("cost", expected, self.cost)
        self._check_schedule()
        check_bool("freeze", self.freeze)

    def _check_sparsities(self, run: tuple[int, int] | None) -> None:
        if run is not None:
            n, m = run
            final = 1.0 - n / m
            if self.sparsity is not None and not math.isclose(self.sparsity, final, abs_tol=1e-6):
                expected = f"{final:g}, or None, with pattern={self.pattern!r}"
                raise invalid_value("sparsity", expected, self.sparsity)
            object.__setattr__(self, "sparsity", final)
        for name in ("sparsity", "initial_sparsity"):
            object.__setattr__(self, name, check_fraction(name, getattr(self, name)))
        if self.initial_sparsity > self._final:
            expected = f"at most the final sparsity, {self.sparsity}"
            raise invalid_value("initial_sparsity", expected, self.initial_sparsity)

    def _check_schedule(self) -> None:
        for name, least in (("begin_step", 0), ("end_step", 0), ("frequency", 1)):
            expected = "a positive integer" if least else "a non-negative integer"
            value = check_integer(name, getattr(self, name), expected, least)
            object.__setattr__(self, name, value)
        if 0 < self.end_step <= self.begin_step:
            expected = f"0, or more than begin_step, {self.begin_step}"
            raise invalid_value("end_step", expected, self.end_step)
        if self.initial_sparsity and not self.end_step:
            expected = "0 without a schedule; give `end_step` for one"
            raise invalid_value("initial_sparsity", expected, self.initial_sparsity)
        object.__setattr__(self, "power", check_positive("power", self.power))

    @property
    def arguments(self) -> dict[str, Any]:
        """What the constructor was given, by name, without what layers have told."""
        return {name: value for name, value in super().arguments.items() if name != "layout"}

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, as plain data."""
        config = self.arguments
        if self.groups is not None:
            config["groups"] = self.groups.get_config()
        if self.layout is not None:
            config["layout"] = [[p, list(axes), n] for p, axes, n in self.layout]
        return config

    @property
    def at_once(self) -> TopK:
        """The same without a schedule."""
        return dataclasses.replace(self, initial_sparsity=0.0, begin_step=0, end_step=0)

    def structure(self, shapes: Sequence[Sequence[int]], paths: Sequence[str]) -> Structure:
        """The units of weights, given by shape and path."""
        return self._shape.structure(shapes, paths, self.scope == "global")

    def on_layers(self, model: Any, pairs: Sequence[tuple[Any, Any]]) -> list[Penalty]:
        """The same for all weights, with what their layers tell of axes and multiply-adds."""
        where, asks_positions = f" of {type(self).__name__}", self.cost == "macs"
        layout = self._shape.told_by(model, pairs, asks_positions, where)
        return [self if layout is None else dataclasses.replace(self, layout=layout)] * len(pairs)

    def check_weight(self, variable: Any) -> None:
        """Raises if a weight cannot be divided so; warns if it is too small to keep that share."""
        where = f" of {type(self).__name__} on weight `{variable.path}`"
        if self.cost == "macs" and self.layout is None:
            expected = "'parameters' here; how often a weight is used is known in `Proximal(..., "
            raise invalid_value("cost", expected + "model=model)`", self.cost, where)
        self._shape.check_weight(variable, where)
        alone = self.scope == "weight" and self.groups is None and self.pattern is None
        if not alone or 0 in variable.shape or self.sparsity == 1:
            return
        structure = self.structure([variable.shape], [variable.path])
        [size] = structure.pool_sizes()
        if not _share(size, self._final):
            warnings.warn(
                f"`sparsity={self.sparsity}` of TopK would leave none of the {size} "
                f"{structure.word} of `{variable.path}`; one is kept.",
                stacklevel=2,
            )

    def after_training(self, variable: Any) -> None:
        """Warns of a weight of which nothing is left."""
        compared = self.scope == "global" and self.sparsity != 1 and 0 not in variable.shape
        if compared and not np.any(to_numpy(variable.value)):
            warnings.warn(
                f"TopK has dropped all of `{variable.path}`, whose weights are the smallest among "
                'those that `scope="global"` compares; with `scope="weight"` each keeps its share.',
                stacklevel=2,
            )

    def remember(self, w: Tensor) -> Tensor:
        """The support: the pattern of the weights that are not zero."""
        return ops.not_equal(w, 0)

    @property
    def needs_step(self) -> bool:
        """Whether the step size is part of the saliency."""
        return self.saliency == "metric"

    @property
    def needs_data(self) -> bool:
        """Whether the saliency is that of a layer's inputs."""
        return self.saliency == "activation"

    @property
    def averages(self) -> int:
        """Over how many updates `observe` is averaged; 0 for `None`."""
        return self.frequency if self.saliency == "taylor" else 0

    def observe(self, w: Tensor, grad: Tensor) -> Tensor:
        """`|w * grad|`, what the loss would lose with each weight, to first order."""
        return ops.abs(ops.cast(w, "float32") * ops.cast(grad, "float32"))

    def divisible_axes(self, w: Tensor) -> tuple[int, ...]:
        """The axes across runs, each of which is chosen by itself; else none."""
        rank = len(w.shape)
        along = self._shape.axis_of_runs(rank)
        return () if along is None else tuple(axis for axis in range(rank) if axis != along)

    def trains(self, memory: Any, count: Tensor) -> Tensor | None:
        """The support, from the last choice of a schedule on; before, what grows may come back."""
        if not (self.freeze and self.end_step):
            return None
        return ops.logical_or(memory, count < self.end_step)

    def update(
        self, updates: Iterable[Update], count: Tensor, strength_scale: Tensor
    ) -> Iterable[Tensor]:
        """Chooses the support where it is time to, and sets all other weights to zero."""
        updates = list(updates)
        filled = [u for u in updates if 0 not in u.w.shape]
        chosen = iter(self._updated(filled, count) if filled else [])
        return [u.w if 0 in u.w.shape else next(chosen) for u in updates]

    def _updated(self, updates: Sequence[Update], count: Tensor) -> list[Tensor]:
        since = count - self.begin_step - 1
        early = since < 0  # Nothing is dropped yet, and zeros are no sign of it.
        due = ops.logical_or(ops.equal(since % self.frequency, 0), ops.equal(count, self.end_step))
        due = ops.logical_and(due, ops.logical_not(early))
        if self.freeze and self.end_step:
            due = ops.logical_and(due, count <= self.end_step)
        masks = ops.cond(
            due, lambda: self._choose(updates, count), lambda: [u.memory for u in updates]
        )
        return [
            ops.where(early, u.w, keep(mask, u.w)) for u, mask in zip(updates, masks, strict=True)
        ]

    def _choose(self, updates: Sequence[Update], count: Tensor) -> list[Tensor]:
        """The mask of the new support of each weight."""
        structure = self.structure([u.w.shape for u in updates], [u.path for u in updates])
        saliencies = [self._saliency(u) for u in updates]
        return structure.choose(saliencies, lambda size, least: self._kept_now(size, least, count))

    def _saliency(self, update: Update) -> Tensor:
        if update.saliency is not None:
            return ops.cast(update.saliency, "float32")
        size = ops.abs(ops.cast(update.w, "float32"))
        if self.saliency == "metric":
            return _in_metric(size, update.step())
        return _relative(size) if self.scope == "global" else size

    def _kept_now(self, size: int, least: int, count: Tensor) -> Tensor:
        """How many of so many units are kept in the update number `count`, by the schedule."""
        first, last = (_kept(size, s, least) for s in (self.initial_sparsity, self._final))
        if not self.end_step:
            return ops.full((), last, dtype="int32")
        duration = self.end_step - self.begin_step
        progress = ops.cast(count - self.begin_step, "float32") / duration
        rest = ops.power(1.0 - ops.clip(progress, 0.0, 1.0), self.power)
        # Counted from the last, so that the end of the schedule is met to the weight.
        return last + ops.cast(ops.round((first - last) * rest), "int32")

    @property
    def _final(self) -> float:
        return 1.0 if self.sparsity is None else self.sparsity

    @property
    def _shape(self) -> UnitShape:
        return UnitShape(self.axis, self.block, self.pattern, self.groups, self.layout)

    def _of_one(self, w: Tensor) -> Structure:
        """The units of a weight that is seen by itself, without its path."""
        self._check_alone()
        return self.structure([w.shape], [""])

    def _value(self, w: Tensor) -> Tensor:
        """The indicator: 0 where the constraint holds, infinite where it does not."""

        def kept(size: int, least: int) -> int:
            return _kept(size, self._final, least)

        return ops.where(self._of_one(w).holds([ops.abs(w)], kept), 0.0, float("inf"))

    def _prox(self, w: Tensor, step: Tensor) -> Tensor:
        if self.saliency in ("taylor", "activation"):
            expected = "'magnitude' or 'metric' where the weights are all that is known"
            raise invalid_value("saliency", expected, self.saliency)

        def kept(size: int, least: int) -> Tensor:
            return ops.full((), _kept(size, self._final, least), dtype="int32")

        sizes = _in_metric(ops.abs(ops.cast(w, "float32")), step)
        [mask] = self._of_one(w).choose([sizes], kept)
        return ops.where(ops.logical_or(mask, step == 0), w, ops.zeros_like(w))

    def _residual(self, w: Tensor, grad: Tensor) -> Tensor:
        return ops.where(w == 0, ops.zeros_like(grad), grad)


def _share(size: int, sparsity: float) -> int:
    """`(1 - sparsity) * size` as an integer, where rounding must not cost a weight."""
    return math.floor(size * (1.0 - sparsity) + 1e-6)


def _kept(size: int, sparsity: float, least: int) -> int:
    """How many units are kept: that share, but the least number unless all are to go."""
    return max(_share(size, sparsity), least if size and sparsity < 1 else 0)


def _relative(size: Tensor) -> Tensor:
    """Sizes by the root mean square of the finite ones; those themselves where all are zero."""
    if 0 in size.shape:
        return size
    is_finite = size < float("inf")
    largest = ops.max(ops.where(is_finite, size, 0.0))
    # Twice by the inverse of the root: that of the whole may be so small that XLA drops it.
    inverse = 1.0 / ops.sqrt(ops.where(largest > 0, largest, 1.0))
    scaled = size * inverse * inverse
    mean = ops.mean(ops.square(ops.where(is_finite, scaled, 0.0)))
    return scaled / ops.sqrt(ops.where(mean > 0, mean, 1.0))


def _in_metric(size: Tensor, step: Tensor) -> Tensor:
    """`|w| / sqrt(step)`, which has the order of `w^2 / step` and a wider range."""
    root = ops.sqrt(cast_like(ops.convert_to_tensor(step), size))
    # With a learning rate of 0 there is no metric to compare in.
    root = ops.where(ops.max(root) > 0, root, ops.ones_like(root))
    return ops.where(size == 0, size, size / root)
