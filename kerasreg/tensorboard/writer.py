"""Writes TensorBoard event files without TensorFlow.

TensorBoard's own `EventFileWriter` imports all of TensorFlow where it is installed, and raises
into training when the disk is full.
"""

from __future__ import annotations

import functools
import os
import struct
import time
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c as _byte_by_byte

from kerasreg.tensorboard.event_file import LocalEventFile, RemoteEventFile, open_event_file

Words = npt.NDArray[np.uint32]
_POLYNOMIAL = 0x82F63B78
_ONES = 0xFFFFFFFF

# Data is cut into lanes of this many bytes, which are taken side by side.
_LANE = 128

# From so many bytes on that is faster.
_LONG = 4096


def crc32c(data: bytes) -> int:
    """The CRC-32C of some bytes (Castagnoli's polynomial; RFC 3720, 2004)."""
    # Zeros in front change nothing while the register is zero, as it is there.
    padding = -len(data) % _LANE
    lanes = np.frombuffer(bytes(padding) + data, dtype=np.uint8).reshape(-1, _LANE).T
    registers = np.zeros(lanes.shape[1], dtype=np.uint32)
    table = _table()
    for column in lanes:
        registers = table[(registers ^ column) & 0xFF] ^ (registers >> 8)
    # The register starts with ones: as if they had been XORed into the first four bytes.
    start = _shifted(np.array([_ONES], dtype=np.uint32), len(data))
    return int(_joined(registers) ^ start[0]) ^ _ONES


def masked_crc32c(data: bytes) -> int:
    """The form of it that the records hold."""
    if len(data) < _LONG:
        return int(_byte_by_byte(data))
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & _ONES


def record(data: bytes) -> bytes:
    """A record of TensorBoard's: length and data, each with its checksum."""
    header = struct.pack("<Q", len(data))
    crcs = (struct.pack("<I", masked_crc32c(part)) for part in (header, data))
    return header + next(crcs) + data + next(crcs)


def _joined(registers: Words) -> Any:
    """The register after all lanes, from those after each by itself; neighbours first."""
    length = _LANE
    while len(registers) > 1:
        if len(registers) % 2:
            registers = np.concatenate([np.zeros(1, dtype=np.uint32), registers])
        registers = _shifted(registers[::2], length) ^ registers[1::2]
        length *= 2
    return registers[0] if len(registers) else np.uint32(0)


def _shifted(registers: Words, length: int) -> Words:
    """The registers after so many zero bytes."""
    power = 1
    while length:
        if length & 1:
            tables = _shift_tables(power)
            parts = (tables[byte][registers >> 8 * byte & 0xFF] for byte in range(4))
            registers = np.asarray(np.bitwise_xor.reduce(list(parts)))
        length, power = length >> 1, power << 1
    return registers


@functools.cache
def _shift_tables(length: int) -> npt.NDArray[np.uint32]:
    """For each byte of a register, and each value of it, the register after zero bytes."""
    values = np.arange(256, dtype=np.uint32) << (8 * np.arange(4, dtype=np.uint32)[:, None])
    if length == 1:
        shifted: Words = _table()[values & 0xFF] ^ (values >> 8)
        return shifted
    return _shifted_twice(values, length // 2)


def _shifted_twice(values: npt.NDArray[np.uint32], length: int) -> npt.NDArray[np.uint32]:
    return _shifted(_shifted(values, length), length)


@functools.cache
def _table() -> Words:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table.astype(np.uint32)


class EventWriter:
    """An event file that never raises: after the first failure it writes no more.

    It may be used from several threads, one after the other; the warning of the failure is the
    business of the one that calls `warn`.

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


class NoWriter:
    """An `EventWriter` without a file, for the processes that leave the writing to another."""

    def write(self, step: int, summary: summary_pb2.Summary) -> None:
        """Does nothing, as all that it does."""

    def close(self) -> None:
        """Does nothing."""

    def warn(self) -> None:
        """Does nothing."""
