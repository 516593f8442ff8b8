"""Attention with heads."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasreg._keras_internals import projection_attribute
from kerasreg.compaction.call import Call, channels_in
from kerasreg.compaction.channels import Channels, Ints
from kerasreg.compaction.liveness import Kept
from kerasreg.compaction.rule import CompactionRule, compaction_rule
from kerasreg.compaction.uses import Bias

layers = keras.layers
PROJECTIONS = ("query", "key", "value")


class AttentionRule(CompactionRule):
    """What the attention layers have in common; see its subclasses."""

    def trace(
        self,
        layer: Any,
        call: Call,
        query: Channels,
        value: Channels,
        key: Channels | None = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
        **masks: Any,
    ) -> Any:
        """Cuts heads, and what is inside of them."""
        key = value if key is None else key
        given = [query, key, value]
        reason = self.blocks(layer, given) or return_attention_scores and "returns its scores"
        if reason:
            return call.blocked([*given, *channels_in(masks)], f"{call.name} {reason}")
        inputs = [call.along(x, -1) for x in given]
        heads = [
            self._project(layer, call, name, x) for name, x in zip(PROJECTIONS, inputs, strict=True)
        ]
        attended = self._attend(call, heads, channels_in(masks))
        out = self._put_together(layer, call, attended)
        self.sizes(call, heads, inputs[0], out)
        return out

    def blocks(self, layer: Any, inputs: list[Channels]) -> str:
        """Why the layer is left alone, if it is."""
        if layer.get_config().get("use_gate"):
            return "has a gate"
        return "" if all(len(x.shape) == 3 for x in inputs) else "has several axes of positions"

    def sizes(self, call: Call, heads: list[Ints], query: Channels, out: Channels) -> None:
        """Says what is cut of the heads.

        Args:
            call: The call.
            heads: The values of queries, keys and values, each of shape `(heads, places)`.
            query: The input of the queries.
            out: The output.
        """
        raise NotImplementedError

    def _project(self, layer: Any, call: Call, name: str, x: Channels) -> Ints:
        """The channels of queries, keys or values, shape `(heads, places)`."""
        dense, bias = projection(layer, call, name)
        read = call.read(dense.kernel, 0, (1, 2), bias)
        sums = read.constants(call.constants(x))
        if bias.variable is not None:
            sums = sums + call.numbers(bias.variable).ravel()
        values = call.facts.new(len(sums), sums)
        call.connect(read, x, values)
        call.cut(dense.kernel, 0, x, produces=False)
        return values.reshape(dense.kernel.shape[1:])

    def _attend(self, call: Call, heads: list[Ints], masks: list[Channels]) -> Ints:
        """The weighted means of the values, shape `(query heads, places)`.

        The weights sum up to one: the mean of a constant is that constant, and a key that is
        constant adds the same to all scores.
        """
        constants = call.facts.constants
        repeats = len(heads[0]) // len(heads[1])
        query, key, value = heads[0], *(np.repeat(part, repeats, axis=0) for part in heads[1:])
        attended = call.facts.new(value.size, constants[value].ravel()).reshape(value.shape)
        call.edge(attended.ravel(), value.ravel())
        useful = (constants[query] != 0) & np.isnan(constants[key])
        for head, places in enumerate(attended):
            varying = places[np.isnan(constants[value[head]])]
            for part in (query, key):
                call.mix(varying, part[head, useful[head]])
            for mask in masks:
                call.mix(varying, mask)
        for mask in masks:
            call.hold(mask, f"mask of {call.name}")
        return attended

    def _put_together(self, layer: Any, call: Call, attended: Ints) -> Channels:
        """The output's channels, each of which reads all heads."""
        dense, bias = projection(layer, call, "attention_output")
        read = call.read(dense.kernel, (0, 1), 2, bias)
        sums = read.constants(call.facts.constants[attended.ravel()])
        if bias.variable is not None:
            sums = sums + call.numbers(bias.variable)
        out = call.new(-1, sums)
        call.connect(read, attended.ravel(), out)
        call.cut(dense.kernel, 2, out)
        call.cut_bias(bias, out)
        return out


def projection(layer: Any, call: Call, name: str) -> tuple[Any, Bias]:
    """A projection of an attention layer, and where what is folded into it goes."""
    attribute = projection_attribute(name.removeprefix("attention_"))
    dense = getattr(layer, attribute)
    shape = dense.kernel.shape[1:] if name in PROJECTIONS else dense.kernel.shape[2:]
    return dense, call.bias(tuple(shape), inside=attribute)


@compaction_rule(layers.MultiHeadAttention)
class MultiHeadAttentionRule(AttentionRule):
    """Heads go, and of each head what it does not need; all keep equally much."""

    def blocks(self, layer: Any, inputs: list[Channels]) -> str:
        """Also a subclass, which may attend in its own way, and other forms."""
        if type(layer) is not layers.MultiHeadAttention:
            return "is a subclass of MultiHeadAttention"
        if layer.attention_axes not in (None, (1,)) or len(layer.output_dense.kernel.shape) != 3:
            return "has several axes of positions"
        return super().blocks(layer, inputs)

    def sizes(self, call: Call, heads: list[Ints], query: Channels, out: Channels) -> None:
        """Each head keeps what it needs, filled up by zeros."""
        layer = call.layer
        call.tie(heads[0].ravel(), heads[1].ravel())
        for name, places in zip(PROJECTIONS, heads, strict=True):
            dense, bias = projection(layer, call, name)
            call.grid(dense.kernel, 1, {2: places}, produces=(2,))
            call.grid_bias(bias, places)
        call.grid(layer.output_dense.kernel, 0, {1: heads[2]})
        # Where both are equal they stay so: on JAX Keras needs that.
        call.balance(heads[0], heads[2], equal=layer.key_dim == layer.value_dim)
        call.size("num_heads", heads[2])
        call.size("key_dim", heads[0], inside=True)
        call.size("value_dim", heads[2], inside=True)
        call.size("output_shape", out)

    def config(self, layer: Any, kept: Kept) -> dict[str, Any]:
        """The output no longer has the width of the query, maybe."""
        changes = super().config(layer, kept)
        if "output_shape" in changes:
            changes["output_shape"] = (changes["output_shape"],)
        return changes

    def weights(self, layer: Any, arrays: dict[int | str, Any], kept: Kept) -> None:
        """Scores are divided by the root of `key_dim`, which is another one now."""
        left = kept.sizes(layer).get("key_dim", layer.key_dim) / layer.key_dim
        dense = layer.query_dense
        for key in (id(dense.kernel), id(dense.bias), f"{projection_attribute('query')}.bias"):
            if key in arrays:
                arrays[key] = arrays[key] * np.sqrt(left)


@compaction_rule(layers.GroupQueryAttention)
class GroupQueryAttentionRule(AttentionRule):
    """Keys and values go with all queries that share them; the output is as wide as the query."""

    def blocks(self, layer: Any, inputs: list[Channels]) -> str:
        """Also a subclass, which may attend in its own way."""
        if type(layer) is not layers.GroupQueryAttention:
            return "is a subclass of GroupQueryAttention"
        return super().blocks(layer, inputs)

    def sizes(self, call: Call, heads: list[Ints], query: Channels, out: Channels) -> None:
        """Groups stay whole."""
        layer, groups = call.layer, len(heads[1])
        call.tie(out, query)
        first = heads[1][:, :1]
        for places in heads:
            whole = places.reshape(groups, -1)
            call.tie(whole.ravel(), np.broadcast_to(first, whole.shape).ravel())
        for name, places in zip(PROJECTIONS, heads, strict=True):
            dense, bias = projection(layer, call, name)
            call.grid(dense.kernel, 1, {2: places}, produces=(2,))
            call.grid_bias(bias, places)
        dense, _ = projection(layer, call, "attention_output")
        call.cut(dense.kernel, 0, heads[0][:, 0], produces=False)
        call.balance(heads[1])
        call.size("num_query_heads", heads[0])
        call.size("num_key_value_heads", heads[1])
