"""The checksum of TensorBoard's records, in NumPy: theirs takes 0.1 microseconds a byte."""

from __future__ import annotations

import functools
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c as _byte_by_byte

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
