"""Output files that are complete or absent.

A regular file is written to a temporary file in the same folder, flushed to disk, then renamed. Descriptors, pipes and
devices are written to directly.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from facetools.runtime import descriptors, signals
from facetools.runtime.descriptors import OutputFile, named_errors

#: Names of temporary files: `.NAME.facetools-MACHINE-RANDOM.part`. A file name may have at most 255 bytes.
_PARTIAL_NAME = re.compile(r"\..*\.facetools-(?P<machine>[0-9a-f]{8})-[0-9a-f]{16}\.part", re.DOTALL)
_MAX_NAME_BYTES = 200

#: Seconds without a change after which a temporary file of another machine, whose locks may be unknown here, is dead.
_FOREIGN_AGE = 24 * 3600

#: The folders whose temporary files of dead runs this process has removed.
_cleaned_folders: set[Path] = set()


@contextmanager
def atomic_writer(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file that replaces `path` if the block succeeds, and is deleted if it raises.

    The target of a symbolic link is replaced, and the link stays. A file that is replaced keeps its permissions. An
    open descriptor that `path` names is written to directly, whatever is behind it, and so are devices and named pipes.
    OSErrors of the file name `path`.
    """
    name = str(path)
    if (number := descriptors.named_descriptor(name)) is not None:
        with descriptors.open_descriptor(number, name) as stream:
            yield stream
        return
    with named_errors(name):
        status = _status(name)
    if status is not None and (not stat.S_ISREG(status.st_mode) or descriptors.names_other_process(name)):
        with named_errors(name):
            # A file that another process has open gets the data at its end.
            descriptor = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_NOCTTY)
        with descriptors.open_stream(descriptor, name) as stream:
            yield stream
        return
    with named_errors(name):
        if status is not None and not os.access(name, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        target = Path(os.path.realpath(name))
        if target.parent not in _cleaned_folders:
            _cleaned_folders.add(target.parent)
            remove_dead_partials(target.parent)
        partial, descriptor = _create_partial(target)
    stream = io.BufferedWriter(OutputFile(descriptor, name))
    lock = -1
    try:
        with named_errors(name):
            if status is not None:
                os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & 0o777)
            lock = os.dup(descriptor)  # closing the stream must not release the lock before the file is renamed
        yield stream
        with named_errors(name):
            stream.flush()
            os.fsync(descriptor)
            stream.close()
            partial.replace(target)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        with suppress(OSError, ValueError):
            stream.close()
        raise
    finally:
        signals.remove_temporary_file(partial)
        if lock >= 0:
            os.close(lock)


def write_atomically(path: str | Path, data: bytes) -> None:
    """Replaces the content of `path` by `data`."""
    with atomic_writer(path) as stream:
        stream.write(data)


def make_folder(path: str | Path) -> Path:
    """Creates the folder `path` and its parents if they are missing, and returns it."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class FolderLock:
    """Keeps other processes from locking a folder, until the lock is deleted or the process ends."""

    def __init__(self, folder: Path) -> None:
        """Create the folder if it is missing. Raises BlockingIOError if another process has locked it."""
        self._descriptor = -1
        while True:
            self._descriptor = os.open(make_folder(folder), os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if isinstance(error, BlockingIOError):
                    raise
                return  # a file system without locks
            if (status := _status(str(folder))) is not None and os.path.samestat(status, os.fstat(self._descriptor)):
                return
            os.close(self._descriptor)  # another process has removed the folder before it was locked

    def __del__(self) -> None:
        with suppress(OSError):
            os.close(self._descriptor)


def remove_dead_partials(folder: Path) -> None:
    """Remove the temporary files in `folder` whose writers are dead."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if match := _PARTIAL_NAME.fullmatch(entry.name):
                with suppress(OSError):
                    _remove_if_dead(Path(entry.path), match["machine"] == _machine())


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116
    except FileNotFoundError:
        return None


def _create_partial(target: Path) -> tuple[Path, int]:
    """Create a locked temporary file beside `target`. Returns its path and its descriptor.

    The lock tells other processes that the writer is alive; it ends with the process.
    """
    start = os.fsdecode(os.fsencode(target.name)[:_MAX_NAME_BYTES])
    while True:
        partial = target.with_name(f".{start}.facetools-{_machine()}-{secrets.token_hex(8)}.part")
        signals.add_temporary_file(partial)
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except OSError:
            signals.remove_temporary_file(partial)
            raise
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_lost = not os.fstat(descriptor).st_nlink
        except OSError as error:
            # On a file system without locks nobody removes the file.
            is_lost = isinstance(error, BlockingIOError)
        if not is_lost:
            return partial, descriptor
        os.close(descriptor)  # another process has found the file before it was locked, and removes it
        signals.remove_temporary_file(partial)


def _machine() -> str:
    """8 hexadecimal digits that identify this machine or container by its host name."""
    return hashlib.sha256(os.uname().nodename.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def _remove_if_dead(partial: Path, is_local: bool) -> None:
    # NFS needs write access for a lock.
    descriptor = os.open(partial, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(descriptor)
        if is_local or time.time() - status.st_mtime > _FOREIGN_AGE:
            partial.unlink()
    finally:
        os.close(descriptor)
