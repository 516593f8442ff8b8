"""The state of a layer that draws masks: which mask is next, and how much it drops."""

from __future__ import annotations

import itertools
import random
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._backends import process_rank
from kerasreg._keras_internals import Saveable
from kerasreg._tensors import Tensor, to_numpy

WORDS = 1 << 32

_numbers = itertools.count()


class MaskSeed(keras.random.SeedGenerator, Saveable):  # type: ignore[misc]
    """A seed generator that also holds the rate, and is saved with the model.

    Its `state` is four 32-bit words: the seed, the number of masks drawn so far, how many of the
    2^32 words drop an element, and what the rate is more than that, in parts of 2^64: a mask has no
    use for it, but the scaling of float64 has. With the rate in the state that the training step
    reads anyway, it can change at any time, and no layer needs a variable for it.

    Args:
        seed: Integer seed; by default one that follows `keras.utils.set_random_seed`.
        name: Name of the generator.
    """

    def __init__(self, seed: int | None = None, name: str | None = None) -> None:
        # The range of Keras's own default seeds.
        drawn = random.randint(1, 10**9) if seed is None else seed % WORDS
        super().__init__(drawn % (WORDS // 2), name=name)
        self._initial_seed = seed
        self._number = next(_numbers)
        dtype: str = self.state.dtype  # type: ignore[has-type]
        # In the scope in which Keras makes it, or all of a model's would have the same path.
        with keras.name_scope(self.name, caller=self):
            self.state = keras.Variable(
                np.array([drawn, 0, 0, 0], "uint32").astype(dtype),
                dtype=dtype,
                trainable=False,
                aggregation="none",
                name="seed_generator_state",
            )

    def next(self, ordered: bool = True) -> Tensor:
        """The state for the next mask; on TensorFlow with the number of this generator at its end.

        It is what `shape_history` tells layers apart by.
        """
        state = self.state.value * 1
        self.state.assign(state + _like(state, [0, 1, 0, 0]))
        own = _own_of_replica(state)
        if keras.backend.backend() != "tensorflow":
            return own
        import tensorflow as tf

        return tf.concat([own, tf.constant([self._number], own.dtype)], 0)

    def set_rate(self, rate: float) -> None:
        """Changes the rate, between 0 and 1, from the next mask on."""
        # A rate of 1 drops all words but one: 2^32 do not fit into 32 bits.
        dropping = min(round(rate * WORDS), WORDS - 1)
        rest = 0 if rate == 1 else round((rate * WORDS - dropping) * WORDS)
        self._assign([*self._words()[:2], dropping, min(rest, WORDS // 2 - 1) % WORDS])

    def save_own_variables(self, store: Any) -> None:
        """Saves which mask is next; the rate is in the layer's configuration."""
        store["0"] = self._words()[:2]

    def load_own_variables(self, store: Any) -> None:
        """Goes on where the saved model stopped; files of other layers have nothing to load."""
        if "0" in store:
            self._assign([*np.asarray(store["0"]), *self._words()[2:]])

    def _words(self) -> Any:
        try:
            words = to_numpy(self.state)
        except TypeError as error:  # of Keras, which on JAX has lent the value to the step
            raise RuntimeError(
                "A callback that changes the rate of a dropout within an epoch has to read "
                "`self.model` before: on JAX that brings the layers' state up to date."
            ) from error
        return words.astype("int64").astype("uint32")

    def _assign(self, words: Any) -> None:
        self.state.assign(np.array(words, "uint32").astype(self.state.dtype))


def _own_of_replica(state: Tensor) -> Tensor:
    """The state with a seed for this replica alone: replicas share the variable, not the masks.

    JAX needs none: there a mask is one array over all devices.
    """
    number = 0
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            number = context.replica_id_in_sync_group
    elif keras.backend.backend() == "torch":
        number = process_rank()
    if isinstance(number, int) and number == 0:
        return state
    return state + ops.cast(number, state.dtype) * _like(state, [0x9E3779B1 - WORDS, 0, 0, 0])


def _like(state: Tensor, words: list[int]) -> Tensor:
    if keras.backend.backend() == "torch":  # much sooner done than by way of NumPy
        return state.new_tensor(words)
    dtype = keras.backend.standardize_dtype(state.dtype)
    return ops.convert_to_tensor(np.array(words).astype(dtype))
