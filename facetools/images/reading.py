"""Read the bytes of image files and archive members.

`ImageReader` reads by path and raises ImageError; `try_read` returns the error instead, so that a loop over many images
can go on.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from facetools.images import archives
from facetools.images.archives import ArchiveError, ArchivePool
from facetools.images.archives.members import MAX_FILE_BYTES, normal_name
from facetools.images.archives.tars import TarError
from facetools.images.archives.zips import ZipError
from facetools.runtime.extras import MissingExtraError

_BLOCK_BYTES = 2**20


class ImageError(ValueError):
    """An image cannot be read or decoded. The message is the reason, without the path."""


class ImageReader:
    """Reads images by path and keeps their archives open. Threads may share a reader. It is a context manager."""

    def __init__(self) -> None:
        self._pool = ArchivePool()

    def __enter__(self) -> ImageReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    def read(self, path: str) -> bytes:
        """The content of an image file or archive member. Raises ImageError."""
        try:
            data = self._read(path)
        except ImageError:
            raise
        except OSError as error:
            raise ImageError(error.strerror or str(error)) from None
        except ValueError as error:
            raise ImageError("the file name contains a NUL" if "\0" in path else str(error)) from None
        if not data:
            raise ImageError("the file is empty")
        return data

    def _read(self, path: str) -> bytes:
        archive = self._find_archive(path)
        if archive is None:
            try:
                return _read_file(path)
            except NotADirectoryError:
                archive = archives.containing_unnamed_archive(path)
                if archive is None:
                    raise
        return self._read_member(archive, path)

    def _find_archive(self, path: str) -> str | None:
        """The archive that contains `path`: one that is known already, or one that is called like an archive."""
        end = path.find("/", 1)
        while end >= 0:
            if path[:end] in self._pool:
                return path[:end]
            end = path.find("/", end + 1)
        return archives.containing_named_archive(path)

    def _read_member(self, archive_path: str, path: str) -> bytes:
        name = path[len(archive_path) + 1 :]
        try:
            with self._pool.borrow(archive_path) as archive:
                try:
                    return archive.read(name)
                except KeyError:
                    return archive.read(normal_name(name))
        except KeyError:
            raise ImageError("no such member in the archive") from None
        except (ArchiveError, ZipError, TarError, MissingExtraError) as error:
            raise ImageError(str(error)) from None


def _read_file(path: str) -> bytes:
    with Path(path).open("rb", buffering=0) as stream:
        status = os.fstat(stream.fileno())
        if status.st_size > MAX_FILE_BYTES:
            raise ImageError(_too_large())
        if stat.S_ISREG(status.st_mode):
            return stream.readall()
        # A pipe or device does not tell its size.
        data = bytearray()
        while block := stream.read(_BLOCK_BYTES):
            data += block
            if len(data) > MAX_FILE_BYTES:
                raise ImageError(_too_large())
        return bytes(data)


def _too_large() -> str:
    return f"the file is larger than {MAX_FILE_BYTES >> 30} GiB"


def try_read(reader: ImageReader, path: str) -> bytes | ImageError:
    """The content of an image, or the reason why it cannot be read."""
    try:
        path.encode("utf-8")
        return reader.read(path)
    except UnicodeEncodeError:
        return ImageError("the file name is not UTF-8")
    except ImageError as error:
        return error
