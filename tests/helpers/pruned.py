"""What structured pruning keeps, by the definitions, in NumPy and float64."""

import numpy as np


def share(size, sparsity):
    """How many of so many units are kept at a sparsity."""
    return max(int(size * (1 - sparsity) + 1e-6), 1 if sparsity < 1 else 0)


def slice_norms(x, axes):
    """The norm of each slice along some axes, flat."""
    axes = [axis % x.ndim for axis in axes]
    rows = np.moveaxis(x, axes, range(len(axes)))
    return np.sqrt((rows.reshape(np.prod(rows.shape[: len(axes)]), -1) ** 2).sum(1))


def block_norms(x, block):
    """The norm of each block along the last axes, flat."""
    lengths = (1,) * (x.ndim - len(block)) + tuple(block)
    grid = [-(-size // b) for size, b in zip(x.shape, lengths, strict=True)]
    norms = np.zeros(grid)
    for place in np.ndindex(*grid):
        part = tuple(slice(i * b, (i + 1) * b) for i, b in zip(place, lengths, strict=True))
        norms[place] = np.sqrt((x[part] ** 2).sum())
    return norms.ravel()


def run_counts(x, m, axis):
    """How many entries of each run of m neighbours along an axis are not zero."""
    rows = np.moveaxis(x != 0, axis, -1).reshape(-1, x.shape[axis])
    rows = np.pad(rows, [(0, 0), (0, -rows.shape[1] % m)])
    return rows.reshape(-1, m).sum(1)


def group_norms(groups, weights, paths):
    """The norm of each group of several weights."""
    squares = np.zeros(len(groups))
    for w, path in zip(weights, paths, strict=True):
        labels = np.broadcast_to(groups.labels_of(path, w.shape), w.shape)
        np.add.at(squares, labels[labels >= 0], (w**2)[labels >= 0])
    return np.sqrt(squares)
