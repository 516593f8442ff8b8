"""Gives each copy of a logger a folder of its own, as two runs in one replace each other."""

from __future__ import annotations

import itertools
import os

from kerasreg.tensorboard.event_file import has_points

# Those that copies have got and have not written to yet.
_given: set[str] = set()


def next_free_folder(log_dir: str) -> str:
    """The first of `log_dir/1`, `log_dir/2`, … that nobody has written to or been given."""
    folders = (f"{log_dir.rstrip('/')}/{number}" for number in itertools.count(1))
    folder = next(each for each in folders if _is_free(each))
    _given.add(folder)
    return folder


def _is_free(folder: str) -> bool:
    return folder not in _given and not os.path.exists(folder) and not has_points(folder, 0)
