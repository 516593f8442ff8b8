"""What a path says, and how it chooses."""

import keras
import numpy as np
import pytest

from kerasreg.strength.path_row import PathRow
from kerasreg.strength.result import Path

SIZES = (4, 3, 3)
# The data losses of three folds at four strengths, from strong to weak.
FOLDS = [(5.0, 6.0, 7.0), (2.9, 3.2, 2.3), (2.0, 3.0, 2.8), (4.0, 2.0, 3.0)]


def row(i, strength, folds=(), penalty="L1", **metrics):
    return PathRow(
        index=i,
        penalty=penalty,
        strength=strength,
        data_loss=1.0 * i,
        val_data_loss=metrics.pop("val_data_loss", None),
        sparsity=1 - 0.2 * i,
        dead_units=4 - i,
        used_inputs=i,
        metrics=metrics,
        fold_values=folds,
        fold_sizes=SIZES if folds else (),
    )


def path(rows, monitor="data_loss", mode="min", weights=None, names=()):
    return Path(tuple(rows), monitor, mode, weights, names)


WITH_FOLDS = path(row(i, 10.0**-i, folds) for i, folds in enumerate(FOLDS))


def test_mean_and_standard_error_are_those_of_glmnet():
    cvraw, weights = np.array(FOLDS), np.array(SIZES)
    cvm = (cvraw * weights).sum(1) / weights.sum()
    cvsd = np.sqrt(((cvraw - cvm[:, None]) ** 2 * weights).sum(1) / weights.sum() / 2)
    np.testing.assert_allclose([r.fold_mean for r in WITH_FOLDS.rows], cvm)
    np.testing.assert_allclose([r.fold_error for r in WITH_FOLDS.rows], cvsd)
    best = cvm.argmin()
    assert WITH_FOLDS.best.index == best == 2
    within = np.flatnonzero(cvm <= cvm[best] + cvsd[best])
    assert WITH_FOLDS.one_standard_error.index == within.min() == 1


def test_more_may_be_better():
    rows = [row(i, 10.0**-i, val_accuracy=a) for i, a in enumerate([0.5, 0.9, 0.8])]
    assert path(rows, "accuracy", "max").best.index == 1
    assert path(rows, "accuracy", "min").best.index == 0
    equal = [row(i, 10.0**-i, val_accuracy=0.9) for i in (3, 1, 2)]
    assert path(equal, "accuracy", "max").best.index == 1, "the sparsest"


def test_validation_data_and_nan():
    losses = [float("nan"), 3.0, 2.0, float("nan")]
    rows = [row(i, 10.0**-i, val_data_loss=loss) for i, loss in enumerate(losses)]
    assert path(rows).best.index == 2
    with pytest.raises(ValueError, match="no best strength.*not finite"):
        path(rows[:1]).best  # noqa: B018


def test_one_standard_error_stays_with_the_best_penalty():
    other = [row(i, 1e3, (2.0, 3.0, 2.81), penalty="MCP") for i in (4,)]
    assert path([*WITH_FOLDS.rows, *other]).one_standard_error.index == 1


def test_a_choice_needs_data():
    nothing = path([row(0, 1.0)])
    assert not nothing.has_choice()
    with pytest.raises(ValueError, match="`validation_data`.*or `folds`"):
        nothing.best  # noqa: B018
    with_validation = path([row(0, 1.0, val_data_loss=1.0)])
    assert with_validation.best.index == 0
    with pytest.raises(ValueError, match="argument `folds`"):
        with_validation.one_standard_error  # noqa: B018


def test_restore():
    arrays = [[np.full((2, 1), float(i)), np.full(1, 10.0 * i)] for i in range(4)]
    kept = path(WITH_FOLDS.rows, weights=tuple(lambda a=a: a for a in arrays), names=("k", "b"))
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    for which, expected in ((2, 2), (-1, 3), (kept.rows[1], 1), (kept.best, 2)):
        kept.restore(model, which)
        for a, b in zip(model.get_weights(), arrays[expected], strict=True):
            np.testing.assert_array_equal(a, b)
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    for wrong, which, message in (
        (other, 0, "`model`.*weights of this path"),
        (keras.Sequential([keras.layers.Dense(1)]), 0, "`model`.*built"),
        (model, 4, "`row`.*4 rows"),
        (model, -5, "`row`"),
        (model, 1.0, "`row`.*its index"),
        (model, True, "`row`"),
        (model, row(1, 3.0), "`row`.*of this path"),
    ):
        with pytest.raises(ValueError, match=message):
            kept.restore(wrong, which)
    with pytest.raises(ValueError, match="not kept.*keep_weights"):
        WITH_FOLDS.restore(model, 0)


def test_it_prints_as_a_table():
    lines = str(WITH_FOLDS).splitlines()
    assert len(lines) == 5 and len(set(map(len, lines))) == 1
    assert lines[0].split()[:4] == ["index", "penalty", "strength", "data_loss"]
    assert lines[0].split()[-2:] == ["fold_mean", "fold_error"]
    assert lines[3].split()[:4] == ["2", "L1", "0.01", "2"]


def test_to_pandas():
    pandas = pytest.importorskip("pandas")
    rows = [row(i, 10.0**-i, val_data_loss=1.0, accuracy=0.5) for i in range(3)]
    frame = path(rows).to_pandas()
    assert isinstance(frame, pandas.DataFrame) and frame.index.name == "index"
    assert frame["strength"].tolist() == [1.0, 0.1, 0.01]
    assert frame["accuracy"].tolist() == [0.5] * 3


def test_a_notebook_gets_a_table_with_the_choices_below():
    page = WITH_FOLDS._repr_html_()
    assert page.count("<tr>") == 1 + len(FOLDS) and "<th>strength</th>" in page
    assert "<td>0.01</td>" in page and "dataclass" not in page and "Path(" not in page
    assert "<p>best: L1, strength 0.01</p>" in page
    assert "<p>one standard error: L1, strength 0.1</p>" in page
    assert "style" not in page and "color" not in page, "the notebook's own, light or dark"


def test_a_notebook_gets_a_table_where_there_is_no_choice():
    rows = [row(0, 1.0, val_data_loss=float("nan")), row(1, 0.1, val_data_loss=float("inf"))]
    for each in (path(rows), path([row(0, 1.0)]), path([])):
        assert "best" not in each._repr_html_()


def test_html_in_a_name_of_a_penalty_stays_text():
    assert "<b>" not in path([row(0, 1.0, penalty="<b>")])._repr_html_()
