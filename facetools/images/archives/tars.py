"""Read tar archives, plain or compressed: all headers once, then members.

Beyond what tarfile reads: hard and symbolic links, concatenated archives, and the members before and after a damaged
header. tarfile parses the headers.
"""

from __future__ import annotations

import io
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from facetools.images.archives import compression
from facetools.images.archives.members import MAX_FILE_BYTES, SymbolicLink, normal_name, resolve_links

#: No archive is larger: the limit of a file's positions.
_MAX_ARCHIVE_BYTES = 2**63 - 1

#: The largest header that extends another one: a long name or pax attributes.
_MAX_EXTENSION_BYTES = 2**20

#: Headers of one member, and places in an archive where headers are damaged. More are a sign of malice.
_MAX_HEADERS, _MAX_DAMAGES = 8, 1000

#: Zeros after which the rest of an archive is not searched for a further, concatenated archive.
_MAX_ZERO_BYTES = 2**26

_BLOCK = tarfile.BLOCKSIZE
_ZERO_BLOCK = bytes(_BLOCK)
_SEARCH_BYTES = 2**20

#: What current tars have at this byte of each header.
_MAGIC, _MAGIC_OFFSET = b"ustar", 257

#: Types of members of GNU tar that are no files: folders with their listing, volume names, names of other members.
_GNU_OTHER_TYPES = (b"D", b"V", b"N")
_GNU_CONTINUED = b"M"

_EXTENSION_TYPES = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)

#: Exceptions that tarfile raises on a damaged header.
_HEADER_ERRORS = (tarfile.TarError, ValueError, OverflowError, RecursionError, IndexError, KeyError)


class TarError(ValueError):
    """An archive or member cannot be read. The message is the reason."""


class TarMember(NamedTuple):
    """The position of a file's content in the uncompressed archive, and its size."""

    offset: int
    size: int


class _HeaderFile(tarfile.TarFile):
    """Reads headers from `stream`. The constructor of TarFile would fail if the first one is damaged."""

    #: Headers read for the current member: its own, and those that extend it.
    headers = 0

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(fileobj=io.BytesIO(2 * _ZERO_BLOCK))
        self.fileobj = stream
        self.offset = 0


class _CheckedHeader(tarfile.TarInfo):
    """A header whose sizes are plausible."""

    @classmethod
    def fromtarfile(cls, tarfile: Any) -> _CheckedHeader:
        tarfile.headers += 1
        if tarfile.headers > _MAX_HEADERS:
            raise ValueError("too many extended headers")
        return super().fromtarfile(tarfile)

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _CheckedHeader:
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type in _EXTENSION_TYPES and header.size > _MAX_EXTENSION_BYTES):
            raise tarfile.HeaderError("implausible size")
        return header


class TarReader:
    """A tar archive, compressed by `method` unless that is empty.

    Threads read from a plain archive at once. From a compressed one, a thread reads at a time, fast only in the order
    of the archive.

    `failures` are the members that cannot be read, with the reason, and `damages` the reasons why members may be
    missing.
    """

    def __init__(self, path: str, method: str = "") -> None:
        self._path = path
        self._method = method
        self._stream: BinaryIO | None = None
        self._lock = threading.Lock()
        self.damages: list[str] = []
        #: Members that are neither files nor folders, with their kind.
        self.specials: list[tuple[str, str]] = []
        self.failures: list[tuple[str, str]] = []
        self._members: dict[str, TarMember | tarfile.TarInfo]
        try:
            self._members, failures = resolve_links(self._read_entries())
        except BaseException:
            self.close()
            raise
        self.failures += failures.items()

    def names(self) -> list[str]:
        """The names of all files, in archive order."""
        return list(self._members)

    def read(self, name: str) -> bytes:
        """The content of a member. Raises KeyError if it does not exist, TarError or OSError."""
        member = self._members[name]
        if member.size > MAX_FILE_BYTES:
            raise TarError(f"the archive member is larger than {MAX_FILE_BYTES >> 30} GiB")
        content = self._read_member(member, member.size)
        if len(content) < member.size:
            raise TarError("the archive ends before the end of this member")
        return content

    def head(self, name: str, size: int) -> bytes:
        """The first `size` bytes of a member, or fewer if it is shorter. Raises as `read` does."""
        member = self._members[name]
        return self._read_member(member, min(size, member.size))

    def close(self) -> None:
        """Close the file. Reading opens it again."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _read_member(self, member: TarMember | tarfile.TarInfo, size: int) -> bytes:
        if isinstance(member, TarMember) and not self._method:
            with self._lock:
                descriptor = self._open().fileno()
            available = max(0, os.fstat(descriptor).st_size - member.offset)
            return os.pread(descriptor, min(size, available), member.offset) if available else b""
        damage: tuple[type[Exception], ...] = (*compression.damage_errors(), *_HEADER_ERRORS)
        with self._lock:
            stream = self._open()
            try:
                if isinstance(member, tarfile.TarInfo):
                    with tarfile.ExFileObject(_HeaderFile(stream), member) as content:
                        return content.read(size)
                stream.seek(member.offset)
                return stream.read(size)
            except damage as error:
                if self._method:
                    self.close()  # a decompressor cannot go on after an error
                if isinstance(error, OSError) and error.errno is not None:
                    raise
                raise TarError(f"the archive is damaged: {describe_damage(error)}") from None

    def _open(self) -> BinaryIO:
        if self._stream is None:
            if self._method:
                self._stream = compression.open_decompressed(self._path, self._method)
            else:
                self._stream = Path(self._path).open("rb")  # noqa: SIM115
        return self._stream

    def _read_entries(self) -> dict[str, TarMember | tarfile.TarInfo | SymbolicLink]:
        """Read all headers. Raises TarError if there is none."""
        entries: dict[str, TarMember | tarfile.TarInfo | SymbolicLink] = {}
        is_tar = False
        try:
            for header in self._read_headers():
                is_tar = True
                name = normal_name(header.name)
                if not name or header.isdir() or header.type in _GNU_OTHER_TYPES:
                    continue
                if header.issym():
                    entries[name] = SymbolicLink(header.linkname)
                elif header.islnk():
                    # The content is that of the member at this point; a later one may replace it.
                    target = entries.get(normal_name(header.linkname))
                    if target is not None:
                        entries[name] = target
                    else:
                        self.failures.append((name, f"a hard link to {header.linkname}, which is not in the archive"))
                elif header.ischr() or header.isblk():
                    self.specials.append((name, "device"))
                elif header.isfifo():
                    self.specials.append((name, "named pipe"))
                elif header.type == _GNU_CONTINUED:
                    self.failures.append((name, "the start of this file is in another volume of the archive"))
                else:
                    entries[name] = header if header.issparse() else TarMember(header.offset_data, header.size)
        except compression.damage_errors() as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            # Decompressors find a wrong checksum only after they have delivered the content.
            consequence = "missing" if isinstance(error, EOFError) else "missing or damaged"
            self.damages.append(f"{describe_damage(error)}, so members may be {consequence}")
            self.close()  # a decompressor cannot go on after an error
        if not is_tar and self.damages:
            raise TarError(self.damages[0])
        return entries

    def _read_headers(self) -> Iterator[tarfile.TarInfo]:
        """Yield the headers of all members, of all archives if several were concatenated."""
        stream = self._open()
        tar = _HeaderFile(stream)
        is_complete = False
        damage, places = "", 0
        while True:
            start = tar.offset
            stream.seek(start)
            tar.headers = 0
            try:
                header = _CheckedHeader.fromtarfile(tar)
                if not start < tar.offset < _MAX_ARCHIVE_BYTES:
                    raise tarfile.HeaderError("implausible size")
                is_complete = False
                yield header
                continue
            except _HEADER_ERRORS as error:
                reason = describe_damage(error)
            stream.seek(start)
            block = stream.read(_BLOCK)
            if block == _ZERO_BLOCK:
                is_complete = True
                next_start = _skip_zeros(stream, start)
            elif is_complete:
                break  # what follows the end of an archive and is none itself
            elif not block and start:
                stream.seek(start - 1)
                damage = damage or ("it has no end marker" if stream.read(1) else "it ends within a member")
                break
            else:
                places += 1
                damage = damage or f"damaged at byte {start} ({reason})"
                next_start = _find_header(stream, start + _BLOCK) if places < _MAX_DAMAGES else None
            if next_start is None:
                break
            tar.offset = next_start
        if damage:
            others = f" and in {places - 1} more places" if places > 1 else ""
            self.damages.append(f"{damage}{others}, so members may be missing")


def _skip_zeros(stream: BinaryIO, start: int) -> int | None:
    """The position of the first block from `start` on that has not only zeros, or None at the end of the archive."""
    stream.seek(start)
    position = start
    while position - start < _MAX_ZERO_BYTES and (data := stream.read(_SEARCH_BYTES)):
        if data.count(0) < len(data):
            rest = len(data) - len(data.lstrip(b"\0"))
            return position + rest // _BLOCK * _BLOCK
        position += len(data)
    return None


def _find_header(stream: BinaryIO, start: int) -> int | None:
    """The position of the next header from `start` on that has the magic of current tars, or None."""
    position = start
    stream.seek(start)
    carry = b""
    while data := stream.read(_SEARCH_BYTES):
        data = carry + data
        found = data.find(_MAGIC)
        while found >= 0:
            header_start = found - _MAGIC_OFFSET
            if header_start >= 0 and header_start % _BLOCK == 0:
                block = data[header_start : header_start + _BLOCK]
                try:
                    _CheckedHeader.frombuf(block, "utf-8", "surrogateescape")
                    return position + header_start
                except _HEADER_ERRORS:
                    pass
            found = data.find(_MAGIC, found + 1)
        whole = (len(data) - _BLOCK) // _BLOCK * _BLOCK if len(data) > _BLOCK else 0
        carry = data[whole:]
        position += whole
    return None


def describe_damage(error: Exception) -> str:
    """One line about the exception of a damaged archive."""
    if isinstance(error, EOFError) or not str(error):
        return "unexpected end of file"
    return str(error).splitlines()[0].rstrip(":")
