"""Draws each penalty, constraint and mask of the reference, by asking the object itself.

A hook of MkDocs, which puts them under their headings; or by itself:

    python docs/pictures.py --output pictures
"""

import argparse
import functools
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

import kerasreg as kr

matplotlib.use("svg")
BLUE, ORANGE, GREY = "#4269d0", "#e8710a", "#808080"  # on white and on black
Array = npt.NDArray[np.float64]

PENALTIES = [
    kr.L1(1.0),
    kr.L2(0.5),
    kr.ElasticNet(alpha=1.0, l1=1.0, l2=0.5),
    kr.MCP(1.0, gamma=2.5),
    kr.SCAD(1.0, gamma=3.0),
    kr.LogSum(1.0, epsilon=0.5),
    kr.L0_5(1.0),
    kr.L2_3(1.0),
    kr.GroupLasso(0.7),
    kr.SparseGroupLasso(1.0, l1_ratio=0.5),
    kr.BlockMCP(0.7, gamma=2.5),
    kr.BlockSCAD(0.7, gamma=3.0),
    kr.SLOPE([1.0, 0.3]),
    kr.Weighted(kr.L1(1.0), [[1.0], [0.3]]),
    kr.OrthogonalRegularizer(1.0),
    kr.Box(-1.0, 1.5),
]
CONSTRAINTS = {
    "TopK": [
        kr.TopK(0.75),
        kr.TopK(0.5, axis="output"),
        kr.TopK(0.75, block=(4, 2)),
        kr.TopK(pattern="2:4"),
    ],
    "KeepZeros": [kr.KeepZeros()],
}
ROWS, MAPS, VOLUMES = (8, 24), (1, 12, 12, 6), (1, 4, 6, 6, 4)
LAYERS = [
    (kr.Dropout(0.3, seed=1), ROWS, "8 samples of 24 features"),
    (kr.GaussianDropout(0.3, seed=1), ROWS, "8 samples of 24 features"),
    (kr.AlphaDropout(0.3, seed=1), ROWS, "8 samples of 24 features"),
    (kr.DropPath(0.3, seed=1), ROWS, "8 samples of 24 features"),
    (kr.SpatialDropout1D(0.3, seed=1), (1, *ROWS), "8 time steps of 24 channels"),
    (kr.SpatialDropout2D(0.3, seed=1), MAPS, "6 maps of one sample"),
    (kr.DropBlock2D(0.3, block_size=4, seed=1), MAPS, "6 maps of one sample"),
    (kr.SpatialDropout3D(0.3, seed=1), VOLUMES, "4 volumes of one sample, in slices"),
]


def numbers(tensor: Any) -> Array:
    return np.asarray(keras.ops.convert_to_numpy(tensor), "float64")


def figure(panels: int, width: float = 2.6, height: float = 2.4) -> tuple[Figure, list[Any]]:
    drawing = Figure((width * panels, height), layout="constrained")
    axes = list(np.ravel(drawing.subplots(1, panels)))
    for ax in axes:
        ax.tick_params(colors=GREY, labelsize=7)
        ax.spines[:].set(color=GREY, linewidth=0.5)
    return drawing, axes


def title(ax: Any, text: str) -> None:
    ax.set_title(text, color=GREY, fontsize=8)


def curves(penalty: Any) -> Figure:
    """The value of one weight, and its proximal operator."""
    w = np.linspace(-4, 4, 161)
    drawing, (*left, right) = figure(1 if penalty.is_constraint else 2)
    for ax in left:
        ax.plot(w, each(penalty, w[:, None]), color=BLUE)
        title(ax, "value")
    z = numbers(penalty.prox(w.astype("float32"), 1.0))
    jumps = np.abs(np.diff(z)) > 0.5  # of a penalty that is not convex
    right.plot(w, w, color=GREY, linewidth=0.5)
    right.plot(w, np.where(np.append(jumps, False), np.nan, z), color=ORANGE)
    title(right, "prox, with step 1")
    return drawing


def each(function: Callable[[Any], Any], weights: Array) -> Array:
    """The function of each of many weights."""
    return numbers(
        keras.ops.vectorized_map(function, keras.ops.convert_to_tensor(weights, "float32"))
    )


def pair(penalty: Any) -> Figure:
    """The value of two weights of a group as level lines, and where the operator moves them."""
    size = np.linspace(-2, 2, 41)
    points = np.stack(np.meshgrid(size, size), axis=-1).reshape(-1, 2)
    weights = points if isinstance(penalty, kr.SLOPE) else points[:, :, None]
    if isinstance(penalty, kr.OrthogonalRegularizer):
        weights = np.stack([np.broadcast_to([1.0, 0.0], points.shape), points], axis=1)
    has_prox = penalty.has_prox()
    drawing, (left, *right) = figure(2 if has_prox else 1)
    values = each(penalty, weights).reshape(len(size), -1)
    left.contour(size, size, values, levels=9, colors=BLUE, linewidths=0.8)
    title(left, "value" if has_prox else "value of the rows (1, 0) and (x, y)")
    for ax in right:
        few = (np.abs(points * 2 - np.round(points * 2)) < 1e-6).all(1)
        moved = each(lambda w: penalty.prox(w, 0.5), weights[few]).reshape(-1, 2) - points[few]
        ax.quiver(*points[few].T, *moved.T, angles="xy", scale_units="xy", scale=1, color=ORANGE)
        title(ax, "prox, with step 0.5")
    for ax in (left, *right):
        ax.set_aspect("equal")
    return drawing


def mesh(ax: Any, values: Any, **options: Any) -> None:
    ax.pcolormesh(np.asarray(values)[::-1], edgecolors=GREY, linewidth=0.2, **options)
    ax.set_aspect("equal")
    ax.set(xticks=[], yticks=[])


def constrained(constraints: list[Any]) -> Figure:
    """A kernel before and after; what is zero is left empty."""
    drawing, axes = figure(len(constraints) + 1, width=1.9)
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(8, 8))
    if not isinstance(constraints[0], kr.TopK):
        kernel *= rng.random((8, 8)) < 0.6
    results = {"a kernel": kernel}
    for constraint in constraints:
        model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8, use_bias=False)])
        model.set_weights([kernel])
        if isinstance(constraint, kr.TopK):
            kr.prune(model, constraint)
        else:
            model.compile(kr.Proximal(keras.optimizers.SGD(0.3), constraint), "mse")
            model.train_on_batch(rng.normal(size=(32, 8)), rng.normal(size=(32, 8)))
        results[given(constraint)] = model.get_weights()[0]
    for ax, (words, weights) in zip(axes, results.items(), strict=True):
        mesh(ax, np.where(weights, np.abs(weights), np.nan), cmap="viridis", vmin=0, vmax=2)
        title(ax, words)
    return drawing


def given(constraint: Any) -> str:
    """What a constraint was given, in a line for each argument."""
    shape = {name: getattr(constraint, name, None) for name in ("axis", "block", "pattern")}
    words = [f"{name}={value!r}" for name, value in shape.items() if value is not None]
    if not isinstance(constraint, kr.TopK):
        return "after a training step"
    return "\n".join([f"TopK({constraint.sparsity}", *words]) + ")"


def masked(layer: Any, shape: tuple[int, ...], what: str) -> Figure:
    """What a layer makes of ones in training: one image, or one for each map."""
    fresh = type(layer).from_config(layer.get_config())  # with its first mask
    y = numbers(fresh(np.ones(shape, "float32"), training=True))
    if len(shape) < 4:
        images = [y.reshape(shape[-2:])]
    elif len(shape) == 4:
        images = list(np.moveaxis(y[0], -1, 0))
    else:  # the slices of a volume beside each other
        images = [np.hstack(list(volume)) for volume in np.moveaxis(y[0], -1, 0)]
    rows, columns = images[0].shape
    drawing, axes = figure(len(images), 7.2 / len(images), 0.4 + 7.2 / len(images) * rows / columns)
    for ax, image in zip(axes, images, strict=True):
        mesh(ax, image, cmap="gray", vmin=min(0.0, y.min()), vmax=y.max())
    drawing.suptitle(what, color=GREY, fontsize=8)
    return drawing


def masked_kernel() -> Figure:
    """The kernel of ones that `DropConnect` multiplies a batch with."""
    dense = keras.layers.Dense(24, use_bias=False, kernel_initializer="ones")
    kernel = numbers(kr.DropConnect(dense, 0.3, seed=1)(np.eye(8, dtype="float32"), training=True))
    drawing, (ax,) = figure(1, width=7.2, height=2.8)
    mesh(ax, kernel, cmap="gray", vmin=0.0)
    drawing.suptitle("a kernel 8 × 24", color=GREY, fontsize=8)
    return drawing


def drawings() -> dict[str, Callable[[], Figure]]:
    """What draws the picture of each name."""
    found: dict[str, Callable[[], Figure]] = {"DropConnect": masked_kernel}
    for penalty in PENALTIES:
        alone = penalty.is_separable and not penalty.needs_whole
        found[type(penalty).__name__] = functools.partial(curves if alone else pair, penalty)
    for name, constraints in CONSTRAINTS.items():
        found[name] = functools.partial(constrained, constraints)
    for layer, shape, what in LAYERS:
        found[type(layer).__name__] = functools.partial(masked, layer, shape, what)
    return found


def svg(drawing: Figure) -> str:
    """The drawing as text, the same each time."""
    file = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "kerasreg", "svg.fonttype": "none"}):
        drawing.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return file.getvalue()


def on_files(files: Any, config: Any) -> Any:
    """Adds the pictures to the site."""
    from mkdocs.structure.files import File

    keras.utils.set_random_seed(0)
    for name, draw in drawings().items():
        uri = f"reference/pictures/{name}.svg"
        files.append(File.generated(config, uri, content=svg(draw())))
    return files


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Puts each picture under the heading of its name."""
    drawn = drawings()

    def with_picture(heading: re.Match[str]) -> str:
        name = heading[1]
        image = f'<p><img alt="What {name} does" src="../pictures/{name}.svg"></p>'
        return heading[0] + (image if name in drawn else "")

    return re.sub(r'<h2 id="kerasreg\.(\w+)".*?</h2>', with_picture, html, flags=re.S)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("pictures"))
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(0)
    for name, draw in drawings().items():
        (folder / f"{name}.svg").write_text(svg(draw()))


if __name__ == "__main__":
    main()
