"""Decode JPEGs on a GPU with nvJPEG, through torchvision.

`decode_batches` yields batches of pixels on the GPU. nvJPEG decodes the JPEGs that `NvjpegFilter` selects, the CPU all
other images. nvJPEG interpolates subsampled chroma differently from libjpeg, so that its pixels differ from Pillow's by
one to three levels (of 255) on average.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.io import ImageReadMode, decode_jpeg

from facetools.images import batches, decoding, reading
from facetools.images.decoders import color, jpeg
from facetools.images.decoding import TruncatedCallback
from facetools.images.reading import ImageError
from facetools.network.cuda import upload
from facetools.network.inference import upload_as_float
from facetools.runtime import threads
from facetools.runtime.threads import prefetch

#: The largest JPEG for the GPU, in pixels. libjpeg decodes larger ones at a reduced scale, which is faster.
MAX_PIXELS = 2**20

#: Threads that read files. More do not help, because they wait for the global interpreter lock.
READER_THREADS = 2

#: Markers of the segments before the scan that nvJPEG knows or skips: tables and the frame; JFIF, metadata, comments.
_KNOWN_MARKERS = frozenset((jpeg.BASELINE_FRAME, 0xC4, 0xDB, 0xDD, *range(0xE0, 0xEE), 0xEF, 0xFE))

#: The content of an image file: bytes of a JPEG for the GPU, uint8 (n,); decoded pixels, uint8; or an error.
_Content = Tensor | np.ndarray | ImageError


class NvjpegFilter:
    """Selects the JPEGs that nvJPEG decodes as Pillow does.

    These are complete baseline JPEGs with 8 bits, three YCbCr components, upright orientation, no color profile but
    sRGB, and at most MAX_PIXELS. The last accepted header is cached, because files from one encoder often share it and
    parsing costs microseconds.
    """

    def __init__(self) -> None:
        self._header = jpeg.START_OF_IMAGE

    def is_decodable(self, data: bytes) -> bool:
        """Whether `data` is such a JPEG."""
        if not data.endswith(jpeg.END_OF_IMAGE):
            return False
        if self._header == jpeg.START_OF_IMAGE or not data.startswith(self._header):
            length = _decodable_header_length(data)
            if not length:
                return False
            self._header = data[:length]
        return True


def _decodable_header_length(data: bytes) -> int:
    """The number of bytes up to and including the start-of-scan marker; 0 if nvJPEG should not decode `data`."""
    if not data.startswith(jpeg.SIGNATURE):
        return 0
    try:
        header = jpeg.parse_header(data)
    except ImageError:
        return 0
    is_decodable = (
        (header.frame, header.bits, header.components) == (jpeg.BASELINE_FRAME, 8, 3)
        and 0 < header.height * header.width <= MAX_PIXELS
        and all(marker in _KNOWN_MARKERS for marker, _, _ in header.segments)
        # There is nothing between the segments.
        and sum(end - start for _, start, end in header.segments) == header.scan - len(jpeg.START_OF_IMAGE)
        and header.metadata.orientation == 1
        and not color.changes_colors(header.metadata.icc_profile, "RGB")
    )
    return header.scan + 2 if is_decodable else 0


def decode_batches(
    paths: Iterable[str],
    size: tuple[int, int],
    batch_size: int,
    *,
    device: torch.device,
    jobs: int,
    on_failure: Callable[[str, str], None],
    on_truncated: TruncatedCallback | None = None,
) -> Iterator[tuple[list[str], Tensor]]:
    """Yield paths and pixels for every `batch_size` consecutive paths, as images.batches.image_batches does.

    Pixels are float (n, 3, *size), 0 to 255, channels last, on `device`, a GPU. The next batch is decoded while the
    caller uses the current one. An image that cannot be read or decoded is missing from its batch and passed to
    `on_failure` with the reason. Truncated images are refused, unless on_truncated(path) is to be called for each, in
    any thread.
    """
    readers = min(jobs, READER_THREADS)
    for names, images, pixels, decoded in prefetch(_decode(paths, size, batch_size, device, readers, on_truncated)):
        decoded_names = batches.report_failures(names, images, on_failure)
        if pixels is not None:
            stream = torch.cuda.current_stream(device)
            stream.wait_event(decoded)
            pixels.record_stream(stream)
            yield decoded_names, pixels


def _decode(
    paths: Iterable[str],
    size: tuple[int, int],
    batch_size: int,
    device: torch.device,
    readers: int,
    on_truncated: TruncatedCallback | None,
) -> Iterator[tuple[list[str], list[_Content], Tensor | None, torch.cuda.Event]]:
    """Yield for each batch its paths, an image or error per path, the pixels of the images, and an event.

    The pixels are None if there are no images. They are complete when the event has occurred.
    """
    stream, nvjpeg_filter = torch.cuda.Stream(device), NvjpegFilter()
    with reading.ImageReader() as reader:

        def read(names: list[str]) -> tuple[list[str], list[_Content]]:
            return names, [_read(reader, path, size, nvjpeg_filter, on_truncated) for path in names]

        with closing(threads.map_in_order(paths, batch_size, read, readers)) as read_batches:
            for names, contents in read_batches:
                with torch.cuda.stream(stream):
                    # nvJPEG writes immediately, on its own stream, into memory that this stream may still be reading.
                    stream.synchronize()
                    images = _decode_jpegs(contents, size, device)
                    valid = [image for image in images if not isinstance(image, ImageError)]
                    pixels = _stack_images(valid, size, device) if valid else None
                    decoded = stream.record_event()
                yield names, images, pixels, decoded


def _read(
    reader: reading.ImageReader,
    path: str,
    size: tuple[int, int],
    nvjpeg_filter: NvjpegFilter,
    on_truncated: TruncatedCallback | None,
) -> _Content:
    data = reading.try_read(reader, path)
    if isinstance(data, ImageError):
        return data
    if nvjpeg_filter.is_decodable(data):
        return torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return decoding.try_decode(data, size, path, on_truncated)


def _decode_jpegs(contents: Sequence[_Content], size: tuple[int, int], device: torch.device) -> list[_Content]:
    """`contents` with each JPEG replaced by its pixels, uint8 (3, height, width) on `device`.

    If nvJPEG fails, the CPU decodes all JPEGs of the batch.
    """
    images = list(contents)
    jpegs = {number: data for number, data in enumerate(contents) if isinstance(data, Tensor)}
    if jpegs:
        try:
            decoded: Sequence[_Content] = decode_jpeg(list(jpegs.values()), ImageReadMode.RGB, device)
        except RuntimeError:  # one of them is invalid, but the error does not say which
            decoded = [decoding.try_decode(data.numpy().tobytes(), size) for data in jpegs.values()]
        for number, image in zip(jpegs, decoded, strict=True):
            images[number] = image
    return images


def _stack_images(images: Sequence[Tensor | np.ndarray], size: tuple[int, int], device: torch.device) -> Tensor:
    """Images as one batch, float (n, 3, *size), channels last, on `device`.

    Each is uint8, (3, height, width) of any size on `device` or (*size, 3) in host memory. Images are resized as
    images.decoding does.
    """
    groups: dict[Any, list[int]] = defaultdict(list)
    for number, image in enumerate(images):
        groups[type(image), image.shape].append(number)
    parts = [_resize_images([images[number] for number in numbers], size, device) for numbers in groups.values()]
    pixels = parts[0]
    if len(parts) > 1:
        order = np.argsort(np.concatenate(list(groups.values())))
        pixels = torch.cat(parts)[upload(order, device)]
    return pixels.contiguous(memory_format=torch.channels_last)


def _resize_images(images: Sequence[Any], size: tuple[int, int], device: torch.device) -> Tensor:
    """Images of one type and shape as float (n, 3, *size) on `device`."""
    if isinstance(images[0], np.ndarray):
        return upload_as_float(np.stack(images), device)
    pixels = torch.stack(list(images)).to(torch.float32)
    if pixels.shape[2:] == size:
        return pixels
    return F.interpolate(pixels, size, mode="bilinear", antialias=True).round_()
