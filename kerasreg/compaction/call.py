"""One call of a layer, to which its rule says what it computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from kerasreg.compaction.channels import (
    Channels,
    Floats,
    Ints,
    acts_elementwise,
    count_axis,
    on_numbers,
)
from kerasreg.compaction.facts import Amends, Arguments, Entry, Facts, Grid, Size, Terms
from kerasreg.compaction.uses import Bias, Edge, Mix, Read


class Call:
    """What a rule is given of a call, and tells of it.

    Args:
        facts: Where all of it goes.
        layer: The layer or operation that is called.
        name: What the report calls it.
        shapes: The shapes of its outputs.
        dtypes: Their dtypes.
        owner: The layer of the graph that `layer` is, or is inside of.
        attribute: The attribute of `owner` that `layer` is, as `"cell"`; empty for itself.
        runs: How often the graph calls it.
    """

    def __init__(
        self,
        facts: Facts,
        layer: Any,
        name: str,
        shapes: Sequence[tuple[int | None, ...]],
        dtypes: Sequence[str],
        owner: Any = None,
        attribute: str = "",
        runs: int = 1,
    ) -> None:
        self.facts, self.layer, self.name = facts, layer, name
        self.shapes, self.dtypes = [tuple(shape) for shape in shapes], list(dtypes)
        self.owner = layer if owner is None else owner
        self.attribute, self.runs = attribute, runs

    def inner(self, layer: Any, attribute: str, shape: tuple[int | None, ...]) -> Call:
        """The call of a layer inside of this one, whose output has that shape."""
        path = f"{self.attribute}.{attribute}".lstrip(".")
        facts, name, dtypes = self.facts, self.name, self.dtypes[:1]
        return Call(facts, layer, name, [shape], dtypes, self.owner, path, self.runs)

    # What there is.

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The shape of the first output."""
        return self.shapes[0]

    def constants(self, x: Channels) -> Floats:
        """The number that each channel always is, NaN where it is none, shape `(channels,)`."""
        return self.facts.constants[x.values]

    def numbers(self, variable: Any) -> Floats:
        """What a weight holds, in float64."""
        return np.asarray(self.facts.numbers(variable), np.float64)

    # Channels of the output.

    def new(
        self,
        axis: int,
        constants: Floats | None = None,
        length: int | None = None,
        output: int = 0,
    ) -> Channels:
        """New channels along an axis of an output.

        Args:
            axis: The axis.
            constants: The number that each channel always is, NaN where it is none.
            length: How many there are, if not as many as in the output.
            output: Which output.

        Returns:
            Its `Channels`.
        """
        shape = self.shapes[output]
        axis = count_axis(axis, len(shape))
        if length is not None:
            shape = (*shape[:axis], length, *shape[axis + 1 :])
        length = shape[axis] if shape else None
        values = self.facts.new(1 if length is None else length, constants)
        return Channels(shape, axis, values, self.dtypes[output])

    def like(self, x: Channels, constants: Floats | None = None) -> Channels:
        """New channels in the places of those of an input, which stay or go with them."""
        out = Channels(x.shape, x.axis, self.facts.new(len(x.values), constants), self.dtypes[0])
        self.tie(out, x)
        return out

    def along(self, x: Channels, axis: int) -> Channels:
        """The input with its channels along an axis.

        Where they lie along another one, those of the axis are all computed from all of them, and
        both keep their widths.
        """
        axis = count_axis(axis, len(x.shape))
        if x.axis == axis and x.length is not None:
            return x
        length = x.shape[axis] if x.shape else None
        turned = x.after(x.shape, axis, self.facts.new(1 if length is None else length))
        self._mix_all([turned], [x], f"{self.name} works along another axis")
        return turned

    def blocked(self, inputs: Sequence[Channels], reason: str) -> list[Channels]:
        """Outputs of which nothing is known: all their channels need all inputs."""
        outputs = [self.new(-1, output=i) for i in range(len(self.shapes))]
        self._mix_all(outputs, inputs, reason)
        return outputs

    def apply(self, function: Callable[[Any], Any] | None, x: Channels) -> Channels:
        """The channels after a function, as the activation of a layer."""
        if function is None or function is keras.activations.linear:
            return x
        if not acts_elementwise(function):
            name = getattr(function, "__name__", type(function).__name__)
            return self.blocked([x], f"{self.name} mixes the channels by {name}")[0]
        return self.elementwise(function, x)

    def elementwise(self, function: Callable[[Any], Any], x: Channels) -> Channels:
        """The channels after a function that acts on each number by itself."""
        out = self.like(x, on_numbers(function, self.constants(x)))
        self.edge(out, x)
        return out

    # What they are computed from.

    def edge(self, out: Channels | Ints, x: Channels | Ints, reason: str = "") -> None:
        """Says that each output channel needs the input channel in its place."""
        outputs, inputs = _values(out), _values(x)
        self.facts.uses.append(Edge(outputs, inputs, reason or f"read by {self.name}"))

    def mix(self, out: Channels | Ints, x: Channels | Ints, reason: str = "") -> None:
        """Says that each output channel needs all of the input's."""
        self.facts.uses.append(Mix(_values(out), _values(x), reason or f"read by {self.name}"))

    def read(
        self,
        kernel: Any,
        rows: int | tuple[int, ...],
        columns: int | tuple[int, ...],
        bias: Bias,
        folds: bool = True,
        merges: bool = True,
        part: tuple[Any, ...] = (...,),
        obstacle: str = "",
    ) -> Read:
        """A kernel by which outputs are linear in inputs; then `.connect` says in which.

        Args:
            kernel: The variable.
            rows: The axis of the inputs, or several.
            columns: The axis of the outputs, or several.
            bias: Where folded constants go; see `bias`.
            folds: Whether a constant input is the same for all outputs at all positions.
            merges: Whether a constant that cannot be folded can be a multiple of another.
            part: An index of that part of the kernel that this is about.
            obstacle: Why constants cannot be folded, for the report.

        Returns:
            The same `Read` for each call of the layer.
        """
        key = (id(self.owner), id(kernel), str(part))
        if key not in self.facts.reads:
            rows = rows if isinstance(rows, tuple) else (rows,)
            columns = columns if isinstance(columns, tuple) else (columns,)
            lengths = len(rows), len(columns)

            def place(array: Any) -> Any:
                array = array[part]
                return np.moveaxis(array, rows + columns, range(sum(lengths)))

            moved = place(self.facts.numbers(kernel))
            sizes = moved.shape[: lengths[0]], moved.shape[lengths[0] : sum(lengths)]

            def weights() -> Any:
                return moved.reshape(int(np.prod(sizes[0])), int(np.prod(sizes[1])), -1)

            reason = f"read by {self.name}"
            self.facts.reads[key] = Read(
                self.owner, kernel, weights, bias, folds, merges, reason, place, obstacle
            )
        return self.facts.reads[key]

    def bias(
        self,
        shape: tuple[int, ...],
        part: Any = ...,
        allowed: bool = True,
        inside: str = "",
        spread: tuple[int, ...] | None = None,
    ) -> Bias:
        """The bias of the layer, as a place for what is folded; added if it has none.

        Args:
            shape: Its shape.
            part: An index of the part that is added to.
            allowed: Whether one can be added.
            inside: The attribute of the layer that has it, if it is not its own.
            spread: The shape of what is added, if it is added to several numbers each.

        Returns:
            That place.
        """
        attribute = ".".join(filter(None, [self.attribute, inside, "bias"]))
        holder = getattr(self.layer, inside) if inside else self.layer
        bias = getattr(holder, "bias", None)
        return Bias(self.layer, bias, attribute, shape, part, allowed, spread)

    def connect(self, read: Read, x: Channels | Ints, out: Channels | Ints) -> None:
        """Says which channels a kernel reads in this call, and which it makes of them."""
        if not read.calls:
            self.facts.uses.append(read)
        read.calls.append((_values(x), _values(out)))

    def terms(
        self, inputs: Sequence[Channels], out: Channels, amends: Amends | None = None
    ) -> None:
        """Says that inputs can be left out where nobody needs the output.

        The layer is then called without them, or not at all where one is left; and what only leads
        to them goes.

        Args:
            inputs: The inputs.
            out: The output, all of whose channels are computed from each of them.
            amends: Which inputs can also be left out where they are constant, and what makes up
                for them.
        """
        if self.runs == 1:
            parts = [out.values] * len(inputs)
            self.facts.terms.append(Terms(self.layer, list(inputs), out, parts, amends, False))

    def joined(self, inputs: Sequence[Channels], out: Channels) -> None:
        """The same where the channels of the output are those of the inputs, one by one."""
        if self.runs == 1:
            parts = np.split(out.values, np.cumsum([len(x.values) for x in inputs])[:-1])
            self.facts.terms.append(Terms(self.layer, list(inputs), out, parts, None, True))

    # What stays.

    def tie(self, x: Channels | Ints, other: Channels | Ints) -> None:
        """Says that channels stay or go together, one by one."""
        self.facts.tie(_values(x), _values(other))

    def hold(self, x: Channels | Ints, reason: str) -> None:
        """Says that the width of channels must stay, whether anybody needs them or not."""
        self.facts.holds.append((_values(x), reason))

    def pin(self, x: Channels | Ints, reason: str) -> None:
        """Says that channels are needed."""
        self.facts.pins.append((_values(x), reason))

    def present(self, x: Channels | Ints, reason: str) -> None:
        """Says that channels are needed where they stay, for whatever reason they do."""
        self.facts.present.append((_values(x), reason))

    # What of the layer gets smaller.

    def cut(self, variable: Any, axis: int, x: Channels | Ints, produces: bool = True) -> None:
        """Says that an axis of a weight numbers channels.

        Args:
            variable: The weight; `None` is passed over.
            axis: The axis.
            x: The channels.
            produces: Whether its numbers may be set to zero where nobody needs the channel.
        """
        if variable is not None:
            self.facts.cut(self.owner, variable, axis, _values(x), produces)

    def cut_bias(self, bias: Bias, x: Channels | Ints) -> None:
        """The same for a bias, also one that the layer does not have yet."""
        variable = bias.attribute if bias.variable is None else bias.variable
        self.facts.cut(self.owner, variable, len(bias.shape) - 1, _values(x), True)

    def grid(
        self,
        variable: Any,
        groups: int,
        places: dict[int, Ints],
        view: tuple[int, ...] = (),
        produces: tuple[int, ...] = (),
    ) -> None:
        """Says that axes of a weight number groups and places in them, as heads and their sizes.

        Args:
            variable: The weight; `None` is passed over.
            groups: The axis of the groups.
            places: For other axes the values there, each of shape `(groups, places)`.
            view: The shape that the axes are of; by default the weight's own.
            produces: Those of the axes along which numbers may be set to zero where nobody needs
                the value.
        """
        if variable is not None:
            view = view or tuple(variable.shape)
            calls = {axis: [values] for axis, values in places.items()}
            self.facts.grid(Grid(self.owner, variable, view, groups, calls, produces))

    def grid_bias(self, bias: Bias, places: Ints) -> None:
        """The same for a bias of shape `(groups, places)`, also one that is added."""
        variable = bias.attribute if bias.variable is None else bias.variable
        self.grid(variable, 0, {1: places}, places.shape, (1,))

    def balance(self, *places: Ints, equal: bool = False) -> None:
        """Says that all groups that stay have equally many places.

        Args:
            *places: Values of shape `(groups, places)`; the same groups stay of all of them.
            equal: Whether they keep equally many places also among each other.
        """
        self.facts.balances.append((places, equal))

    def size(
        self, key: str, x: Channels | Ints, index: int | None = None, inside: bool = False
    ) -> None:
        """Says that an entry of the layer's configuration counts channels.

        Args:
            key: The entry.
            x: What it counts; of values of shape `(groups, places)` the groups.
            index: Where the number stands, if the entry is a tuple.
            inside: Whether to count the places in a group instead.
        """
        self.facts.sizes.append(Size(self.layer, key, _values(x), index, inside))

    def entry(self, key: str, numbers: Any, axis: int, x: Channels | Ints) -> None:
        """Says that an entry of the layer's configuration has a number for each channel.

        Args:
            key: The entry.
            numbers: What it holds.
            axis: The axis of it along which the channels lie.
            x: The channels.
        """
        self.facts.entry(Entry(self.layer, key, np.asarray(numbers), axis, _values(x)))

    def widen(self, x: Channels | Ints) -> None:
        """Says that one of the channels must stay, whether anybody needs it or not."""
        self.facts.widths.append(_values(x))

    def rewrite(self, arguments: Arguments) -> None:
        """Says what the arguments of an operation become, as the bounds of a slice.

        Args:
            arguments: Given a `Kept` and the positional arguments returns new ones.
        """
        self.facts.arguments[id(self.layer)] = arguments

    def configure(self, changes: Callable[[Any], dict[str, Any]]) -> None:
        """Says which entries of an operation's configuration change.

        Args:
            changes: Given a `Kept` returns them.
        """
        self.facts.configurations[id(self.layer)] = changes

    def _mix_all(self, outputs: Sequence[Channels], inputs: Sequence[Channels], why: str) -> None:
        for x in inputs:
            self.hold(x, why)
            for out in outputs:
                self.mix(out, x, why)
        for out in outputs:
            self.hold(out, why)


def _values(x: Channels | Ints) -> Ints:
    return x.values if isinstance(x, Channels) else x


def channels_in(structure: Any) -> list[Channels]:
    """The tensors among the arguments of a call."""
    return [x for x in keras.tree.flatten(structure) if isinstance(x, Channels)]
