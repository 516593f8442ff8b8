"""Checksums against published ones, and against TensorBoard's own, byte by byte."""

import struct

import numpy as np
import pytest
from tensorboard.compat.tensorflow_stub import pywrap_tensorflow

from kerasreg.tensorboard.crc32c import crc32c, masked_crc32c, record

# RFC 3720, B.4, and the check value of the catalogue of CRC algorithms.
PUBLISHED = [
    (b"123456789", 0xE3069283),
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
]


@pytest.mark.parametrize(("data", "expected"), PUBLISHED)
def test_published(data, expected):
    assert crc32c(data) == expected


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 127, 128, 129, 1000, 4095, 4096, 5000, 100_001])
def test_of_any_length(size):
    data = np.random.default_rng(size).bytes(size)
    expected = pywrap_tensorflow.crc32c(data)
    assert crc32c(data) == expected & 0xFFFFFFFF
    assert masked_crc32c(data) == pywrap_tensorflow.masked_crc32c(data)


def test_record():
    data = b"x" * 10_000
    head, rest = record(data)[:12], record(data)[12:]
    assert head == struct.pack("<QI", 10_000, pywrap_tensorflow.masked_crc32c(head[:8]))
    assert rest == data + struct.pack("<I", pywrap_tensorflow.masked_crc32c(data))
