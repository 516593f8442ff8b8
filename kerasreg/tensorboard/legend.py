"""Says in a picture of zeros what it shows, so that it can be read without its description."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

# As wide as TensorBoard shows it: at another width its letters would have ragged edges.
WIDTH = 350
# Where the picture begins: at its left stands what its rows are, turned by a right angle.
LEFT = 18
_FONT_SIZE, _LINE = 12, 16
_GAP = 4


def with_legend(
    picture: npt.NDArray[np.uint8], rows: str, columns: str, lines: Sequence[str]
) -> npt.NDArray[np.uint8]:
    """A picture with what its axes are, lines of text and what black and white mean.

    Black on white with a margin, so that it reads on light pages and on dark ones.

    Args:
        picture: Array of shape `(height, width)`, or `(height, width, 3)` for RGB.
        rows: What its rows are.
        columns: What its columns are.
        lines: Lines of text below it.

    Returns:
        An array with the picture at its top, from the column `LEFT` on.
    """
    from PIL import Image, ImageDraw  # Nothing before the first picture needs it.

    height, width = picture.shape[:2]
    below = height + _GAP + (2 + len(lines)) * _LINE
    # What the rows are may be longer than the picture is high; it ends where the picture does.
    size = (below, max(WIDTH, LEFT + width + 1), *picture.shape[2:])
    canvas = np.full(size, 255, np.uint8)
    canvas[:height, LEFT : LEFT + width] = picture
    side = Image.new("L", (height, LEFT), 255)
    ImageDraw.Draw(side).text((height / 2, LEFT / 2), rows, 0, _font(), anchor="mm")
    turned = np.asarray(side.transpose(Image.Transpose.ROTATE_90))
    canvas[:height, :LEFT] = turned.reshape(height, LEFT, *(1,) * (picture.ndim - 2))
    image = Image.fromarray(canvas)
    draw = ImageDraw.Draw(image)
    black, white = ((0,) * 3, (255,) * 3) if picture.ndim == 3 else (0, 255)
    top = height + _GAP
    draw.text((LEFT + width / 2, top + _LINE / 2), columns, black, _font(), anchor="mm")
    for line in lines:
        top += _LINE
        draw.text((LEFT, top + _LINE / 2), line, black, _font(), anchor="lm")
    _draw_key(draw, top + _LINE, black, white)
    return np.asarray(image)


def _draw_key(draw: Any, top: float, black: Any, white: Any) -> None:
    left = float(LEFT)
    for colour, words in ((black, "all zero"), (white, "none zero")):
        box = (left, top + 2, left + _FONT_SIZE, top + 2 + _FONT_SIZE)
        draw.rectangle(box, fill=colour, outline=black)
        left += _FONT_SIZE + _GAP
        draw.text((left, top + _LINE / 2), words, black, _font(), anchor="lm")
        left += draw.textlength(words, _font()) + 3 * _GAP


@functools.cache
def _font() -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(_FONT_SIZE)
