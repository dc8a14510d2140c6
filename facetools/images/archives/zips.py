"""Read zip archives: the central directory once, then members at random, by several threads at once.

Beyond what zipfile reads: names with backslashes, in UTF-8 without its flag or in a Unicode extra field; symbolic
links; concatenated archives; archives of which a part is damaged. Source: PKWARE's APPNOTE.TXT 6.3.10, and Info-ZIP's
extra fields.
"""

from __future__ import annotations

import bz2
import lzma
import os
import stat
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from facetools.images.archives.compression import damage_errors, zstd_module
from facetools.images.archives.members import MAX_FILE_BYTES, SymbolicLink, normal_name, resolve_links

_LOCAL_SIGNATURE, _CENTRAL_SIGNATURE = b"PK\3\4", b"PK\1\2"
_SIGNATURE_OF_DIRECTORY = b"PK\5\5"
_END_SIGNATURE, _END64_SIGNATURE, _LOCATOR_SIGNATURE = b"PK\5\6", b"PK\6\6", b"PK\6\7"

#: The local header of a member: signature, size of the name, size of the extra field. The bytes between repeat the
#: central directory.
_LOCAL = struct.Struct("<4s22xHH")

#: A central header: signature, system, flags, method, CRC-32, compressed size, size, sizes of name, extra field and
#: comment, attributes, offset of the local header.
_CENTRAL = struct.Struct("<4sxB2xHH4xLLLHHH4xLL")

#: The end of the central directory: number of this disk, disk of the directory, entries here, entries, size and offset
#: of the directory, size of the comment.
_END = struct.Struct("<4sHHHHLLH")
_END64 = struct.Struct("<4sQHHLLQQQQ")
_LOCATOR = struct.Struct("<4sLQL")

#: The value of a field whose real value is in the zip64 extra field.
_IN_ZIP64 = 0xFFFFFFFF

_MAX_COMMENT = 0xFFFF

#: Flags: encrypted, patch data, name in UTF-8, strongly encrypted.
_ENCRYPTED, _PATCH, _UTF8 = 0b1000001, 0b100000, 0x800

#: Extra fields: zip64, and Info-ZIP's name in UTF-8.
_ZIP64_FIELD, _UNICODE_PATH_FIELD = 0x0001, 0x7075

_MS_DOS = 0

#: The longest target of a symbolic link.
_MAX_LINK_BYTES = 4096

_STORED, _DEFLATED, _BZIP2, _LZMA, _ZSTD_OLD, _ZSTD, _XZ = 0, 8, 12, 14, 20, 93, 95
_UNSUPPORTED_METHODS = {1: "Shrink", 6: "Implode", 9: "Deflate64", 96: "JPEG", 97: "WavPack", 98: "PPMd"}

#: Bytes to read in addition to the content, so that one read usually covers the local header too.
_HEADER_BYTES = 512


class ZipError(ValueError):
    """An archive or member cannot be read. The message is the reason."""


class ZipMember(NamedTuple):
    """An entry of the central directory. `offset` is the position of the local header in the file."""

    offset: int
    compressed_size: int
    size: int
    crc: int
    method: int
    flags: int


class ZipReader:
    """A zip archive.

    `failures` are the members that cannot be read, with the reason, and `damages` the reasons why members may be
    missing.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._size = 0
        self._lock = threading.Lock()
        self.damages: list[str] = []
        #: Members that are neither files nor folders, with their kind: a zip has none.
        self.specials: list[tuple[str, str]] = []
        try:
            entries: dict[str, ZipMember | SymbolicLink] = {}
            for name, entry in self._read_entries():
                entries[name] = entry
            self._members, failures = resolve_links(entries)
        except BaseException:
            self.close()
            raise
        self.failures = list(failures.items())

    def names(self) -> list[str]:
        """The names of all members except folders, in archive order."""
        return list(self._members)

    def read(self, name: str) -> bytes:
        """The content of a member. Raises KeyError if it does not exist, ZipError, MissingExtraError or OSError."""
        return self._read_member(self._members[name])

    def head(self, name: str, size: int) -> bytes:
        """The first `size` bytes of a member, or fewer if it is shorter. Raises as `read` does."""
        member = self._members[name]
        data = self._read_compressed(member, 2 * size + _HEADER_BYTES)
        return _decompress(member, data, min(size, member.size))

    def close(self) -> None:
        """Close the file. Reading opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read_member(self, member: ZipMember) -> bytes:
        if member.flags & _ENCRYPTED:
            raise ZipError("the archive member is encrypted")
        if member.size > MAX_FILE_BYTES or member.compressed_size > MAX_FILE_BYTES:
            raise ZipError(f"the archive member is larger than {MAX_FILE_BYTES >> 30} GiB")
        data = self._read_compressed(member, member.compressed_size)
        if len(data) < member.compressed_size:
            raise ZipError("the archive ends before the end of this member")
        content = _decompress(member, data, member.size)
        if len(content) != member.size or zlib.crc32(content) != member.crc:
            raise ZipError("the archive member is damaged: its CRC-32 is wrong")
        return content

    def _read_compressed(self, member: ZipMember, size: int) -> bytes:
        """At most `size` bytes of the compressed data of a member."""
        size = min(size, member.compressed_size)
        block = self._pread(_HEADER_BYTES + size, member.offset)
        if len(block) < _LOCAL.size or not block.startswith(_LOCAL_SIGNATURE):
            raise ZipError("the archive is damaged: there is no member where its directory says")
        _, name_size, extra_size = _LOCAL.unpack_from(block)
        start = _LOCAL.size + name_size + extra_size
        if start + size > len(block):
            return self._pread(size, member.offset + start)
        return block[start : start + size]

    def _pread(self, size: int, offset: int) -> bytes:
        """The `size` bytes at `offset`, or fewer at the end of the file."""
        if self._file is None:
            with self._lock:
                if self._file is None:
                    self._file = Path(self._path).open("rb")  # noqa: SIM115
                    self._size = os.fstat(self._file.fileno()).st_size
        # A corrupt size must not allocate memory.
        size = min(size, self._size - offset)
        return os.pread(self._file.fileno(), size, offset) if size > 0 else b""

    def _read_entries(self) -> Iterator[tuple[str, ZipMember | SymbolicLink]]:
        """Yield the files and links of the archive, of all archives if several were concatenated."""
        self._pread(1, 0)  # opens the file
        end = self._size
        archives: list[tuple[bytes, int]] = []
        while end:
            try:
                directory, base = self._read_directory(end, is_last=not archives)
            except ZipError:
                if not archives:
                    raise
                break  # the bytes before the last archive are no archive, but for example a program that unpacks it
            archives.append((directory, base))
            end = base
        if not archives:
            raise ZipError("the file is empty")
        for directory, base in reversed(archives):
            yield from self._parse_directory(directory, base)

    def _read_directory(self, end: int, is_last: bool) -> tuple[bytes, int]:
        """The central directory of the archive that ends at byte `end` of the file, and where that archive starts.

        Garbage may follow the last archive.
        """
        tail_start = max(0, end - _MAX_COMMENT - _END.size)
        tail = self._pread(end - tail_start, tail_start)
        position = tail.rfind(_END_SIGNATURE)
        is_split = False
        while position >= 0:
            record = tail[position : position + _END.size]
            if len(record) == _END.size and (is_last or position + _END.size + _END.unpack(record)[7] == len(tail)):
                _, disk, first_disk, _, _, size, offset, _ = _END.unpack(record)
                directory_end = tail_start + position
                zip64 = self._read_end64(directory_end)
                if zip64 is not None:
                    directory_end, disk, size, offset = zip64
                is_split = bool(disk or (first_disk and zip64 is None))
                start = directory_end - size
                if start >= offset and not is_split:
                    directory = self._pread(size, start)
                    if not directory or directory.startswith(_CENTRAL_SIGNATURE):
                        return directory, start - offset
            position = tail.rfind(_END_SIGNATURE, 0, position)
        if is_split:
            raise ZipError("it is a part of a split archive; join the parts with zip -s 0")
        raise ZipError("there is no zip directory at its end; it may be incomplete")

    def _read_end64(self, end: int) -> tuple[int, int, int, int] | None:
        """The end record of a zip64 archive whose plain end record starts at byte `end`, or None.

        It is the position of the record, the disk, and the size and offset of the directory.
        """
        locator = self._pread(_LOCATOR.size, max(0, end - _LOCATOR.size))
        if len(locator) < _LOCATOR.size or not locator.startswith(_LOCATOR_SIGNATURE):
            return None
        # It lies right before the locator, unless it is extended. In a concatenated archive its offset is wrong.
        for start in (end - _LOCATOR.size - _END64.size, _LOCATOR.unpack(locator)[2]):
            block = self._pread(_END64.size, start) if 0 <= start < end else b""
            if len(block) == _END64.size and block.startswith(_END64_SIGNATURE):
                _, _, _, _, disk, _, _, _, size, offset = _END64.unpack(block)
                return start, disk, size, offset
        return None

    def _parse_directory(self, directory: bytes, base: int) -> Iterator[tuple[str, ZipMember | SymbolicLink]]:
        position = 0
        while position < len(directory):
            if directory.startswith(_SIGNATURE_OF_DIRECTORY, position):
                return
            if position + _CENTRAL.size > len(directory) or not directory.startswith(_CENTRAL_SIGNATURE, position):
                self.damages.append(f"the zip directory is damaged at its byte {position}; members behind it are lost")
                return
            fields = _CENTRAL.unpack_from(directory, position)
            _, system, flags, method, crc, compressed_size, size, name_size, extra_size, comment_size = fields[:10]
            attributes, offset = fields[10:]
            start = position + _CENTRAL.size
            position = start + name_size + extra_size + comment_size
            raw_name = directory[start : start + name_size]
            extra = directory[start + name_size : start + name_size + extra_size]
            if _IN_ZIP64 in (size, compressed_size, offset):
                field = _find_extra(extra, _ZIP64_FIELD)
                size, compressed_size, offset = _read_zip64(field, size, compressed_size, offset)
            name = _decode_name(raw_name, flags, system, _find_extra(extra, _UNICODE_PATH_FIELD))
            if name.endswith("/") or not (name := normal_name(name)):
                continue
            member = ZipMember(base + offset, compressed_size, size, crc, method, flags)
            if system != _MS_DOS and stat.S_ISLNK(attributes >> 16):
                yield name, self._read_link(member)
            else:
                yield name, member

    def _read_link(self, member: ZipMember) -> ZipMember | SymbolicLink:
        if member.size > _MAX_LINK_BYTES:
            return member
        try:
            return SymbolicLink(os.fsdecode(self._read_member(member)))
        except (ZipError, ImportError):
            return member  # which then fails when it is read


def _find_extra(extra: bytes, number: int) -> bytes:
    """The content of the extra field with this number; empty if there is none."""
    if number.to_bytes(2, "little") not in extra:
        return b""
    position = 0
    while position + 4 <= len(extra):
        found, size = struct.unpack_from("<HH", extra, position)
        if found == number:
            return extra[position + 4 : position + 4 + size]
        position += 4 + size
    return b""


def _read_zip64(field: bytes, *values: int) -> list[int]:
    """`values`, with those that say so replaced by the next 8 bytes of the zip64 extra field."""
    replaced = []
    for value in values:
        if value == _IN_ZIP64 and len(field) >= 8:
            value, field = int.from_bytes(field[:8], "little"), field[8:]
        replaced.append(value)
    return replaced


def _decode_name(raw: bytes, flags: int, system: int, unicode_field: bytes) -> str:
    """The name of a member: from its Unicode field, else UTF-8 if it is valid, else code page 437."""
    if len(unicode_field) > 5 and int.from_bytes(unicode_field[1:5], "little") == zlib.crc32(raw):
        raw, flags = unicode_field[5:], flags | _UTF8
    raw = raw.partition(b"\0")[0]
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        name = os.fsdecode(raw) if flags & _UTF8 else raw.decode("cp437")
    # As unzip does: Windows programs write backslashes.
    return name.replace("\\", "/") if system == _MS_DOS and "/" not in name else name


def _decompress(member: ZipMember, data: bytes, limit: int) -> bytes:
    """At most `limit` bytes of the content of a member, from its compressed data. Raises ZipError."""
    if member.flags & _ENCRYPTED:
        raise ZipError("the archive member is encrypted")
    if member.flags & _PATCH:
        raise ZipError("the archive member is a patch of another file")
    if member.method == _STORED:
        return data[:limit]
    limit = max(1, limit)  # a limit of 0 would mean no limit
    try:
        if member.method == _DEFLATED:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, limit)
        return _decompressor(member, data).decompress(data, limit)
    except damage_errors() as error:
        raise ZipError(f"the archive member is damaged: {error}") from None


def _decompressor(member: ZipMember, data: bytes) -> Any:
    if member.method == _BZIP2:
        return bz2.BZ2Decompressor()
    if member.method == _LZMA:
        return _LZMAMember(data, member.size)
    if member.method == _XZ:
        return lzma.LZMADecompressor()
    if member.method in (_ZSTD, _ZSTD_OLD):
        return zstd_module().ZstdDecompressor()
    name = _UNSUPPORTED_METHODS.get(member.method, f"method {member.method}")
    raise ZipError(f"the archive member is compressed by {name}, which cannot be read; pack it again with deflate")


class _LZMAMember:
    """Decompresses a member of method 14: a version, the size of the properties, the properties, the raw stream."""

    def __init__(self, data: bytes, size: int) -> None:
        if len(data) < 9 or data[2:4] != b"\5\0" or data[4] >= 9 * 5 * 5:
            raise ZipError("the archive member is damaged: its LZMA header is wrong")
        rest, lc = divmod(data[4], 9)
        pb, lp = divmod(rest, 5)
        # The dictionary need not be larger than the content, whatever a corrupt header says.
        dictionary = max(2**12, min(int.from_bytes(data[5:9], "little"), size))
        properties = {"id": lzma.FILTER_LZMA1, "dict_size": dictionary, "lc": lc, "lp": lp, "pb": pb}
        self._decompressor = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[properties])

    def decompress(self, data: bytes, limit: int) -> bytes:
        return self._decompressor.decompress(data[9:], limit)
