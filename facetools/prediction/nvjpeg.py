"""JPEGs decoded on a GPU, by nvJPEG through torchvision: many times as many a second as by the threads of a processor.

Only those that it decodes as Pillow does; all other images are decoded by the processor, as anywhere. Colours, of which
a JPEG keeps a quarter, are spread otherwise than by libjpeg, so that pixels differ by one to three levels in the mean.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.io import ImageReadMode, decode_jpeg

from facetools.images import batches, decoding, reading
from facetools.images.reading import ImageError
from facetools.network.cuda import upload
from facetools.network.inference import upload_as_float
from facetools.runtime import threads
from facetools.runtime.threads import prefetch

#: Pixels of a JPEG for the GPU at most: larger ones the processor decodes at a fraction of their size.
MAX_PIXELS = 2**20


#: Threads that read: more than a few wait for each other, as Python lets one of them run at a time.
READERS = 2


#: Markers of segments that say nothing of how pixels are to be understood: tables, applications' own, comments.
_TABLES, _COMMENTS = (0xC4, 0xDB, 0xDD), (0xE0, *range(0xE2, 0xEE), 0xEF, 0xFE)


_BASELINE, _EXIF, _SCAN = 0xC0, 0xE1, 0xDA


_START, _END = b"\xff\xd8", b"\xff\xd9"


class Suits:
    """Whether bytes are a JPEG as most are: whole, baseline, of 8 bits and three components in YCbCr, upright, of at
    most MAX_PIXELS. A head is looked at once: files of one making have the same."""

    def __init__(self) -> None:
        self._head = _START

    def __call__(self, data: bytes) -> bool:
        if not data.endswith(_END):
            return False
        if self._head == _START or not data.startswith(self._head):
            end = _head(data)
            if not end:
                return False
            self._head = data[:end]
        return True


def _head(data: bytes) -> int:
    """The bytes of such a JPEG up to its pixels; 0 of what is none."""
    at, frame = len(_START), False
    if not data.startswith(_START):
        return 0
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        if marker == _SCAN:
            return (at + 2) * frame
        if marker == _BASELINE:
            bits, components = data[at + 4], data[at + 9]
            height, width = (int.from_bytes(data[start : start + 2]) for start in (at + 5, at + 7))
            frame = bits == 8 and components == 3 and 0 < height * width <= MAX_PIXELS
        elif marker == _EXIF:
            if not _upright(data[at + 4 : at + 2 + length]):
                return 0
        elif marker not in (*_TABLES, *_COMMENTS):
            return 0
        at += 2 + length
    return 0


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


def decode_batches(
    paths: Iterable[str],
    size: tuple[int, int],
    rows: int,
    *,
    device: torch.device,
    jobs: int,
    on_failure: Callable[[str, str], None],
) -> Iterator[tuple[list[str], Tensor]]:
    """The batches of images.batches, their pixels float (n, 3, height, width), 0 to 255, channels last, on `device`, a
    GPU; the next is decoded while the caller uses one."""
    for names, decoded, pixels, ready in prefetch(_made(paths, size, rows, device, min(jobs, READERS))):
        there = batches.report_failures(names, decoded, on_failure)
        if pixels is not None:
            here = torch.cuda.current_stream(device)
            here.wait_event(ready)
            pixels.record_stream(here)
            yield there, pixels


#: The bytes of a JPEG for the GPU, uint8 (n,), decoded pixels, uint8, or the reason why there are none.
_Image = Tensor | np.ndarray | ImageError


def _made(
    paths: Iterable[str], size: tuple[int, int], rows: int, device: torch.device, readers: int
) -> Iterator[tuple[list[str], list[_Image], Tensor | None, torch.cuda.Event]]:
    """Batches of paths and of what could be made of each, the pixels of those that could be had, if there are any, and
    when those will be there."""
    stream, suits = torch.cuda.Stream(device), Suits()
    with reading.ImageReader() as reader:

        def read(names: list[str]) -> tuple[list[str], list[_Image]]:
            return names, [_read(reader, path, size, suits) for path in names]

        with closing(threads.map_in_order(paths, rows, read, readers)) as decode_batches:
            for names, found in decode_batches:
                with torch.cuda.stream(stream):
                    # nvJPEG writes at once, on its own stream, into memory that this one may still read.
                    stream.synchronize()
                    decoded = _decoded(found, size, device)
                    there = [image for image in decoded if not isinstance(image, ImageError)]
                    pixels = _batch(there, size, device) if there else None
                    ready = stream.record_event()
                yield names, decoded, pixels, ready


def _read(reader: reading.ImageReader, path: str, size: tuple[int, int], suits: Suits) -> _Image:
    data = reading.try_read(reader, path)
    if isinstance(data, ImageError):
        return data
    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if suits(data) else decoding.try_decode(data, size)


def _decoded(found: Sequence[_Image], size: tuple[int, int], device: torch.device) -> list[_Image]:
    """`found`, its JPEGs decoded: uint8 (3, height, width) on `device`, or by the processor where that cannot."""
    decoded = list(found)
    jpegs = {number: data for number, data in enumerate(found) if isinstance(data, Tensor)}
    if jpegs:
        try:
            pixels: Sequence[_Image] = decode_jpeg(list(jpegs.values()), ImageReadMode.RGB, device)
        except RuntimeError:  # of one of them, but nobody tells of which
            pixels = [decoding.try_decode(data.numpy().tobytes(), size) for data in jpegs.values()]
        for number, image in zip(jpegs, pixels, strict=True):
            decoded[number] = image
    return decoded


def _batch(decoded: Sequence[Tensor | np.ndarray], size: tuple[int, int], device: torch.device) -> Tensor:
    """Images, uint8, (3, height, width) of any sides on `device` or (*size, 3) in memory, as float (n, 3, *size) on
    `device`, stretched as images.decode does."""
    alike: dict[Any, list[int]] = defaultdict(list)
    for number, image in enumerate(decoded):
        alike[type(image), image.shape].append(number)
    parts = [_scaled([decoded[number] for number in numbers], size, device) for numbers in alike.values()]
    pixels = parts[0]
    if len(parts) > 1:
        order = np.argsort(np.concatenate(list(alike.values())))
        pixels = torch.cat(parts)[upload(order, device)]
    return pixels.contiguous(memory_format=torch.channels_last)


def _scaled(alike: Sequence[Any], size: tuple[int, int], device: torch.device) -> Tensor:
    """The same of images of one kind and one shape."""
    if isinstance(alike[0], np.ndarray):
        return upload_as_float(np.stack(alike), device)
    pixels = torch.stack(list(alike)).to(torch.float32)
    if pixels.shape[2:] == size:
        return pixels
    return F.interpolate(pixels, size, mode="bilinear", antialias=True).round_()
