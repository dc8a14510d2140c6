"""Open zip and tar archives, keep many of them open, and find the archive that the path of a member leads into.

`open_archive` opens one archive, `ArchivePool` many. The content tells which kind of archive a file is.
"""

from __future__ import annotations

import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from facetools.images import formats
from facetools.images.archives import compression
from facetools.images.archives.tars import TarError, TarReader
from facetools.images.archives.zips import ZipError, ZipReader
from facetools.runtime.extras import MissingExtraError

Archive = ZipReader | TarReader

#: Archives whose files a pool holds open at a time.
MAX_OPEN = 64


class ArchiveError(ValueError):
    """An archive cannot be opened. The message is the reason, without the path."""


def open_archive(path: str) -> Archive:
    """Open a zip or tar archive. Raises ArchiveError if it is none, MissingExtraError or OSError."""
    head = read_head(path, formats.HEAD_BYTES)
    if not head:
        raise ArchiveError("not a readable archive: the file is empty")
    kind = formats.kind_of_content(head) or formats.FileKind("other", "")
    try:
        if kind.role == "compressed" and not kind.reason:
            return TarReader(path, kind.label)
        is_zip = kind.label == "zip archive" or not (kind.label == "tar archive" or formats.is_tar_name(path))
        return ZipReader(path) if is_zip else TarReader(path)
    except (ZipError, TarError) as error:
        if kind.reason:
            raise ArchiveError(kind.reason) from None
        reason = f"it is a {kind.label}" if kind.role == "image" else str(error)
        raise ArchiveError(f"not a readable archive: {reason}") from None


def read_head(path: str, size: int) -> bytes:
    """The first `size` bytes of a regular file. Raises OSError."""
    with Path(path).open("rb", buffering=0) as stream:
        return stream.read(size)


def holds_tar(path: str, method: str) -> bool:
    """Whether a file compressed by `method` holds a tar archive. Raises MissingExtraError or OSError."""
    try:
        with compression.open_decompressed(path, method) as stream:
            return formats.is_tar_header(stream.read(formats.HEAD_BYTES))
    except compression.damage_errors() as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        return False


def ends_with_zip(path: str) -> bool:
    """Whether a zip archive follows other data, such as a program that unpacks it. Raises OSError."""
    try:
        with closing(ZipReader(path)) as archive:
            return bool(archive.names())
    except ZipError:
        return False


def containing_archive(path: str) -> str | None:
    """The archive that contains `path`, or None: for `faces.zip/dir/000001.jpg` it is `faces.zip` if that is a file."""
    found = containing_named_archive(path)
    if found is not None:
        return found
    try:
        os.stat(path)  # noqa: PTH116
    except NotADirectoryError:
        return containing_unnamed_archive(path)
    except (OSError, ValueError):
        pass
    return None


def containing_named_archive(path: str) -> str | None:
    """The file that contains `path` and is called like an archive, or None."""
    end = path.find("/")
    while end >= 0:
        if formats.is_archive_name(path[:end]) and _is_regular_file(path[:end]):
            return path[:end]
        end = path.find("/", end + 1)
    return None


def containing_unnamed_archive(path: str) -> str | None:
    """The archive that contains `path`, whatever it is called, or None."""
    end = path.find("/", 1)
    while end >= 0:
        if _is_regular_file(path[:end]):
            return path[:end] if _is_archive(path[:end]) else None
        end = path.find("/", end + 1)
    return None


def _is_regular_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116
    except (OSError, ValueError):
        return False


def _is_archive(path: str) -> bool:
    try:
        kind = formats.kind_of_content(read_head(path, formats.HEAD_BYTES))
        if kind is not None and kind.role == "compressed" and not kind.reason:
            return holds_tar(path, kind.label)
        return (kind is not None and kind.role == "archive") or ends_with_zip(path)
    except (OSError, MissingExtraError):
        return False


class ArchivePool:
    """Opens archives when they are first needed, and remembers where their members are.

    At most MAX_OPEN files are open at a time, apart from those in use. Threads may share a pool.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._archives: dict[str, _PooledArchive] = {}
        #: The archives whose file may be open; the least recently used comes first.
        self._open: OrderedDict[str, _PooledArchive] = OrderedDict()

    def __contains__(self, path: str) -> bool:
        return path in self._archives

    @contextmanager
    def borrow(self, path: str) -> Iterator[Archive]:
        """The archive `path`, which stays open during the block. Raises as `open_archive` does."""
        with self._lock:
            pooled = self._archives.setdefault(path, _PooledArchive(path))
            pooled.users += 1
            self._open[path] = pooled
            self._open.move_to_end(path)
            if len(self._open) > MAX_OPEN:
                self._close_idle()
        try:
            yield pooled.get()
        finally:
            with self._lock:
                pooled.users -= 1

    def close(self) -> None:
        """Close all archives."""
        with self._lock:
            for pooled in self._archives.values():
                pooled.close()
            self._archives.clear()
            self._open.clear()

    def _close_idle(self) -> None:
        idle = [path for path, pooled in self._open.items() if not pooled.users]
        for path in idle[: len(self._open) - MAX_OPEN]:
            self._open.pop(path).close()


class _PooledArchive:
    """An archive that is opened at its first use, or the reason why it cannot be opened."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._archive: Archive | None = None
        self._error: ArchiveError | MissingExtraError | None = None
        #: Threads that use the archive.
        self.users = 0

    def get(self) -> Archive:
        if self._archive is None:
            with self._lock:
                if self._error is not None:
                    raise self._error
                if self._archive is None:
                    try:
                        self._archive = open_archive(self._path)
                    except (ArchiveError, MissingExtraError) as error:
                        self._error = error
                        raise
        return self._archive

    def close(self) -> None:
        if self._archive is not None:
            self._archive.close()
