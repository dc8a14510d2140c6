"""Find the images in files, folders, path lists, zip and tar archives.

`find_images` yields their paths. A path identifies an image; that of an archive member is `faces.zip/dir/000001.jpg`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from facetools.images import archives

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".gif", ".jp2"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
)

_BLOCK_BYTES = 2**16


class SourceError(ValueError):
    """A source of images does not exist or is not allowed."""


class MissingSourceError(SourceError):
    """There is no such file or folder."""


def find_images(sources: Iterable[str], stdin: BinaryIO | None = None, *, null: bool = False) -> Iterator[str]:
    """Yield the paths of the images in `sources`, in order.

    A source is an image file, a folder (searched recursively, sorted by name), a zip or tar archive (in archive order),
    a `.txt` list (one path per line), or `-` for paths read from `stdin`. With `null`, paths on stdin end with NUL
    instead of newline.

    Lists and stdin may name any source except `-`. If a source named there does not exist, its path is yielded like an
    image: reading it fails, and the other images are still processed. Raises SourceError or archives.ArchiveError.
    """
    for source in sources:
        if source == "-":
            if stdin is None:
                raise SourceError("a path list cannot contain '-' (standard input)")
            yield from _find_listed_images(_split_paths(stdin, b"\0" if null else b"\n"))
        elif source.lower().endswith(".txt"):
            yield from _find_listed_images(_read_path_list(source))
        else:
            yield from _find_in_source(source)


def _find_listed_images(sources: Iterable[str]) -> Iterator[str]:
    for source in sources:
        try:
            yield from find_images([source])
        except MissingSourceError:
            yield source


def _find_in_source(source: str) -> Iterator[str]:
    if Path(source).is_dir():
        yield from _find_in_folder(source)
    elif archives.is_archive_name(source) and Path(source).is_file():
        with closing(archives.open_archive(source)) as archive:
            names = archive.names()
        yield from (f"{source}/{name}" for name in names if _is_image_name(name))
    elif Path(source).exists() or archives.containing_archive(source):
        yield source
    else:
        raise MissingSourceError(f"{source}: no such file or folder")


def _find_in_folder(folder: str, ancestors: tuple[str, ...] = ()) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in ancestors:
        return  # a symbolic link to a parent folder
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _find_in_folder(entry.path, (*ancestors, real))
        elif _is_image_name(entry.name):
            yield entry.path


def _is_image_name(name: str) -> bool:
    """Whether the file name has the suffix of an image and is neither hidden nor a macOS resource fork."""
    base = name.rsplit("/", 1)[-1].lower()
    return base.endswith(IMAGE_SUFFIXES) and not base.startswith(".") and not name.startswith("__MACOSX/")


def _read_path_list(source: str) -> Iterator[str]:
    try:
        with Path(source).open("rb") as stream:
            yield from _split_paths(stream, b"\n")
    except FileNotFoundError:
        raise MissingSourceError(f"{source}: no such file or folder") from None


def _split_paths(stream: BinaryIO, separator: bytes) -> Iterator[str]:
    """Yield each path as soon as it has arrived. The last one need not end with the separator."""
    # read1 returns what a pipe holds; read would wait for a full block.
    read = stream.read1 if isinstance(stream, io.BufferedReader) else stream.read
    incomplete = b""
    while block := read(_BLOCK_BYTES):
        *complete, incomplete = (incomplete + block).split(separator)
        yield from _decode_paths(complete)
    yield from _decode_paths([incomplete])


def _decode_paths(paths: list[bytes]) -> Iterator[str]:
    for path in paths:
        path = path.removesuffix(b"\r")
        if path:
            yield os.fsdecode(path)
