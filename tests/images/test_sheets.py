"""Thumbnails and contact sheets."""

from __future__ import annotations

import numpy as np
import pytest

from facetools.images.sheets import make_contact_sheet, shrink_image
from tests.images.cases import gradient


@pytest.mark.parametrize(
    ("shape", "expected"), [((100, 50), (40, 20)), ((50, 100), (20, 40)), ((40, 40), (40, 40)), ((3, 4), (3, 4))]
)
def test_shrinking_keeps_the_aspect_ratio_and_never_enlarges(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    pixels = gradient(*shape)
    shrunk = shrink_image(pixels, 40)
    assert shrunk.shape == (*expected, 3)
    assert shrunk.dtype == np.uint8
    if shape == expected:
        np.testing.assert_array_equal(shrunk, pixels)
    else:
        assert np.abs(shrunk.mean((0, 1)) - pixels.mean((0, 1))).max() < 2


def test_a_contact_sheet_arranges_images_in_rows() -> None:
    def uniform(height: int, width: int, shade: int) -> np.ndarray:
        return np.full((height, width, 3), shade, np.uint8)

    sheet = make_contact_sheet([[uniform(10, 10, 0), uniform(40, 20, 50)], [uniform(5, 10, 100)]], height=20, gap=4)
    # The images of the first row are 20 and 10 pixels wide, that of the second row 40.
    assert sheet.shape == (4 + 24 + 24, 4 + 40 + 4, 3)
    expected = uniform(*sheet.shape[:2], 255)
    expected[4:24, 4:24], expected[4:24, 28:38], expected[28:48, 4:44] = 0, 50, 100
    np.testing.assert_array_equal(sheet, expected)
