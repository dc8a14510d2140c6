"""The compiled resizing against Pillow's, one side after the other."""

import numpy as np
import pytest
from PIL import Image

from facetools import _core, images


def pillows(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    narrowed = Image.fromarray(pixels).resize((size[1], len(pixels)), Image.Resampling.BILINEAR)
    return np.asarray(narrowed.resize(size[::-1], Image.Resampling.BILINEAR))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((218, 178), (224, 224)),
        ((109, 89), (96, 80)),
        ((1, 1), (5, 7)),
        ((5, 7), (1, 1)),
        ((3, 2), (3, 2)),
        ((2001, 3), (2, 40)),
        ((3, 2001), (40, 2)),
        ((100_000, 1), (1, 1)),
    ],
)
def test_pixels_are_pillows(before: tuple[int, int], after: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for pixels in (rng.integers(0, 256, (*before, 3), dtype=np.uint8), np.full((*before, 3), 255, np.uint8)):
        np.testing.assert_array_equal(images.resized(pixels, after), pillows(pixels, after))


def test_pixels_of_any_small_size_are_pillows() -> None:
    rng = np.random.default_rng(0)
    for height, width, *after in rng.integers(1, 24, (200, 4)).tolist():
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        np.testing.assert_array_equal(images.resized(pixels, tuple(after)), pillows(pixels, tuple(after)))


def test_what_does_not_fit_is_refused() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    for image, out in [(pixels[:0], pixels), (pixels, pixels[:, :0].copy())]:
        with pytest.raises(ValueError, match="without pixels"):
            _core.resize(image, out)
    for image, out in [(pixels[:, :, :2].copy(), pixels), (pixels, pixels.astype(np.float32)), (pixels[::2], pixels)]:
        with pytest.raises(TypeError):
            _core.resize(image, out)
