"""Read zip and tar archives.

`open_archive` opens an archive, `containing_archive` finds the archive that the path of a member leads into. Several
threads may read from one archive.
"""

from __future__ import annotations

import lzma
import os
import struct
import tarfile
import threading
import zipfile
import zlib
from pathlib import Path

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")

#: The exceptions that a damaged archive raises while it is read.
READ_ERRORS = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError)

#: The local header of a zip member: its signature, the size of the member's name and the size of the extra field. The
#: skipped bytes repeat the central directory.
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_LOCAL_SIGNATURE = b"PK\3\4"

#: Zip flags: encrypted, patch data, strongly encrypted.
_UNSUPPORTED_FLAGS = 0b1100001

#: Bytes to read in addition to the content, so that one read usually covers the local header too.
_HEADER_BYTES = 512

#: The largest compressed size that the fast path allocates memory for; a corrupt directory may claim any size.
_MAX_FAST_BYTES = 2**26


class ArchiveError(ValueError):
    """A file is not a readable archive; the message names it."""


class ZipReader:
    """A zip archive. Threads read stored and deflated members concurrently; other members are read one at a time."""

    def __init__(self, path: str) -> None:
        self._file = zipfile.ZipFile(path)

    def names(self) -> list[str]:
        """The names of all members except folders, in archive order."""
        return [member.filename for member in self._file.infolist() if not member.is_dir()]

    def read(self, name: str) -> bytes:
        """The content of a member. Raises KeyError if it does not exist, or one of READ_ERRORS."""
        member = self._file.getinfo(name)
        return self._read_fast(member) or self._file.read(member)

    def _read_fast(self, member: zipfile.ZipInfo) -> bytes | None:
        """The content of an intact, stored or deflated member, in half the time of zipfile.

        Returns None for all other members; zipfile then reads them or raises the appropriate error.
        """
        if member.flag_bits & _UNSUPPORTED_FLAGS or member.compress_size > _MAX_FAST_BYTES:
            return None
        assert self._file.fp is not None
        block = os.pread(self._file.fp.fileno(), _HEADER_BYTES + member.compress_size, member.header_offset)
        if len(block) < _LOCAL_HEADER.size:
            return None
        signature, name_size, extra_size = _LOCAL_HEADER.unpack_from(block)
        start = _LOCAL_HEADER.size + name_size + extra_size
        data = block[start : start + member.compress_size]
        if member.compress_type == zipfile.ZIP_DEFLATED:
            try:
                # A limit of 0 would mean no limit.
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, max(1, member.file_size))
            except zlib.error:
                return None
        elif member.compress_type != zipfile.ZIP_STORED:
            return None
        intact = signature == _LOCAL_SIGNATURE and len(data) == member.file_size and zlib.crc32(data) == member.CRC
        return data if intact else None

    def close(self) -> None:
        self._file.close()


class TarReader:
    """A tar archive. One thread reads at a time; a compressed archive is fast only if it is read in archive order."""

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
        """Raise ReadError unless the archive ends here: tarfile ends its list silently at a damaged header."""
        stream = self._file.fileobj
        assert stream is not None
        stream.seek(self._file.offset)
        if any(stream.read(tarfile.BLOCKSIZE)):
            raise tarfile.ReadError(f"truncated or corrupt header at byte {self._file.offset}")

    def names(self) -> list[str]:
        """The names of all regular files, in archive order."""
        return list(self._members)

    def read(self, name: str) -> bytes:
        """The content of a member. Raises KeyError if it does not exist, or one of READ_ERRORS."""
        with self._lock:
            stream = self._file.extractfile(self._members[name])
            return stream.read() if stream else b""

    def close(self) -> None:
        self._file.close()


Archive = ZipReader | TarReader


def open_archive(path: str) -> Archive:
    """Open a zip or tar archive. Raises ArchiveError if it is damaged or not an archive."""
    try:
        return ZipReader(path) if path.lower().endswith(".zip") else TarReader(path)
    except READ_ERRORS as error:
        reason = str(error).splitlines()[0].rstrip(":") if str(error) else "unexpected end of file"
        raise ArchiveError(f"{path}: not a readable archive: {reason}") from None


def is_archive_name(path: str) -> bool:
    """Whether the file name ends like that of an archive."""
    return path.lower().endswith(ARCHIVE_SUFFIXES)


def containing_archive(path: str) -> str | None:
    """The archive that contains `path`, or None: for `faces.zip/dir/000001.jpg` it is `faces.zip` if that is a file."""
    end = path.find("/")
    while end >= 0:
        if is_archive_name(path[:end]) and Path(path[:end]).is_file():
            return path[:end]
        end = path.find("/", end + 1)
    return None
