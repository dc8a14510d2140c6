"""Decoded images kept for the epochs to come: in memory, or in a folder for other runs too."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from facetools import files, images, memory

#: The cache that keeps images in memory, and the one that keeps none; any other is the path of a folder.
MEMORY, NONE = "ram", "off"


class CacheError(ValueError):
    """There is no room for the cache that was asked for."""


class Pixels:
    """The images `paths` at `size` (height, width), decoded in `jobs` threads when they are first asked for.

    `cache` keeps them: `ram`, `off`, or a folder, where a file belongs to these images of this size, as long as the
    files that they come from keep their size and time; None takes memory where they fill less than a quarter of what is
    free. A CacheError if they do not fit. `failed` is told of each image that is asked for and cannot be had, and why.
    """

    def __init__(
        self,
        paths: list[str],
        size: tuple[int, int],
        *,
        jobs: int,
        failed: Callable[[str, str], None],
        cache: str | None = None,
    ) -> None:
        self._paths = paths
        self._size = size
        self._failed = failed
        self._reader = images.Reader()
        self._pool = ThreadPoolExecutor(jobs)
        shape = (len(paths), *size, 3)
        needed, free = math.prod(shape), memory.available()
        self._kept: np.ndarray | None = None
        self._there = np.zeros(len(paths), bool)
        if cache == MEMORY or (cache is None and needed < free / 4):
            if needed > free:
                raise CacheError(f"{_gigabytes(needed)} of images do not fit into {_gigabytes(free)} of free memory")
            self._kept = np.empty(shape, np.uint8)  # whose pages cost nothing until they are written
        elif cache not in (None, NONE) and paths:
            self._kept, self._there = _in_folder(Path(cache), paths, shape)

    def batch(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of `rows` that could be decoded, and their pixels, uint8 (n, height, width, 3)."""
        if self._kept is not None and self._there[rows].all():
            return rows, self._kept[rows]
        good: list[int] = []
        pixels: list[np.ndarray] = []
        for row, image in zip(rows, self._pool.map(self._load, rows), strict=True):
            if isinstance(image, images.ImageError):
                self._failed(self._paths[row], str(image))
                continue
            good.append(row)
            pixels.append(image)
            if self._kept is not None and not self._there[row]:
                self._kept[row] = image
                self._there[row] = True
        return np.array(good, int), np.array(pixels, np.uint8).reshape(-1, *self._size, 3)

    def _load(self, row: int) -> np.ndarray | images.ImageError:
        if self._kept is not None and self._there[row]:
            return self._kept[row]
        return images.load(self._reader, self._paths[row], self._size)


def _in_folder(folder: Path, paths: list[str], shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The file of these images in a folder: their pixels, uint8 of `shape`, and which of them it holds, bool (n,)."""
    files.make_folder(folder)
    file = folder / f"{_digest(paths, shape)}.pixels"
    needed, free = math.prod(shape), shutil.disk_usage(folder).free
    if not file.exists():
        if needed > free:
            raise CacheError(f"{_gigabytes(needed)} of images do not fit into {_gigabytes(free)} free in {folder}")
        with file.open("ab") as stream:  # which other processes of the job may be about to do as well
            stream.truncate(needed + len(paths))  # zeros, which take no room yet
    content = np.memmap(file, np.uint8, "r+", shape=(needed + len(paths),))
    return content[:needed].reshape(shape), content[needed:].view(np.bool_)


def _digest(paths: list[str], shape: tuple[int, ...]) -> str:
    """A name for images of this shape and their files as they are."""
    digest = hashlib.sha256(repr(shape).encode())
    known: dict[str, str] = {}
    for path in paths:
        file = images.file_of(path)
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
