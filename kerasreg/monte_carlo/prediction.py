"""The predictions of a model with dropout, and their uncertainty."""

from __future__ import annotations

import random
from typing import Any, Literal, NamedTuple, overload

import keras
import numpy as np

from kerasreg._checks import check_bool, check_built, check_integer, invalid_value
from kerasreg.monte_carlo.passes import LARGEST_SEED, Passes, torch_generator


class MonteCarloPrediction(NamedTuple):
    """What `mc_predict` returns, each in the structure of the model's output.

    Args:
        mean: Arrays of shape `(n, ...)`.
        std: Arrays of shape `(n, ...)`.
    """

    mean: Any
    std: Any


class MonteCarloSamples(NamedTuple):
    """What `mc_predict` returns if it is asked for the samples.

    Args:
        mean: Arrays of shape `(n, ...)`.
        std: Arrays of shape `(n, ...)`.
        samples: Arrays of shape `(n_samples, n, ...)`.
    """

    mean: Any
    std: Any
    samples: Any


@overload
def mc_predict(
    model: Any,
    x: Any,
    n_samples: int = ...,
    batch_size: int = ...,
    frozen_masks: bool = ...,
    return_samples: Literal[False] = ...,
    seed: int | None = ...,
    verbose: Any = ...,
) -> MonteCarloPrediction: ...


@overload
def mc_predict(
    model: Any,
    x: Any,
    n_samples: int = ...,
    batch_size: int = ...,
    frozen_masks: bool = ...,
    *,
    return_samples: bool,
    seed: int | None = ...,
    verbose: Any = ...,
) -> MonteCarloSamples: ...


def mc_predict(
    model: Any,
    x: Any,
    n_samples: int = 100,
    batch_size: int = 32,
    frozen_masks: bool = False,
    return_samples: bool = False,
    seed: int | None = None,
    verbose: Any = "auto",
) -> MonteCarloPrediction | MonteCarloSamples:
    """Predicts with dropout, many times over: Monte-Carlo dropout.

    With `f(x; m_t)` the model's output under the masks `m_t` of pass `t` of `T`,

    `mean = sum_t f(x; m_t) / T`, `std = sqrt(sum_t (f(x; m_t) - mean)^2 / T)`.

    The mean approximates the prediction of a Bayesian network, and the standard deviation tells
    how uncertain the model is of it. For regression the noise of the targets comes on top.

    In every pass all dropout is on, at its present rate, also where a layer is called with a
    `training` of its own: that of kerasreg's and Keras's layers, inside recurrent layers and
    attention too. All else, as batch normalisation, is as in `model.predict`, and the model
    stays as it is. Each call compiles the passes anew, one function call per batch.

    Source: Gal & Ghahramani, Dropout as a Bayesian Approximation: Representing Model Uncertainty
    in Deep Learning, 2016.

    Args:
        model: A built Keras model, compiled or not.
        x: What `model.predict` takes: arrays of shape `(n, ...)`, a structure of them, a
            `tf.data.Dataset`, a `PyDataset`, a `DataLoader` or a generator.
        n_samples: Number of passes, at least 2.
        batch_size: Number of samples in a batch, unless `x` comes in batches.
        frozen_masks: Whether a pass has the same masks for all of `x`, so that it is one function
            of it, whose values at different `x` can be compared. Not for dropout in recurrent
            layers and in `Attention`.
        return_samples: Whether to return the outputs of all passes too.
        seed: Integer seed of the masks; by default one that follows
            `keras.utils.set_random_seed`. The masks depend on the batch size unless frozen.
        verbose: `"auto"`, 0, 1 or 2, as in `model.predict`.

    Returns:
        A named tuple `(mean, std)`, arrays of shape `(n, ...)`, or, with `return_samples`,
        `(mean, std, samples)` with samples of shape `(n_samples, n, ...)`; each in the structure
        of the model's output.

    Raises:
        ValueError: If an argument is invalid, or nothing in the model drops anything.

    Example:
    >>> model = keras.Sequential([keras.Input((3,)), kerasreg.Dropout(0.5), keras.layers.Dense(1)])
    >>> mean, std = kerasreg.mc_predict(model, np.ones((8, 3)), n_samples=20, verbose=0)
    >>> mean.shape, std.shape
    ((8, 1), (8, 1))
    """
    if not isinstance(model, keras.Model):
        raise invalid_value("model", "a Keras model", model)
    check_built(model)
    check_integer("n_samples", n_samples, "an integer of at least 2", least=2)
    check_integer("batch_size", batch_size, "a positive integer", least=1)
    check_bool("frozen_masks", frozen_masks)
    check_bool("return_samples", return_samples)
    seed = random.randint(1, LARGEST_SEED) if seed is None else check_integer("seed", seed)
    if isinstance(verbose, bool) or verbose not in ("auto", 0, 1, 2):
        raise invalid_value("verbose", '"auto", 0, 1 or 2', verbose)
    arrays = [part for part in keras.tree.flatten(x) if hasattr(part, "shape")]
    if x is None or any(0 in np.shape(part)[:1] for part in arrays):
        raise invalid_value("x", "data with at least one sample", x)
    passes = Passes(model, n_samples, frozen_masks, return_samples, seed)
    with torch_generator():
        mean, std, *samples = _Predictor(passes).predict(x, batch_size=batch_size, verbose=verbose)
    if not return_samples:
        return MonteCarloPrediction(mean, std)
    pass_first = keras.tree.map_structure(lambda y: np.moveaxis(y, 1, 0), samples[0])
    return MonteCarloSamples(mean, std, pass_first)


class _Predictor(keras.Model):  # type: ignore[misc]
    """Lends Keras's batches and progress bar to the passes, whose model it does not own.

    It does not hold that model as a layer: on JAX `predict` would take its variables' values.
    """

    def __init__(self, passes: Passes) -> None:
        super().__init__(name="monte_carlo", dtype="float32", autocast=False)
        self._passes = passes
        self.built = True
        # The passes are compiled by themselves.
        self.compile(run_eagerly=True)

    def call(self, inputs: Any) -> Any:
        return self._passes(inputs)
