"""JPEGs decoded on a GPU, by nvJPEG through torchvision: many times as many a second as by the threads of a processor.

Only those that it decodes as Pillow does; all other images are decoded by the processor, as anywhere. Colours, of which
a JPEG keeps a quarter, are spread otherwise than by libjpeg, so that pixels differ by one to three levels in the mean.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.io import ImageReadMode, decode_jpeg

from facetools import images
from facetools.gpu import upload
from facetools.images import ImageError

#: Pixels of a JPEG for the GPU at most: larger ones the processor decodes at a fraction of their size.
MAX_PIXELS = 2**20

#: Threads that read: more than a few wait for each other, as Python lets one of them run at a time.
READERS = 4

#: Markers of segments that say nothing of how pixels are to be understood: tables, applications' own, comments.
_TABLES, _COMMENTS = (0xC4, 0xDB, 0xDD), (0xE0, *range(0xE2, 0xEE), 0xEF, 0xFE)
_BASELINE, _EXIF, _SCAN = 0xC0, 0xE1, 0xDA


def suits(data: bytes) -> bool:
    """Whether `data` is a JPEG as most are: whole, baseline, of 8 bits and three components in YCbCr, upright, of at
    most MAX_PIXELS."""
    if not (data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9")):
        return False
    at, frame = 2, False
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        if marker == _SCAN:
            return frame
        if marker == _BASELINE:
            bits, components = data[at + 4], data[at + 9]
            height, width = (int.from_bytes(data[start : start + 2]) for start in (at + 5, at + 7))
            frame = bits == 8 and components == 3 and 0 < height * width <= MAX_PIXELS
        elif marker == _EXIF:
            if not _upright(data[at + 4 : at + 2 + length]):
                return False
        elif marker not in (*_TABLES, *_COMMENTS):
            return False
        at += 2 + length
    return False


def _upright(segment: bytes) -> bool:
    """Whether the content of an APP1 segment turns no picture."""
    if not segment.startswith(b"Exif\0\0"):
        return True
    exif = Image.Exif()
    try:
        exif.load(segment)
        return exif.get(ExifTags.Base.Orientation, 1) == 1
    except Exception:  # of any kind, as where images are decoded
        return False


def batches(
    paths: Iterable[str],
    size: tuple[int, int],
    rows: int,
    *,
    device: torch.device,
    jobs: int,
    failed: Callable[[str, str], None],
) -> Iterator[tuple[list[str], Tensor]]:
    """The batches of images.batches, their pixels float (n, 3, height, width), 0 to 255, channels last, on `device`, a
    GPU, which meanwhile is asked for nothing else."""

    def read(reader: images.Reader, _: int, path: str) -> bytes | np.ndarray | ImageError:
        data = images.content(reader, path)
        return data if isinstance(data, ImageError) or suits(data) else images.pixels_of(data, size)

    items = images.mapped(paths, read, jobs=min(jobs, READERS))
    while batch := list(islice(items, rows)):
        names, found = zip(*batch, strict=True)
        decoded = _on_gpu(found, size, device)
        there = images.kept(names, decoded, failed)
        if there:
            pixels = torch.stack([image for image in decoded if not isinstance(image, ImageError)])
            yield there, pixels.contiguous(memory_format=torch.channels_last)


def _on_gpu(
    found: Sequence[bytes | np.ndarray | ImageError], size: tuple[int, int], device: torch.device
) -> list[Tensor | ImageError]:
    """JPEGs and decoded images as float (3, height, width) on `device`."""
    made: dict[int, Tensor] = {}
    jpegs = {number: image for number, image in enumerate(found) if isinstance(image, bytes)}
    other = {number: image for number, image in enumerate(found) if not isinstance(image, bytes)}
    if jpegs:
        buffers = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in jpegs.values()]
        # It writes in its own time into memory that what was asked for before may still read.
        torch.cuda.synchronize(device)
        try:
            decoded = decode_jpeg(buffers, ImageReadMode.RGB, device)
        except RuntimeError:  # of one of them, but nobody tells of which
            other |= {number: images.pixels_of(data, size) for number, data in jpegs.items()}
        else:
            made = dict(zip(jpegs, _scaled(decoded, size), strict=True))
    pixels = {number: image for number, image in other.items() if not isinstance(image, ImageError)}
    if pixels:
        uploaded = upload(np.stack(list(pixels.values())), device).permute(0, 3, 1, 2).to(torch.float32)
        made |= dict(zip(pixels, uploaded, strict=True))
    return [made[number] if number in made else other[number] for number in range(len(found))]  # type: ignore[misc]


def _scaled(decoded: Sequence[Tensor], size: tuple[int, int]) -> list[Tensor]:
    """Images, uint8 (3, height, width) of any sides, stretched to `size` as images.decode does, float."""
    alike: dict[torch.Size, list[int]] = defaultdict(list)
    for number, image in enumerate(decoded):
        alike[image.shape].append(number)
    scaled: dict[int, Tensor] = {}
    for numbers in alike.values():
        some = torch.stack([decoded[number] for number in numbers]).to(torch.float32)
        if some.shape[2:] != size:
            some = F.interpolate(some, size, mode="bilinear", antialias=True).round_()
        scaled |= dict(zip(numbers, some, strict=True))
    return [scaled[number] for number in range(len(decoded))]
