"""Many passes of a model through a batch, in one compiled function."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._backends import compiled_like
from kerasreg._keras_internals import seed_states
from kerasreg._tensors import Tensor, to_accumulator, to_numpy
from kerasreg.layers.replaced import replaced
from kerasreg.monte_carlo.switches import find_switches

# Up to which Keras draws its own default seeds.
LARGEST_SEED = 10**9


class Passes:
    """Stochastic passes of a model, which they leave as it is.

    The masks follow from the seed alone, and go on from batch to batch unless they are frozen.

    Args:
        model: A built Keras model.
        n_samples: Number of passes through each batch.
        frozen_masks: Whether a pass has the same masks for all samples and in all batches.
        return_samples: Whether to return the outputs of all passes too.
        seed: Integer seed.
    """

    def __init__(
        self, model: Any, n_samples: int, frozen_masks: bool, return_samples: bool, seed: int
    ) -> None:
        self._model = model
        self._n_samples = n_samples
        self._frozen_masks = frozen_masks
        self._return_samples = return_samples
        self._switches = find_switches(model, frozen_masks)
        self._seeds = seed_states(model)
        self._random = np.random.default_rng(seed % 2**64)
        self._states = [_first_state(v, self._draw_seed()) for v in self._seeds]
        self._torch_seed = self._draw_seed()
        seeds = {id(variable) for variable in self._seeds}
        self._others = [v for v in model.variables if id(v) not in seeds]
        self._values = [ops.convert_to_tensor(v) for v in self._others]
        self._run = compiled_like(model, self._run_all)

    def __call__(self, x: Any) -> tuple[Any, ...]:
        """The mean and the standard deviation over passes of a batch, and maybe the passes.

        Each is a structure like the output of the model; the passes are of shape
        `(batch, n_samples, ...)`.
        """
        with torch_generator(self._torch_seed):
            results, states = self._run(self._values, self._states, x)
        if not self._frozen_masks:
            self._states, self._torch_seed = states, self._draw_seed()
        return tuple(results)

    def _draw_seed(self) -> int:
        return int(self._random.integers(1, LARGEST_SEED))

    def _run_all(self, values: Sequence[Tensor], states: Sequence[Tensor], x: Any) -> Any:
        first, after = self._pass(values, states, x)
        draws = [b - a for a, b in zip(states, after, strict=True)]

        def sample(i: Any) -> list[Tensor]:
            y, _ = self._pass(values, _advanced(states, draws, i), x)
            return keras.tree.flatten(y)  # type: ignore[no-any-return]

        outputs = keras.tree.flatten(first)
        if not self._return_samples:
            results = _mean_and_deviation(outputs, sample, self._n_samples)
        else:
            others = ops.map(sample, ops.arange(1, self._n_samples))
            samples = [
                ops.concatenate([ops.expand_dims(a, 0), b])
                for a, b in zip(outputs, others, strict=True)
            ]
            results = _mean_and_deviation(
                outputs, lambda i: [y[i] for y in samples], self._n_samples
            )
            # Batches are joined along the first axis.
            results.append([ops.moveaxis(y, 0, 1) for y in samples])
        results = [keras.tree.pack_sequence_as(first, tensors) for tensors in results]
        return results, _advanced(states, draws, self._n_samples)

    def _pass(self, values: Sequence[Tensor], states: Sequence[Tensor], x: Any) -> Any:
        """The outputs of one pass, and the seeds after it."""
        variables = [*self._others, *self._seeds]
        mapping = list(zip(variables, [*values, *states], strict=True))
        # In this scope nothing that the model assigns reaches a variable.
        with keras.StatelessScope(mapping) as scope:
            with replaced(self._switches):
                y = self._model(x, training=False)
        return y, [scope.get_current_value(v) for v in self._seeds]


@contextlib.contextmanager
def torch_generator(seed: int | None = None) -> Iterator[None]:
    """Restores the state of PyTorch's own generator at the end; within, it may be seeded.

    Keras's dropout without a seed draws from it, and so do data loaders. Elsewhere does nothing.
    """
    if keras.backend.backend() != "torch":
        yield
        return
    import torch

    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        if seed is not None:
            torch.manual_seed(seed)
        yield


def _first_state(variable: Any, seed: int) -> Tensor:
    """Seed, number of draws, and what else the state holds: with kerasreg's layers the rate."""
    words = to_numpy(variable).copy()
    words[:2] = seed, 0
    return ops.convert_to_tensor(words, dtype=variable.dtype)


def _advanced(states: Sequence[Tensor], draws: Sequence[Tensor], passes: Any) -> list[Tensor]:
    """The states after some passes, each with so many draws."""
    return [
        state + draw * ops.convert_to_tensor(passes, dtype=draw.dtype)
        for state, draw in zip(states, draws, strict=True)
    ]


def _mean_and_deviation(
    first: Sequence[Tensor], sample: Callable[[Any], Sequence[Tensor]], n_samples: int
) -> list[list[Tensor]]:
    """The moments of samples of which one at a time is in memory, by Welford's recurrence."""
    means = [to_accumulator(y) for y in first]

    def add(i: Any, moments: Any) -> Any:
        updated = []
        for y, mean, squares in zip(sample(i), *moments, strict=True):
            change = to_accumulator(y) - mean
            count = ops.convert_to_tensor(i + 1, dtype=keras.backend.standardize_dtype(mean.dtype))
            new_mean = mean + change / count
            updated.append((new_mean, squares + change * (to_accumulator(y) - new_mean)))
        return [list(moment) for moment in zip(*updated, strict=True)]

    start = [means, [ops.zeros_like(mean) for mean in means]]
    means, squares = ops.fori_loop(1, n_samples, add, start)
    return [means, [ops.sqrt(s / n_samples) for s in squares]]
