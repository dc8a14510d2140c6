"""Decode and process many images in threads, in the order of their paths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice

import numpy as np

from facetools.images.decoding import load_image
from facetools.images.reading import ImageError, ImageReader
from facetools.runtime.threads import T, map_in_order

#: Images that one thread decodes at a time.
CHUNK_IMAGES = 8


def map_images(
    paths: Iterable[str], function: Callable[[ImageReader, int, str], T], *, jobs: int
) -> Iterator[tuple[str, T]]:
    """Each path with what `function` makes of a Reader, the path's number from 0 and the path, in the order of `paths`.

    `jobs` threads work ahead by a bounded number of images.
    """
    with ImageReader() as reader:

        def do(chunk: Sequence[tuple[int, str]]) -> list[tuple[str, T]]:
            return [(path, function(reader, number, path)) for number, path in chunk]

        with closing(map_in_order(enumerate(paths), CHUNK_IMAGES, do, jobs)) as chunks:
            for chunk in chunks:
                yield from chunk


def decode_images(
    paths: Iterable[str], size: tuple[int, int] | None, *, jobs: int
) -> Iterator[tuple[str, np.ndarray | ImageError]]:
    """Each path with its pixels, uint8 (height, width, 3), or why there are none, in the order of `paths`."""
    return map_images(paths, lambda reader, _, path: load_image(reader, path, size), jobs=jobs)


def image_batches(
    paths: Iterable[str],
    size: tuple[int, int],
    rows: int,
    *,
    jobs: int,
    on_failure: Callable[[str, str], None],
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Batches of `rows` paths, less those whose image cannot be had: paths and pixels, uint8 (n, height, width, 3).

    An image that cannot be had is told to `on_failure` by its path and the reason; a batch may be smaller for it, but has
    nothing of the next.
    """
    images = decode_images(paths, size, jobs=jobs)
    while batch := list(islice(images, rows)):
        names, found = zip(*batch, strict=True)
        there = report_failures(names, found, on_failure)
        if there:
            yield there, _stacked(found)


def compute_batches(
    paths: Iterable[str],
    size: tuple[int, int],
    rows: int,
    compute: Callable[[np.ndarray], T],
    *,
    jobs: int,
    on_failure: Callable[[str, str], None],
) -> Iterator[tuple[list[str], T]]:
    """The batches of `batches` with what `compute` makes of their pixels: each is decoded and computed by one of `jobs`
    threads."""
    with ImageReader() as reader:

        def do(names: list[str]) -> tuple[list[str], list[ImageError | None], T | None]:
            found = [load_image(reader, path, size) for path in names]
            errors = [image if isinstance(image, ImageError) else None for image in found]
            return names, errors, None if all(errors) else compute(_stacked(found))

        with closing(map_in_order(paths, rows, do, jobs)) as results:
            for names, errors, result in results:
                there = report_failures(names, errors, on_failure)
                if result is not None:
                    yield there, result


def report_failures(names: Sequence[str], found: Sequence[object], on_failure: Callable[[str, str], None]) -> list[str]:
    """The paths of the images that could be had; the others are told to `on_failure`."""
    for path, image in zip(names, found, strict=True):
        if isinstance(image, ImageError):
            on_failure(path, str(image))
    return [path for path, image in zip(names, found, strict=True) if not isinstance(image, ImageError)]


def _stacked(found: Iterable[np.ndarray | ImageError]) -> np.ndarray:
    return np.stack([image for image in found if not isinstance(image, ImageError)])
