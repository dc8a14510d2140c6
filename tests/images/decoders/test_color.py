"""ICC profiles: colors become those of sRGB, and a profile that cannot be used changes nothing."""

from __future__ import annotations

import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms

from facetools.images.decoders import color
from facetools.images.decoding import decode_image
from tests.images.cases import encode, gradient
from tests.images.files import (
    DISPLAY_P3,
    cmyk_profile,
    gray_profile,
    icc_profile,
    insert_segment,
    png_chunk,
    rgb_profile,
)

#: Red, green and blue of sRGB as columns, X, Y and Z relative to D50.
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])

PIXELS = gradient(48, 40)
#: Red and blue exchanged.
SWAPPED = rgb_profile(SRGB[:, ::-1])


def to_srgb(pixels: np.ndarray, primaries: np.ndarray = DISPLAY_P3, gamma: float = 2.2) -> np.ndarray:
    """The levels of sRGB, float (..., 3), for the levels `pixels` of the profile `rgb_profile(primaries, gamma)`."""
    light = (pixels / 255) ** gamma @ (np.linalg.inv(SRGB) @ primaries).T
    light = light.clip(0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("format", ["png", "jpeg", "webp", "tiff", "avif"])
def test_an_embedded_profile_is_converted_to_srgb(format: str) -> None:
    options = {"png": {}, "jpeg": {"quality": 98, "subsampling": 0}, "webp": {"lossless": True}, "tiff": {}}
    options["avif"] = {"quality": 100, "subsampling": "4:4:4"}
    data = encode(PIXELS, format, icc_profile=rgb_profile(), **options[format])
    difference = np.abs(decode_image(data) - to_srgb(PIXELS))
    # Lossy formats change dark levels, which conversion amplifies.
    assert difference.max() <= (2.5 if format in ("png", "webp", "tiff") else 20)
    assert difference.mean() <= 1
    assert np.abs(PIXELS - to_srgb(PIXELS)).max() > 20  # or nothing is tested


def test_conversion_after_resizing_is_close() -> None:
    data = encode(PIXELS, icc_profile=rgb_profile())
    image = Image.fromarray(to_srgb(PIXELS).round().astype(np.uint8)).resize((12, 16), Image.Resampling.BILINEAR)
    difference = np.abs(decode_image(data, (16, 12)).astype(int) - np.asarray(image))
    assert difference.mean() < 0.5
    assert difference.max() <= 12  # where colors are outside of sRGB


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_colors_of_transparent_and_palette_images_are_converted(mode: str) -> None:
    image = Image.new(mode, (2, 2), (200, 30, 10) if mode == "RGBA" else 0)
    if mode == "P":
        image.putpalette([200, 30, 10])
    decoded = decode_image(encode(image, icc_profile=SWAPPED))
    np.testing.assert_allclose(decoded[0, 0], to_srgb(np.array([200, 30, 10]), SRGB[:, ::-1]), atol=3)


def test_gray_images_are_converted() -> None:
    shades = np.arange(0, 256, 5, dtype=np.uint8).reshape(4, 13)
    decoded = decode_image(encode(shades, icc_profile=gray_profile(1.0)))
    expected = to_srgb(np.repeat(shades[:, :, None], 3, axis=2), SRGB, 1.0)
    np.testing.assert_allclose(decoded, expected, atol=1.5)
    deep = decode_image(encode(shades.astype(np.uint16) * 257, icc_profile=gray_profile(1.0)))
    np.testing.assert_array_equal(deep, decoded)


@pytest.mark.parametrize("format", ["jpeg", "tiff"])
def test_cmyk_images_are_converted(format: str) -> None:
    inks = np.zeros((16, 48, 4), np.uint8)
    inks[:, 16:32, 0] = 255  # cyan, which is black in this profile
    inks[:, 32:, 3] = 255  # black, which is invisible
    image = Image.frombytes("CMYK", (48, 16), inks.tobytes())
    plain = decode_image(encode(image, format))
    assert plain[8, 24, 1] > 230 and plain[8, 40].max() < 20
    decoded = decode_image(encode(image, format, icc_profile=cmyk_profile()))
    assert decoded[8, 8].min() > 240 and decoded[8, 24].max() < 15 and decoded[8, 40].min() > 240
    resized = decode_image(encode(image, format, icc_profile=cmyk_profile()), (4, 12))
    assert resized[2, 2].min() > 240 and resized[2, 6].max() < 15


@pytest.mark.parametrize("gamma", [None, 2.2])
def test_profiles_of_srgb_change_nothing(gamma: float | None) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert not color.changes_colors(profile, "RGB")
    np.testing.assert_array_equal(decode_image(encode(PIXELS, icc_profile=profile)), PIXELS)
    assert color.changes_colors(rgb_profile(SRGB, 1.8), "RGB")


def test_a_profile_in_several_segments_of_a_jpeg_is_joined() -> None:
    plain = encode(PIXELS, "jpeg", quality=98, subsampling=0)
    whole = encode(PIXELS, "jpeg", quality=98, subsampling=0, icc_profile=SWAPPED)
    parts = [SWAPPED[:200], SWAPPED[200:300], SWAPPED[300:]]
    segments = [b"ICC_PROFILE\0" + bytes([number, 3]) + part for number, part in enumerate(parts, start=1)]
    for order in ((0, 1, 2), (2, 0, 1)):
        data = plain
        for number in order:
            data = insert_segment(data, 0xE2, segments[number])
        np.testing.assert_array_equal(decode_image(data), decode_image(whole))
    np.testing.assert_array_equal(decode_image(insert_segment(plain, 0xE2, segments[0])), decode_image(plain))


UNUSABLE = {
    "rubbish": b"\xff" * 500,
    "short": b"acsp",
    "cut": rgb_profile()[:200],
    "gray": gray_profile(1.0),
    "CMYK": cmyk_profile(),
    "without tables": icc_profile(b"RGB ", {}),
    "XYZ": ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes(),
    "Lab": ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
    "bomb": rgb_profile() + bytes(2**24),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_profile_that_cannot_be_used_changes_nothing(kind: str) -> None:
    profile = UNUSABLE[kind]
    chunk = png_chunk(b"iCCP", b"p\0\0" + zlib.compress(profile))
    plain = encode(PIXELS)
    np.testing.assert_array_equal(decode_image(plain[:33] + chunk + plain[33:]), PIXELS)
    np.testing.assert_array_equal(decode_image(encode(PIXELS, "tiff", icc_profile=profile)), PIXELS)


def test_damaged_profiles_never_cost_the_image() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        profile = bytearray(cmyk_profile() if rng.random() < 0.3 else rgb_profile())
        for position in rng.integers(0, 452, 4):
            profile[position] = rng.integers(256)
        image = Image.fromarray(PIXELS).convert("CMYK" if len(profile) > 1000 else "RGB")
        assert decode_image(encode(image, "tiff", icc_profile=bytes(profile))).shape == PIXELS.shape


def test_threads_may_convert_at_the_same_time() -> None:
    profiles = [rgb_profile(gamma=1 + number / 30) for number in range(2 * color._CACHED_CONVERSIONS)]
    images = [encode(PIXELS, icc_profile=profile) for profile in profiles]
    expected = [decode_image(data) for data in images]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            for decoded, alone in zip(pool.map(decode_image, images), expected, strict=True):
                np.testing.assert_array_equal(decoded, alone)
    assert len(color._conversions) == color._CACHED_CONVERSIONS


def test_a_profile_of_a_lab_image_is_not_taken_for_that_of_its_rgb_form() -> None:
    image = Image.fromarray(PIXELS).convert("LAB")
    plain, tagged = encode(image, "tiff"), encode(image, "tiff", icc_profile=SWAPPED)
    np.testing.assert_array_equal(decode_image(tagged), decode_image(plain))
