"""Read lists of paths, one per line, and tell what a file is that should be a list but is none."""

from __future__ import annotations

import codecs
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from facetools.images import formats

#: The longest line that can be a path: Linux allows 4096 bytes, and a member of an archive may add a long name.
MAX_LINE_BYTES = 2**17

_BLOCK_BYTES = 2**16

#: Bytes that tell what a file is, and that it is no list.
_HEAD_BYTES = 2**12

_UTF8_MARK = codecs.BOM_UTF8
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class PathListError(ValueError):
    """A file is no list of paths, or one of another kind than expected. The message is the reason."""


@dataclass(frozen=True)
class ListedPath:
    """A line of a list: its path, and the reason why it cannot be one, if so."""

    path: str
    problem: str = ""


def read_path_list(stream: BinaryIO, *, null: bool = False) -> Iterator[ListedPath]:
    """Yield each path as soon as it has arrived. Empty lines are left out, and the last line may lack its end.

    Lines end with LF, CR LF or CR, or, if `null`, with NUL. Byte-order marks are accepted, and with one also UTF-16.
    Raises PathListError if the content is evidently something else.
    """
    blocks = _read_blocks(stream)
    first = next(blocks, b"")
    if first.startswith(_UTF16_MARKS):
        blocks = _decode_utf16(first, blocks)
        first = next(blocks, b"")
    first = first.removeprefix(_UTF8_MARK)
    kind = formats.kind_of_content(first[:_HEAD_BYTES])
    if kind is not None and (b"\0" in first[:_HEAD_BYTES] or kind.role in ("compressed", "other")):
        raise PathListError(f"it is {_with_article(kind.label)}, not a list of paths; name the file itself")
    separator = b"\0" if null else b"\n"
    if not null and b"\n" not in first and b"\r" in first.rstrip(b"\r"):
        separator = b"\r"
    for line in _split(first, blocks, separator):
        if not null:
            line = line.removesuffix(b"\r")
        if line:
            yield _check_line(line, null)


def describe_unusable(lines: list[str]) -> str:
    """What a list of paths probably is, given its first lines, none of which names a file. Empty if nothing fits."""
    first = lines[0].strip()
    if first.startswith(("{", "[")):
        return "it looks like a face table, whose name must end with .jsonl"
    if first.startswith("image_id") or (first.isdigit() and len(lines) > 1 and len(lines[1].split()) > 1):
        return "it looks like a list of attributes, as --labels reads it"
    return ""


def _check_line(line: bytes, null: bool) -> ListedPath:
    path = os.fsdecode(line)
    if b"\0" in line:
        start, rest = line.split(b"\0", 1)
        if (not rest or b"\0" in rest) and os.path.lexists(start):
            raise PathListError("its paths end with NUL, as find -print0 writes them; add -0")
        return ListedPath(path, "it contains a NUL")
    if null and b"\n" in line and not os.path.lexists(line[:MAX_LINE_BYTES]):
        start = line.split(b"\n", 1)[0].removesuffix(b"\r")
        if start and os.path.lexists(start):
            raise PathListError("its paths end with newlines, not with NUL; leave out -0")
    if len(line) > MAX_LINE_BYTES:
        return ListedPath(path, f"it is longer than {MAX_LINE_BYTES:,} bytes")
    return ListedPath(path)


def _read_blocks(stream: BinaryIO) -> Iterator[bytes]:
    # read1 returns what a pipe holds; read would wait for a full block.
    read = stream.read1 if isinstance(stream, io.BufferedReader) else stream.read
    while block := read(_BLOCK_BYTES):
        yield block


def _decode_utf16(first: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-16")("replace")
    yield decoder.decode(first).encode("utf-8", "replace")
    for block in blocks:
        yield decoder.decode(block).encode("utf-8", "replace")


def _split(first: bytes, blocks: Iterator[bytes], separator: bytes) -> Iterator[bytes]:
    """Yield the parts between separators. Of a part that is too long, only MAX_LINE_BYTES + 1 bytes."""
    *complete, incomplete = first.split(separator)
    yield from complete
    for block in blocks:
        *complete, rest = block.split(separator)
        if complete:
            yield _limit(incomplete + complete[0])
            yield from complete[1:]
            incomplete = rest
        else:
            incomplete = _limit(incomplete + rest)
    yield incomplete


def _limit(line: bytes) -> bytes:
    return line[: MAX_LINE_BYTES + 1]


def _with_article(label: str) -> str:
    return f"{'an' if label[0] in 'aeiouAEIOU' else 'a'} {label}"
