"""Truncated images: refused unless they are to be accepted, in each thread for itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from facetools.images.batches import compute_batches, decode_images, image_batches
from facetools.images.decoders.truncation import TruncatedImageError
from facetools.images.decoding import decode_image, try_decode
from facetools.images.reading import ImageError
from tests.images.cases import encode, gradient, write_files
from tests.images.files import tiff_file

PIXELS = gradient(120, 90)
NOISE = np.random.default_rng(0).integers(0, 256, (120, 90, 3), dtype=np.uint8)
JPEG = encode(NOISE, "jpeg", quality=90)
SCAN = JPEG.index(b"\xff\xda") + 14

FILES = {
    "JPEG": JPEG,
    "progressive JPEG": encode(NOISE, "jpeg", progressive=True),
    "JPEG with restarts": encode(NOISE, "jpeg", restart_marker_rows=1),
    "PNG": encode(NOISE),
    "interlaced PNG of 16 bits": encode(NOISE[:, :, 0].astype(np.uint16) * 257),
    "GIF": encode(Image.fromarray(NOISE).quantize(200), "gif", interlace=0),
    "BMP": encode(NOISE, "bmp"),
    "PPM": encode(NOISE, "ppm"),
    "TIFF": encode(NOISE, "tiff"),
}


@pytest.mark.parametrize("kind", FILES)
def test_the_part_that_is_there_is_decoded_if_asked_for(kind: str) -> None:
    data = FILES[kind]
    # The directory of a TIFF of Pillow comes first.
    cut = data[: int(0.6 * len(data))]
    with pytest.raises(TruncatedImageError, match=r"^it is truncated; --truncated accepts it$"):
        decode_image(cut)
    whole, decoded = decode_image(data).astype(int), decode_image(cut, accept_truncated=True)
    assert decoded.shape == whole.shape
    # A BMP starts with the bottom row; a progressive JPEG is complete at a lower quality.
    rows = slice(-40, None) if kind == "BMP" else slice(0, 40)
    assert np.abs(decoded - whole)[rows].max() <= (255 if kind == "progressive JPEG" else 0)
    assert np.abs(decoded - whole).max() > 20
    assert decode_image(cut, (8, 8), accept_truncated=True).shape == (8, 8, 3)
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_a_truncated_tiff_of_deep_samples_is_decoded_if_asked_for() -> None:
    data = tiff_file(NOISE.astype(np.uint16) * 257)
    # A strip that ends outside of the file.
    cut = data.replace((8).to_bytes(4, "little"), (20_000).to_bytes(4, "little"), 2)
    assert decode_image(cut, accept_truncated=True).shape == NOISE.shape


def test_a_jpeg_that_lacks_its_end_marker_alone_is_whole() -> None:
    for pixels in (NOISE, PIXELS, PIXELS[:, :, 0]):
        for options in ({}, {"optimize": True}, {"subsampling": 0}, {"restart_marker_rows": 1}):
            if pixels.ndim == 2 and "subsampling" in options:
                continue
            data = encode(pixels, "jpeg", **options)
            for size in (None, (10, 10)):
                np.testing.assert_array_equal(decode_image(data[:-2], size), decode_image(data, size))
                np.testing.assert_array_equal(decode_image(data[:-1], size), decode_image(data, size))
            for missing in (3, 4, 5, 20):
                try:
                    decoded = decode_image(data[:-missing])
                except TruncatedImageError:
                    continue
                # The bytes that are missing decided nothing that is visible.
                np.testing.assert_array_equal(decoded, decode_image(data))
    with pytest.raises(TruncatedImageError):
        decode_image(JPEG[:-20])


@pytest.mark.parametrize("data", [JPEG[:SCAN], JPEG[:300], JPEG[:2], encode(NOISE)[:41], encode(NOISE, "bmp")[:20]])
def test_a_header_without_pixels_is_no_image(data: bytes) -> None:
    for accept_truncated in (False, True):
        with pytest.raises(ImageError) as error:
            decode_image(data, accept_truncated=accept_truncated)
        assert not isinstance(error.value, TruncatedImageError)


def test_damage_that_is_no_truncation_is_not_accepted() -> None:
    data = bytearray(encode(NOISE))
    data[500:520] = bytes(20)
    for accepted in (None, lambda path: pytest.fail("it is not truncated")):
        assert str(try_decode(bytes(data), None, "a.png", accepted)).startswith("cannot be decoded: broken data stream")


def test_threads_accept_for_themselves() -> None:
    cut = encode(NOISE)[:9000]

    def decode(number: int) -> bool:
        accepted: list[str] = []
        result = try_decode(cut, None, str(number), accepted.append if number % 2 else None)
        assert accepted == ([str(number)] if number % 2 else [])
        return isinstance(result, np.ndarray)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(decode, range(200))) == [bool(number % 2) for number in range(200)]


def test_all_functions_for_many_images_report_what_they_accept(tmp_path: Path) -> None:
    paths = write_files(tmp_path, [JPEG, JPEG[:4000], b"text", encode(NOISE), encode(NOISE)[:9000]])
    truncated = {paths[1], paths[4]}
    failures: list[str] = []

    def on_failure(path: str, reason: str) -> None:
        failures.append(path)

    for accepts in (False, True):
        accepted: set[str] = set()
        on_truncated = accepted.add if accepts else None
        options = {"jobs": 2, "on_truncated": on_truncated}
        images = [path for path, image in decode_images(paths, None, **options) if isinstance(image, np.ndarray)]
        assert len(images) == (4 if accepts else 2)
        assert accepted == (truncated if accepts else set())
        for function, arguments in ((image_batches, ()), (compute_batches, (len,))):
            accepted.clear()
            failures.clear()
            names = [
                n
                for batch, _ in function(paths, (9, 9), 2, *arguments, on_failure=on_failure, **options)
                for n in batch
            ]
            assert names == images
            assert accepted == (truncated if accepts else set())
            assert failures == ([paths[2]] if accepts else [paths[1], paths[2], paths[4]])
