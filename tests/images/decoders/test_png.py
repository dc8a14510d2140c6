"""PNG files: chunks that no pixel depends on cost nothing, those of the pixels are checked."""

from __future__ import annotations

import os
import zlib

import numpy as np
import pytest

from facetools.images.decoders.truncation import TruncatedImageError
from facetools.images.decoding import decode_image
from facetools.images.reading import ImageError
from tests.images.cases import encode, gradient
from tests.images.files import PNG_SIGNATURE, deep_png, exif, orientation, png_chunk, png_file

PIXELS = gradient(30, 20)
PLAIN = encode(PIXELS)
HEADER_END = 33


def before_pixels(*chunks: bytes) -> bytes:
    return PLAIN[:HEADER_END] + b"".join(chunks) + PLAIN[HEADER_END:]


LONG = zlib.compress(b"x" * 3_000_000)
ODD_FILES = {
    "long zTXt": before_pixels(png_chunk(b"zTXt", b"parameters\0\0" + LONG)),
    "long zTXt after the pixels": PLAIN[:-12] + png_chunk(b"zTXt", b"parameters\0\0" + LONG) + PLAIN[-12:],
    "long iTXt": before_pixels(png_chunk(b"iTXt", b"prompt\0\1\0\0\0" + LONG)),
    "texts of 80 MB": before_pixels(png_chunk(b"zTXt", b"k\0\0" + zlib.compress(b"y" * 1_000_000)) * 80),
    "long iCCP": before_pixels(png_chunk(b"iCCP", b"icc\0\0" + zlib.compress(os.urandom(100) * 200_000))),
    "iCCP that is not compressed": before_pixels(png_chunk(b"iCCP", b"icc\0\0rubbish")),
    "iCCP without name": before_pixels(png_chunk(b"iCCP", b"")),
    "wrong checksum of tEXt": before_pixels(png_chunk(b"tEXt", b"a\0b", checksum=1)),
    "wrong length of tEXt": before_pixels(png_chunk(b"tEXt", b"a\0b").replace(b"\0\0\0\3", b"\0\0\0\7")),
    "huge length of tEXt": before_pixels(png_chunk(b"tEXt", b"a\0b").replace(b"\0\0\0\3", b"\x7f\xff\xff\xff")),
    "rubbish in eXIf": before_pixels(png_chunk(b"eXIf", b"nothing of the kind")),
    "rubbish in a profile of ImageMagick": before_pixels(png_chunk(b"tEXt", b"Raw profile type exif\0\nexif\n9\nxyz")),
    "wrong checksum of IEND": PLAIN[:-4] + bytes(4),
    "no IEND": PLAIN[:-12],
    "half of IEND": PLAIN[:-9],
    "junk at the end": PLAIN + bytes(1000),
    "a line feed at the start": b"\n" + PLAIN,
    "unknown chunk": before_pixels(png_chunk(b"zzZz", b"?")),
    "palette of colors to use": before_pixels(png_chunk(b"PLTE", b"\0\0\0")),
    **{f"short {kind}": before_pixels(png_chunk(kind.encode(), b"\0")) for kind in ("pHYs", "tRNS", "gAMA", "sRGB")},
    **{f"odd {kind}": before_pixels(png_chunk(kind.encode(), bytes(8))) for kind in ("acTL", "fcTL", "tIME", "cHRM")},
}


@pytest.mark.parametrize("kind", ODD_FILES)
def test_chunks_that_no_pixel_depends_on_cost_nothing(kind: str) -> None:
    np.testing.assert_array_equal(decode_image(ODD_FILES[kind]), PIXELS)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (PLAIN[:29] + b"\0\0\0\0" + PLAIN[33:], "^the PNG is damaged: the checksum of its header or palette is wrong$"),
        (PNG_SIGNATURE, "^the PNG ends before its pixels, or has no header$"),
        (PLAIN[:33], "^the PNG ends before its pixels$"),
        (PLAIN[:41], "^the PNG ends before its pixels$"),
        (PLAIN[:60] + b"\xff" * 20 + PLAIN[80:], "^cannot be decoded: broken data stream$"),
    ],
    ids=["header checksum", "signature", "header", "start of pixels", "damaged pixels"],
)
def test_damaged_pixels_are_reported(data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message) as error:
        decode_image(data)
    assert not isinstance(error.value, TruncatedImageError)


def test_the_palette_and_its_transparency_are_kept() -> None:
    palette, pixels = png_chunk(b"PLTE", b"\xff\0\0\0\xff\0\0\0\xff"), b"\0\0\1\2"
    data = png_file(3, 1, 8, 3, pixels, palette, png_chunk(b"tRNS", b"\xff\0"))
    np.testing.assert_array_equal(decode_image(data), [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]])
    short = png_file(3, 1, 8, 3, pixels, palette)
    np.testing.assert_array_equal(decode_image(short), [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]])


@pytest.mark.parametrize(("depth", "row", "transparent"), [(1, 0x80, 1), (2, 0xB0, 2), (4, 0xA5, 10), (8, 7, 7)])
def test_a_transparent_gray_level_of_any_depth_becomes_white(depth: int, row: int, transparent: int) -> None:
    data = png_file(1, 1, depth, 0, bytes([0, row]), png_chunk(b"tRNS", bytes([0, transparent])))
    assert decode_image(data).tolist() == [[[255, 255, 255]]]
    other = png_file(1, 1, depth, 0, bytes([0, row]), png_chunk(b"tRNS", bytes([0, transparent - 1])))
    assert decode_image(other).max() == round((row >> (8 - depth)) * 255 / (2**depth - 1))


def test_an_orientation_after_the_pixels_counts() -> None:
    chunk = png_chunk(b"eXIf", exif(orientation(6))[6:])
    assert decode_image(PLAIN[:-12] + chunk + PLAIN[-12:]).shape == (20, 30, 3)


def test_the_exif_profile_of_imagemagick_counts() -> None:
    digits = exif(orientation(6)).hex()
    text = f"\nexif\n{len(digits) // 2:8}\n{digits[:72]}\n{digits[72:]}\n".encode()
    assert decode_image(before_pixels(png_chunk(b"tEXt", b"Raw profile type exif\0" + text))).shape == (20, 30, 3)
    compressed = b"Raw profile type exif\0\0" + zlib.compress(text)
    assert decode_image(before_pixels(png_chunk(b"zTXt", compressed))).shape == (20, 30, 3)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("white", [255, 4095, 65535])
def test_16_bit_samples_are_scaled_by_their_range(channels: int, white: int) -> None:
    shades = np.linspace(0, white, 60).reshape(6, 10).astype(int)
    samples = np.stack([shades] * channels, axis=2)
    if channels in (2, 4):
        samples[:, :, -1] = white
    expected = np.rint(shades * 255 / white)
    assert np.abs(decode_image(deep_png(samples)) - expected[:, :, None]).max() <= 1


def test_a_transparent_16_bit_color_becomes_white() -> None:
    gray = np.array([[[1000], [1001], [65535]]])
    decoded = decode_image(deep_png(gray, png_chunk(b"tRNS", b"\x03\xe8")))
    assert decoded[0, :, 0].tolist() == [255, 4, 255]
    colors = np.array([[[1000, 2000, 3000], [1000, 2000, 3001], [65535, 0, 0]]])
    decoded = decode_image(deep_png(colors, png_chunk(b"tRNS", b"\x03\xe8\x07\xd0\x0b\xb8")))
    assert decoded[0].tolist() == [[255, 255, 255], [4, 8, 12], [255, 0, 0]]
