"""Trains a model at one strength of a penalty after another."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import keras

from kerasreg.regularizers import Penalty
from kerasreg.strength.penalty_path import PenaltyPath
from kerasreg.strength.plan import Plan, make_plan
from kerasreg.strength.record import Record, describe
from kerasreg.strength.result import Path, Row

PenaltyMap = Penalty | Mapping[str, Penalty]


def regularization_path(
    model: Any,
    penalty: PenaltyMap | Sequence[PenaltyMap],
    x: Any,
    y: Any,
    validation_data: tuple[Any, ...] | None = None,
    sample_weight: Any = None,
    n_strengths: int = 20,
    strengths: Sequence[float] | None = None,
    min_ratio: float = 1e-3,
    direction: str | None = None,
    epochs_per_strength: int | None = None,
    batch_size: int | None = None,
    folds: int | Iterable[tuple[Any, Any]] | None = None,
    monitor: str = "data_loss",
    mode: str = "auto",
    callbacks: Sequence[Any] | None = None,
    log_dir: str | os.PathLike[str] | None = None,
    keep_weights: bool = True,
    verbose: int = 1,
) -> Path:
    """Trains a model along a grid of strengths, each from the weights of the one before.

    After each step the penalty acts by `Proximal` around a copy of the model's optimizer, and the
    strength is a variable of it: all strengths are trained by one compiled step. The optimizer's
    moments go on from one strength to the next; the schedule of a learning rate starts anew.

    A linear model, one whose trainable weights are those of one layer, is trained on all samples
    at once, from the strength at which all is zero (`max_strength`) to weak ones, and at each
    until its optimality conditions hold. (Below it there may be frozen layers; give it what they
    return, computed once, instead.) Other models are trained from weak to strong penalties, since
    a network of zeros stays one; train them without a penalty first.

    The model itself is left as it was; `Path.restore` gives it the weights of a strength.

    Source: Friedman, Hastie & Tibshirani, Regularization Paths for Generalized Linear Models via
    Coordinate Descent, 2010.

    Args:
        model: A built model, compiled with an optimizer that `Proximal` supports.
        penalty: A `Penalty` for all kernels, or a dict from patterns on `variable.path` to
            penalties, as for `Proximal`; or a list of those, for a grid in two dimensions, as
            `[ElasticNet.from_sklearn(1.0, ratio) for ratio in (0.2, 0.5, 1.0)]`. What varies is
            the first hyper-parameter, `l1`, or `alpha` of `ElasticNet`; in a dict that of the
            first penalty, and the others in proportion. `MCP` is multiplied as a whole, so that
            its knee `gamma * l1` stays where the given one is.
        x: Array of inputs of shape `(samples, ...)`, or a structure of arrays.
        y: Array of targets of shape `(samples, ...)`, or a structure of arrays.
        validation_data: `(x, y)` or `(x, y, sample_weight)` to choose a strength by.
        sample_weight: Array of weights of the samples, of shape `(samples,)`.
        n_strengths: Number of strengths, at equal ratios, from the largest to `min_ratio` of it.
            The largest is `max_strength`; for other than linear models that of the layer which
            needs most to outweigh its present gradient.
        strengths: The strengths themselves, positive and sorted.
        min_ratio: Smallest strength of the grid as a fraction of the largest.
        direction: `"sparse_to_dense"` or `"dense_to_sparse"`; by default the first for a linear
            model, and the second for others.
        epochs_per_strength: Passes over the samples at each strength; by default 10, and for a
            linear model up to 2000 until it has converged.
        batch_size: Samples a batch; by default 32, and all at once for a linear model. (Callbacks
            then see up to 50 steps as an epoch.)
        folds: Number of folds, or pairs of arrays of indices `(train, test)`, to choose a strength
            by cross-validation. A number makes scikit-learn's folds, stratified for classes. A
            network must not have been trained before: each fold begins with it as it is.
        monitor: What the choice is made by: `"data_loss"`, the loss without penalties, or a metric
            that the model is compiled with.
        mode: Whether less of it is better, `"min"`, or more, `"max"`; `"auto"` asks Keras.
        callbacks: Keras callbacks for the training at each strength, in folds too, where there is
            no validation. A learning rate that they change is the first one again at the next.
        log_dir: Local folder. Each strength is a run in it for TensorBoard, with HPARAMS, and a
            path that was interrupted goes on there from its last complete strength.
        keep_weights: Whether to keep the weights of each strength, in memory or in `log_dir`.
        verbose: 0 or 1: whether to show a progress bar.

    Returns:
        A `Path`: `rows`, `best`, `one_standard_error`, `restore(model, row)`, `plot()`,
        `to_pandas()`. It ends early where all weights are zero, where the model explains less
        than a tenth of what the best one does, and where the loss is not finite.

    Raises:
        ValueError: If an argument is invalid, or `log_dir` holds another path.

    Example:
    >>> linear = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> linear.compile(keras.optimizers.SGD(0.1, momentum=0.8), "mse")
    >>> inputs = np.random.default_rng(0).normal(size=(60, 3))
    >>> targets = 2.0 * inputs[:, 0] - inputs[:, 1]
    >>> path = kerasreg.regularization_path(
    ...     linear, kerasreg.L1(), inputs, targets, n_strengths=5, folds=3, verbose=0
    ... )
    >>> [row.used_inputs for row in path.rows]
    [0, 2, 2, 2, 2]
    >>> path.restore(linear, path.best)
    """
    arguments = dict(locals())
    plan = make_plan(**arguments)
    record = Record(plan.log_dir, partial(describe, plan), plan.keep_weights)
    progress = _progress(plan)
    rows: list[Row] = []
    weights: list[Callable[[], Any]] = []
    for number in range(len(plan.penalties)):
        path = PenaltyPath(plan, number, record, progress)
        for i, row in enumerate(path.run()):
            rows.append(Row(index=len(rows), **row))
            weights.append(partial(record.weights, f"{number}", i))
    names = tuple(weight.path for weight in model.weights)
    kept = tuple(weights) if plan.keep_weights else None
    return Path(tuple(rows), plan.monitor, path.mode, kept, names, **path.kernel)


def _progress(plan: Plan) -> Callable[[int, Mapping[str, Any] | None], None]:
    """Shows how many strengths are done, and the last one."""
    if plan.verbose == 0:
        return lambda done, row: None
    names = ("strength", "data_loss", "sparsity")
    total = len(plan.penalties) * (1 + len(plan.folds))
    total *= len(plan.strengths or range(plan.n_strengths))
    bar = keras.utils.Progbar(total, stateful_metrics=names, unit_name="strength")

    def show(done: int, row: Mapping[str, Any] | None) -> None:
        is_whole = row is not None and all(name in row for name in names)
        if done:
            bar.add(
                done, values=[(name, row[name]) for name in names] if row and is_whole else None
            )

    return show
