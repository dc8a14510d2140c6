"""Checks of output files and folders before a command computes anything.

No input may be replaced by an output, and no two outputs may be the same file.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from facetools.runtime import descriptors

if TYPE_CHECKING:
    from facetools.images.output_folder import ImageOutput, Names
    from facetools.table.streams import Encoding

#: The name of standard output among the outputs of a command.
STDOUT = "standard output"

_COMPRESSORS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}
_OTHER_TABLES = (".csv", ".tsv", ".parquet", ".npz", ".zip", ".tar")

#: How face tables and reports start. Such a file is no image.
_NO_IMAGES = (b"{", b"<", b"\x93NUMPY")


def choose_encoding(format: Encoding | None, output: str, default: Encoding = "jsonl") -> Encoding:
    """Return the encoding of an output table: `format` if given, else by the suffix of `output`, else `default`.

    Raises TableError for NPY at the end of a file with content.
    """
    from facetools.table import streams

    suffix = Path(output).suffix
    encoding: Encoding = format or ("npy" if suffix == ".npy" else "jsonl" if suffix == ".jsonl" else default)
    number = _descriptor(output)
    if encoding == "npy" and number is not None:
        streams.check_appends(descriptors.check_writable(number, output), output)
    return encoding


def check_output(output: str, option: str = "--output", *, table: bool = False) -> None:
    """Raise an error if the file `output` cannot be written. If it is a `table`, its suffix may not claim otherwise."""
    number = _descriptor(output)
    if number is not None:
        descriptors.check_writable(number, output)
        return
    status = _status(output)
    if status is None or stat.S_ISREG(status.st_mode):
        suffix = Path(output).suffix.lower()
        if suffix in _COMPRESSORS:
            pipe = f"{option} /dev/stdout | {_COMPRESSORS[suffix]} > {output}"
            raise typer.BadParameter(f"outputs are not compressed; use a pipe: {pipe}", param_hint=option)
        if table and suffix in _OTHER_TABLES:
            raise typer.BadParameter(f"tables are written as jsonl or npy, not as {suffix[1:]}", param_hint=option)
    if output.endswith("/") or (status is not None and stat.S_ISDIR(status.st_mode)):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), output)
    folder = Path(os.path.realpath(output)).parent
    if not folder.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), output)
    is_replaced = status is None or stat.S_ISREG(status.st_mode)
    if (status is not None and not os.access(output, os.W_OK)) or (is_replaced and not os.access(folder, os.W_OK)):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), output)


def check_folder(folder: str, option: str = "--output") -> None:
    """Raise an error unless `folder` is a folder or can be created."""
    if not folder or _descriptor(folder) is not None or (os.path.lexists(folder) and not Path(folder).is_dir()):
        raise typer.BadParameter(f"'{folder}' is not a folder", param_hint=option)
    parent = Path(os.path.realpath(folder))
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder)
    if not os.access(parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)


def is_zip(output: str) -> bool:
    """Whether an output for images is a zip archive and not a folder."""
    return output.lower().endswith(".zip")


def check_image_output(output: str) -> None:
    """Raise an error unless images can be written to `output`, a folder or a zip archive."""
    from facetools.images.formats import ARCHIVE_SUFFIXES

    if is_zip(output):
        check_output(output)
    elif output.lower().endswith(tuple(ARCHIVE_SUFFIXES)):
        raise typer.BadParameter("images are written into a folder or a .zip archive", param_hint="--output")
    else:
        check_folder(output)


@contextmanager
def open_images(output: str, sources: Sequence[str], names: Names) -> Iterator[ImageOutput]:
    """Open the folder or the zip archive `output` for images that are made from `sources`."""
    from facetools.images.output_folder import ImageArchive, ImageFolder

    if is_zip(output):
        with ImageArchive.create(output, names) as archive:
            yield archive
    else:
        yield ImageFolder(output, sources, names)


def sheet_suffix(sheet: str) -> str:
    """Return the suffix that says how a contact sheet is encoded: PNG for a pipe or a device.

    Raises an error if the sheet cannot be written, a usage error for other suffixes.
    """
    from facetools.images.writing import FORMATS

    check_output(sheet, "--sheet")
    if is_stream(sheet):
        return ".png"
    suffix = Path(sheet).suffix.lower()
    if suffix not in FORMATS:
        raise typer.BadParameter(f"'{sheet}' does not end with {', '.join(FORMATS)}", param_hint="--sheet")
    return suffix


def is_stream(output: str) -> bool:
    """Whether `output` is stdout, a descriptor, a pipe or a device, whose name says nothing about its format."""
    status = _status(output)
    return _descriptor(output) is not None or (status is not None and not stat.S_ISREG(status.st_mode))


def check_distinct(outputs: Mapping[str, str | None], inputs: Iterable[str | None] = ()) -> None:
    """Raise a usage error if two outputs are the same file, or if an output is one of `inputs`.

    `outputs` maps options to files. Of a folder in CelebA's layout, its lists and its archive count as inputs.
    """
    places = {option: _output_place(output) for option, output in outputs.items() if output is not None}
    options = list(places)
    for row, option in enumerate(options):
        for other in options[row + 1 :]:
            if places[option].is_same_output(places[other]):
                raise typer.BadParameter(f"it is the same file as {option}; name another file", param_hint=other)
    for source in inputs:
        for path in _expand_input(source) if source else ():
            file = _input_file(path)
            for option, place in places.items():
                if file is not None and file == place.file:
                    name = "standard input" if path == "-" else path
                    raise typer.BadParameter(f"it would replace the input {name}; name another file", param_hint=option)


def check_images_stay(outputs: Iterable[tuple[str, str | Path | None]], images: Iterable[str]) -> None:
    """Raise a usage error if an output, a pair of option and file, would replace one of `images`."""
    existing: dict[tuple[int, int] | None, str] = {}
    for option, output in outputs:
        if output is None or is_stream(str(output)):
            continue
        status = _status(str(output))
        if status is not None and not _is_no_image(output):
            existing[status.st_dev, status.st_ino] = option
    if not existing:
        return
    for path in images:
        file = _input_file(path)
        if file in existing:
            hint = existing[file]
            raise typer.BadParameter(f"it would replace the image {path}; name another file", param_hint=hint)


@dataclass(frozen=True)
class _Place:
    """Where an output goes: a descriptor of this process, a file, or both.

    A file is identified by device and inode, or by its path if it does not exist. Devices have no identity.
    """

    descriptor: int | None
    file: tuple[int, int] | str | None

    def is_same_output(self, other: _Place) -> bool:
        if self.descriptor is not None and other.descriptor is not None:
            # Two descriptors may share a file, as in 2>&1.
            return self.descriptor == other.descriptor
        return self.file is not None and self.file == other.file


def _descriptor(output: str) -> int | None:
    return descriptors.STDOUT if output == "-" else descriptors.named_descriptor(output)


def _output_place(output: str) -> _Place:
    number = _descriptor(output)
    if number is not None:
        return _Place(number, _identity(os.fstat(descriptors.check_writable(number, output))))
    status = _status(output)
    return _Place(None, os.path.realpath(output) if status is None else _identity(status))


def _input_file(path: str) -> tuple[int, int] | None:
    """Device and inode of an input; of a member of an archive those of the archive. None if there is no such file."""
    from facetools.images.archives import containing_archive

    try:
        status = os.fstat(descriptors.STDIN) if path == "-" else _status(path)
        if status is None and (archive := containing_archive(path)) is not None:
            status = _status(archive)
    except (OSError, ValueError):
        return None
    return None if status is None else _identity(status)


def _expand_input(path: str) -> Iterator[str]:
    from facetools.table.celeba import CelebAError, CelebALayout

    yield path
    if path != "-" and Path(path).is_dir():
        try:
            layout = CelebALayout.find(Path(path))
        except CelebAError:
            return
        if layout is not None:
            yield from (str(file) for file in (layout.images, layout.attributes, layout.partition) if file is not None)


def _identity(status: os.stat_result) -> tuple[int, int] | None:
    if stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode):
        return status.st_dev, status.st_ino
    return None


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_no_image(path: str | Path) -> bool:
    try:
        with Path(path).open("rb") as stream:
            head = stream.read(8)
    except OSError:
        return False
    return not head or head.startswith(_NO_IMAGES)
