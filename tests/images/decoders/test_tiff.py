"""TIFF files: samples of every type and layout, tags that no pixel depends on, damage."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image, ImageFile

from facetools.images.decoders import tiff
from facetools.images.decoding import decode_image
from facetools.images.reading import ImageError
from tests.images.cases import encode, gradient
from tests.images.files import tiff_directory, tiff_file

LAYOUTS = {
    "one strip": {},
    "strips": {"rows": 5},
    "tiles": {"tile": (16, 16)},
    "planes": {"planar": 2},
    "compressed": {"compression": 8, "rows": 5},
    "compressed tiles": {"compression": 8, "tile": (16, 16)},
    "compressed planes": {"compression": 8, "planar": 2},
    "differences": {"compression": 8, "predictor": 2, "rows": 4},
    "differences in tiles": {"compression": 8, "predictor": 2, "tile": (16, 16)},
    "differences in planes": {"compression": 8, "predictor": 2, "planar": 2},
    "differences of floating-point numbers": {"compression": 8, "predictor": 3, "rows": 6},
    "differences of floating-point numbers in tiles": {"compression": 8, "predictor": 3, "tile": (16, 16)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("type_", ["i1", "u2", "i2", "u4", "i4", "u8", "f2", "f4", "f8"])
def test_samples_of_every_type_and_layout_are_read_exactly(type_: str, layout: str) -> None:
    if "floating" in layout and not type_.startswith("f"):
        pytest.skip("a layout of floating-point numbers")
    rng = np.random.default_rng(0)
    for channels, mode, extra in ((1, "L", ()), (2, "LA", (2,)), (3, "RGB", ()), (4, "RGBA", (2,)), (4, "RGBa", (1,))):
        samples = rng.integers(-100 if type_ == "i1" else 0, 120, (37, 21, channels)).astype(type_)
        if type_.startswith("f"):
            samples /= 7
        for order in "<>":
            data = tiff_file(samples, order=order, extra=extra, **LAYOUTS[layout])
            read = tiff.read_samples(tiff.Directory(data), 2**20)
            assert read is not None
            assert read.mode == mode
            np.testing.assert_array_equal(read.values, samples)


def test_a_big_tiff_of_either_byte_order_is_read() -> None:
    pixels = gradient(12, 10, 1)
    for order, start in (("<", b"II+\0\x08\0\0\0"), (">", b"MM\0+\0\x08\0\0")):
        position = 16 + pixels.size
        tags = [(256, 10), (257, 12), (258, 8), (259, 1), (262, 1), (273, 16), (277, 1), (278, 12), (279, pixels.size)]
        entries = b"".join(struct.pack(f"{order}HHQQ", tag, 16, 1, value) for tag, value in tags)
        directory = struct.pack(f"{order}Q", len(tags)) + entries + bytes(8)
        data = start + struct.pack(f"{order}Q", position) + pixels.tobytes() + directory
        np.testing.assert_array_equal(decode_image(data), np.repeat(pixels, 3, axis=2))


def test_white_may_be_zero_and_colors_may_be_multiplied_by_alpha() -> None:
    gray = np.array([[[0], [20000], [65535]]], np.uint16)
    assert decode_image(tiff_file(gray, photometric=0))[0, :, 0].tolist() == [255, 255 - 78, 0]
    half = np.array([[[20000, 0, 0, 32768], [0, 0, 0, 0], [65535, 0, 0, 65535]]], np.uint16)
    decoded = decode_image(tiff_file(half, extra=(1,)))[0].astype(int)
    np.testing.assert_allclose(decoded, [[205, 127, 127], [255, 255, 255], [255, 0, 0]], atol=2)
    unspecified = np.array([[[65535, 0, 0, 5]]], np.uint16)
    assert decode_image(tiff_file(unspecified, extra=(0,))).tolist() == [[[255, 0, 0]]]


def test_cmyk_of_16_bits_is_converted() -> None:
    inks = np.zeros((1, 2, 4), np.uint16)
    inks[0, 1, 3] = 65535
    assert decode_image(tiff_file(inks, photometric=5)).tolist() == [[[255, 255, 255], [0, 0, 0]]]


def test_12_bits_per_sample_declare_a_range() -> None:
    # 0, 200, 1000 and 800 in packed samples of 12 bits.
    packed = bytes.fromhex("0000c8 3e8320")
    tags = [(256, 2), (257, 2), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 2), (279, len(packed))]
    directory = tiff_directory([(tag, 3, 1, struct.pack("<H", value)) for tag, value in tags], 14)
    data = b"II*\0" + struct.pack("<L", 14) + packed + directory
    assert decode_image(data)[:, :, 0].tolist() == [[0, 12], [62, 50]]


def test_a_declared_range_counts() -> None:
    samples = np.array([[[1000], [6000]]], np.uint16)
    with pytest.raises(ImageError, match="range cannot be decided"):
        decode_image(tiff_file(samples))
    tag = (281, 3, 1, struct.pack("<H", 16383))
    assert decode_image(tiff_file(samples, tags=[tag]))[0, :, 0].tolist() == [16, 93]
    statistics = (281, 3, 1, struct.pack("<H", 6000))
    with pytest.raises(ImageError, match="range cannot be decided"):
        decode_image(tiff_file(samples, tags=[statistics]))


ODD_TAGS = {
    "text outside of the file": (0x0131, 2, 400, b""),
    "many entries of one": (0x0128, 3, 3, struct.pack("<3H", 2, 2, 2)),
    "wrong type": (0x011A, 2, 3, b"ab\0"),
    "directory of rubbish": (0x8769, 4, 1, struct.pack("<L", 3)),
    "orientation as text": (0x0112, 2, 2, b"6\0"),
    "profile of rubbish": (34675, 7, 6, b"abcdef"),
    "profile of numbers": (34675, 3, 3, b"abcdef"),
    "XMP of rubbish": (700, 3, 2, b"\xff\xff\xff\xff"),
    "sub-directories": (330, 4, 2, struct.pack("<LL", 2**31, 8)),
    "unknown type": (60000, 99, 1, b""),
}


@pytest.mark.parametrize("kind", ODD_TAGS)
@pytest.mark.parametrize("type_", ["u1", "u2"])
def test_tags_that_no_pixel_depends_on_cost_nothing(type_: str, kind: str) -> None:
    pixels = gradient(12, 10)
    samples = pixels.astype(type_) * (257 if type_ == "u2" else 1)
    tag = ODD_TAGS[kind]
    outside = tag[3] == b"" and tag[1] == 2
    data = tiff_file(samples, tags=[tag if not outside else (*tag[:3], b"\xff\xff\xff\x7f")])
    np.testing.assert_array_equal(decode_image(data), pixels)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd", "lzma"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "YCbCr", "LAB", "1"])
def test_files_of_pillow_are_decoded_as_pillow_does(mode: str, compression: str) -> None:
    if compression == "jpeg" and mode in ("P", "1", "LAB"):
        pytest.skip("JPEG has no such mode")
    image = Image.fromarray(gradient(24, 20)).convert(mode)
    data = encode(image, "tiff", compression=compression)
    # Chroma may be subsampled, and YCbCr is rounded twice.
    tolerance = 40 if compression == "jpeg" else 2
    np.testing.assert_allclose(decode_image(data).astype(int), np.asarray(image.convert("RGB")), atol=tolerance)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"II*\0", "^the TIFF is damaged: its directory has no image size$"),
        (b"II*\0\x08\0\0\0" + bytes(20), "^the TIFF is damaged: its directory has no image size$"),
        (
            tiff_file(np.zeros((4, 4, 3), np.float32), compression=999),
            "^TIFFs with 3 samples of 32 bits .floating-point.",
        ),
        (tiff_file(np.ones((4, 4, 3), np.int16), photometric=6), "^TIFFs with 3 samples of 16 bits .signed.,"),
        (tiff_file(np.full((2, 2, 1), np.nan, np.float32)), "^its samples are not all finite numbers$"),
        (tiff_file(np.full((2, 2, 1), -5, np.int16)), "^its samples are from -5 to -5, so that their range cannot be"),
    ],
    ids=["no directory", "empty directory", "unknown compression", "YCbCr of 16 bits", "NaN", "negative"],
)
def test_what_cannot_be_read_is_named(data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        decode_image(data)


def test_libtiff_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "zstd", "lzma"):
        data = bytearray(encode(gradient(60, 50), "tiff", compression=compression))
        data[40:60] = b"\xff" * 20
        for accept_truncated in (False, True):
            try:
                decode_image(bytes(data), accept_truncated=accept_truncated)
            except ImageError as error:
                assert str(error).startswith("cannot be decoded")
    assert capfd.readouterr() == ("", "")
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
