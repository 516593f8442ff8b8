"""Draws a path."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kerasreg._checks import invalid_value

if TYPE_CHECKING:
    from kerasreg.strength.result import Path, Row

Floats = npt.NDArray[np.float64]

# Petroff, Accessible Color Sequences for Data Visualization, 2021.
COLORS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
STYLES = ("-", "--", ":", "-.")
FONT_SIZE = 9.0  # in points, as all below
LINE_HEIGHT = 1.3 * FONT_SIZE
LABEL_DISTANCE = 12.0


def plot_path(path: Path, ax: Any, names: Sequence[str] | None) -> Any:
    """Coefficients against the strength for a linear model, else what is monitored and sparsity.

    Args:
        path: The path.
        ax: Axes of matplotlib, or `None` for new ones.
        names: Names of the input features, for the coefficients.

    Raises:
        ValueError: If there are names and no coefficients to draw, or not as many.
    """
    import matplotlib.pyplot as plt

    coefficients = _coefficients(path) if _has_coefficients(path) else None
    names = _check_names(names, coefficients)
    axes = plt.subplots(figsize=(8, 5), layout="constrained")[1] if ax is None else ax
    axes.spines[["top", "right"]].set_visible(False)
    if coefficients is None:
        _plot_values(path, axes)
    else:
        _plot_coefficients(path, coefficients, axes, names)
    return axes


def _is_linear(path: Path) -> bool:
    return path.rows[0].residual is not None


def _has_coefficients(path: Path) -> bool:
    """Whether there is one line for each feature; those of several penalties would cross."""
    return _is_linear(path) and path.weights is not None and len(_penalties(path)) == 1


def _penalties(path: Path) -> list[str]:
    return list(dict.fromkeys(row.penalty for row in path.rows))


def _coefficients(path: Path) -> Floats:
    """The kernels of a linear model, of shape `(rows, features, outputs)`."""
    weights = [path.weights_of(row) for row in path.rows]
    stacked = np.stack([np.asarray(arrays[path.kernel], "float64") for arrays in weights])
    axes = [axis + 1 for axis in path.input_axes]
    features_first = np.moveaxis(stacked, axes, range(1, 1 + len(axes)))
    features = math.prod(stacked.shape[axis] for axis in axes)
    return features_first.reshape(len(stacked), features, -1)


def _check_names(names: Sequence[str] | None, coefficients: Floats | None) -> Sequence[str] | None:
    if names is None:
        return None
    if coefficients is None:
        expected = (
            "None, as coefficients are drawn for a linear model with one penalty whose weights "
            "were kept"
        )
        raise invalid_value("names", expected, names)
    features = coefficients.shape[1]
    if isinstance(names, str) or len(names) != features:
        raise invalid_value("names", f"a name for each of {features} features", names)
    return names


def _plot_coefficients(
    path: Path, coefficients: Floats, axes: Any, names: Sequence[str] | None
) -> None:
    """A line for each feature; with several outputs, of the norm of its coefficients."""
    outputs = coefficients.shape[2]
    values = coefficients[:, :, 0] if outputs == 1 else np.linalg.norm(coefficients, axis=2)
    lines = [
        axes.plot(path.strengths, values[:, i], STYLES[i // len(COLORS) % len(STYLES)])[0]
        for i in range(values.shape[1])
    ]
    for i, line in enumerate(lines):
        line.set(color=COLORS[i % len(COLORS)], linewidth=1.5)
    axes.axhline(0, color="black", linewidth=0.5, zorder=1)
    axes.set(xscale="log", xlabel=f"strength of {path.rows[0].penalty}")
    axes.set_ylabel("coefficient" if outputs == 1 else f"norm over {outputs} outputs")
    axes.margins(x=0.02)
    axes.xaxis.set_inverted(True)
    if path.has_choice():
        _mark_strengths(axes, _choice(path))
    if names is not None:
        for line, name in zip(lines, names, strict=True):
            line.set_label(name)
        _label_ends(axes, lines)


def _label_ends(axes: Any, lines: Sequence[Any]) -> None:
    """Writes their labels beside the lines' ends: those of the largest, if not all find room."""
    axes.figure.draw_without_rendering()  # Lays the axes out, on which the places depend.
    points = 72.0 / axes.figure.dpi
    bottom, top = axes.get_window_extent().intervaly * points
    room = max(1, int((top - bottom) / LINE_HEIGHT))
    lines = sorted(lines, key=lambda line: -abs(line.get_ydata()[-1]))[:room]
    ends = [(line.get_xdata()[-1], line.get_ydata()[-1]) for line in lines]
    places = axes.transData.transform(ends)[:, 1] * points
    shifts = _spread(places, LINE_HEIGHT, bottom, top) - places
    for line, end, shift in zip(lines, ends, shifts, strict=True):
        thin = {"arrowstyle": "-", "color": line.get_color(), "linewidth": 0.6}
        axes.annotate(
            line.get_label(),
            end,
            (LABEL_DISTANCE, shift),
            textcoords="offset points",
            verticalalignment="center",
            fontsize=FONT_SIZE,
            arrowprops={**thin, "shrinkA": 0, "shrinkB": 0, "relpos": (0, 0.5)},
        )


def _spread(places: Floats, gap: float, low: float, high: float) -> Floats:
    """The places nearest to these, in squares, that are a gap apart: neighbours are pooled."""
    order = np.argsort(places, kind="stable")
    blocks: list[tuple[float, int]] = []
    for rank, place in enumerate(places[order]):
        mean, count = place - gap * rank, 1
        while blocks and blocks[-1][0] > mean:
            other, others = blocks.pop()
            mean, count = (mean * count + other * others) / (count + others), count + others
        blocks.append((mean, count))
    means, counts = zip(*blocks, strict=True)
    within = np.clip(means, low, high - gap * (len(places) - 1))
    result = np.empty(len(places))
    result[order] = np.repeat(within, counts) + gap * np.arange(len(places))
    return result


def _plot_values(path: Path, axes: Any) -> None:
    """What is monitored, a line for each penalty, with the standard errors of folds."""
    for i, penalty in enumerate(_penalties(path)):
        rows = [row for row in path.rows if row.penalty == penalty]
        color, style = COLORS[i % len(COLORS)], STYLES[i // len(COLORS) % len(STYLES)]
        places = [_place(path, row) for row in rows]
        values = [_value(path, row) for row in rows]
        axes.plot(places, values, "o" + style, color=color, markersize=4, label=penalty)
        if rows[0].fold_values:
            errors = [row.fold_error for row in rows]
            axes.errorbar(places, values, errors, fmt="none", color=color, elinewidth=0.8)
    held_out = "held-out " if path.has_choice() else "training "
    axes.set_ylabel(held_out + path.monitor.replace("_", " "))
    if _is_linear(path):
        axes.set(xscale="log", xlabel="strength")
        axes.xaxis.set_inverted(True)
    else:
        axes.set_xlabel("weights that are exactly zero")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    if path.has_choice():
        _mark_points(path, axes)
    axes.legend(fontsize=FONT_SIZE, frameon=False)


def _place(path: Path, row: Row) -> float:
    return row.strength if _is_linear(path) else row.sparsity


def _value(path: Path, row: Row) -> float:
    if path.has_choice():
        return path.value_of(row)
    return row.data_loss if path.monitor == "data_loss" else row.metrics[path.monitor]


def _choice(path: Path) -> dict[str, Row]:
    """The rows to mark, by what they are."""
    best = path.best
    if not best.fold_values:
        return {"best": best}
    sparser = path.one_standard_error
    if sparser.index == best.index:
        return {"best, one standard error": best}
    return {"best": best, "one standard error": sparser}


def _mark_strengths(axes: Any, choice: dict[str, Row]) -> None:
    """Lines with names above, which face away from each other: the best strength is weaker."""
    sides = ("left", "right") if len(choice) > 1 else ("center",)
    for (name, row), side, style in zip(choice.items(), sides, STYLES[1:], strict=False):
        axes.axvline(row.strength, color="gray", linestyle=style, linewidth=1, zorder=1)
        place, text = (row.strength, 1.01), f" {name} "
        above = axes.get_xaxis_transform()
        axes.text(*place, text, transform=above, fontsize=FONT_SIZE, horizontalalignment=side)


def _mark_points(path: Path, axes: Any) -> None:
    """Black rings and squares around points, explained in the legend."""
    several = len(_penalties(path)) > 1
    for (name, row), shape in zip(_choice(path).items(), "os", strict=False):
        what = f"{row.penalty}, " if several else ""
        axes.plot(
            _place(path, row),
            _value(path, row),
            shape,
            markersize=11,
            markerfacecolor="none",
            markeredgecolor="black",
            label=f"{name}: {what}strength {row.strength:.3g}",
        )
