"""Event files on this machine and at remote addresses, read back record by record."""

import contextlib
import gc
import sys
import time
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.backends import BACKEND
from helpers.event_files import read
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.compat.tensorflow_stub.io import gfile
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

from kerasreg.tensorboard import event_file
from kerasreg.tensorboard.event_file import EventWriter
from kerasreg.tensorboard.points import add_scalar

fsspec = pytest.importorskip("fsspec")
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's file systems")


class CloudError(Exception):
    """What a package for remote files may raise: no `OSError`."""


@pytest.fixture
def no_tensorflow(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)


@pytest.fixture
def folder(no_tensorflow):
    return f"memory://{uuid.uuid4()}/run"


def write(events, *steps):
    for step in steps:
        summary = summary_pb2.Summary()
        add_scalar(summary, "a", float(step))
        events.write(step, summary)


def steps(folder):
    """The steps of the only file in a folder, as TensorBoard would read it without TensorFlow."""
    (name,) = gfile.listdir(folder)
    reader = PyRecordReader_New(f"{folder}/{name}")
    found = []
    with contextlib.suppress(gfile.errors.OutOfRangeError):
        while True:
            reader.GetNext()
            event = event_pb2.Event.FromString(reader.record())
            found += [event.step] if event.summary.value else []
    return found


def test_a_local_address(tmp_path, monkeypatch):
    monkeypatch.setattr(gfile, "FSSPEC_ENABLED", False)
    address = f"file://{tmp_path}/new folder/run"
    assert event_file.check_log_dir("log_dir", address) == address
    events = EventWriter(address, 0)
    write(events, 1, 2)
    assert read(tmp_path / "new folder" / "run")["a"] == [(1, 1.0), (2, 2.0)]
    events.close()


@on_tensorflow
def test_by_tensorflow():
    address = f"ram://{uuid.uuid4()}/run"
    assert event_file.check_log_dir("log_dir", address) == address
    events = EventWriter(f"{address}/", 0)
    write(events, 1, 2)
    events.close()
    assert read(address)["a"] == [(1, 1.0), (2, 2.0)]


@on_tensorflow
def test_errors_of_tensorflow_are_those_of_a_file(tmp_path):
    import tensorflow as tf

    file = event_file.RemoteEventFile(tf.io.gfile, f"{tmp_path}/missing/file")
    with pytest.raises(OSError, match="^NotFoundError: "):
        file.write(b"x")


def test_by_tensorboard(folder):
    assert event_file.check_log_dir("log_dir", folder) == folder
    events = EventWriter(folder, 0)
    write(events, 1, 2)
    events.close()
    events.close()
    assert steps(folder) == [1, 2]


def test_tensorflow_is_asked_first_and_tensorboard_for_the_rest(monkeypatch):
    schemes = SimpleNamespace(get_registered_schemes=lambda: ["", "file", "gs"])
    fake = SimpleNamespace(io=SimpleNamespace(gfile=schemes))
    monkeypatch.setitem(sys.modules, "tensorflow", fake)
    assert event_file._file_system("gs://bucket/run") is schemes
    assert event_file._file_system("memory://run") is gfile


@pytest.mark.parametrize("took, wait", [(0.0, 30.0), (2.0, 30.0), (5.0, 50.0)])
def test_uploads_wait_half_a_minute_and_longer_where_they_take_long(
    folder, monkeypatch, took, wait
):
    clock = SimpleNamespace(now=100.0)
    fake_time = SimpleNamespace(monotonic=lambda: clock.now, time=time.time)
    monkeypatch.setattr(event_file, "time", fake_time)
    started = []

    def slow_upload(self, *args):
        started.append(clock.now)
        clock.now += took

    monkeypatch.setattr(gfile.FSSpecFileSystem, "write", slow_upload)
    file = event_file.open_event_file(folder)
    for _ in range(200):
        file.write(b"x")
        clock.now += 1.0
    assert started == [100.0 + i * (took + wait) for i in range(len(started))]
    assert len(started) >= 4


def test_later_files_come_later_and_are_read(folder, monkeypatch):
    assert not event_file.has_points(folder, 0)
    now = time.time()
    for back in (0, 1000):
        clock = SimpleNamespace(time=lambda t=now - back: t, monotonic=time.monotonic)
        monkeypatch.setattr(event_file, "time", clock)
        events = EventWriter(f"{folder}/", back)
        write(events, back)
        events.close()
    first, _ = (f"{folder}/{name}" for name in sorted(gfile.listdir(folder)))
    (start,) = (e.step for e in event_file._events(first) if e.summary.value)
    assert start == 0
    assert event_file.has_points(folder, 0) and event_file.has_points(f"{folder}/", 1000)
    assert not event_file.has_points(folder, 1001)


def test_an_interrupted_training_uploads_what_it_has(folder):
    events = EventWriter(folder, 0)
    write(events, 1, 2, 3)
    assert steps(folder) == []  # the first record only, that of the file's version
    del events
    gc.collect()
    assert steps(folder) == [1, 2, 3]


@pytest.mark.parametrize("when", ["makedirs", "write"])
@pytest.mark.parametrize("error", [CloudError("no credentials"), PermissionError("not yours")])
def test_failures_warn_once(folder, monkeypatch, when, error):
    def fail(*args):
        raise error

    monkeypatch.setattr(gfile.FSSpecFileSystem, when, fail)
    with pytest.warns(UserWarning, match=f"log in '{folder}'.*{error}") as seen:
        events = EventWriter(folder, 0)
        for step in (1, 2):
            write(events, step)
            events.warn()
        events.close()
        events.warn()
    assert len(seen) == 1


def test_a_failure_at_close_warns_and_ends_there(folder, monkeypatch):
    events = EventWriter(folder, 0)
    write(events, 1)

    def fail(*args):
        raise CloudError("connection lost")

    monkeypatch.setattr(gfile.FSSpecFileSystem, "write", fail)
    with pytest.warns(UserWarning, match="CloudError: connection lost") as seen:
        events.close()
        events.warn()
    assert len(seen) == 1


@pytest.mark.parametrize("error", [None, CloudError("connection lost")])
def test_what_was_uploaded_or_failed_is_not_uploaded_again(folder, monkeypatch, error):
    uploads = []

    def upload(self, path, content, binary_mode):
        uploads.append(content)
        if error:
            raise error

    monkeypatch.setattr(gfile.FSSpecFileSystem, "write", upload)
    file = event_file.open_event_file(folder)
    with contextlib.suppress(OSError):
        file.write(b"first")
    file.close()
    assert uploads == [b"first"]


PACKAGES = [
    ("gs://bucket/run", True, "`gs://` needs TensorFlow, or fsspec with gcsfs"),
    ("gs://bucket/run", False, "`gs://` needs TensorFlow, or fsspec with gcsfs"),
    ("s3://bucket/run", True, "`s3://` needs boto3"),
    ("s3://bucket/run", False, "`s3://` needs boto3"),
    ("memory://run", False, "`memory://` needs fsspec"),
    ("nowhere://run", True, "`nowhere://` needs fsspec"),
]


@pytest.mark.parametrize("address, with_fsspec, package", PACKAGES)
def test_a_missing_package_is_named(no_tensorflow, monkeypatch, address, with_fsspec, package):
    monkeypatch.setattr(gfile, "FSSPEC_ENABLED", with_fsspec)
    monkeypatch.setattr(gfile, "_REGISTERED_FILESYSTEMS", {"": gfile.LocalFileSystem()})
    for absent in ("gcsfs", "s3fs"):
        monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(ValueError, match=f"(?s)^Invalid value for argument `log_dir`. .*{package}"):
        event_file.check_log_dir("log_dir", address)
    with pytest.warns(UserWarning, match="Cannot write the TensorBoard log"):
        EventWriter(address, 0).warn()


@pytest.mark.parametrize("folder", ["", None, 3, b"bytes", Path("gs://bucket/run")])
def test_what_is_no_folder(folder):
    with pytest.raises(ValueError, match="(?s)^Invalid value for argument `log_dir`. .*Received"):
        event_file.check_log_dir("log_dir", folder)


class OfBytes:
    """A path as an operating system has it."""

    def __fspath__(self):
        return b"logs/bytes"


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("logs/run", "{here}/logs/run"),
        (Path("logs") / "a:b", "{here}/logs/a:b"),
        (Path("c:/x"), "{here}/c:/x"),
        ("~/logs", "{home}/logs"),
        (OfBytes(), "{here}/logs/bytes"),
        ("/logs/../run/", "/run"),
    ],
)
def test_local_folders_are_where_the_logger_was_made_and_load_no_package(
    folder, expected, monkeypatch, tmp_path
):
    monkeypatch.setattr(event_file, "_file_system", None)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    found = event_file.check_log_dir("log_dir", folder)
    monkeypatch.chdir("/")
    assert found == expected.format(here=tmp_path, home=tmp_path / "home")


def test_a_forked_process_does_not_upload_its_older_copy(folder, monkeypatch):
    file = event_file.open_event_file(folder)
    file.write(b"first ")
    file.write(b"second")
    address = f"{folder}/{gfile.listdir(folder)[0]}"
    monkeypatch.setattr(event_file.os, "getpid", lambda: 1)
    file.close()
    with gfile.GFile(address, "rb") as uploaded:
        assert uploaded.read() == b"first "
