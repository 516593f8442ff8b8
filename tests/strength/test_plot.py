"""What is drawn has the numbers of the path. Nothing is trained for it."""

import dataclasses

import keras
import matplotlib
import numpy as np
import pytest
from matplotlib.text import Text

import kerasreg as kr
from kerasreg.strength.path_row import PathRow
from kerasreg.strength.plot import COLORS
from kerasreg.strength.result import Path

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

STRENGTHS = np.geomspace(1.0, 0.01, 6)
LOSSES = np.array([5.0, 3.2, 3.1, 3.0, 3.3, 3.5])


@pytest.fixture(autouse=True)
def no_figures():
    yield
    plt.close("all")


def kernels(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=(len(STRENGTHS), *shape)).astype("float32")


def path_of(kernels, linear=True, labels=("L1",), folds=True, validation=False, first=()):
    """A path in which each further penalty is worse than the one before."""
    rows, weights = [], []
    for number, label in enumerate(labels):
        for i, (strength, loss) in enumerate(zip(STRENGTHS, LOSSES + 10.0 * number, strict=True)):
            row = PathRow(
                index=len(rows),
                penalty=label,
                strength=strength,
                data_loss=loss - 1.0,
                val_data_loss=loss if validation else None,
                sparsity=1.0 - 0.1 * (i + number),
                dead_units=0,
                used_inputs=2,
                residual=1e-7 if linear else None,
                fold_values=[loss - 0.2, loss + 0.2] if folds else [],
                fold_sizes=[5, 5] if folds else [],
            )
            rows.append(row)
            weights.append(lambda i=i: [*first, kernels[i], np.zeros(kernels.shape[-1])])
    kernel = {"kernel": len(first), "input_axes": (kernels.ndim - 3,)}
    return Path(tuple(rows), "data_loss", "min", tuple(weights), (), **kernel)


def curves(axes, n_points=6):
    return [line for line in axes.lines if len(line.get_xdata()) == n_points]


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("shape", "expected", "label"),
    [
        ((4, 1), lambda k: k[:, :, 0], "coefficient"),
        ((4, 3), lambda k: np.linalg.norm(k, axis=2), "norm over 3 outputs"),
        ((2, 2, 4, 3), lambda k: np.sqrt(np.sum(k**2, axis=(1, 2, 4))), "norm over 12 outputs"),
    ],
    ids=["one output", "three outputs", "convolution"],
)
def test_coefficients(shape, expected, label):
    values = kernels(*shape)
    # As of a layer that normalises the inputs.
    path = path_of(values, first=[np.ones(shape[-2]), np.ones(())])
    axes = path.plot(names=list("abcd"))
    lines = curves(axes)
    for line, column in zip(lines, expected(values).T, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), STRENGTHS)
        np.testing.assert_allclose(line.get_ydata(), column, rtol=1e-6)
    assert [line.get_label() for line in lines] == list("abcd")
    ends = {text.get_text(): text.xy for text in axes.texts if hasattr(text, "xy")}
    assert ends == {line.get_label(): (STRENGTHS[-1], line.get_ydata()[-1]) for line in lines}
    assert axes.get_xscale() == "log" and axes.xaxis.get_inverted()
    assert axes.get_ylabel() == label and axes.get_xlabel() == "strength of L1"


def test_a_convolution_keeps_its_channels_apart():
    values = kernels(3, 2, 4, 5)
    assert len(curves(path_of(values).plot())) == 4


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(("features", "labels"), [(13, 13), (64, 26)], ids=str)
def test_labels_do_not_overlap_and_those_of_the_largest_are_shown(features, labels):
    values = kernels(features, 1) / 100
    values[:, : features // 2] *= 100
    axes = path_of(values).plot(names=[f"feature {i}" for i in range(features)])
    axes.figure.draw_without_rendering()
    texts = [text for text in axes.texts if hasattr(text, "xy")]
    boxes = sorted((Text.get_window_extent(text) for text in texts), key=lambda box: box.y0)
    assert all(below.y1 <= above.y0 for below, above in zip(boxes, boxes[1:], strict=False))
    ends = np.abs(values[-1, :, 0])
    shown = [int(text.get_text().split()[1]) for text in texts]
    assert len(shown) == pytest.approx(labels, abs=2)
    assert set(shown) == set(np.argsort(-ends)[: len(shown)])
    styles = {(line.get_color(), line.get_linestyle()) for line in curves(axes)}
    assert len(styles) == min(features, 4 * len(COLORS))


def test_marks_of_coefficients():
    path = path_of(kernels(4, 1))
    axes = path.plot()
    marks = {text.get_text().strip(): text for text in axes.texts}
    places = {"best": STRENGTHS[3], "one standard error": STRENGTHS[1]}
    assert {name: mark.get_position()[0] for name, mark in marks.items()} == places
    verticals = [line.get_xdata()[0] for line in curves(axes, 2)[-2:]]
    assert verticals == list(places.values())


def test_marks_of_neighbours_do_not_overlap():
    path = path_of(kernels(4, 1))
    row = dataclasses.replace(path.rows[2], fold_values=[2.8, 3.2])
    axes = dataclasses.replace(path, rows=(*path.rows[:2], row, *path.rows[3:])).plot()
    marks = {text.get_text().strip(): text for text in axes.texts}
    axes.figure.draw_without_rendering()
    boxes = [marks[name].get_window_extent() for name in ("one standard error", "best")]
    assert boxes[0].x1 < boxes[1].x0


@pytest.mark.parametrize(
    ("folds", "validation", "marks"),
    [(True, False, ["best", "one standard error"]), (False, True, ["best"]), (False, False, [])],
)
def test_marks_are_of_what_can_be_chosen(folds, validation, marks):
    axes = path_of(kernels(4, 1), folds=folds, validation=validation).plot()
    assert [text.get_text().strip() for text in axes.texts] == marks


def test_one_mark_where_the_choices_agree():
    path = path_of(kernels(4, 1))
    row = dataclasses.replace(path.rows[0], fold_values=[0.0, 0.0])
    axes = dataclasses.replace(path, rows=(row, *path.rows[1:])).plot()
    assert [text.get_text().strip() for text in axes.texts] == ["best, one standard error"]


def test_a_network():
    path = path_of(kernels(4, 3), linear=False)
    axes = path.plot()
    (line,) = curves(axes)
    np.testing.assert_allclose(line.get_xdata(), [row.sparsity for row in path.rows])
    np.testing.assert_allclose(line.get_ydata(), LOSSES)
    (bars,) = axes.collections
    heights = [np.ptp(segment[:, 1]) for segment in bars.get_segments()]
    np.testing.assert_allclose(heights, [2 * row.fold_error for row in path.rows])
    rings = [line.get_xydata()[0].tolist() for line in curves(axes, 1)]
    assert rings == [[path.rows[3].sparsity, 3.0], [path.rows[1].sparsity, 3.2]]
    assert legend(axes) == [
        "L1",
        f"best: strength {STRENGTHS[3]:.3g}",
        f"one standard error: strength {STRENGTHS[1]:.3g}",
    ]
    assert axes.get_ylabel() == "held-out data loss"


def test_a_network_without_a_choice():
    axes = path_of(kernels(4, 3), linear=False, folds=False).plot()
    (line,) = axes.lines
    np.testing.assert_allclose(line.get_ydata(), LOSSES - 1.0)
    assert axes.get_ylabel() == "training data loss" and legend(axes) == ["L1"]


def test_a_metric():
    path = path_of(kernels(4, 3), linear=False, folds=False)
    rows = [dataclasses.replace(r, metrics={"accuracy": r.index / 10}) for r in path.rows]
    axes = dataclasses.replace(path, rows=tuple(rows), monitor="accuracy", mode="max").plot()
    np.testing.assert_allclose(axes.lines[0].get_ydata(), np.arange(6) / 10)


@pytest.mark.parametrize("linear", [True, False])
def test_a_line_for_each_of_several_penalties(linear):
    path = path_of(kernels(4, 1), linear, labels=("L1", "MCP", "GroupLasso"))
    axes = path.plot()
    for number, line in enumerate(curves(axes)):
        rows = path.rows[6 * number : 6 * number + 6]
        places = [row.strength if linear else row.sparsity for row in rows]
        np.testing.assert_allclose(line.get_xdata(), places)
        np.testing.assert_allclose(line.get_ydata(), LOSSES + 10.0 * number)
    assert legend(axes)[:4] == ["L1", "MCP", "GroupLasso", "best: L1, strength 0.0631"]
    assert axes.xaxis.get_inverted() == linear and (axes.get_xscale() == "log") == linear


def test_a_linear_model_whose_weights_were_not_kept():
    path = dataclasses.replace(path_of(kernels(4, 1)), weights=None)
    (line,) = curves(path.plot())
    np.testing.assert_allclose(line.get_xydata(), np.stack([STRENGTHS, LOSSES], 1))
    with pytest.raises(ValueError, match=r"argument `names`. Expected None.*weights were kept"):
        path.plot(names=list("abcd"))
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize("names", [["a"], "abcd"], ids=str)
def test_names_that_do_not_fit(names):
    with pytest.raises(ValueError, match="argument `names`. Expected a name for each of 4 feat"):
        path_of(kernels(4, 1)).plot(names=names)
    assert not plt.get_fignums()


def test_on_given_axes_twice():
    axes = plt.subplots()[1]
    path = path_of(kernels(4, 1))
    assert path.plot(axes) is axes and path.plot(axes) is axes
    assert axes.xaxis.get_inverted() and len(curves(axes)) == 8
    assert len(plt.get_fignums()) == 1


@pytest.mark.slow
def test_what_a_training_gives():
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Normalization(), keras.layers.Dense(1)]
    )
    x = np.random.default_rng(0).normal(size=(60, 3))
    model.layers[0].adapt(x.astype("float32"))
    model.compile(keras.optimizers.SGD(0.1, momentum=0.8), "mse")
    path = kr.regularization_path(model, kr.L1(), x, x[:, 0], n_strengths=3, verbose=0)
    lines = curves(path.plot(names=list("abc")), 3)
    for i, row in enumerate(path.rows):
        path.restore(model, row)
        kernel = model.layers[1].get_weights()[0][:, 0]
        np.testing.assert_array_equal([line.get_ydata()[i] for line in lines], kernel)
    assert abs(lines[0].get_ydata()[-1]) > 0.9
