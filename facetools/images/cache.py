"""Cache of decoded images for later epochs, in memory or in a folder that other runs can use too.

`open_image_caches` chooses where to cache and returns one CachedImages per list of paths.

A cache folder has one file per list of images: the CRC-32 of each image's pixels, uint32, 0 if it is not decoded yet,
followed by the pixels, uint8. The file name is a digest of the paths, the image size, and the size and modification
time of the source files.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import shutil
import weakref
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from facetools.images import archives, decoding
from facetools.images.reading import ImageError, ImageReader
from facetools.runtime import files, memory

#: Values of `cache` for caching in memory and for no cache. Any other value is the path of a folder.
IN_MEMORY, NO_CACHE = "ram", "off"


class CacheError(ValueError):
    """The images do not fit into the memory or the folder where they should be cached."""


def open_image_caches(
    path_lists: Sequence[list[str]],
    size: tuple[int, int],
    *,
    jobs: int,
    on_failure: Callable[[str, str], None],
    on_truncated: decoding.TruncatedCallback | None = None,
    cache: str | None = None,
    processes: int = 1,
) -> list[CachedImages]:
    """Return one CachedImages per list of paths.

    A `cache` of None caches in memory if all images take less than a quarter of the free memory, else not at all. The
    free memory is divided by the number of `processes` of the job on this machine. Raises CacheError if the images do
    not fit. For the other parameters see CachedImages.
    """
    needed = sum(map(len, path_lists)) * math.prod(size) * 3
    free = memory.available() // processes
    if cache is None:
        cache = IN_MEMORY if needed < free / 4 else NO_CACHE
    if cache == IN_MEMORY and needed > free:
        share = f" for each of {processes} processes" if processes > 1 else ""
        raise CacheError(f"{_gigabytes(needed)} of images do not fit into {_gigabytes(free)} of free memory{share}")
    return [
        CachedImages(paths, size, jobs=jobs, on_failure=on_failure, on_truncated=on_truncated, cache=cache)
        for paths in path_lists
    ]


class CachedImages:
    """The images `paths` at `size` (height, width), decoded by `jobs` threads when they are first requested.

    `cache` is `ram`, `off` or a folder. A file in the folder is reused as long as paths, `size`, and the size and
    modification time of the source files stay the same. Raises CacheError if the images do not fit into the folder.

    Every request for an image that cannot be decoded calls on_failure(path, reason). Truncated images are refused,
    unless on_truncated(path) is to be called whenever one is decoded, in any thread. A cache folder does not keep them,
    so that every run reports them.
    """

    def __init__(
        self,
        paths: list[str],
        size: tuple[int, int],
        *,
        jobs: int,
        on_failure: Callable[[str, str], None],
        on_truncated: decoding.TruncatedCallback | None = None,
        cache: str,
    ) -> None:
        self._paths = paths
        self._size = size
        self._on_failure = on_failure
        self._on_truncated = on_truncated
        self._truncated: set[str] = set()
        self._reader = ImageReader()
        weakref.finalize(self, self._reader.__exit__)  # closes its archives
        self._pool = ThreadPoolExecutor(jobs)
        shape = (len(paths), *size, 3)
        #: The cached pixels; None without a cache.
        self._pixels: np.ndarray | None = None
        self._checksums = np.zeros(len(paths), np.uint32)
        #: Whether the cached pixels of an image are known to be valid.
        self._is_valid = np.zeros(len(paths), bool)
        if cache == IN_MEMORY:
            self._pixels = np.empty(shape, np.uint8)  # The system allocates pages only when they are written.
        elif cache != NO_CACHE and paths:
            accepts_truncated = on_truncated is not None
            self._pixels, self._checksums = _map_cache_file(Path(cache), paths, shape, accepts_truncated)

    def load_batch(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The decodable images among `rows`, int (n,): their rows, and their pixels, uint8 (n, height, width, 3)."""
        if self._pixels is not None and self._is_valid[rows].all():
            return rows, self._pixels[rows]
        decodable: list[int] = []
        pixels: list[np.ndarray] = []
        for row, image in zip(rows, self._pool.map(self._load, rows), strict=True):
            if isinstance(image, ImageError):
                self._on_failure(self._paths[row], str(image))
                continue
            decodable.append(row)
            pixels.append(image)
        return np.array(decodable, int), np.array(pixels, np.uint8).reshape(-1, *self._size, 3)

    def _load(self, row: int) -> np.ndarray | ImageError:
        if self._pixels is None:
            return self._decode(row)
        if not self._is_valid[row]:
            # After a power failure a cache file may hold incomplete pixels; then the checksum differs.
            if not self._checksums[row] or self._checksums[row] != zlib.crc32(self._pixels[row].data):
                image = self._decode(row)
                if isinstance(image, ImageError):
                    return image
                self._pixels[row] = image
                self._checksums[row] = 0 if self._paths[row] in self._truncated else zlib.crc32(image.data)
            self._is_valid[row] = True
        return self._pixels[row]

    def _decode(self, row: int) -> np.ndarray | ImageError:
        on_truncated = None if self._on_truncated is None else self._accept_truncated
        return decoding.load_image(self._reader, self._paths[row], self._size, on_truncated)

    def _accept_truncated(self, path: str) -> None:
        assert self._on_truncated is not None
        self._truncated.add(path)
        self._on_truncated(path)


def _map_cache_file(
    folder: Path, paths: list[str], shape: tuple[int, ...], accepts_truncated: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Map the cache file of these images into memory: the pixels, uint8 of `shape`, and the checksums, uint32 (n,).

    Creates the file if it does not exist.
    """
    files.make_folder(folder)
    file = folder / f"{_digest(paths, shape, accepts_truncated)}.pixels"
    checksum_bytes = np.dtype(np.uint32).itemsize * len(paths)
    needed = checksum_bytes + math.prod(shape)
    file.touch()
    with file.open("r+b") as stream:
        # Another process of the job may reserve the same space at the same time; that is harmless.
        if os.fstat(stream.fileno()).st_size < needed:
            try:
                _reserve_space(stream.fileno(), needed)
            except OSError as error:
                file.unlink(missing_ok=True)
                free = _gigabytes(shutil.disk_usage(folder).free)
                reason = f"{_gigabytes(needed)} of images do not fit into {free} free in {folder}"
                raise CacheError(reason if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error)) from None
    content = np.memmap(file, np.uint8, "r+", shape=(needed,))
    return content[checksum_bytes:].reshape(shape), content[:checksum_bytes].view(np.uint32)


def _reserve_space(file: int, size: int) -> None:
    """Extend a file to `size` bytes on disk: writing to a mapped page without disk space would kill the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.truncate(file, size)


def _digest(paths: list[str], shape: tuple[int, ...], accepts_truncated: bool) -> str:
    """A name that depends on the paths, on how they are decoded, and on the size and modification time of the source
    files."""
    digest = hashlib.sha256(repr((shape, accepts_truncated, decoding.VERSION)).encode())
    versions: dict[str, str] = {}
    for path in paths:
        file = archives.containing_archive(path) or path
        if file not in versions:
            try:
                status = Path(file).stat()
                versions[file] = f"{status.st_size} {status.st_mtime_ns}"
            except OSError:
                versions[file] = "absent"
        digest.update(f"{path}\0{versions[file]}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
