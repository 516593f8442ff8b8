"""Writes TensorBoard's event files, in a folder of this machine or at a remote address.

TensorBoard's own `EventFileWriter` imports all of TensorFlow where it is installed, and raises
into training when the disk is full. Remote files are written by TensorFlow's file systems, or by
TensorBoard's where those do not know the address.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import socket
import struct
import time
import warnings
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import google_crc32c
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.scalar import metadata as scalar_metadata

from kerasreg._checks import check_folder, invalid_value

_file_numbers = itertools.count()

# Seconds between uploads. A remote file is replaced as a whole, so that a long log that takes
# long to upload waits longer: uploading gets a tenth of the time at most.
UPLOAD_INTERVAL = 30.0
UPLOAD_SHARE = 0.1

_PACKAGES = {
    "gs": "TensorFlow, or fsspec with gcsfs (`pip install fsspec gcsfs`)",
    "s3": "boto3 (`pip install boto3`)",
}


class EventWriter:
    """An event file that never raises: after the first failure it writes no more.

    It may be used from several threads, one after the other; a failure is reported in the thread
    that calls `warn`.

    Args:
        log_dir: Folder of the run, or its address as `gs://bucket/run`; made if it is missing.
        first_step: First step that will be written. TensorBoard then forgets points from this
            step on in earlier files of the folder, as after an interrupted run.
    """

    def __init__(self, log_dir: str | os.PathLike[str], first_step: int) -> None:
        self._log_dir = os.fspath(log_dir)
        self._file: LocalEventFile | RemoteEventFile | None = None
        self._failure: OSError | None = None
        self._open(first_step)

    def write(self, step: int, summary: summary_pb2.Summary) -> None:
        """Writes a summary at a step."""
        self._write(event_pb2.Event(step=step, summary=summary))

    def close(self) -> None:
        """Closes the file; nothing is written after that."""
        if self._file is not None:
            file, self._file = self._file, None
            try:
                file.close()
            except OSError as error:
                self._failure = error

    def warn(self) -> None:
        """Warns of a failure, once."""
        failure, self._failure = self._failure, None
        if failure is not None:
            warnings.warn(
                f"Cannot write the TensorBoard log in '{self._log_dir}': {failure}. "
                "Training goes on without it.",
                stacklevel=2,
            )

    def _open(self, first_step: int) -> None:
        try:
            self._file = open_event_file(self._log_dir)
        except OSError as error:
            self._failure = error
        self._write(event_pb2.Event(file_version="brain.Event:2"))
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(event_pb2.Event(step=first_step, session_log=start))

    def _write(self, event: event_pb2.Event) -> None:
        if self._file is None:
            return
        event.wall_time = time.time()
        try:
            if self._file.is_removed:
                self.close()
                self._open(event.step)
                self._write(event)
                return
            self._file.write(record(event.SerializeToString()))
        except OSError as error:
            self.close()
            self._failure = error


def record(data: bytes) -> bytes:
    """A record of TensorBoard's files: length and data, each with its checksum."""
    header = struct.pack("<Q", len(data))
    return header + _checksum(header) + data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    # Rotated and shifted, as TFRecord demands of the CRC of what may hold CRCs itself.
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


class LocalEventFile:
    """An unbuffered file: `write` hands all data to the system, so that closing cannot fail.

    It closes itself with its last reference, so that an interrupted training leaves none open.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        self.close = weakref.finalize(self, os.close, self._descriptor)

    def write(self, data: bytes) -> None:
        """Writes all of `data` or raises; the system stops silently where the disk is full."""
        if os.write(self._descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @property
    def is_removed(self) -> bool:
        """Whether somebody has deleted it, which the system does not say when data are written."""
        return os.fstat(self._descriptor).st_nlink == 0


class RemoteEventFile:
    """A file at a remote address, uploaded at the first write, every half minute, and at close.

    It closes itself with its last reference, as a local one.

    Args:
        file_system: `tf.io.gfile`, or TensorBoard's module of the same interface.
        path: Its address.
    """

    is_removed = False  # as far as can be told without asking for it each time

    def __init__(self, file_system: Any, path: str) -> None:
        content = _RemoteContent(file_system, path)
        self.write = content.write
        self.close = weakref.finalize(self, content.upload)


class _RemoteContent:
    """The content of a remote file, which most file systems take as a whole only."""

    def __init__(self, file_system: Any, path: str) -> None:
        self._file_system = file_system
        self._path = path
        self._content = bytearray()
        self._process = os.getpid()
        self._changed = False
        self._next_upload = time.monotonic()

    def write(self, data: bytes) -> None:
        """Keeps `data`, and uploads it when it is time; raises an `OSError` if that fails."""
        self._content += data
        self._changed = True
        start = time.monotonic()
        if start >= self._next_upload:
            self.upload()
            end = time.monotonic()
            self._next_upload = end + max(UPLOAD_INTERVAL, (end - start) / UPLOAD_SHARE)

    def upload(self) -> None:
        """Replaces the file if there are new data; a failed upload is not repeated."""
        # A forked process has what the file was then, and would put that in place of the newer.
        if self._changed and os.getpid() == self._process:
            self._changed = False
            with _as_os_errors(), self._file_system.GFile(self._path, "wb") as file:
                file.write(bytes(self._content))


def check_log_dir(argument: str, log_dir: Any) -> str:
    """Returns a folder as a string, or raises if it is none or nothing here can write to it."""
    folder = check_folder(argument, log_dir)
    if _is_remote(folder):
        try:
            _file_system(folder)
        except (ImportError, ValueError) as error:
            scheme = folder.partition("://")[0]
            package = _PACKAGES.get(scheme, "fsspec, and the package that fsspec needs for it")
            expected = f"a folder that can be written to; `{scheme}://` needs {package}: {error}"
            raise invalid_value(argument, expected, log_dir) from error
    return folder


def open_event_file(folder: str) -> LocalEventFile | RemoteEventFile:
    """Makes a new file in a folder or at an address, which is made as well if it is missing.

    Raises:
        OSError: If that fails, for whatever reason.
    """
    if not _is_remote(folder):
        local = Path(folder.removeprefix("file://"))
        local.mkdir(parents=True, exist_ok=True)
        return LocalEventFile(local / _file_name(_names_in(folder)))
    with _as_os_errors():
        file_system = _file_system(folder)
        file_system.makedirs(folder)
    return RemoteEventFile(file_system, f"{folder.rstrip('/')}/{_file_name(_names_in(folder))}")


def place_of(folder: str) -> str:
    """The same string for a folder, however it is written."""
    if _is_remote(folder):
        return folder.rstrip("/")
    return os.path.realpath(folder.removeprefix("file://"))


def has_points(folder: str, first_step: int) -> bool:
    """Whether TensorBoard shows charts of ours in a folder that reach a step."""
    names = [name for name in _names_in(folder) if name.endswith(_OURS)]
    for name in sorted(names, reverse=True):
        is_start = False
        with contextlib.suppress(OSError), _as_os_errors():
            for event in _events(f"{folder.rstrip('/')}/{name}"):
                if event.step >= first_step and any(map(_is_scalar, event.summary.value)):
                    return True
                is_start |= event.HasField("session_log") and event.step <= first_step
        if is_start:  # What earlier files have from there on is not shown any more.
            return False
    return False


_OURS = ".kerasreg"


def _file_name(others: Sequence[str]) -> str:
    """A name that TensorBoard reads, and reads after the other files in the folder.

    It reads them by name, which begins with a time, and takes what it reads later for newer: the
    clock may have gone back, and within a second the names of processes decide.
    """
    times = [int(found[1]) for found in map(_TIME.match, others) if found]
    stamp = max([int(time.time()), *(1 + other for other in times)])
    owner = f"{socket.gethostname()}.{os.getpid()}.{next(_file_numbers):05d}"
    return f"events.out.tfevents.{stamp:010d}.{owner}{_OURS}"


_TIME = re.compile(r"events\.out\.tfevents\.(\d{10})\.")


def _names_in(folder: str) -> list[str]:
    """The names in a folder; none where it is missing, or may be written but not listed."""
    with contextlib.suppress(OSError), _as_os_errors():
        if not _is_remote(folder):
            return os.listdir(folder.removeprefix("file://"))
        return list(map(str, _file_system(folder).listdir(folder)))
    return []


def _events(path: str) -> Iterator[event_pb2.Event]:
    """The events of a file, up to the end or to one that was not written to its end."""
    with _open_to_read(path) as file:
        while len(header := file.read(12)) == 12:
            (length,) = struct.unpack_from("<Q", header)
            data = file.read(length + 4)
            if len(data) < length + 4:
                return
            yield event_pb2.Event.FromString(data[:length])


def _open_to_read(path: str) -> Any:
    if _is_remote(path):
        return _file_system(path).GFile(path, "rb")
    return open(path.removeprefix("file://"), "rb")


def _is_scalar(value: summary_pb2.Summary.Value) -> bool:
    return bool(value.metadata.plugin_data.plugin_name == scalar_metadata.PLUGIN_NAME)


def _is_remote(folder: str) -> bool:
    return "://" in folder and not folder.startswith("file://")


def _file_system(folder: str) -> Any:
    """TensorFlow's file systems, or TensorBoard's where those do not know the address.

    Raises:
        ImportError: If the package that an address of this kind needs is not installed.
        ValueError: If nothing knows addresses of this kind.
    """
    with contextlib.suppress(ImportError):
        import tensorflow as tf

        if folder.partition("://")[0] in tf.io.gfile.get_registered_schemes():
            return tf.io.gfile
    from tensorboard.compat.tensorflow_stub.io import gfile

    gfile.get_filesystem(folder)
    return gfile


@contextlib.contextmanager
def _as_os_errors() -> Iterator[None]:
    """Turns what the packages for remote files raise into what a local file would."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
