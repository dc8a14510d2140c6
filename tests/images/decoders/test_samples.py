"""Samples of more than 8 bits: which ranges are recognized, and which images are refused."""

from __future__ import annotations

import numpy as np
import pytest

from facetools.images.decoders.samples import scale_to_8_bits
from facetools.images.reading import ImageError


@pytest.mark.parametrize(
    ("type_", "highest", "white"),
    [
        *[(type_, highest, 255) for type_ in ("u2", "i2", "u4", "i4", "u8") for highest in (0, 1, 100, 255)],
        *[(type_, highest, 1023) for type_ in ("u2", "i2", "i4", "f4") for highest in (600, 1023)],
        *[(type_, highest, 4095) for type_ in ("u2", "i2", "i4", "f8") for highest in (1025, 4095)],
        *[(type_, highest, 65535) for type_ in ("u2", "u4", "i4", "f4") for highest in (16385, 50001, 65535)],
        *[("i2", highest, 32767) for highest in (16385, 32767)],
        ("i1", 127, 127),
        ("i1", 3, 127),
        *[("u4", highest, 2**32 - 1) for highest in (2**31, 2**32 - 1)],
        *[("i4", highest, 2**31 - 1) for highest in (2**30, 2**31 - 1)],
        ("u8", 2**64 - 1, 2**64 - 1),
        *[(type_, highest, 1) for type_ in ("f2", "f4", "f8") for highest in (0, 0.01, 0.5, 1, 1.05)],
        *[(type_, highest, 255) for type_ in ("f2", "f4", "f8") for highest in (16, 100.5, 255, 270)],
    ],
)
def test_the_largest_sample_decides_the_range(type_: str, highest: float, white: float) -> None:
    samples = np.append(np.linspace(0, highest / 2, 50).astype(type_), np.array(highest).astype(type_))
    expected = np.rint(samples.astype(np.float64) * 255 / white).clip(0, 255)
    scaled = scale_to_8_bits(samples)
    assert scaled.dtype == np.uint8
    np.testing.assert_allclose(scaled, expected, atol=1 if type_ == "f2" else 0)


@pytest.mark.parametrize(
    ("type_", "lowest", "highest"),
    [
        *[("u2", 0, highest) for highest in (4097, 9999, 16383)],
        *[("i4", 0, highest) for highest in (70_000, 2**24, 2**30 - 2)],
        *[("i2", lowest, 30_000) for lowest in (-1, -32768)],
        *[("f4", 0, highest) for highest in (1.2, 2.5, 15, 5000, 70_000, 1e30)],
        *[("f4", lowest, 1) for lowest in (-1, -0.2)],
        ("f8", -50, 255),
        ("i1", -128, 127),
    ],
)
def test_an_image_of_unknown_range_is_refused(type_: str, lowest: float, highest: float) -> None:
    with pytest.raises(ImageError, match=r"^its samples are from .* to .*, so that their range cannot be decided$"):
        scale_to_8_bits(np.array([lowest, highest]).astype(type_))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ImageError, match=r"^its samples are not all finite numbers$"):
        scale_to_8_bits(np.array([0, 0.5, value, 1], np.float32))


@pytest.mark.parametrize("factor", [256, 257])
@pytest.mark.parametrize("type_", ["u2", "u4"])
def test_8_bit_samples_that_were_multiplied_are_restored(type_: str, factor: int) -> None:
    for highest in (3, 14, 40, 255):  # dark images of 16 bits
        original = np.arange(highest + 1)
        np.testing.assert_array_equal(scale_to_8_bits((original * factor).astype(type_)), original)


def test_a_declared_range_counts_unless_a_sample_exceeds_it() -> None:
    samples = np.array([0, 5000, 9000], np.uint16)
    np.testing.assert_array_equal(scale_to_8_bits(samples, 16383), [0, 78, 140])
    np.testing.assert_array_equal(scale_to_8_bits(np.array([0, 60_000], np.uint16), 4095), [0, 233])


def test_overshoot_is_clipped() -> None:
    np.testing.assert_array_equal(scale_to_8_bits(np.array([-0.04, 0.5, 1.05])), [0, 128, 255])
    np.testing.assert_array_equal(scale_to_8_bits(np.array([-9.0, 100.2, 261])), [0, 100, 255])


def test_samples_of_8_bits_are_not_scaled() -> None:
    np.testing.assert_array_equal(scale_to_8_bits(np.array([0, 1], np.uint8)), [0, 1])
