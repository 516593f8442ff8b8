"""Writes TensorBoard event files without TensorFlow.

TensorBoard's own `EventFileWriter` imports all of TensorFlow where it is installed, and raises
into training when the disk is full.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
import time
import warnings
import weakref
from pathlib import Path

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

_file_numbers = itertools.count()


class _EventFile:
    """An unbuffered file: what is written is on its way, and nothing is left to fail at close.

    It closes itself with its last reference, so that an interrupted training leaves none open.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        self.close = weakref.finalize(self, os.close, self._descriptor)

    def write(self, data: bytes) -> None:
        """Writes all of `data` or raises; the system stops silently where the disk is full."""
        if os.write(self._descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _file_name() -> str:
    """A name that TensorBoard reads, and reads after those of earlier runs in the folder."""
    owner = f"{socket.gethostname()}.{os.getpid()}.{next(_file_numbers):05d}"
    return f"events.out.tfevents.{int(time.time()):010d}.{owner}.kerasreg"


class EventWriter:
    """An event file that never raises: on the first failure it warns once and stops writing.

    Args:
        log_dir: Folder of the run; made if it is missing.
        first_step: First step that will be written. TensorBoard then forgets points from this
            step on in earlier files of the folder, as after an interrupted run.
    """

    def __init__(self, log_dir: str | os.PathLike[str], first_step: int) -> None:
        self._log_dir = Path(log_dir)
        self._records: RecordWriter | None = None
        try:
            self._log_dir.mkdir(parents=True, exist_ok=True)
            self._records = RecordWriter(_EventFile(self._log_dir / _file_name()))
        except OSError as error:
            self._give_up(error)
        self._write(event_pb2.Event(file_version="brain.Event:2"))
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(event_pb2.Event(step=first_step, session_log=start))

    def write(self, step: int, summary: summary_pb2.Summary) -> None:
        """Writes a summary at a step."""
        self._write(event_pb2.Event(step=step, summary=summary))

    def close(self) -> None:
        """Closes the file; nothing is written after that."""
        if self._records is not None:
            records, self._records = self._records, None
            try:
                records.close()
            except OSError as error:
                self._give_up(error)

    def _write(self, event: event_pb2.Event) -> None:
        if self._records is None:
            return
        event.wall_time = time.time()
        try:
            self._records.write(event.SerializeToString())
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        warnings.warn(
            f"Cannot write the TensorBoard log in '{self._log_dir}': {error}. "
            "Training goes on without it.",
            stacklevel=2,
        )
        self.close()
