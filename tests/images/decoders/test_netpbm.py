"""Portable graymaps, pixmaps and floatmaps of any range."""

from __future__ import annotations

import numpy as np
import pytest

from facetools.images.decoders.truncation import TruncatedImageError
from facetools.images.decoding import decode_image
from facetools.images.reading import ImageError


@pytest.mark.parametrize("white", [1, 15, 100, 1000, 4095, 10_000, 65534])
def test_a_declared_range_counts(white: int) -> None:
    type_ = ">u2" if white > 255 else "u1"
    samples = np.array([0, white // 3, white])
    expected = np.rint(samples * 255 / white)
    gray = decode_image(b"P5 3 1 %d\n" % white + samples.astype(type_).tobytes())
    np.testing.assert_array_equal(gray[0, :, 0], expected)
    color = decode_image(b"P6 1 1 %d\n" % white + samples.astype(type_).tobytes())
    np.testing.assert_array_equal(color[0, 0], expected)
    text = decode_image(b"P3\n# by hand\n1 1\n%d\n" % white + b"%d %d #x\n %d\n" % tuple(samples))
    np.testing.assert_array_equal(text[0, 0], expected)


@pytest.mark.parametrize(("highest", "white"), [(200, 255), (4000, 4095), (60_000, 65535)])
def test_65535_declares_nothing(highest: int, white: int) -> None:
    samples = np.array([0, 7, highest], ">u2")
    decoded = decode_image(b"P6 1 1 65535\n" + samples.tobytes())
    np.testing.assert_array_equal(decoded[0, 0], np.rint(samples * 255.0 / white))


def test_floatmaps_start_with_the_bottom_row() -> None:
    rows = np.array([[0.0], [0.5], [1.0]])
    for data in (b"Pf\n1 3\n-1.0\n" + rows.astype("<f4").tobytes(), b"Pf\n1 3\n1.0\n" + rows.astype(">f4").tobytes()):
        assert decode_image(data)[:, 0, 0].tolist() == [255, 128, 0]
    color = b"PF 1 1 -1\n" + np.array([0, 0.5, 1], "<f4").tobytes()
    assert decode_image(color).tolist() == [[[0, 128, 255]]]


def test_ordinary_files_are_decoded() -> None:
    assert decode_image(b"P5 2 1 255\n\x05\x06")[0, :, 0].tolist() == [5, 6]
    assert decode_image(b"P2 2 1 255\n5 6")[0, :, 0].tolist() == [5, 6]
    assert decode_image(b"P4 8 1\n\xf0")[0, :, 0].tolist() == [0] * 4 + [255] * 4


@pytest.mark.parametrize("data", [b"P5 2 2 4095\n\0\1\0\2\0\3", b"P2 2 2 255\n1 2 3", b"PF 1 1 -1\n" + bytes(8)])
def test_truncated_files_are_recognized(data: bytes) -> None:
    with pytest.raises(TruncatedImageError):
        decode_image(data)
    assert decode_image(data, accept_truncated=True)[-1, -1].tolist()[-1] == 0


@pytest.mark.parametrize("data", [b"P5 2 2 4095\n", b"P2 2 2 255\n", b"P2 2 1 255\n1 x", b"P2 1 1 255\n99999"])
def test_damaged_files_are_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"^it (ends before its pixels|is damaged: a sample is not a number)"):
        decode_image(data, accept_truncated=True)
