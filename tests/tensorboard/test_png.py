"""PNG files, read by Pillow."""

import io

import numpy as np
import pytest
from PIL import Image

from kerasreg.tensorboard.png import encode_png


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (256, 1), (1, 256), (4, 2, 3), (33, 65, 3)])
def test_pixels_come_back(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype("uint8")
    image = Image.open(io.BytesIO(encode_png(pixels)))
    image.load()  # with the checksums
    assert image.format == "PNG" and image.mode == ("RGB" if len(shape) == 3 else "L")
    np.testing.assert_array_equal(np.asarray(image), pixels)
