"""JSON objects of a stream, whatever white space separates them: `read_objects`.

Objects may stand one per line (JSONL), extend over several lines (jq), or be the elements of arrays (jq -s). Memory
does not grow with the input: it holds a block of at most a megabyte, or one object of at most MAX_OBJECT_BYTES.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

import msgspec
import numpy as np

from facetools.table.encodings import decode_utf8
from facetools.table.errors import InputError

#: The largest object, and the deepest nesting of objects and arrays within it.
MAX_OBJECT_BYTES, MAX_DEPTH = 1 << 24, 200

_BLOCK_BYTES = 1 << 18

#: White space between objects. Concatenated files may have a byte-order mark each.
_SPACE = re.compile(rb"(?:[ \t\r\n]|\xef\xbb\xbf)*+")

#: Text without brackets, then strings with such text after them.
_NO_BRACKETS = rb'[^{}\[\]"]*+(?:"[^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*+"[^{}\[\]"]*+)*+'
_TO_BRACKET = re.compile(_NO_BRACKETS + rb"([{}\[\]])")
_TO_OPEN_STRING = re.compile(_NO_BRACKETS + rb'"[^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*+')

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def read_objects(stream: io.BufferedReader) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each JSON object of `stream`, in UTF-8, with the line, from 1, in which it starts.

    Raises InputError, with the line, for anything else, for a key that occurs twice in an object, and for an object
    that is too large or nested too deeply.
    """
    line = 1
    rest: list[bytes] = []  # pieces of a line whose end has not been read
    rest_bytes = 0
    # Lines that are whole objects are decoded without a search for the ends of objects.
    while rest_bytes <= _BLOCK_BYTES and (block := stream.read1(_BLOCK_BYTES)):
        if b"\n" not in block:
            rest.append(block)
            rest_bytes += len(block)
            continue
        text = b"".join([*rest, block])
        lines = text.split(b"\n")
        rest = [lines.pop()]
        rest_bytes = len(rest[0])
        objects, decoded = _decode_lines(lines, line)
        if _count_colons(text[: len(text) - len(rest[0])]) != sum(_expected_colons(value) for _, value in objects):
            for number, value in objects:
                _check_keys(lines[number - line], value, number)
        yield from objects
        line += decoded
        if decoded < len(lines):
            rest = [b"\n".join([*lines[decoded:], *rest])]
            break
    yield from _ObjectScanner(b"".join(rest), stream, line).read_objects()


def _decode_lines(lines: list[bytes], first: int) -> tuple[list[tuple[int, dict[str, Any]]], int]:
    """Decode `lines`, of which the first has the number `first`, up to one that is neither an object nor blank.

    Returns the objects with their lines, and the number of lines before that one.
    """
    objects = []
    for position, text in enumerate(lines):
        try:
            objects.append((first + position, _decode(text)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if text and not text.isspace():
                return objects, position
    return objects, len(lines)


class _ObjectScanner:
    """Finds the objects of a stream by their brackets. `buffer` is the text before the content of `stream`."""

    def __init__(self, buffer: bytes, stream: io.BufferedReader, line: int) -> None:
        self._buffer = buffer
        self._stream = stream
        self._line = line
        self._position = 0
        self._is_after_return = False  # the line end before the position may continue after it

    def read_objects(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the line and the value of each object."""
        array_line = 0  # the line in which the current array starts; 0 outside of arrays
        previous = b""
        while byte := self._next_byte():
            if byte == b"{" and not (array_line and previous == b"{"):
                line = self._line
                text = self._take_object()
                try:
                    value = _decode(text)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                    _raise_decode_error(text, line, error)
                _check_keys(text, value, line)
                yield line, value
            elif byte == b"[" and not array_line:
                array_line = self._line
                self._advance(self._position + 1)
            elif array_line and ((byte == b"," and previous == b"{") or (byte == b"]" and previous != b",")):
                array_line = 0 if byte == b"]" else array_line
                self._advance(self._position + 1)
            else:
                start = self._buffer[self._position : self._position + 20].decode("utf-8", "replace")
                raise InputError(f"line {self._line}: not a JSON object, but {start!r}")
            previous = byte
        if array_line:
            raise InputError(f"line {array_line}: the JSON array is not closed")

    def _next_byte(self) -> bytes:
        """Skip white space and return the next byte, or no byte at the end."""
        while True:
            end = _SPACE.match(self._buffer, self._position).end()  # type: ignore[union-attr]
            if end > self._position:
                self._advance(end)
            if end < len(self._buffer) - 2 or not self._fill():  # a byte-order mark may be incomplete
                return self._buffer[self._position : self._position + 1]

    def _take_object(self) -> bytes:
        """Return the object at the current position."""
        depth = 0
        position = self._position
        while True:
            match = _TO_BRACKET.match(self._buffer, position)
            if match is None:
                self._check_open_string(position)
                position -= self._position
                self._check_size(len(self._buffer))
                if not self._fill():
                    raise InputError(f"line {self._line}: not a JSON object: it is not closed")
                continue
            position = match.end()
            depth += 1 if match[1] in b"{[" else -1
            if depth > MAX_DEPTH:
                raise InputError(f"line {self._line}: a JSON object that is nested too deeply")
            if depth == 0:
                self._check_size(position)
                return self._advance(position)

    def _advance(self, end: int) -> bytes:
        """Return the text up to `end` and move the position there."""
        text = self._buffer[self._position : end]
        self._position = end
        self._line += text.count(b"\n")
        if self._is_after_return or b"\r" in text:
            self._line += text.count(b"\r") - text.count(b"\r\n") - (self._is_after_return and text[:1] == b"\n")
            self._is_after_return = text[-1:] == b"\r"
        return text

    def _check_size(self, end: int) -> None:
        if end - self._position > MAX_OBJECT_BYTES:
            limit = MAX_OBJECT_BYTES >> 20
            raise InputError(
                f"line {self._line}: a JSON object of more than {limit} MiB; one object per row was expected"
            )

    def _check_open_string(self, position: int) -> None:
        """Raise InputError if the text from `position` has a string that a control character ends."""
        match = _TO_OPEN_STRING.match(self._buffer, position)
        if match is not None and match.end() < len(self._buffer) - 1:
            raise InputError(f"line {self._line}: not a JSON object: a string has a control character or is not closed")

    def _fill(self) -> bool:
        """Drop the text before the current position and read more. Return whether there is more."""
        blocks = [self._buffer[self._position :]]
        self._position = 0
        # Large objects are read in steps that grow with them, so that searching them again takes linear time.
        wanted = len(blocks[0]) // 2 if len(blocks[0]) > _BLOCK_BYTES else 1
        size = 0
        while size < wanted and (block := self._stream.read1(_BLOCK_BYTES)):
            blocks.append(block)
            size += len(block)
        self._buffer = b"".join(blocks)
        return size > 0


def _raise_decode_error(text: bytes, line: int, error: Exception) -> NoReturn:
    """Raise the InputError for `text`, the object in `line`, which could not be decoded because of `error`."""
    decode_utf8(text, line)
    reason = str(error).removeprefix("JSON is malformed: ").partition(" - at ")[0]
    if isinstance(error, RecursionError):
        reason = "it is nested too deeply"
    elif re.search(rb"[:,\[]\s*[-+]?(nan|inf)", text, re.IGNORECASE):
        reason = "JSON has no NaN and no infinite numbers"
    elif re.search(rb"\\u[dD][89a-fA-F]", text) and "truncated" in reason:
        reason = "a character is written as half a surrogate pair"
    raise InputError(f"line {line}: not a JSON object: {reason}")


class _DuplicateKeyError(Exception):
    pass


def _count_colons(text: bytes) -> int:
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord(":")))


def _expected_colons(value: dict[str, Any]) -> int:
    """Return the number of colons in an object without nested lists and colons in names, if no key occurs twice."""
    colons = len(value)
    for item in value.values():
        if type(item) is dict:
            colons += len(item)
        elif type(item) is str:
            colons += item.count(":")
    return colons


def _check_keys(text: bytes, value: dict[str, Any], line: int) -> None:
    """Raise InputError if an object within `text` has a key twice. `value` is the decoded text."""
    # A key that occurs twice is decoded once but has two colons.
    if _count_colons(text) == _expected_colons(value):
        return
    try:
        json.loads(text, object_pairs_hook=_check_pairs, parse_int=len, parse_float=len)
    except _DuplicateKeyError as error:
        raise InputError(f"line {line}: the key {error} occurs twice") from None


def _check_pairs(pairs: list[tuple[str, Any]]) -> None:
    keys = set()
    for key, _ in pairs:
        if key in keys:
            raise _DuplicateKeyError(repr(key))
        keys.add(key)
