"""Find the images in files, folders, path lists, zip and tar archives.

`find_images` yields their paths. A path identifies an image; that of an archive member is `faces.zip/dir/000001.jpg`.
`formats` decides what is an image.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import BinaryIO

from facetools.images import archives, formats
from facetools.images.archives import ArchiveError
from facetools.images.archives.tars import TarError
from facetools.images.archives.zips import ZipError
from facetools.images.path_lists import PathListError, describe_unusable, read_path_list
from facetools.runtime.extras import MissingExtraError

#: Lists that lie in lists.
MAX_LIST_DEPTH = 16

#: A list in which at least this many lines name nothing, and no line anything, is reported once and not line by line.
_MIN_UNUSABLE_LINES = 3

#: Characters of its first line that are shown then.
_MAX_SHOWN = 60

MISSING = "no such file or folder"

_SPECIAL_KINDS = {
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}

#: Stands for stdin among the lists that are being read.
_STDIN = (-1, -1)

Failure = Callable[[str, str], None]


class SourceError(ValueError):
    """A source of images does not exist or cannot be read."""


class MissingSourceError(SourceError):
    """There is no such file or folder."""


def _raise_failure(path: str, reason: str) -> None:
    raise SourceError(f"{path}: {reason}")


def find_images(
    sources: Iterable[str],
    stdin: BinaryIO | None = None,
    *,
    null: bool = False,
    on_failure: Failure = _raise_failure,
    on_passed_over: Callable[[str, str], None] = lambda path, kind: None,
    exclude: Callable[[str], bool] = lambda path: False,
) -> Iterator[str]:
    """Yield the paths of the images in `sources`, in order.

    A source is an image file, a folder (searched recursively, sorted by name), a zip or tar archive (in archive order),
    a `.txt` list (one path per line), or `-` for paths read from `stdin`. With `null`, paths on stdin end with NUL
    instead of newline. Lists and stdin may name any source except `-`. Archives in folders are searched like folders.

    What cannot be read is passed to on_failure(path, reason), and the search goes on: a damaged archive, a folder
    without permission, a line of a list that names nothing, an image of a kind that cannot be decoded. By default
    `on_failure` raises SourceError. Files in folders and archives that are neither images nor archives are passed to
    on_passed_over(path, kind), where `kind` is a suffix such as `.json` or a noun such as `socket`; hidden files are
    not. Files in folders for which exclude(path) is true are left out.

    Raises MissingSourceError if one of `sources` does not exist.
    """
    search = _Search(on_failure, on_passed_over, exclude)
    for source in sources:
        if source == "-":
            yield from search.find_on_stdin(stdin, null)
        else:
            yield from search.find_in_source(source)


class _Search:
    """One search for images, with its callbacks."""

    def __init__(
        self, on_failure: Failure, on_passed_over: Callable[[str, str], None], exclude: Callable[[str], bool]
    ) -> None:
        self._on_failure = on_failure
        self._on_passed_over = on_passed_over
        self._exclude = exclude
        #: The lists that are being read, outermost first, as device and inode.
        self._lists: list[tuple[int, int]] = []

    def find_on_stdin(self, stdin: BinaryIO | None, null: bool) -> Iterator[str]:
        """Yield the images that the lines of stdin name."""
        if stdin is None:
            self._on_failure("standard input", "it is closed")
            return
        self._lists.append(_STDIN)
        yield from self._find_in_lines("standard input", stdin, null)
        self._lists.pop()

    def find_in_source(self, path: str) -> Iterator[str]:
        """Yield the images of a source that is no `-`. Raises MissingSourceError if it does not exist."""
        try:
            status = _stat(path)
        except MissingSourceError:
            raise
        except (OSError, ValueError) as error:
            self._on_failure(path, _describe(error))
            return
        yield from self._find(path, status)

    def _find(self, path: str, status: os.stat_result | None) -> Iterator[str]:
        """Yield the images of a source that exists. The status of a member of an archive is None."""
        if status is None:
            yield path
        elif stat.S_ISDIR(status.st_mode):
            yield from self._find_in_folder(path)
        elif not stat.S_ISREG(status.st_mode) and self._lists:
            self._on_failure(path, f"it is a {_special_kind(status.st_mode)}, not a file")
        elif path.lower().endswith(".txt"):
            yield from self._find_in_list(path, status)
        elif stat.S_ISREG(status.st_mode):
            yield from self._find_in_file(path)
        else:
            yield path  # a pipe, as of process substitution

    def _find_in_file(self, path: str) -> Iterator[str]:
        """Yield the images in a regular file that the user names: itself, unless it is an archive."""
        try:
            kind = formats.classify_named(path, partial(archives.read_head, path))
            if kind.role == "compressed" and archives.holds_tar(path, kind.label):
                kind = formats.ARCHIVE
            elif kind.role == "other" and archives.ends_with_zip(path):
                kind = formats.ARCHIVE  # a program that unpacks itself
        except MissingExtraError as error:
            self._on_failure(path, str(error))
            return
        except OSError:
            yield path  # reading it tells the reason
            return
        if kind.role == "archive":
            yield from self._find_in_archive(path)
        elif kind.role == "unsupported":
            self._on_failure(path, kind.reason)
        else:
            yield path

    def _find_in_list(self, path: str, status: os.stat_result) -> Iterator[str]:
        identity = status.st_dev, status.st_ino
        if identity in self._lists:
            self._on_failure(path, "the list names itself, or a list that names it")
            return
        if len(self._lists) >= MAX_LIST_DEPTH:
            self._on_failure(path, f"more than {MAX_LIST_DEPTH} lists lie in each other")
            return
        try:
            stream = Path(path).open("rb")  # noqa: SIM115
        except OSError as error:
            self._on_failure(path, _describe(error))
            return
        with stream:
            self._lists.append(identity)
            yield from self._find_in_lines(path, stream, null=False)
            self._lists.pop()

    def _find_in_lines(self, name: str, stream: BinaryIO, null: bool) -> Iterator[str]:
        """Yield the images that the lines of a list name."""
        # The lines that name nothing, until one names something: if none does, this is no list of paths.
        missing: list[tuple[str, str]] = []
        is_empty, names_something = True, False
        failure = ""
        lines = read_path_list(stream, null=null)
        while True:
            try:
                line = next(lines, None)
            except (PathListError, OSError) as error:
                failure = _describe(error)
                break
            if line is None:
                break
            is_empty = False
            status, reason = None, line.problem
            if line.path == "-":
                reason = "a list cannot contain - (standard input)"
            elif not reason:
                try:
                    status = _stat(line.path)
                except MissingSourceError:
                    reason = MISSING
                except (OSError, ValueError) as error:
                    reason = _describe(error)
            if reason and not names_something:
                missing.append((line.path, reason))
            elif reason:
                self._on_failure(line.path, reason)
            else:
                names_something = True
                self._report_all(missing)
                yield from self._find(line.path, status)
        if not failure and missing:
            hint = describe_unusable([path for path, _ in missing[:2]])
            if hint or len(missing) >= _MIN_UNUSABLE_LINES:
                cause = f"none of its {len(missing):,} lines names a file or folder"
                failure = f"{cause}; {hint or f'the first is {_shorten(missing[0][0])}'}"
                missing.clear()
        self._report_all(missing)
        if failure:
            self._on_failure(name, failure)
        elif is_empty:
            self._on_passed_over(name, "empty list")

    def _report_all(self, failures: list[tuple[str, str]]) -> None:
        for path, reason in failures:
            self._on_failure(path, reason)
        failures.clear()

    def _find_in_folder(self, folder: str) -> Iterator[str]:
        # The folders that are open, outermost first: their real path, and the entries that are still to be visited.
        open_folders: list[tuple[str, Iterator[os.DirEntry[str]]]] = []
        self._open_folder(folder, os.path.realpath(folder), open_folders)
        while open_folders:
            parent, entries = open_folders[-1]
            entry = next(entries, None)
            if entry is None:
                open_folders.pop()
                continue
            if entry.name.startswith("."):
                continue
            try:
                is_folder = entry.is_dir()
                is_file = not is_folder and entry.is_file()
            except OSError as error:
                self._on_failure(entry.path, _describe(error))
                continue
            if is_folder:
                real = os.path.realpath(entry.path) if entry.is_symlink() else f"{parent}/{entry.name}"
                # A link may lead to a parent folder.
                if all(real != ancestor for ancestor, _ in open_folders):
                    self._open_folder(entry.path, real, open_folders)
            elif not is_file:
                self._report_special(entry)
            elif not self._exclude(entry.path):
                yield from self._find_in_entry(entry.path)

    def _open_folder(self, folder: str, real: str, open_folders: list[tuple[str, Iterator[os.DirEntry[str]]]]) -> None:
        """Append a folder, whose real path is `real`, with its entries sorted by name."""
        try:
            with os.scandir(folder) as entries:
                open_folders.append((real, iter(sorted(entries, key=lambda entry: entry.name))))
        except OSError as error:
            self._on_failure(folder, _describe(error))

    def _report_special(self, entry: os.DirEntry[str]) -> None:
        """Report an entry of a folder that is neither a file nor a folder."""
        try:
            self._on_passed_over(entry.path, _special_kind(entry.stat().st_mode))
        except FileNotFoundError:
            self._report_link(entry.path, "the link leads to a file that does not exist")
        except OSError as error:
            self._on_failure(entry.path, _describe(error))

    def _report_link(self, path: str, reason: str) -> None:
        """Report a broken link. A text that is missing is none of the images."""
        if formats.is_other_name(path):
            self._on_passed_over(path, "broken link")
        else:
            self._on_failure(path, reason)

    def _find_in_entry(self, path: str) -> Iterator[str]:
        """Yield the images in a file of a folder: itself, or the members of an archive."""
        try:
            kind = formats.classify(path, partial(archives.read_head, path))
            if kind.role == "compressed":
                kind = self._classify_compressed(path, kind)
        except OSError as error:
            self._on_failure(path, _describe(error))
            return
        if kind.role == "image":
            yield path
        elif kind.role == "archive":
            yield from self._find_in_archive(path)
        elif kind.role == "unsupported":
            self._on_failure(path, kind.reason)
        else:
            self._on_passed_over(path, kind.label)

    def _classify_compressed(self, path: str, kind: formats.FileKind) -> formats.FileKind:
        """The kind of a compressed file in a folder, which is called like no archive."""
        other = formats.FileKind("other", formats.suffix_label(path))
        try:
            return formats.ARCHIVE if archives.holds_tar(path, kind.label) else other
        except MissingExtraError as error:
            return other if formats.has_suffix(path) else formats.FileKind("unsupported", kind.label, str(error))

    def _find_in_archive(self, path: str) -> Iterator[str]:
        try:
            archive = archives.open_archive(path)
        except (ArchiveError, MissingExtraError, OSError) as error:
            self._on_failure(path, _describe(error))
            return
        with closing(archive):
            for name in archive.names():
                if _is_hidden(name):
                    continue
                member = f"{path}/{name}"
                try:
                    kind = formats.classify(name, partial(archive.head, name))
                except (OSError, ZipError, TarError, MissingExtraError) as error:
                    self._on_failure(member, _describe(error))
                    continue
                if kind.role == "image":
                    yield member
                elif kind.role == "unsupported":
                    self._on_failure(member, kind.reason)
                elif kind.role == "archive":
                    self._on_passed_over(member, "archive inside an archive")
                else:
                    label = formats.suffix_label(name) if kind.role == "compressed" else kind.label
                    self._on_passed_over(member, label)
            for name, reason in archive.failures:
                if not _is_hidden(name):
                    self._report_link(f"{path}/{name}", reason)
            for name, special in archive.specials:
                self._on_passed_over(f"{path}/{name}", special)
            for reason in archive.damages:
                self._on_failure(path, reason)


def _stat(path: str) -> os.stat_result | None:
    """The status of a file or folder; None for a member of an archive, which need not exist.

    Raises MissingSourceError, another OSError, or ValueError.
    """
    try:
        return os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        if archives.containing_archive(path) is None:
            raise MissingSourceError(f"{path}: {MISSING}") from None
        return None


def _describe(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "its name contains a NUL" if "null byte" in str(error) else str(error)


def _special_kind(mode: int) -> str:
    return _SPECIAL_KINDS.get(stat.S_IFMT(mode), "special file")


def _is_hidden(name: str) -> bool:
    """Whether a member of an archive is hidden or a resource fork of macOS."""
    return name.rsplit("/", 1)[-1].startswith(".") or name.startswith("__MACOSX/") or "/__MACOSX/" in name


def _shorten(line: str) -> str:
    return line if len(line) <= _MAX_SHOWN else f"{line[:_MAX_SHOWN]}..."
