"""Find images: files, folders, path lists, zip and tar archives.

An image is identified by its path alone; a member of an archive is `faces.zip/dir/000001.jpg`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from facetools.images import archives
from facetools.images.archives import Archive

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".gif", ".jp2"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
)


class SourceError(ValueError):
    """A source of images does not exist, cannot be read or holds no image."""


class MissingSourceError(SourceError):
    """There is no such file or folder."""


def find_images(sources: Iterable[str], stdin: BinaryIO | None = None, *, null: bool = False) -> Iterator[str]:
    """The paths of the images in `sources`, in order: image files, folders (recursive, sorted by name), zip and tar
    archives (members in order), `.txt` lists (a path a line), and `-` for paths read from `stdin`.

    Lists and stdin may name any source but themselves; `null` says that paths on stdin end with NUL, not newline. What
    they name that is not there comes as an image, which fails where it is read, so that the others go on.
    """
    for source in sources:
        if source == "-":
            if stdin is None:
                raise SourceError("'-' may not be named by a list")
            yield from _named(_stream_paths(stdin, b"\0" if null else b"\n"))
        elif source.lower().endswith(".txt"):
            yield from _named(_list_paths(source))
        else:
            yield from _images_in(source)


def _named(sources: Iterable[str]) -> Iterator[str]:
    for source in sources:
        try:
            yield from find_images([source])
        except MissingSourceError:
            yield source


def _images_in(source: str) -> Iterator[str]:
    if Path(source).is_dir():
        yield from _folder_images(source)
    elif _is_archive(source) and Path(source).is_file():
        with closing(open_source_archive(source)) as archive:
            names = archive.names()
        yield from (f"{source}/{name}" for name in names if is_image_name(name))
    elif Path(source).exists() or containing_archive(source):
        yield source
    else:
        raise MissingSourceError(f"{source}: no such file or folder")


def _folder_images(folder: str, above: tuple[str, ...] = ()) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in above:
        return  # a link to a folder that this one is in
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _folder_images(entry.path, (*above, real))
        elif is_image_name(entry.name):
            yield entry.path


def is_image_name(name: str) -> bool:
    """Whether a file name says image; hidden files, and what macOS adds to archives, are none."""
    base = name.rsplit("/", 1)[-1].lower()
    return base.endswith(IMAGE_SUFFIXES) and not base.startswith(".") and not name.startswith("__MACOSX/")


def _list_paths(source: str) -> Iterator[str]:
    try:
        with Path(source).open("rb") as stream:
            yield from _stream_paths(stream, b"\n")
    except FileNotFoundError:
        raise MissingSourceError(f"{source}: no such file or folder") from None


def _stream_paths(stream: BinaryIO, end: bytes) -> Iterator[str]:
    rest = b""
    while block := stream.read1(65536) if isinstance(stream, io.BufferedReader) else stream.read(65536):
        *complete, rest = (rest + block).split(end)
        yield from _texts(complete)
    yield from _texts([rest])


def _texts(paths: list[bytes]) -> Iterator[str]:
    for path in paths:
        path = path.removesuffix(b"\r")
        if path:
            yield os.fsdecode(path)


def _is_archive(path: str) -> bool:
    return path.lower().endswith(archives.ARCHIVE_SUFFIXES)


def containing_archive(path: str) -> str | None:
    """The archive file that `path` leads into, if it does."""
    at = path.find("/")
    while at >= 0:
        if _is_archive(path[:at]) and Path(path[:at]).is_file():
            return path[:at]
        at = path.find("/", at + 1)
    return None


def containing_file(path: str) -> str:
    """The file that holds an image: the archive of a member, else the image itself."""
    return containing_archive(path) or path


def open_source_archive(path: str) -> Archive:
    try:
        return archives.open_archive(path)
    except archives.ARCHIVE_ERRORS as error:
        reason = str(error).splitlines()[0].rstrip(":") if str(error) else "it ends too early"
        raise SourceError(f"{path}: not a readable archive: {reason}") from None
