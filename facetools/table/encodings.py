"""Text encodings of input: UTF-8, UTF-16 and UTF-32, with or without a byte-order mark.

`to_utf8` converts a stream to UTF-8, and `decode_utf8` decodes a whole text.
"""

from __future__ import annotations

import codecs
import io
import re
from typing import NoReturn

from facetools.table.errors import InputError

#: The number of bytes by which `to_utf8` recognizes an encoding.
DETECTION_BYTES = 8

#: Byte-order marks. That of UTF-32 starts with that of UTF-16, so it comes first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

#: Two ASCII characters in the encodings whose characters contain zero bytes.
_PATTERNS = (
    (re.compile(rb"[\t\n\r -~]\0\0\0[\t\n\r -~]\0\0\0"), "utf-32-le"),
    (re.compile(rb"\0\0\0[\t\n\r -~]\0\0\0[\t\n\r -~]"), "utf-32-be"),
    (re.compile(rb"[\t\n\r -~]\0[\t\n\r -~]\0"), "utf-16-le"),
    (re.compile(rb"\0[\t\n\r -~]\0[\t\n\r -~]"), "utf-16-be"),
)

_BLOCK_BYTES = 1 << 16


def to_utf8(stream: io.BufferedReader, start: bytes) -> io.BufferedReader:
    """Return `stream`, which starts with `start`, as UTF-8 without a byte-order mark.

    A text without a mark is UTF-8, unless its first two characters are ASCII characters in UTF-16 or UTF-32. Reading
    from the result raises InputError, with the line and byte, if a text in UTF-16 or UTF-32 is not valid. A text in
    UTF-8 is not checked.
    """
    encoding, mark_bytes = _detect_encoding(start)
    stream.read(mark_bytes)
    return stream if encoding == "utf-8" else io.BufferedReader(_TranscodedStream(stream, encoding))


def _detect_encoding(start: bytes) -> tuple[str, int]:
    """Return the encoding of a text that starts with `start`, and the length of its byte-order mark."""
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding, len(mark)
    return next((encoding for pattern, encoding in _PATTERNS if pattern.match(start)), "utf-8"), 0


class _TranscodedStream(io.RawIOBase):
    """A text in UTF-16 or UTF-32 as UTF-8."""

    def __init__(self, stream: io.BufferedReader, encoding: str) -> None:
        self._stream = stream
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._lines = 0
        self._last = ""  # the last character, whose line end may continue in the next block
        self._pending = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._pending:
            block = self._stream.read1(_BLOCK_BYTES)
            try:
                text = self._decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                self._count_lines(error.object[: error.start].decode(self._encoding))
                raise_text_error(error, 1 + self._lines)
            self._count_lines(text)
            self._pending = memoryview(text.encode("utf-8"))
            if not block:
                break
        size = min(len(buffer), len(self._pending))
        buffer[:size], self._pending = self._pending[:size], self._pending[size:]
        return size

    def _count_lines(self, text: str) -> None:
        self._lines += count_line_ends(self._last + text) - count_line_ends(self._last)
        self._last = text[-1:] or self._last


def decode_utf8(data: bytes, first_line: int = 1) -> str:
    """Return the text `data`, which starts in line `first_line`. Raises InputError with the line and invalid byte."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise_text_error(error, first_line + count_line_ends(data[: error.start].decode("utf-8")))


def raise_text_error(error: UnicodeDecodeError, line: int) -> NoReturn:
    """Raise the InputError for a text that is not valid in its encoding."""
    encoding = error.encoding.upper().removesuffix("-LE").removesuffix("-BE")
    raise InputError(
        f"line {line}: the byte 0x{error.object[error.start]:02x} is not valid {encoding};"
        " convert the text to UTF-8, for example with iconv"
    )


def count_line_ends(text: str) -> int:
    r"""Return the number of line ends in `text`: \n, \r\n and \r."""
    return text.count("\n") + text.count("\r") - text.count("\r\n")
