"""Kinds of input: `find_format` tells face tables and lists apart, and names what else an input is."""

from __future__ import annotations

import codecs
import re
from typing import Literal

from facetools.table.errors import InputError
from facetools.table.npy import NPY_MAGIC

Format = Literal["jsonl", "npy", "list"]

_EXPORT = "a face table is JSONL or NPY"

#: The first bytes of other kinds of input, what they are, and what to do. The first match counts.
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (
        rb"\xff\xd8\xff|\x89PNG|GIF8|BM.{4}\0\0|II\*\0|MM\0\*|RIFF.{4}WEBP|.{4}ftyp",
        "an image; fa-predict makes a table",
    ),
    (rb"PK\x03\x04.{26}[^/]*\.npy", "an .npz archive; save each array with numpy.save"),
    (rb"PK\x03\x04.{26}[^/]+/(data\.pkl|\.format_version|byteorder)", "a PyTorch file"),
    (rb"PK\x03\x04.{26}\[Content_Types\]", "an Office document; export the list as CSV"),
    (rb"PK(\x03\x04|\x05\x06|\x07\x08)|.{257}ustar", "an archive; fa-predict makes a table of the images in one"),
    (rb"\x80[\x02-\x05][\x80-\xff}(\]cX\x8c]", "a Python pickle, which could run code; save arrays with numpy.save"),
    (rb"PAR1", f"a Parquet file; {_EXPORT}"),
    (rb"ARROW1|FEA1", f"an Arrow file; {_EXPORT}"),
    (rb"\x89HDF|MATLAB 5\.0|SQLite format 3", f"a data file of another program; {_EXPORT}"),
    (rb"%PDF-", "a PDF document"),
    (rb"\s*<", "an HTML or XML document; a download may have failed"),
)


def is_table(start: bytes) -> bool:
    """Whether an input that starts with `start` is JSONL or NPY and not an image, an archive or a list of paths."""
    return start.startswith(NPY_MAGIC) or start.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"{", b"[")


def find_format(start: bytes) -> Format:
    """Return the format of an input that starts with `start`, UTF-8 if it is text: list if it may be an attribute list.

    Raises InputError, with a description of the input, if it is empty or cannot be a face table.
    """
    if not start:
        raise InputError("the input is empty; a face table was expected")
    if start[: len(NPY_MAGIC)] == NPY_MAGIC[: len(start)]:
        return "npy"
    if start.lstrip()[:1] in (b"{", b"[", b""):
        return "jsonl"
    for signature, description in _SIGNATURES:
        if re.match(signature, start, re.DOTALL):
            raise InputError(f"not a face table, but {description}")
    if re.match(rb"[^\r\n]*[\x00-\x08\x0e-\x1a\x7f]", start.lstrip()):
        raise InputError("not a face table, but binary data of an unknown format")
    return "list"
