"""The content of an input: `open_content` decompresses a stream and converts text to UTF-8."""

from __future__ import annotations

import io
from pathlib import Path

from facetools.table.compression import SIGNATURE_BYTES, decompress
from facetools.table.encodings import DETECTION_BYTES, decode_utf8, to_utf8


def open_content(stream: io.BufferedReader) -> io.BufferedReader:
    """Return the content of `stream`: decompressed, and in UTF-8 without a byte-order mark if it is text.

    Raises InputError for an unsupported compressed format; reading from the result raises it for damaged content.
    """
    start, stream = _peek(stream, max(SIGNATURE_BYTES, DETECTION_BYTES))
    decompressed = decompress(stream, start)
    if decompressed is not None:
        return open_content(decompressed)
    return to_utf8(stream, start)


def read_text(path: Path) -> str:
    """Return the text in the file `path`. Raises InputError if it is not valid."""
    with path.open("rb") as stream:
        return decode_utf8(open_content(stream).read())


def _peek(stream: io.BufferedReader, size: int) -> tuple[bytes, io.BufferedReader]:
    """Return the first `size` bytes of `stream`, fewer at its end, and a stream that still contains them."""
    start = stream.peek(size)[:size]
    if len(start) == size:
        return start, stream
    # A pipe may deliver fewer bytes at a time, and peek() reads only once.
    start = stream.read(size)
    return start, io.BufferedReader(_PrefixedStream(start, stream))


class _PrefixedStream(io.RawIOBase):
    """The bytes `prefix`, then the content of `stream`."""

    def __init__(self, prefix: bytes, stream: io.BufferedReader) -> None:
        self._prefix = prefix
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        size = min(len(buffer), len(self._prefix))
        if not size:
            return self._stream.readinto1(buffer)
        buffer[:size], self._prefix = self._prefix[:size], self._prefix[size:]
        return size
