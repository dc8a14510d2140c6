"""decode_image: every kind of image, and what is no image."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from facetools.images import decoding
from facetools.images.decoding import decode_image
from facetools.images.reading import ImageError
from tests.images.cases import encode, gradient

ORIENTATION_TAG = 0x0112


def test_a_png_is_decoded_exactly() -> None:
    pixels = gradient(30, 20)
    decoded = decode_image(encode(pixels))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, pixels)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (encode(gradient(64, 64), "jpeg")[:900], "^cannot be decoded: .*truncated"),
        (encode(gradient(64, 64))[:-60], "^cannot be decoded"),
        (b"I am no picture\n" * 50, "^not an image of a known format$"),
        (b"\xff\xd8\xff", "^not an image of a known format$"),
    ],
    ids=["truncated JPEG", "truncated PNG", "text", "three bytes"],
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
def test_16_bit_samples_lose_their_lower_byte(format: str, dtype: str) -> None:
    samples = np.array([[0, 255, 256], [32768, 65279, 65535]]).astype(dtype)
    decoded = decode_image(encode(samples, format))
    np.testing.assert_array_equal(decoded, np.stack([np.uint8([[0, 0, 1], [128, 254, 255]])] * 3, 2))


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


@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")
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
