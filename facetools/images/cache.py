"""Decoded images kept for the epochs to come: in memory, or in a folder for other runs too."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import shutil
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from facetools.images import decoding, reading, sources
from facetools.runtime import files, memory

#: The cache that keeps images in memory, and the one that keeps none; any other is the path of a folder.
IN_MEMORY, NO_CACHE = "ram", "off"


class CacheError(ValueError):
    """There is no room for the cache that was asked for."""


def open_image_caches(
    parts: Sequence[list[str]],
    size: tuple[int, int],
    *,
    jobs: int,
    on_failure: Callable[[str, str], None],
    cache: str | None = None,
    processes: int = 1,
) -> list[CachedImages]:
    """The Pixels of each of some lists of paths. A `cache` of None takes memory where all of them fill less than a
    quarter of what is free; that and `ram` share what is free among so many `processes` of the machine."""
    needed, free = sum(map(len, parts)) * math.prod(size) * 3, memory.available() // processes
    if cache is None:
        cache = IN_MEMORY if needed < free / 4 else NO_CACHE
    if cache == IN_MEMORY and needed > free:
        among = f" for each of {processes} processes" if processes > 1 else ""
        raise CacheError(f"{_gigabytes(needed)} of images do not fit into {_gigabytes(free)} of free memory{among}")
    return [CachedImages(paths, size, jobs=jobs, on_failure=on_failure, cache=cache) for paths in parts]


class CachedImages:
    """The images `paths` at `size` (height, width), decoded in `jobs` threads when they are first asked for.

    `cache` keeps them: `ram`, `off`, or a folder, where a file belongs to these images of this size, as long as the
    files that they come from keep their size and time. A CacheError if they do not fit there. `on_failure` is told of each
    image that is asked for and cannot be had, and why.
    """

    def __init__(
        self,
        paths: list[str],
        size: tuple[int, int],
        *,
        jobs: int,
        on_failure: Callable[[str, str], None],
        cache: str,
    ) -> None:
        self._paths = paths
        self._size = size
        self._on_failure = on_failure
        self._reader = reading.ImageReader()
        self._pool = ThreadPoolExecutor(jobs)
        shape = (len(paths), *size, 3)
        self._kept: np.ndarray | None = None
        self._sums = np.zeros(len(paths), np.uint32)
        self._there = np.zeros(len(paths), bool)
        if cache == IN_MEMORY:
            self._kept = np.empty(shape, np.uint8)  # whose pages cost nothing until they are written
        elif cache != NO_CACHE and paths:
            self._kept, self._sums = _in_folder(Path(cache), paths, shape)

    def batch(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of `rows` that could be decoded, and their pixels, uint8 (n, height, width, 3)."""
        if self._kept is not None and self._there[rows].all():
            return rows, self._kept[rows]
        good: list[int] = []
        pixels: list[np.ndarray] = []
        for row, image in zip(rows, self._pool.map(self._load, rows), strict=True):
            if isinstance(image, reading.ImageError):
                self._on_failure(self._paths[row], str(image))
                continue
            good.append(row)
            pixels.append(image)
        return np.array(good, int), np.array(pixels, np.uint8).reshape(-1, *self._size, 3)

    def _load(self, row: int) -> np.ndarray | reading.ImageError:
        if self._kept is None:
            return decoding.load_image(self._reader, self._paths[row], self._size)
        if not self._there[row]:
            # What a file holds may be half of what was written to it when a machine lost its power.
            if not self._sums[row] or self._sums[row] != zlib.crc32(self._kept[row].data):
                image = decoding.load_image(self._reader, self._paths[row], self._size)
                if isinstance(image, reading.ImageError):
                    return image
                self._kept[row], self._sums[row] = image, zlib.crc32(image.data)
            self._there[row] = True
        return self._kept[row]


def _in_folder(folder: Path, paths: list[str], shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The file of these images in a folder: their pixels, uint8 of `shape`, and the CRC-32 of each that it holds, or
    else 0, uint32 (n,)."""
    files.make_folder(folder)
    file = folder / f"{_digest(paths, shape)}.pixels"
    sums = np.dtype(np.uint32).itemsize * len(paths)
    needed = sums + math.prod(shape)
    file.touch()
    with file.open("r+b") as stream:
        if os.fstat(stream.fileno()).st_size < needed:  # other processes of the job may be about to do this as well
            try:
                _reserve(stream.fileno(), needed)
            except OSError as error:
                file.unlink(missing_ok=True)
                free = _gigabytes(shutil.disk_usage(folder).free)
                reason = f"{_gigabytes(needed)} of images do not fit into {free} free in {folder}"
                raise CacheError(reason if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error)) from None
    content = np.memmap(file, np.uint8, "r+", shape=(needed,))
    return content[sums:].reshape(shape), content[:sums].view(np.uint32)


def _reserve(file: int, size: int) -> None:
    """Room on the disk, which a process that writes to a map of a file would be killed for the lack of."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.truncate(file, size)


def _digest(paths: list[str], shape: tuple[int, ...]) -> str:
    """A name for images of this shape and their files as they are."""
    digest = hashlib.sha256(repr(shape).encode())
    known: dict[str, str] = {}
    for path in paths:
        file = sources.containing_file(path)
        if file not in known:
            try:
                status = Path(file).stat()
                known[file] = f"{status.st_size} {status.st_mtime_ns}"
            except OSError:
                known[file] = "absent"
        digest.update(f"{path}\0{known[file]}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
