"""Which JPEGs a GPU may decode, and that what it makes of them is what the processor makes of them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from facetools.images import decoding
from facetools.prediction import nvjpeg

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def picture(height: int = 60, width: int = 40, mode: str = "RGB", seed: int = 0) -> Image.Image:
    rows, columns = np.mgrid[:height, :width]
    phase = np.arange(3) + seed
    waves = 127 + 60 * np.sin(rows[..., None] / 9 + phase) + 60 * np.cos(columns[..., None] / 7 + 2 * phase)
    return Image.fromarray(waves.astype(np.uint8)).convert(mode)


def jpeg(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "jpeg", **{"quality": 95, **options})
    return buffer.getvalue()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return jpeg(picture(), exif=exif)


PLAIN = jpeg(picture())


@pytest.mark.parametrize(
    "data",
    [PLAIN, jpeg(picture(), subsampling=0), jpeg(picture(1, 1)), jpeg(picture(), comment=b"a face"), turned(1)],
    ids=["plain", "all of the colours", "a pixel", "a comment", "upright"],
)
def test_a_gpu_may_decode_most(data: bytes) -> None:
    assert nvjpeg.Suits()(data)


@pytest.mark.parametrize(
    "data",
    [
        jpeg(picture(mode="L")),
        jpeg(picture(mode="CMYK")),
        jpeg(picture(), progressive=True),
        jpeg(picture(), keep_rgb=True),
        jpeg(picture(1200, 900)),
        turned(6),
        PLAIN[:-1],
        PLAIN[:200] + b"\xff\xd9",
        PLAIN.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c"),
        b"",
        b"\xff\xd8\xff\xd9",
        PLAIN[:2] + b"\xff\xe1\x00\x10Exif\0\0garbled!" + PLAIN[2:],
    ],
    ids=[
        *("grey", "CMYK", "progressive", "RGB", "large", "turned", "without an end", "without a frame"),
        *("12 bits", "empty", "an end alone", "garbled Exif"),
    ],
)
def test_the_processor_decodes_what_is_unusual(data: bytes) -> None:
    assert not nvjpeg.Suits()(data)


def test_no_cut_is_taken_for_whole() -> None:
    suits = nvjpeg.Suits()
    assert suits(PLAIN)
    assert not any(suits(PLAIN[:end]) for end in range(len(PLAIN)))


def test_what_begins_alike_is_judged_alike() -> None:
    suits = nvjpeg.Suits()
    others = [jpeg(picture(seed=1)), jpeg(picture(90, 70)), turned(6)]
    assert [suits(data) for data in (PLAIN, *others, PLAIN, turned(6))] == [True, True, True, False, True, False]
    assert suits(PLAIN[:2] + b"\xff\xfe\x00\x04ok" + PLAIN[2:])


@gpu
def test_batches_are_those_of_the_processor(tmp_path: Path) -> None:
    contents = {
        "a.jpg": PLAIN,
        "b.jpg": jpeg(picture(90, 70, seed=1)),
        "c.png": b"no image",
        "d.jpg": jpeg(picture(33, 65, seed=2), progressive=True),
        "e.jpg": jpeg(picture(seed=3)),
        "f.jpg": PLAIN[: len(PLAIN) // 2],
        "g.jpg": jpeg(picture(24, 32, seed=4)),
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    paths = [str(tmp_path / name) for name in (*contents, "h.jpg")]
    told: list[str] = []
    found = list(
        nvjpeg.decode_batches(
            paths, (24, 32), 3, device=torch.device("cuda"), jobs=2, on_failure=lambda path, _: told.append(path[-5:])
        )
    )
    assert told == ["c.png", "f.jpg", "h.jpg"]
    assert [[name[-5:] for name in names] for names, _ in found] == [["a.jpg", "b.jpg"], ["d.jpg", "e.jpg"], ["g.jpg"]]
    for names, pixels in found:
        assert pixels.shape == (len(names), 3, 24, 32) and pixels.is_contiguous(memory_format=torch.channels_last)
        for name, ours in zip(names, pixels.cpu().permute(0, 2, 3, 1).numpy(), strict=True):
            theirs = decoding.decode_image(Path(name).read_bytes(), (24, 32)).astype(float)
            assert np.abs(ours - theirs).mean() < 4, name  # colours in blocks of two by two at this size


@gpu
def test_one_that_cannot_be_decoded_leaves_the_others(tmp_path: Path) -> None:
    scan = PLAIN.index(b"\xff\xda")
    garbled = PLAIN[: scan + 2] + b"\0\0" + PLAIN[scan + 4 :]
    assert nvjpeg.Suits()(garbled)
    for name, data in {"a.jpg": PLAIN, "b.jpg": garbled, "c.jpg": PLAIN}.items():
        (tmp_path / name).write_bytes(data)
    paths = [str(path) for path in sorted(tmp_path.iterdir())]
    ((names, pixels),) = nvjpeg.decode_batches(
        paths, (24, 32), 3, device=torch.device("cuda"), jobs=1, on_failure=lambda *told: None
    )
    assert paths[0] in names and paths[2] in names
    assert len(pixels) == len(names)
