"""Writes TensorBoard event files without TensorFlow.

TensorBoard's own `EventFileWriter` imports all of TensorFlow where it is installed, and raises
into training when the disk is full.
"""

from __future__ import annotations

import os
import struct
import time
import warnings

import google_crc32c
from tensorboard.compat.proto import event_pb2, summary_pb2

from kerasreg.tensorboard.event_file import LocalEventFile, RemoteEventFile, open_event_file


def record(data: bytes) -> bytes:
    """A record of TensorBoard's files: length and data, each with its checksum."""
    header = struct.pack("<Q", len(data))
    return header + _checksum(header) + data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    # Rotated and shifted, as TFRecord demands of the CRC of what may hold CRCs itself.
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


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
