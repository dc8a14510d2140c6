"""Marks in files that facetools has written, so that later runs do not take them for the files of others.

A mark is a comment in a JPEG or SVG file, or a text chunk in a PNG file: `facetools ORIGIN DIGEST`. ORIGIN identifies
the image from which the file was made. DIGEST is that of the file without the mark: a file that was changed since is no
longer marked. A zip archive has an archive comment instead.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from pathlib import Path

#: The archive comment of zip archives.
ZIP_COMMENT = b"facetools"

#: The origin of files that are made from many images.
NO_ORIGIN = "0" * 16

_TEXT = re.compile(rb"facetools (?P<origin>[0-9a-f]{16}) (?P<digest>[0-9a-f]{32})")

#: Marks are within this many bytes from the start of a file.
_HEAD_BYTES = 1024

_END_OF_ZIP = b"PK\5\6"


def origin_of(name: str) -> str:
    """The ORIGIN, 16 hexadecimal digits, of an image called `name`."""
    return _digest(name.encode("utf-8", "surrogateescape"), 8)


def add_mark(content: bytes, origin: str = NO_ORIGIN) -> bytes:
    """Return the content of a JPEG, PNG or SVG file with a mark."""
    text = f"facetools {origin} {_digest(content)}".encode()
    if content.startswith(b"\xff\xd8\xff\xe0"):
        start = 4 + int.from_bytes(content[4:6], "big")  # behind the JFIF header, which has to come first
        mark = _jpeg_comment(text)
    elif content.startswith(b"\x89PNG"):
        start = 33  # behind the signature and the chunk IHDR, which has to come first
        mark = _png_chunk(text)
    else:
        start = content.index(b"\n") + 1  # behind the XML declaration
        mark = _svg_comment(text)
    return content[:start] + mark + content[start:]


def read_mark(path: str | Path) -> str | None:
    """Return the ORIGIN of a file that facetools has written and nobody has changed since; None for other files."""
    with Path(path).open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
        text = _TEXT.search(head)
        if text is None:
            return None
        content = head + stream.read()
    for mark in (_jpeg_comment(text[0]), _png_chunk(text[0]), _svg_comment(text[0])):
        before, found, after = content.partition(mark)
        if found and _digest(before + after) == text["digest"].decode():
            return text["origin"].decode()
    return None


def is_marked_zip(path: str | Path) -> bool:
    """Whether a file is a zip archive that facetools has written."""
    with Path(path).open("rb") as stream:
        size = 22 + len(ZIP_COMMENT)
        stream.seek(max(0, stream.seek(0, 2) - size))
        end = stream.read()
    return end.startswith(_END_OF_ZIP) and end.endswith(ZIP_COMMENT)


def _digest(data: bytes, size: int = 16) -> str:
    return hashlib.blake2b(data, digest_size=size).hexdigest()


def _jpeg_comment(text: bytes) -> bytes:
    return b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text


def _png_chunk(text: bytes) -> bytes:
    body = b"tEXtSoftware\0" + text
    return (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")


def _svg_comment(text: bytes) -> bytes:
    return b"<!-- " + text + b" -->\n"
