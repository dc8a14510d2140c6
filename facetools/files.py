"""Files that are complete or absent: written beside their place, flushed to disk, renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file that takes the place of `path` when the block ends well, and vanishes when it does not.

    A path that exists and is no regular file (a device, a named pipe) is written to as it is. OSErrors name `path`.
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


def write(path: str | Path, data: bytes) -> None:
    """`data` as the whole content of `path`."""
    with replacing(path) as stream:
        stream.write(data)


def make_folder(path: str | Path) -> Path:
    """The folder `path`, made with its parents where it is missing."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
