"""Zip and tar archives, whose members threads read side by side where they can."""

from __future__ import annotations

import lzma
import os
import struct
import tarfile
import threading
import zipfile
import zlib

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


#: What reading raises where an archive is damaged.
ARCHIVE_ERRORS = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError)


#: The header of a zip's member: a mark and, after what the archive's directory tells too, the sizes of name and extra.
_LOCAL = struct.Struct("<4s22xHH")


#: Flags of a zip's member that is encrypted, patched or strongly encrypted.
_NOT_AS_IT_IS = 0b1100001


#: Bytes that a zip has before the content of a member, for the most part: a header with a name and more.
_BEFORE = 512


#: Bytes of a member that nobody takes at its word.
_MUCH = 2**26


class ZipReader:
    """A zip archive; threads read at the same time what is stored or deflated, as usual, and the rest by turns."""

    def __init__(self, path: str) -> None:
        self._file = zipfile.ZipFile(path)

    def names(self) -> list[str]:
        return [member.filename for member in self._file.infolist() if not member.is_dir()]

    def read(self, name: str) -> bytes:
        member = self._file.getinfo(name)
        return self._usual(member) or self._file.read(member)

    def _usual(self, member: zipfile.ZipInfo) -> bytes | None:
        """The bytes of a whole member of the usual kinds, in half the time that zipfile takes; of others it knows
        more."""
        if member.flag_bits & _NOT_AS_IT_IS or member.compress_size > _MUCH:
            return None
        assert self._file.fp is not None
        there = os.pread(self._file.fp.fileno(), _BEFORE + member.compress_size, member.header_offset)
        if len(there) < _LOCAL.size:
            return None
        mark, name, extra = _LOCAL.unpack_from(there)
        start = _LOCAL.size + name + extra
        data = there[start : start + member.compress_size]
        if member.compress_type == zipfile.ZIP_DEFLATED:
            try:
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, max(1, member.file_size))
            except zlib.error:
                return None
        elif member.compress_type != zipfile.ZIP_STORED:
            return None
        whole = mark == b"PK\3\4" and len(data) == member.file_size and zlib.crc32(data) == member.CRC
        return data if whole else None

    def close(self) -> None:
        self._file.close()


class TarReader:
    """A tar archive; one thread reads at a time, and a compressed one is quick only from front to back."""

    def __init__(self, path: str) -> None:
        self._file = tarfile.open(path)  # noqa: SIM115
        self._lock = threading.Lock()
        try:
            self._members = {member.name: member for member in self._file.getmembers() if member.isfile()}
            self._check_end()
        except BaseException:
            self._file.close()
            raise

    def _check_end(self) -> None:
        """Raises where the listing ended for another reason than the archive's end: a header that is cut or garbled."""
        stream = self._file.fileobj
        assert stream is not None
        stream.seek(self._file.offset)
        if any(stream.read(tarfile.BLOCKSIZE)):
            raise tarfile.ReadError(f"a header is cut or garbled at byte {self._file.offset}")

    def names(self) -> list[str]:
        return list(self._members)

    def read(self, name: str) -> bytes:
        with self._lock:
            stream = self._file.extractfile(self._members[name])
            return stream.read() if stream else b""

    def close(self) -> None:
        self._file.close()


Archive = ZipReader | TarReader


def open_archive(path: str) -> Archive:
    """The archive in a file; one of BROKEN where it is none."""
    return ZipReader(path) if path.lower().endswith(".zip") else TarReader(path)
