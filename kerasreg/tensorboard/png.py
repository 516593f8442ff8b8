"""PNG files without an image library."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

_COLOUR_TYPES = {2: 0, 3: 2}  # by rank: grey, RGB


def encode_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Encodes a picture.

    Args:
        pixels: Array of shape `(height, width)`, or `(height, width, 3)` for RGB.

    Returns:
        The content of a PNG file.
    """
    height, width = pixels.shape[:2]
    # Each line begins with the number of its filter: 0, none.
    lines = np.pad(pixels.reshape(height, -1), ((0, 0), (1, 0)))
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[pixels.ndim], 0, 0, 0)
    content = zlib.compress(lines.tobytes())
    chunks = _chunk(b"IHDR", header), _chunk(b"IDAT", content), _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    checked = name + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))
