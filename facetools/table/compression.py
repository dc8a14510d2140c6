"""Compressed input: `decompress` recognizes gzip, bzip2 and xz by their first bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

from facetools.table.errors import InputError

#: The number of bytes by which `decompress` recognizes a format.
SIGNATURE_BYTES = 8

#: The first bytes of the formats that are read, their names, and the classes that read them.
_SIGNATURES: tuple[tuple[re.Pattern[bytes], str, Callable[[BinaryIO], Any]], ...] = (
    (re.compile(rb"\x1f\x8b\x08"), "gzip", lambda stream: gzip.GzipFile(fileobj=stream)),
    (re.compile(rb"BZh[1-9](1AY&|\x17rE8)"), "bzip2", bz2.BZ2File),
    (re.compile(rb"\xfd7zXZ\0"), "xz", lzma.LZMAFile),
)

#: The first bytes of other formats, their names, and the program that decompresses them.
_OTHER_SIGNATURES = (
    (b"\x28\xb5\x2f\xfd", "zstd", "zstdcat"),
    (b"\x04\x22\x4d\x18", "lz4", "lz4cat"),
    (b"\x1f\x9d", "compress", "zcat"),
)


def decompress(stream: io.BufferedReader, start: bytes) -> io.BufferedReader | None:
    """Return the decompressed content of `stream`, which starts with `start`, or None if it is not compressed.

    Files of several concatenated compressed parts are read to their end. Reading from the result raises InputError if
    the compressed data is damaged or truncated. Raises InputError for a compressed format that is not supported.
    """
    for signature, format_name, open_stream in _SIGNATURES:
        if signature.match(start):
            return io.BufferedReader(_DecompressedStream(open_stream(stream), format_name))
    for other, format_name, program in _OTHER_SIGNATURES:
        if start.startswith(other):
            raise InputError(f"it is compressed by {format_name}; decompress it first: {program} FILE | ...")
    return None


class _DecompressedStream(io.RawIOBase):
    """The content that `stream` decompresses, with errors that name the compressed format."""

    def __init__(self, stream: BinaryIO, format_name: str) -> None:
        self._stream = stream
        self._format_name = format_name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        try:
            data = self._stream.read(len(buffer))
        except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # the file itself cannot be read
                raise
            problem = "truncated" if isinstance(error, EOFError) else "damaged"
            raise InputError(f"the {self._format_name} data is {problem}") from None
        buffer[: len(data)] = data
        return len(data)
