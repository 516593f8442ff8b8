"""Event files, read by TensorBoard's own reader."""

import errno
import os
import shutil
import struct
import time
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.event_files import read
from tensorboard.compat.proto import summary_pb2
from tensorboard.compat.tensorflow_stub import pywrap_tensorflow

from kerasreg.tensorboard import event_file, points
from kerasreg.tensorboard.event_file import EventWriter, record


@pytest.mark.parametrize("size", [0, 1, 100_001])
def test_record(size):
    """Against TensorBoard's own checksums, which are slow."""
    data = np.random.default_rng(size).bytes(size)
    written = record(data)
    head, rest = written[:12], written[12:]
    assert head == struct.pack("<QI", size, pywrap_tensorflow.masked_crc32c(head[:8]))
    assert rest == data + struct.pack("<I", pywrap_tensorflow.masked_crc32c(data))


def scalar(tag, value):
    summary = summary_pb2.Summary()
    points.add_scalar(summary, tag, value)
    return summary


@pytest.mark.parametrize("value", [0.0, 1.5, -3e-30, np.nan, np.inf, -np.inf, np.float64(2)])
def test_scalars(tmp_path, value):
    events = EventWriter(tmp_path / "deep" / "folder", first_step=0)
    events.write(7, scalar("a/b", value))
    events.close()
    ((step, logged),) = read(tmp_path / "deep" / "folder")["a/b"]
    assert step == 7
    np.testing.assert_allclose(logged, value, rtol=1e-7)


def test_points_are_readable_before_the_file_is_closed(tmp_path):
    events = EventWriter(tmp_path, first_step=0)
    events.write(1, scalar("a", 1.0))
    assert read(tmp_path)["a"] == [(1, 1.0)]
    events.close()


def test_a_later_file_takes_over_from_its_first_step(tmp_path):
    for first, count in ((0, 5), (3, 4), (7, 1)):
        events = EventWriter(tmp_path, first_step=first)
        for step in range(first, first + count):
            events.write(step, scalar("a", float(first)))
        events.close()
    assert read(tmp_path)["a"] == [(i, 0.0) for i in range(3)] + [(i, 3.0) for i in range(3, 7)] + [
        (7, 7.0)
    ]


@pytest.mark.parametrize("back", [0, 1, 100_000])
def test_a_clock_that_went_back(tmp_path, monkeypatch, back):
    """What was written later is read later, by another process within the same second, too."""
    now = time.time()
    for number, first in enumerate((0, 3, 6)):
        # Others read names as text, in which 9 comes after 10.
        clock = SimpleNamespace(time=lambda t=now - number * back: t)
        monkeypatch.setattr(event_file, "time", clock)
        monkeypatch.setattr(event_file.os, "getpid", lambda n=number: 10 - n)
        events = EventWriter(tmp_path, first_step=first)
        for step in range(first, first + 5):
            events.write(step, scalar("a", float(number)))
        events.close()
    expected = [(i, 0.0) for i in range(3)] + [(i, 1.0) for i in range(3, 6)]
    assert read(tmp_path)["a"] == expected + [(i, 2.0) for i in range(6, 11)]


def test_names_of_others_in_the_folder(tmp_path):
    for name in ("notes", "events.out.tfevents.word.host", "events.out.tfevents.4000000000.v2"):
        (tmp_path / name).touch()
    EventWriter(tmp_path, first_step=0).close()
    (name,) = (path.name for path in tmp_path.glob("*.kerasreg"))
    assert name.startswith("events.out.tfevents.4000000001.")


def test_which_folders_hold_points(tmp_path):
    """Those that TensorBoard shows."""

    def write(first_step, *steps):
        events = EventWriter(tmp_path, first_step=first_step)
        text = summary_pb2.Summary()
        points.add_text(text, "page", "words")
        events.write(first_step, text)
        for step in steps:
            events.write(step, scalar("a", 1.0))
        events.close()

    def reach(*steps):
        return [step for step in steps if event_file.has_points(f"file://{tmp_path}", step)]

    assert reach(0) == []
    write(0)
    assert reach(0) == []
    write(0, 1, 2, 5)
    assert reach(0, 1, 5, 6) == [0, 1, 5]
    write(3)
    assert reach(0, 2, 3) == [0, 2]
    (tmp_path / "events.out.tfevents.5000000000.cut.kerasreg").write_bytes(record(b"x")[:-3])
    (tmp_path / "events.out.tfevents.5000000001.bad.kerasreg").write_bytes(record(b"\xff" * 9))
    assert reach(0, 2, 3) == [0, 2]
    assert not event_file.has_points(str(tmp_path / "missing"), 0)


def test_histogram_and_text(tmp_path):
    summary = summary_pb2.Summary()
    buckets = np.array([[0.0, 1.0, 3.0], [1.0, 2.0, 4.0]])
    points.add_histogram(summary, "h", buckets)
    points.add_text(summary, "t", "**bold**")
    events = EventWriter(tmp_path, first_step=0)
    events.write(0, summary)
    events.close()
    written = read(tmp_path)
    np.testing.assert_array_equal(written["h"][0][1], buckets)
    assert written["t"] == [(0, b"**bold**")]


def test_failures_warn_once(tmp_path, monkeypatch):
    events = EventWriter(tmp_path, first_step=0)
    events.write(1, scalar("a", 1.0))

    def short_write(descriptor, data):
        return len(data) - 1

    monkeypatch.setattr(os, "write", short_write)
    with pytest.warns(UserWarning, match="Cannot write the TensorBoard log.*No space left") as seen:
        for step in range(2, 5):
            events.write(step, scalar("a", 1.0))
            events.warn()
        events.close()
        events.warn()
    assert len([w for w in seen if "TensorBoard" in str(w.message)]) == 1
    monkeypatch.undo()
    assert read(tmp_path)["a"] == [(1, 1.0)]


def test_a_folder_that_is_removed_is_made_again(tmp_path):
    events = EventWriter(tmp_path / "run", first_step=0)
    events.write(1, scalar("a", 1.0))
    shutil.rmtree(tmp_path / "run")
    for step in (2, 3):
        events.write(step, scalar("a", 2.0))
    assert read(tmp_path / "run")["a"] == [(2, 2.0), (3, 2.0)]
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "run").write_text("in the way")
    events.write(4, scalar("a", 1.0))
    with pytest.warns(UserWarning, match="Cannot write the TensorBoard log.*File exists"):
        events.warn()
    events.close()


def test_a_file_that_cannot_be_looked_at_is_a_failure_as_any_other(tmp_path, monkeypatch):
    events = EventWriter(tmp_path, first_step=0)

    def stale(descriptor):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(os, "fstat", stale)
    events.write(1, scalar("a", 1.0))
    monkeypatch.undo()
    with pytest.warns(UserWarning, match="Cannot write the TensorBoard log.*Stale file handle"):
        events.warn()
    events.close()
