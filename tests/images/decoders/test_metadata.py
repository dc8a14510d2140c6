"""Metadata: the orientation is read from EXIF and XMP of every kind, and what is damaged changes nothing."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from facetools.images.decoders.metadata import Metadata
from facetools.images.decoding import decode_image
from tests.images.cases import encode, gradient
from tests.images.files import EXIF, exif, insert_segment, orientation, png_chunk

PIXELS = gradient(24, 40)
JPEG, PNG = encode(PIXELS, "jpeg", quality=95), encode(PIXELS)
TURNED = exif(orientation(6))


@pytest.mark.parametrize("kind", EXIF)
def test_the_orientation_is_read_from_exif_of_any_kind(kind: str) -> None:
    data, expected = EXIF[kind]
    assert Metadata(data).orientation == expected


@pytest.mark.parametrize("kind", EXIF)
@pytest.mark.parametrize("format", ["jpeg", "png", "webp"])
def test_exif_of_any_kind_costs_no_image(format: str, kind: str) -> None:
    data, expected = EXIF[kind]
    if format == "jpeg":
        image = insert_segment(JPEG, 0xE1, data)
    elif format == "png":
        image = PNG[:33] + png_chunk(b"eXIf", data.removeprefix(b"Exif\0\0")) + PNG[33:]
    else:
        image = encode(PIXELS, "webp", lossless=True, exif=data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decoded = decode_image(image)
    upright = np.rot90(PIXELS, -1) if expected == 6 else PIXELS
    np.testing.assert_allclose(decoded.astype(int), upright, atol=8 if format == "jpeg" else 0)


def test_exif_in_several_segments_of_a_jpeg_is_joined() -> None:
    # The orientation comes after 60 000 bytes of another tag.
    data = exif((0x010E, 2, 60_000, b"x" * 60_000), orientation(6))
    parts = insert_segment(insert_segment(JPEG, 0xE1, b"Exif\0\0" + data[50_000:]), 0xE1, data[:50_000])
    assert decode_image(parts).shape == (40, 24, 3)


@pytest.mark.parametrize("text", ['tiff:Orientation="6"', "<tiff:Orientation>6</tiff:Orientation>"])
def test_xmp_gives_the_orientation_that_exif_lacks(text: str) -> None:
    xmp = f"<x:xmpmeta {text}>".encode()
    segment = b"http://ns.adobe.com/xap/1.0/\0" + xmp
    assert decode_image(insert_segment(JPEG, 0xE1, segment)).shape == (40, 24, 3)
    chunk = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    assert decode_image(PNG[:33] + chunk + PNG[33:]).shape == (40, 24, 3)
    assert decode_image(encode(PIXELS, "webp", xmp=xmp)).shape == (40, 24, 3)
    assert Metadata(exif(orientation(1)), xmp).orientation == 1
    assert Metadata(exif((0x0131, 2, 2, b"a\0")), xmp).orientation == 6
    assert Metadata(b"Exif\0\0rubbish", xmp).orientation == 6


def test_exif_of_a_tiff_is_that_of_its_directory() -> None:
    image = encode(PIXELS, "tiff", exif=exif(orientation(6)))
    assert decode_image(image).shape == (40, 24, 3)


def test_an_avif_is_turned_once_and_damaged_exif_costs_nothing() -> None:
    turned = encode(PIXELS, "avif", exif=TURNED)
    assert decode_image(turned).shape == (40, 24, 3)
    tagged = encode(PIXELS, "avif", exif=exif((0x0131, 2, 9, b"software\0")))
    assert tagged.count(b"II*\0\x08") == 1
    np.testing.assert_array_equal(decode_image(tagged.replace(b"II*\0\x08", b"rubbi")), decode_image(tagged))
