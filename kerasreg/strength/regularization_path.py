"""`regularization_path`: trains a model at one strength of a penalty after another."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from kerasreg._backends import seed_everything
from kerasreg._checks import check_bool, check_choice, invalid_value
from kerasreg.regularizers import Penalty
from kerasreg.strength import checks
from kerasreg.strength.checkpoint import Checkpoint
from kerasreg.strength.max_strength import check_compiled
from kerasreg.strength.measures import Mode
from kerasreg.strength.null_model import is_single_layer
from kerasreg.strength.path_row import PathRow
from kerasreg.strength.penalty_path import PenaltyPath, ProgressBar
from kerasreg.strength.plan import BATCH_SIZE, EPOCHS, LINEAR_EPOCHS, Plan, draw_seed
from kerasreg.strength.result import Path
from kerasreg.strength.samples import Samples
from kerasreg.strength.side_by_side import count_jobs, train_side_by_side
from kerasreg.strength.strengths import DENSE_TO_SPARSE, SPARSE_TO_DENSE, Direction

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
    direction: Direction | None = None,
    epochs_per_strength: int | None = None,
    batch_size: int | None = None,
    folds: int | Iterable[tuple[Any, Any]] | None = None,
    monitor: str = "data_loss",
    mode: Mode = "auto",
    callbacks: Sequence[Any] | None = None,
    log_dir: str | os.PathLike[str] | None = None,
    keep_weights: bool = True,
    verbose: int = 1,
    n_jobs: int | None = None,
) -> Path:
    """Trains a model along a grid of strengths, each from the weights of the one before.

    After each update the penalty acts by `Proximal` around a copy of the model's optimizer, and the
    strength is a variable of it: all strengths are trained by one compiled training step. The
    optimizer's moments go on from one strength to the next; the schedule of a learning rate starts
    anew.

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
            then see up to 50 training steps as an epoch.)
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
        n_jobs: Number of processes that train penalties and folds side by side, by joblib; -1 for
            as many as there are processors, -2 for one less. `None` is 1, unless a
            `joblib.parallel_config` around the call says otherwise, as one with Dask's or Ray's
            backend, which spread them over machines. The rows are those of one process. Keras
            must be able to save the model; callbacks are copied, and what a copy notes is lost.

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
    check_compiled(model)
    checks.check_optimizer(model)
    penalties = checks.check_penalties(penalty, model)
    samples = Samples.of(x, y, sample_weight)
    linear = is_single_layer(model)
    if direction is None:
        direction = SPARSE_TO_DENSE if linear else DENSE_TO_SPARSE
    at_once = linear and batch_size is None
    epochs = LINEAR_EPOCHS if at_once else EPOCHS
    if verbose not in (0, 1):
        raise invalid_value("verbose", "0 or 1", verbose)
    jobs = count_jobs(n_jobs)
    plan = Plan(
        model=model,
        penalties=penalties,
        samples=samples,
        direction=check_choice("direction", direction, Direction),
        folds=checks.check_folds(folds, samples, model, direction),
        validation=checks.check_validation(validation_data),
        strengths=checks.check_strengths(strengths),
        n_strengths=checks.at_least_1("n_strengths", n_strengths),
        min_ratio=checks.check_min_ratio(min_ratio),
        epochs=checks.at_least_1("epochs_per_strength", epochs_per_strength, epochs),
        batch_size=None if at_once else checks.at_least_1("batch_size", batch_size, BATCH_SIZE),
        monitor=checks.check_monitor(monitor),
        mode=check_choice("mode", mode, Mode),
        callbacks=checks.check_callbacks(callbacks),
        log_dir=checks.check_local_folder(log_dir),
        keep_weights=check_bool("keep_weights", keep_weights),
        verbose=int(verbose),
        is_linear=linear,
        seed=draw_seed(),
    )
    try:
        return _train(plan, jobs)
    finally:  # What is random after the path does not repeat what was so along it.
        seed_everything(plan.seed)


def _train(plan: Plan, n_jobs: int) -> Path:
    """Trains the path of each penalty; a folder's checkpoint gives what is trained already."""
    checkpoint = Checkpoint(plan)
    bar = ProgressBar(plan)
    paths = [PenaltyPath(plan, number) for number in range(len(plan.penalties))]
    trained = train_side_by_side(plan, paths, checkpoint, bar, n_jobs) if n_jobs > 1 else []
    rows: list[PathRow] = []
    weights: list[Callable[[], Any]] = []
    for number, path in enumerate(paths):
        found = trained[number] if trained else path.run(checkpoint, bar)
        for i, row in enumerate(path.join(*found)):
            rows.append(PathRow(index=len(rows), **row))
            weights.append(partial(checkpoint.weights, f"{number}", i))
    names = tuple(weight.path for weight in plan.model.weights)
    kept = tuple(weights) if plan.keep_weights else None
    last = paths[-1]
    return Path(tuple(rows), plan.monitor, last.mode, kept, names, last.kernel, last.input_axes)
