"""decode_image: every kind of image, and what is no image."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from facetools.images import decoding
from facetools.images.decoding import decode_image
from facetools.images.reading import ImageError
from tests.images.cases import encode, gradient
from tests.images.files import PNG_SIGNATURE, insert_segment, png_chunk, tiff_file

ORIENTATION_TAG = 0x0112


def test_a_png_is_decoded_exactly() -> None:
    pixels = gradient(30, 20)
    decoded = decode_image(encode(pixels))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, pixels)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "^the file is empty$"),
        (encode(gradient(64, 64), "jpeg")[:900], "^it is truncated; --truncated accepts it$"),
        (encode(gradient(64, 64))[:-60], "^it is truncated; --truncated accepts it$"),
        (encode(gradient(64, 64), "webp")[:100], "^cannot be decoded as WEBP: it is damaged$"),
        (b"I am no picture\n" * 50, "^not an image, but text$"),
        (b"<html>404</html>", "^not an image, but HTML or XML document$"),
        (bytes(range(100, 200)), "^not an image of a known format$"),
        (b"\xff\xd8\xff", "^the JPEG ends before its pixels$"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "^not an image"),
        (encode(gradient(9, 9), "jpeg").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c"), "^JPEGs of 12 bits per"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500), "^HEIC images cannot be decoded; "),
    ],
    ids=[
        *("nothing", "truncated JPEG", "truncated PNG", "truncated WebP", "text", "HTML", "binary data", "three bytes"),
        *("PostScript", "JPEG of 12 bits", "HEIC"),
    ],
)
def test_undecodable_data_raises_an_error_with_the_reason(data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        decode_image(data)
    with pytest.raises(ImageError, match=message):
        decode_image(data, (32, 32))


@pytest.mark.parametrize("format", ["jpeg", "tiff"])
def test_cmyk_is_converted_to_rgb(format: str) -> None:
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[:, :8, 1] = 255  # magenta
    inks[:, 8:, 3] = 255  # black
    decoded = decode_image(encode(Image.frombytes("CMYK", (16, 16), inks.tobytes()), format))
    assert decoded.shape == (16, 16, 3)
    assert np.abs(decoded[8, 3].astype(int) - [255, 0, 255]).max() < 20
    assert decoded[8, 12].max() < 20


def test_grayscale_and_bilevel_are_converted_to_rgb() -> None:
    shades = gradient(16, 16, 1)[:, :, 0]
    np.testing.assert_array_equal(decode_image(encode(shades)), np.stack([shades] * 3, 2))
    bits = Image.fromarray((shades > 128).astype(np.uint8) * 255).convert("1")
    np.testing.assert_array_equal(decode_image(encode(bits))[:, :, 0], (shades > 128) * np.uint8(255))


@pytest.mark.parametrize(("format", "dtype"), [("png", "<u2"), ("tiff", "<u2"), ("tiff", ">u2"), ("tiff", "<i4")])
def test_16_bit_samples_are_scaled(format: str, dtype: str) -> None:
    samples = np.array([[0, 100, 256], [32768, 65279, 65535]]).astype(dtype)
    decoded = decode_image(encode(samples, format))
    np.testing.assert_array_equal(decoded, np.stack([np.uint8([[0, 0, 1], [128, 254, 255]])] * 3, 2))


#: Every mode that a decoder of Pillow can yield, and the color that it shows.
MODES = {
    "1": (255, 255, 255),
    **dict.fromkeys(["L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B"], (90, 90, 90)),
    **dict.fromkeys(["P", "PA", "RGB", "RGBX", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV", "LAB"], (90, 30, 200)),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_pillow_becomes_rgb(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    color = Image.new("RGB", (6, 4), (90, 30, 200))
    if mode in ("P", "PA"):
        image = color.quantize(4) if mode == "P" else color.convert("RGBA").convert("PA")
    elif mode.startswith(("I", "F")):
        samples = np.full((4, 6), 90, {"I": "<i4", "F": "<f4", "I;16B": ">u2"}.get(mode, "<u2"))
        image = Image.frombytes(mode, (6, 4), samples.tobytes())
    elif mode in ("La", "RGBa"):
        image = Image.new("LA" if mode == "La" else "RGBA", (6, 4), (90, 255) if mode == "La" else (90, 30, 200, 255))
        image = image.convert(mode)
    elif mode in ("1", "L", "LA"):
        image = Image.new(mode, (6, 4), {"1": 1, "L": 90, "LA": (90, 255)}[mode])
    else:
        image = color.convert(mode)
    assert image.mode == mode
    monkeypatch.setattr(decoding, "_identify", lambda data: image)
    for size in (None, (2, 3)):
        decoded = decode_image(b"data of any format", size)
        assert decoded.shape == (*(size or (4, 6)), 3)
        np.testing.assert_allclose(decoded, np.broadcast_to(MODES[mode], decoded.shape), atol=4)


@pytest.mark.parametrize("mode", ["LA", "La", "PA", "RGBA", "RGBa"])
def test_every_mode_with_transparency_is_blended_with_white(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.new("RGBA", (6, 4), (90, 90, 90, 102))
    image = image.convert("LA").convert("La") if mode == "La" else image.convert(mode)
    monkeypatch.setattr(decoding, "_identify", lambda data: image)
    np.testing.assert_allclose(decode_image(b"data of any format"), 189, atol=3)


def test_transparent_pixels_are_blended_with_white() -> None:
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 0] = 200
    pixels[0, :, 3] = [255, 0, 128]
    decoded = decode_image(encode(pixels))
    np.testing.assert_allclose(decoded[0].astype(int), [[200, 0, 0], [255, 255, 255], [227, 127, 127]], atol=1)
    gray = Image.fromarray(np.uint8([[[0, 255], [0, 0]]]))
    assert gray.mode == "LA"
    np.testing.assert_array_equal(decode_image(encode(gray))[0, :, 0], [0, 255])


@pytest.mark.parametrize("format", ["png", "gif"])
def test_a_transparent_palette_color_becomes_white(format: str) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    decoded = decode_image(encode(image, format, transparency=1))
    np.testing.assert_array_equal(decoded[0], [[255, 0, 0], [255, 255, 255], [0, 0, 255]])
    if format == "png":
        decoded = decode_image(encode(image, format, transparency=bytes([255, 255, 0])))
        np.testing.assert_array_equal(decoded[0], [[255, 0, 0], [0, 255, 0], [255, 255, 255]])


#: For each EXIF orientation, the upright image computed from the stored one.
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("format", ["png", "jpeg"])
def test_the_exif_orientation_is_applied(format: str, orientation: int) -> None:
    stored = gradient(24, 40)
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    options = {"quality": 95, "subsampling": 0} if format == "jpeg" else {}
    data = encode(stored, format, exif=exif.tobytes(), **options)
    upright = UPRIGHT[orientation](stored)
    np.testing.assert_allclose(decode_image(data), upright, atol=0 if format == "png" else 8)
    resized = np.asarray(Image.fromarray(np.ascontiguousarray(upright)).resize((10, 30), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(decode_image(data, (30, 10)), resized, atol=2 if format == "png" else 8)


def test_a_single_pixel_is_resized_to_any_size() -> None:
    data = encode(np.uint8([[[1, 2, 3]]]))
    assert decode_image(data).tolist() == [[[1, 2, 3]]]
    assert (decode_image(data, (5, 7)) == [1, 2, 3]).all()
    assert decode_image(data, (5, 7)).shape == (5, 7, 3)


def test_an_image_of_too_many_pixels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_PIXELS", 5000)
    assert decode_image(encode(gradient(50, 100))).shape == (50, 100, 3)
    for format in ("png", "jpeg"):
        with pytest.raises(ImageError, match=r"^51 x 100 pixels exceed the limit of 5000 pixels$"):
            decode_image(encode(gradient(100, 51), format))
    # A JPEG of 400 x 400 is decoded as 50 x 50, which is within the limit.
    assert decode_image(encode(gradient(400, 400), "jpeg"), (20, 20)).shape == (20, 20, 3)


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    """A file of about 100 bytes that claims 100 000 x 100 000 pixels."""
    header = b"P6 100000 100000 255\n"
    with pytest.raises(ImageError, match=r"^100000 x 100000 pixels exceed the limit"):
        decode_image(header + bytes(100))


@pytest.mark.parametrize(
    "data",
    [
        PNG_SIGNATURE + png_chunk(b"IHDR", struct.pack(">LLBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)),
        b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\2\0;",
        b"BM" + struct.pack("<LLLLllHH", 100, 0, 54, 40, 100_000, 100_000, 1, 24) + bytes(50),
        b"P5 100000 100000 65535\n" + bytes(100),
        b"RIFF\x1a\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0" + b"\xff\xff\0" * 2,
        tiff_file(np.zeros((1, 1, 3), np.uint8))
        .replace(b"\0\1\4\0\1\0\0\0\1\0", b"\0\1\4\0\1\0\0\0\xff\xff")
        .replace(b"\1\1\4\0\1\0\0\0\1\0", b"\1\1\4\0\1\0\0\0\xff\xff"),
        encode(Image.new("RGB", (16, 16)), "jpeg", progressive=True).replace(
            b"\x08\0\x10\0\x10", b"\x08\xff\xff\xff\xff"
        ),
    ],
    ids=["PNG", "GIF", "BMP", "PGM", "WebP", "TIFF", "progressive JPEG"],
)
def test_huge_images_are_refused_before_memory_is_allocated(data: bytes) -> None:
    code = "import resource, sys; from facetools.images.decoding import decode_image\n"
    code += "limit = 2**30 + 2**29; resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
    code += "try: decode_image(sys.stdin.buffer.read(), (9, 9))\n"
    code += "except ValueError as error: print(type(error).__name__, error)"
    completed = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, timeout=60)
    assert completed.stderr == b""
    assert completed.stdout.startswith(b"ImageError")


def test_an_icon_gives_its_largest_picture() -> None:
    largest = Image.fromarray(gradient(64, 64))
    data = encode(largest, "ico", sizes=[(16, 16), (64, 64)])
    np.testing.assert_array_equal(decode_image(data), gradient(64, 64))
    bitmaps = encode(largest, "ico", sizes=[(16, 16), (64, 64)], bitmap_format="bmp")
    np.testing.assert_array_equal(decode_image(bitmaps), gradient(64, 64))
    lying = bitmaps.replace(struct.pack("<LLL", 40, 64, 128), struct.pack("<LLL", 40, 60_000, 120_000))
    with pytest.raises(ImageError, match=r"^the icon is damaged: the size of its picture is wrong$"):
        decode_image(lying)


def test_bytes_before_a_jpeg_are_skipped() -> None:
    data = encode(gradient(20, 20), "jpeg")
    for junk in (b"\n", b"\r\n\r\n", b"\xef\xbb\xbf"):
        np.testing.assert_array_equal(decode_image(junk + data), decode_image(data))


def test_segments_that_no_pixel_depends_on_cost_no_jpeg() -> None:
    data = encode(gradient(24, 40), "jpeg")
    expected = decode_image(data)
    odd = {
        0xE0: (b"JFIF\0\1", b"", b"JFXX\0\x10" + data[:200]),
        0xE1: (b"", b"http://ns.adobe.com/xap/1.0/\0\xff\xfe"),
        0xE2: (b"MPF\0" + b"II*\0\x08\0\0\0\xff\xff", b"MPF\0", b"ICC_PROFILE\0", b"ICC_PROFILE\0\1\2x"),
        0xED: (b"Photoshop 3.0\x008BIM\4\4\0\0\xff\xff\xff\xff",),
        0xEE: (b"Adobe", b"x"),
        0xFE: (b"", b"\xff\xd9\xff\xd8", b"x" * 65533),
    }
    for marker, contents in odd.items():
        for content in contents:
            np.testing.assert_array_equal(decode_image(insert_segment(data, marker, content)), expected)
    np.testing.assert_array_equal(decode_image(data[:20] + b"junk" + data[20:]), expected)
    np.testing.assert_array_equal(decode_image(data[:2] + b"\xff" * 9 + data[2:]), expected)
    second = encode(gradient(9, 9), "jpeg")
    several = encode(
        Image.fromarray(gradient(24, 40)), "mpo", save_all=True, append_images=[Image.fromarray(gradient(9, 9))]
    )
    np.testing.assert_array_equal(decode_image(several), expected)
    np.testing.assert_array_equal(decode_image(data + second), expected)


def test_the_first_frame_of_an_animation_is_decoded() -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue", "lime")]
    for format in ("gif", "png", "webp"):
        options = {"lossless": True} if format == "webp" else {}
        data = encode(frames[0], format, save_all=True, append_images=frames[1:], **options)
        assert (decode_image(data) == [255, 0, 0]).all()


@pytest.mark.parametrize("side", [700, 300, 81, 80, 79, 10])
def test_a_jpeg_decoded_at_reduced_size_is_accurate(side: int) -> None:
    pixels = gradient(side, side)
    expected = np.asarray(Image.fromarray(pixels).resize((60, 80), Image.Resampling.BILINEAR))
    decoded = decode_image(encode(pixels, "jpeg", quality=95, subsampling=0), (80, 60))
    assert np.abs(decoded - expected.astype(int)).max() <= 8


def images_of_all_formats() -> list[bytes]:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = 6
    formats: list[tuple[str, dict]] = [(format, {"exif": exif}) for format in ("jpeg", "png", "webp")]
    formats += [(format, {}) for format in ("gif", "bmp", "tiff", "ppm")]
    return [encode(gradient(24, 24), format, **options) for format, options in formats]


def test_damaged_data_gives_an_image_or_an_image_error() -> None:
    rng = random.Random(0)
    outcomes = {"image": 0, "error": 0}
    tiff_with_bad_offset = encode(gradient(24, 24), "tiff").replace(b"\x11\x01\x04\x00", b"\x11\x01\x0b\x00")
    for _ in range(150):
        for original in (*images_of_all_formats(), tiff_with_bad_offset):
            damaged = bytearray(original)
            for _ in range(rng.randint(1, 4)):
                damaged[rng.randrange(min(len(original), 400))] = rng.randrange(256)
            if rng.random() < 0.2:
                del damaged[rng.randrange(len(damaged)) :]
            try:
                decoded = decode_image(bytes(damaged), (8, 8))
            except ImageError as error:
                outcomes["error"] += 1
                assert str(error)
            else:
                outcomes["image"] += 1
                assert decoded.shape == (8, 8, 3)
                assert decoded.dtype == np.uint8
    assert min(outcomes.values()) > 200


def test_a_frame_that_is_larger_than_its_image_is_refused_without_a_warning() -> None:
    frame = b",\0\0\0\0" + struct.pack("<HH", 20_000, 20_000) + b"\0\2\2\x44\1\0;"
    data = b"GIF89a\x0a\0\x0a\0\x80\0\0" + bytes(6) + frame
    with pytest.raises(ImageError, match=r"exceeds? the limit of 268435456 pixels$"):
        decode_image(data)
