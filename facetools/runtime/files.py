"""Atomic files: written to a temporary file in the same folder, flushed to disk, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_writer(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file that replaces `path` if the block succeeds, and is deleted if it raises.

    A path that exists and is not a regular file (a device, a named pipe) is written to directly. OSErrors name `path`.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        with target.open("wb") as stream:
            yield stream
        return
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        stream = partial.open("xb")
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from None
    try:
        with stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(target)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename is None:
            raise type(error)(error.errno, error.strerror, str(path)) from None
        raise


def write_atomically(path: str | Path, data: bytes) -> None:
    """Replaces the content of `path` by `data`."""
    with atomic_writer(path) as stream:
        stream.write(data)


def make_folder(path: str | Path) -> Path:
    """Creates the folder `path` and its parents if they are missing, and returns it."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
