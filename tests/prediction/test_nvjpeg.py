"""Tests of decoding with nvJPEG: which JPEGs it gets, and that its pixels agree with those of the CPU."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from PIL.ImageCms import ImageCmsProfile, createProfile

from facetools.images import decoding
from facetools.prediction.nvjpeg import NvjpegFilter, decode_batches
from tests.images.files import rgb_profile

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def make_picture(height: int = 60, width: int = 40, mode: str = "RGB", seed: int = 0) -> Image.Image:
    rows, columns = np.mgrid[:height, :width]
    phase = np.arange(3) + seed
    waves = 127 + 60 * np.sin(rows[..., None] / 9 + phase) + 60 * np.cos(columns[..., None] / 7 + 2 * phase)
    return Image.fromarray(waves.astype(np.uint8)).convert(mode)


def encode_jpeg(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "jpeg", **{"quality": 95, **options})
    return buffer.getvalue()


def jpeg_with_orientation(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return encode_jpeg(make_picture(), exif=exif)


PLAIN = encode_jpeg(make_picture())


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        encode_jpeg(make_picture(), subsampling=0),
        encode_jpeg(make_picture(1, 1)),
        encode_jpeg(make_picture(), comment=b"a face"),
        jpeg_with_orientation(1),
        PLAIN[:2] + b"\xff\xe1\x00\x10Exif\0\0garbled!" + PLAIN[2:],
        encode_jpeg(make_picture(), icc_profile=ImageCmsProfile(createProfile("sRGB")).tobytes()),
        encode_jpeg(make_picture(), icc_profile=b"damaged" * 50),
    ],
    ids=["plain", "full chroma", "one pixel", "comment", "upright", "damaged Exif", "sRGB", "damaged profile"],
)
def test_ordinary_jpegs_are_decodable(data: bytes) -> None:
    assert NvjpegFilter().is_decodable(data)


@pytest.mark.parametrize(
    "data",
    [
        encode_jpeg(make_picture(mode="L")),
        encode_jpeg(make_picture(mode="CMYK")),
        encode_jpeg(make_picture(), progressive=True),
        encode_jpeg(make_picture(), keep_rgb=True),
        encode_jpeg(make_picture(1200, 900)),
        jpeg_with_orientation(6),
        PLAIN[:-1],
        PLAIN[:200] + b"\xff\xd9",
        PLAIN.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c"),
        b"",
        b"\xff\xd8\xff\xd9",
        encode_jpeg(make_picture(), icc_profile=rgb_profile()),
    ],
    ids=[
        *("grayscale", "CMYK", "progressive", "RGB", "large", "rotated", "no end marker", "no frame"),
        *("12 bits", "empty", "only start and end markers", "Display P3"),
    ],
)
def test_unusual_jpegs_are_not_decodable(data: bytes) -> None:
    assert not NvjpegFilter().is_decodable(data)


def test_truncated_jpegs_are_not_decodable() -> None:
    nvjpeg_filter = NvjpegFilter()
    assert nvjpeg_filter.is_decodable(PLAIN)
    assert not any(nvjpeg_filter.is_decodable(PLAIN[:end]) for end in range(len(PLAIN)))


def test_cached_header_does_not_change_the_result() -> None:
    nvjpeg_filter = NvjpegFilter()
    same_header, other_size = encode_jpeg(make_picture(seed=1)), encode_jpeg(make_picture(90, 70))
    rotated = jpeg_with_orientation(6)
    files = (PLAIN, same_header, other_size, rotated, PLAIN, rotated)
    assert [nvjpeg_filter.is_decodable(data) for data in files] == [True, True, True, False, True, False]
    assert nvjpeg_filter.is_decodable(PLAIN[:2] + b"\xff\xfe\x00\x04ok" + PLAIN[2:])


@gpu
def test_batches_agree_with_decoding_on_the_cpu(tmp_path: Path) -> None:
    contents = {
        "a.jpg": PLAIN,
        "b.jpg": encode_jpeg(make_picture(90, 70, seed=1)),
        "c.png": b"no image",
        "d.jpg": encode_jpeg(make_picture(33, 65, seed=2), progressive=True),
        "e.jpg": encode_jpeg(make_picture(seed=3)),
        "f.jpg": PLAIN[: len(PLAIN) // 2],
        "g.jpg": encode_jpeg(make_picture(24, 32, seed=4)),
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    paths = [str(tmp_path / name) for name in (*contents, "h.jpg")]
    failures: list[str] = []
    batches = list(
        decode_batches(
            paths,
            (24, 32),
            3,
            device=torch.device("cuda"),
            jobs=2,
            on_failure=lambda path, _: failures.append(path[-5:]),
        )
    )
    assert failures == ["c.png", "f.jpg", "h.jpg"]
    names = [[path[-5:] for path in batch_paths] for batch_paths, _ in batches]
    assert names == [["a.jpg", "b.jpg"], ["d.jpg", "e.jpg"], ["g.jpg"]]
    for batch_paths, pixels in batches:
        assert pixels.shape == (len(batch_paths), 3, 24, 32)
        assert pixels.is_contiguous(memory_format=torch.channels_last)
        for path, image in zip(batch_paths, pixels.cpu().permute(0, 2, 3, 1).numpy(), strict=True):
            expected = decoding.decode_image(Path(path).read_bytes(), (24, 32)).astype(float)
            # The tolerance allows for chroma subsampling, which matters at this small size.
            assert np.abs(image - expected).mean() < 4, path


@gpu
def test_jpeg_that_nvjpeg_cannot_decode_does_not_affect_the_others(tmp_path: Path) -> None:
    scan = PLAIN.index(b"\xff\xda")
    damaged = PLAIN[: scan + 2] + b"\0\0" + PLAIN[scan + 4 :]
    assert NvjpegFilter().is_decodable(damaged)
    for name, data in {"a.jpg": PLAIN, "b.jpg": damaged, "c.jpg": PLAIN}.items():
        (tmp_path / name).write_bytes(data)
    paths = [str(path) for path in sorted(tmp_path.iterdir())]
    ((decoded_paths, pixels),) = decode_batches(
        paths, (24, 32), 3, device=torch.device("cuda"), jobs=1, on_failure=lambda path, reason: None
    )
    assert paths[0] in decoded_paths and paths[2] in decoded_paths
    assert len(pixels) == len(decoded_paths)
