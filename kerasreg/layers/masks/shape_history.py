"""On TensorFlow: XLA for the shapes that repeat, plain operations for the others.

XLA compiles a program anew for each shape, in 0.1 to 0.5 s. A graph may meet another shape in
every step, and a graph that is traced anew a shape that others had, so that neither knows while
it is traced what is worth compiling: it decides while it runs, by what was drawn so far.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

from kerasreg._backends import compiled, outside_of_graphs
from kerasreg._keras_internals import takes_tensor_operations_only
from kerasreg._tensors import Tensor

Operation = Callable[..., Tensor]

SETTLED = 1 << 21
"""After so many numbers of one shape, plain operations have taken as long as to compile them."""

INDEX_LIMIT = 1 << 31
"""From so many numbers on a mask is drawn for known sizes only."""

# Any odd numbers would do; TensorFlow's shapes have up to 254 axes.
AXIS_FACTORS = [(0x9E3779B97F4A7C15 * (2 * axis + 1)) % (1 << 63) | 1 for axis in range(254)]

_program_numbers = itertools.count()


def compiled_for_repeats(function: Operation) -> Operation:
    """Compiles a function of a tensor, the state of a mask and hashable Python values.

    Where the state has a fifth word, the number of its owner, each owner has a history of its own:
    layers that are made alike compute alike to the last digit, whatever ran before.
    """
    import tensorflow as tf

    @functools.cache
    def of_rank(rank: int, dtype: Any, words: int, word_dtype: Any, *arguments: Any) -> Operation:
        specs = tf.TensorSpec([None] * rank, dtype), tf.TensorSpec([words], word_dtype)
        with outside_of_graphs():
            return _choosing(lambda x, state: function(x, state, *arguments), specs)

    # One for each rank, which TensorFlow would forget where shapes differ.
    @functools.cache
    def always(rank: int, *arguments: Any) -> Operation:
        return compiled(lambda x, state: function(x, state, *arguments))

    @functools.wraps(function)
    def call(x: Tensor, state: Tensor, *arguments: Any) -> Tensor:
        # A variable would be one of the function's own, of one shape for ever.
        x, state = tf.convert_to_tensor(x), tf.convert_to_tensor(state)
        is_eager = tf.executing_eagerly()
        if not is_eager and takes_tensor_operations_only():
            return function(x, state, *arguments)
        rank = len(x.shape)
        if _has_gpu() or (x.shape.num_elements() or 0) >= INDEX_LIMIT:
            return always(rank, *arguments)(x, state)
        program = of_rank(rank, x.dtype, state.shape[0], state.dtype, *arguments)
        y = program(x, state)
        if not is_eager:
            y.set_shape(x.shape)
        return y

    return call


@functools.cache
def _has_gpu() -> bool:
    """Whether there is one: it may wait for the choice, and lacks some of the operations."""
    import tensorflow as tf

    return bool(tf.config.list_logical_devices("GPU"))


def _choosing(function: Operation, specs: tuple[Any, ...]) -> Operation:
    import tensorflow as tf

    # Each traced once, however often the functions around it are.
    def concrete(function: Operation) -> Any:
        traced = tf.function(function, input_signature=specs, autograph=False)
        return traced.get_concrete_function()

    plain = concrete(function)
    by_xla = concrete(lambda *inputs: _launch(plain, *inputs))
    name = f"kerasreg_shapes_{next(_program_numbers)}"

    def choose(x: Tensor, state: Tensor) -> Tensor:
        # Not `tf.cond`, which would make both branches a part of every graph around, to be
        # optimised with each.
        (y,) = tf.raw_ops.StatelessIf(
            cond=_is_settled(name, x, state),
            input=[x, state],
            Tout=[x.dtype],
            then_branch=by_xla,
            else_branch=plain,
        )
        return y

    program: Operation = concrete(choose)
    return program


def _launch(function: Any, x: Tensor, state: Tensor) -> Tensor:
    """The operation that compiles a traced function for the shape of `x`, and calls it.

    It is what `jit_compile=True` comes to. Named as such, TensorFlow does not optimise the function
    for each graph around, for half the time that it takes to make one.
    """
    import tensorflow as tf

    graph, value = tf.compat.v1.get_default_graph(), tf.compat.v1.AttrValue
    function.add_to_graph(graph)

    def types(*tensors: Tensor) -> Any:
        return value(list=value.ListValue(type=[t.dtype.as_datatype_enum for t in tensors]))

    attributes = {
        "Tconstants": types(),
        "Targs": types(x, state),
        "Nresources": value(i=0),
        "Tresults": types(x),
        "function": value(func=tf.compat.v1.NameAttrList(name=function.name)),
    }
    (y,) = graph.create_op("XlaLaunch", [x, state], [x.dtype], attrs=attributes).outputs
    return y


def _is_settled(name: str, x: Tensor, state: Tensor) -> Tensor:
    """Whether enough numbers of this shape were drawn before; counts those of this time."""
    import tensorflow as tf

    shape = tf.shape(x, out_type=tf.int64)
    key = tf.reduce_sum(shape * tf.constant(AXIS_FACTORS[: len(x.shape)], tf.int64))
    if state.shape[0] > 4:
        key += tf.cast(state[4], tf.int64)
    # One for all graphs, by its name; a variable would belong to one model, and be saved.
    table = tf.raw_ops.MutableHashTableV2(
        key_dtype=tf.int64, value_dtype=tf.int64, shared_name=name
    )
    none = tf.constant(0, tf.int64)
    drawn = tf.raw_ops.LookupTableFindV2(table_handle=table, keys=key, default_value=none)
    total = drawn + tf.size(x, out_type=tf.int64)
    tf.raw_ops.LookupTableInsertV2(table_handle=table, keys=key, values=total)
    return drawn >= SETTLED
