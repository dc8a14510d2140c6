"""Decode and process many images in threads, in the order of their paths.

`map_images` and `decode_images` work on single images, `image_batches` and `compute_batches` on batches of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice

import numpy as np

from facetools.images.decoding import TruncatedCallback, load_image
from facetools.images.reading import ImageError, ImageReader
from facetools.runtime.threads import T, map_in_order

#: Images that a thread processes per task.
CHUNK_IMAGES = 8


def map_images(
    paths: Iterable[str], function: Callable[[ImageReader, int, str], T], *, jobs: int
) -> Iterator[tuple[str, T]]:
    """Yield (path, function(reader, index, path)) in the order of `paths`; `index` counts paths from 0.

    `jobs` threads work ahead of the caller by a bounded number of images.
    """
    with ImageReader() as reader:

        def process(chunk: Sequence[tuple[int, str]]) -> list[tuple[str, T]]:
            return [(path, function(reader, index, path)) for index, path in chunk]

        with closing(map_in_order(enumerate(paths), CHUNK_IMAGES, process, jobs)) as chunks:
            for chunk in chunks:
                yield from chunk


def decode_images(
    paths: Iterable[str],
    size: tuple[int, int] | None,
    *,
    jobs: int,
    on_truncated: TruncatedCallback | None = None,
) -> Iterator[tuple[str, np.ndarray | ImageError]]:
    """Yield each path with its pixels, uint8 (height, width, 3), or the reason why there are none.

    Truncated images are refused, unless on_truncated(path) is to be called for each, in any thread.
    """
    return map_images(paths, lambda reader, _, path: load_image(reader, path, size, on_truncated), jobs=jobs)


def image_batches(
    paths: Iterable[str],
    size: tuple[int, int],
    batch_size: int,
    *,
    jobs: int,
    on_failure: Callable[[str, str], None],
    on_truncated: TruncatedCallback | None = None,
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield (paths, pixels) for every `batch_size` consecutive paths; pixels are uint8 (n, height, width, 3).

    An image that cannot be decoded is left out and reported with on_failure(path, reason). Its batch is then smaller,
    not filled up with later images. A batch without any image is skipped. For `on_truncated` see `decode_images`.
    """
    images = decode_images(paths, size, jobs=jobs, on_truncated=on_truncated)
    while batch := list(islice(images, batch_size)):
        batch_paths, results = zip(*batch, strict=True)
        decodable = report_failures(batch_paths, results, on_failure)
        if decodable:
            yield decodable, _stack_images(results)


def compute_batches(
    paths: Iterable[str],
    size: tuple[int, int],
    batch_size: int,
    compute: Callable[[np.ndarray], T],
    *,
    jobs: int,
    on_failure: Callable[[str, str], None],
    on_truncated: TruncatedCallback | None = None,
) -> Iterator[tuple[list[str], T]]:
    """Yield (paths, compute(pixels)) for the batches of `image_batches`.

    Each batch is decoded and computed by one of `jobs` threads.
    """
    with ImageReader() as reader:

        def process(batch: list[str]) -> tuple[list[str], list[ImageError | None], T | None]:
            images = [load_image(reader, path, size, on_truncated) for path in batch]
            errors = [image if isinstance(image, ImageError) else None for image in images]
            return batch, errors, None if all(errors) else compute(_stack_images(images))

        with closing(map_in_order(paths, batch_size, process, jobs)) as batches:
            for batch, errors, result in batches:
                decodable = report_failures(batch, errors, on_failure)
                if result is not None:
                    yield decodable, result


def report_failures(
    paths: Sequence[str], results: Sequence[object], on_failure: Callable[[str, str], None]
) -> list[str]:
    """Pass each path whose result is an ImageError to `on_failure`, and return the other paths."""
    for path, result in zip(paths, results, strict=True):
        if isinstance(result, ImageError):
            on_failure(path, str(result))
    return [path for path, result in zip(paths, results, strict=True) if not isinstance(result, ImageError)]


def _stack_images(results: Sequence[np.ndarray | ImageError]) -> np.ndarray:
    return np.stack([image for image in results if isinstance(image, np.ndarray)])
