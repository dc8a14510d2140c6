"""Folders and zip archives of images that are made from other images. No file of others is replaced.

`ImageFolder` and `ImageArchive` write the images made from a source under names that derive from the source, as
`FlatNames` or `NestedNames` say. `EarlierImages` tells which files in a source were written by them.
`check_replaceable` is for images with fixed names.
"""

from __future__ import annotations

import errno
import functools
import itertools
import os
import stat
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

from facetools.images.marks import ZIP_COMMENT, add_mark, is_marked_zip, origin_of, read_mark
from facetools.runtime import descriptors, files

#: Why a file with a fixed name is not replaced.
NOT_OWN = "it was not written by facetools, so it is not replaced; name another folder"

#: Stems are cut to this length, so that a name with number and suffix has at most 255 bytes.
_MAX_STEM_BYTES = 220


class ImageOutput(Protocol):
    """Where images go that are made from other images."""

    #: The number of images of an earlier run that were replaced.
    replaced: int

    def write(self, source: str, contents: Sequence[bytes], suffix: str) -> list[str]:
        """Write the images made from `source` and return their paths."""
        ...


class ImageFolder(ImageOutput):
    """A folder that receives images made from `sources`.

    A file in it is replaced only if an earlier run has made it from the same source, nobody has changed it since, and
    it is not among the sources.
    """

    def __init__(self, folder: str, sources: Sequence[str], names: Names | None = None) -> None:
        """`names` gives the names of the images, by default FlatNames."""
        self._folder = files.make_folder(folder)
        self._sources = sources
        self._names = names or FlatNames()
        self._origins = _Origins(folder)
        self._written_stems: set[str] = set()
        self.replaced = 0

    def write(self, source: str, contents: Sequence[bytes], suffix: str) -> list[str]:
        """Write the images made from `source` as STEM-1, STEM-2, ... and return their paths.

        The first STEM of `names` is used with which no file belongs to others.
        """
        origin = self._origins.find(source)
        for stem in self._names.stems(source):
            paths = [self._folder / name for name in self._names.number(stem, len(contents), suffix)]
            existing = [path for path in paths if os.path.lexists(path)]
            if all(self._is_replaceable(path, origin) for path in existing):
                break
        for path, content in zip(paths, contents, strict=True):
            files.write_atomically(files.make_folder(path.parent) / path.name, add_mark(content, origin))
        if stem not in self._written_stems:  # else it is the same source once more, in this run
            self.replaced += len(existing)
        self._written_stems.add(stem)
        return [str(path) for path in paths]

    def _is_replaceable(self, path: Path, origin: str) -> bool:
        try:
            status = path.lstat()
            is_source = (status.st_dev, status.st_ino) in self._source_files
            return stat.S_ISREG(status.st_mode) and not is_source and read_mark(path) == origin
        except OSError:
            return False

    @functools.cached_property
    def _source_files(self) -> set[tuple[int, int]]:
        """Device and inode of each source that is a file."""
        found = set()
        for source in self._sources:
            try:
                status = os.stat(source)  # noqa: PTH116
            except (OSError, ValueError):  # a member of an archive, or a source that cannot be read
                continue
            found.add((status.st_dev, status.st_ino))
        return found


class ImageArchive(ImageOutput):
    """A zip archive that receives images made from other images."""

    def __init__(self, path: str, archive: zipfile.ZipFile, names: Names) -> None:
        self._path = path
        self._archive = archive
        self._names = names
        self._origins = _Origins(path)
        self._written_stems: set[str] = set()
        self.replaced = 0

    @classmethod
    @contextmanager
    def create(cls, path: str, names: Names | None = None) -> Iterator[ImageArchive]:
        """The archive `path`, which is complete or absent. For `names` see ImageFolder."""
        with files.atomic_writer(path) as stream, zipfile.ZipFile(stream, "w") as archive:
            archive.comment = ZIP_COMMENT
            yield cls(path, archive, names or FlatNames())

    def write(self, source: str, contents: Sequence[bytes], suffix: str) -> list[str]:
        """Write the images made from `source` under the names that ImageFolder gives them; return their paths."""
        stem = next(self._names.stems(source))
        names = self._names.number(stem, len(contents), suffix)
        if stem in self._written_stems:  # the same source once more; a name may occur only once
            return [f"{self._path}/{name}" for name in names]
        self._written_stems.add(stem)
        for name, content in zip(names, contents, strict=True):
            self._archive.writestr(zipfile.ZipInfo(name), add_mark(content, self._origins.find(source)))
        return [f"{self._path}/{name}" for name in names]


class Names(Protocol):
    """Names of images that are made from sources: a stem per source, a number and a suffix."""

    #: The number of the first image of a source.
    first: int

    def stems(self, source: str) -> Iterator[str]:
        """The stems for the images of `source`, best first; no other source has one of them."""
        ...

    def number(self, stem: str, count: int, suffix: str) -> list[str]:
        """The names of `count` images with this stem."""
        return [f"{stem}-{number}{suffix}" for number in range(self.first, self.first + count)]


class FlatNames(Names):
    """The file name of a source, without its folder. If several sources have the same, ~2, ~3, ... follow."""

    first = 1

    def __init__(self) -> None:
        #: The stems in use, with the last number appended to each.
        self._used: dict[str, int] = {}

    def stems(self, source: str) -> Iterator[str]:
        """See Names.stems. The last stem that is yielded counts as used."""
        stem = _shorten(PurePosixPath(source).stem)
        if stem not in self._used:
            self._used[stem] = 1
            yield stem
        while True:
            self._used[stem] += 1
            name = f"{stem}~{self._used[stem]}"
            if name not in self._used:
                self._used[name] = 1
                yield name


class NestedNames(Names):
    """The path of a source below the folder or archive that contains it, so that all processes of a job agree.

    Sources outside of the given folders are named by their path below the folder that they have in common. ~2, ~3, ...
    follow if several sources would have the same stem.
    """

    first = 0

    def __init__(self, sources: Sequence[str], containers: Iterable[str]) -> None:
        """`containers` are folders and archives that contain some of `sources`, the paths of all images."""
        self._stems: dict[str, str] = {}
        roots = {container.rstrip("/") for container in containers}
        outside = [_absolute(source) for source in sources if _path_in_root(source, roots) is None]
        common = os.path.commonpath([os.path.dirname(path) for path in outside]) if outside else ""  # noqa: PTH120
        counts: dict[str, int] = {}
        used: set[str] = set()
        for source in sources:
            if source in self._stems:
                continue
            inner = _path_in_root(source, roots)
            path = PurePosixPath(_absolute(source)[len(common) :] if inner is None else inner)
            parts = [part for part in (*path.parent.parts, path.stem) if part not in ("", "/", "..")]
            stem = "/".join(map(_shorten, parts)) or "image"
            name = stem
            while name in used:
                counts[stem] = counts.get(stem, 1) + 1
                name = f"{stem}~{counts[stem]}"
            used.add(name)
            self._stems[source] = name
        self._used = used

    def stems(self, source: str) -> Iterator[str]:
        stem = self._stems[source]
        yield stem
        yield from (name for number in itertools.count(2) if (name := f"{stem}~{number}") not in self._used)


def _path_in_root(source: str, roots: set[str]) -> str | None:
    """The path of `source` below the innermost of `roots`, which do not end with a slash; None if it is in none."""
    end = source.rfind("/")
    while end >= 0:
        if source[:end].rstrip("/") in roots:
            return source[end + 1 :]
        end = source.rfind("/", 0, end)
    return None


def _absolute(path: str) -> str:
    """The absolute path. It starts with one slash; abspath keeps two, which would be a root in the middle of a name."""
    return "/" + os.path.abspath(path).lstrip("/")  # noqa: PTH100


def _shorten(stem: str) -> str:
    return stem.encode("utf-8", "ignore")[:_MAX_STEM_BYTES].decode("utf-8", "ignore")


class _Origins:
    """The origins of the images in one folder or archive, by which marks tell what an image was made from."""

    def __init__(self, folder: str) -> None:
        self._folder = os.path.realpath(folder)
        self._real_folder = functools.cache(os.path.realpath)

    def find(self, source: str) -> str:
        """The origin of images made from `source`: its path relative to the folder, which stays if both are moved."""
        folder, name = os.path.split(source)
        return origin_of(os.path.relpath(os.path.join(self._real_folder(folder or "."), name), self._folder))  # noqa: PTH118


def check_replaceable(paths: Iterable[Path]) -> None:
    """Raise FileExistsError for the first of `paths` that exists and that facetools has not written."""
    for path in paths:
        if os.path.lexists(path) and not (path.is_file() and read_mark(path) is not None):
            raise FileExistsError(errno.EEXIST, NOT_OWN, str(path))


class EarlierImages:
    """Tells the images in folders that facetools has written: if the output lies in a source, they are no sources.

    It is a function of a path. `output` is the folder or the zip archive to write, `sources` are those of the user.
    `sheet` is a contact sheet that is written too.
    """

    def __init__(self, output: str, sources: Sequence[str], sheet: str | None = None) -> None:
        self._output = os.path.realpath(output)
        self._sheet = None if sheet is None else os.path.realpath(sheet)
        number = descriptors.named_descriptor(output)
        #: The file behind the descriptor that `output` names.
        self._file = None if number is None else os.fstat(descriptors.check_writable(number, output))
        self._folders = tuple(
            source.rstrip("/") + "/" for source in sources if Path(source).is_dir() and _contains(source, self._output)
        )
        #: The number of files that it was true for.
        self.count = 0

    def __call__(self, path: str) -> bool:
        """Whether the file `path`, found in a folder, was written by facetools and not changed since."""
        if self._file is not None and self._is_output(path):
            self.count += 1
            return True
        if not path.startswith(self._folders):
            # A list may name a folder; then at least the images in this output are known.
            real = os.path.realpath(path)
            if self._output not in (real, os.path.dirname(real)) and real != self._sheet:  # noqa: PTH120
                return False
        try:
            is_own = read_mark(path) is not None or is_marked_zip(path)
        except OSError:  # reading it as a source tells the reason
            return False
        self.count += is_own
        return is_own

    def _is_output(self, path: str) -> bool:
        try:
            return self._file is not None and os.path.samestat(self._file, os.stat(path))  # noqa: PTH116
        except OSError:
            return False


def _contains(folder: str, path: str) -> bool:
    """Whether the real path `path` is `folder` or lies in it."""
    real = os.path.realpath(folder)
    return path == real or path.startswith(real.rstrip("/") + "/")
