"""Metadata: the orientation is read from EXIF and XMP of every kind, and what is damaged changes nothing."""

from __future__ import annotations

import struct
import warnings

import numpy as np
import pytest

from facetools.images.decoders.metadata import Metadata
from facetools.images.decoding import decode_image
from tests.images.cases import encode, gradient
from tests.images.files import exif, insert_segment, orientation, png_chunk

PIXELS = gradient(24, 40)
JPEG, PNG = encode(PIXELS, "jpeg", quality=95), encode(PIXELS)
TURNED = exif(orientation(6))

#: EXIF data, and the orientation that it means.
EXIF = {
    "upright": (exif(orientation(1)), 1),
    "turned": (TURNED, 6),
    "big-endian": (exif((0x0112, 3, 1, b"\0\6"), order=">"), 6),
    "doubled header": (b"Exif\0\0" + TURNED, 6),
    "byte": (exif(orientation(6, 1)), 6),
    "long": (exif(orientation(6, 4)), 6),
    "two values": (exif((0x0112, 3, 2, struct.pack("<HH", 6, 6))), 6),
    "fraction": (exif((0x0112, 5, 1, struct.pack("<LL", 6, 1))), 6),
    "fraction of 0": (exif((0x0112, 5, 1, struct.pack("<LL", 6, 0))), 1),
    "NaN": (exif((0x0112, 11, 1, struct.pack("<f", float("nan")))), 1),
    "half": (exif((0x0112, 11, 1, struct.pack("<f", 6.5))), 1),
    "text": (exif((0x0112, 2, 2, b"6\0")), 1),
    "undefined": (exif((0x0112, 7, 1, b"\6")), 1),
    "unknown type": (exif((0x0112, 99, 1, b"\6")), 1),
    "0": (exif(orientation(0)), 1),
    "9": (exif(orientation(9)), 1),
    "65535": (exif(orientation(65535)), 1),
    "no values": (exif((0x0112, 3, 0, b"")), 1),
    "billions of values": (exif((0x0112, 3, 2**31, b"")), 1),
    "signed fraction of 0 before": (exif((0x9204, 10, 1, struct.pack("<ll", -2, 0)), orientation(6)), 6),
    "text that is no UTF-8": (exif((0x0131, 2, 6, b"\xff\xfe\xe9\xe8\x80\0"), orientation(6)), 6),
    "wrong offset before": (exif((0x0131, 2, 400, b"")[:3] + (b"\xff" * 400,), orientation(6))[:40], 6),
    "header alone": (b"Exif\0\0", 1),
    "rubbish": (b"Exif\0\0" + bytes(range(64)), 1),
    "only a byte order": (b"Exif\0\0II*\0", 1),
    "directory outside": (b"Exif\0\0II*\0\xff\xff\xff\x7f", 1),
    "directory of itself": (b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHLLL", 1, 0x8769, 4, 1, 8, 8), 1),
}


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
