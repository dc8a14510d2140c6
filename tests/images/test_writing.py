"""Encoding images."""

from __future__ import annotations

import numpy as np
import pytest

from facetools.images.decoding import decode_image
from facetools.images.writing import encode_image, to_gray
from tests.images.cases import gradient


@pytest.mark.parametrize("channels", [1, 3])
def test_an_encoded_image_decodes_to_the_same_pixels(channels: int) -> None:
    pixels = gradient(20, 30, channels)
    expected = np.broadcast_to(pixels, (20, 30, 3))
    np.testing.assert_array_equal(decode_image(encode_image(pixels, ".png")), expected)
    np.testing.assert_allclose(decode_image(encode_image(pixels, ".jpg")), expected, atol=8)
    assert encode_image(pixels, ".jpg").startswith(b"\xff\xd8\xff")


def test_gray_is_the_luma() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    expected = pixels @ [0.299, 0.587, 0.114]
    assert to_gray(pixels).shape == (9, 7, 1)
    np.testing.assert_allclose(to_gray(pixels)[:, :, 0], expected, atol=1)


def test_unknown_suffixes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"images are written as \.png, \.jpg, \.jpeg, not as '\.xyz'"):
        encode_image(np.zeros((2, 2, 3), np.uint8), ".xyz")
