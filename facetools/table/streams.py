"""Read and write face tables as files, stdin and stdout.

`read_table` reads a whole table and `read_blocks` one block at a time; both recognize the format by the content.
`open_writer` writes a table in blocks. A pipe carries any number of NPY blocks; a regular file gets exactly one, so
that np.load and memory mapping work.
"""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from facetools.runtime import descriptors, files
from facetools.table.columns import AttributeColumns, Table, TableError, concatenate_tables, encode_paths
from facetools.table.content import open_content
from facetools.table.delimited import split_attribute_list
from facetools.table.detection import Format, find_format
from facetools.table.encodings import decode_utf8
from facetools.table.errors import InputError
from facetools.table.jsonl import read_jsonl, write_jsonl
from facetools.table.lists import parse_attribute_list
from facetools.table.npy import read_npy, write_npy

Encoding = Literal["jsonl", "npy"]

#: The longest header of an attribute list in bytes.
_MAX_HEADER_BYTES = 1 << 20


def read_table(source: str) -> tuple[Table, Encoding]:
    """Read the whole table from the file `source`, or from stdin for `-`.

    Returns the table and the encoding in which to write results: jsonl for an attribute list. Raises TableError if the
    source is not a valid table.
    """
    with open_input(source) as stream:
        return read_stream(stream, source)


def read_stream(stream: io.BufferedReader, name: str) -> tuple[Table, Encoding]:
    """Read the whole table from `stream`, as read_table does. TableErrors start with `name`."""
    with _named_errors(name):
        format, blocks = _open_blocks(stream)
        return concatenate_tables(list(blocks)), "npy" if format == "npy" else "jsonl"


def read_blocks(stream: io.BufferedReader, name: str) -> Iterator[Table]:
    """Yield the table in `stream` block by block. TableErrors start with `name` and the invalid line or block."""
    with _named_errors(name):
        yield from _open_blocks(stream)[1]


@contextmanager
def _named_errors(name: str) -> Iterator[None]:
    """Raise InputErrors of the block as TableErrors that start with the name of the input."""
    try:
        yield
    except InputError as error:
        raise TableError(f"{'standard input' if name == '-' else name}: {error}") from None


def _open_blocks(stream: io.BufferedReader) -> tuple[Format, Iterator[Table]]:
    """Return the format of the content of `stream`, and its blocks."""
    content = open_content(stream)
    format = find_format(content.peek(1))
    readers = {"jsonl": read_jsonl, "npy": read_npy, "list": _read_list}
    return format, readers[format](content)


def _read_list(stream: io.BufferedReader) -> Iterator[Table]:
    # An endless stream that is no list must not fill the memory, so the header is checked first.
    start, lines = b"", 0
    while lines < 3 and len(start) < _MAX_HEADER_BYTES and (line := stream.readline(_MAX_HEADER_BYTES)):
        start += line
        lines += not line.isspace()
    split_attribute_list(start.decode("utf-8", "replace"))
    attributes = parse_attribute_list(decode_utf8(start + stream.read()))
    yield Table(
        encode_paths(attributes.files),
        labels=AttributeColumns(attributes.names, attributes.values),
        lines=np.array(attributes.lines, np.int64),
    )


class TableWriter:
    """Writes a table to a binary stream, block by block.

    With `single_block`, NPY rows stay in memory and `close` writes them as one block, as a regular file needs it.
    Otherwise each block is written at once.
    """

    def __init__(self, stream: BinaryIO, encoding: Encoding, *, single_block: bool = False) -> None:
        self._stream = stream
        self._encoding = encoding
        self._single_block = single_block
        self._pending: list[Table] = []

    def write(self, block: Table) -> None:
        if self._encoding == "jsonl":
            write_jsonl(self._stream, block)
        elif self._single_block:
            self._pending.append(block)
        else:
            write_npy(self._stream, block)

    def close(self) -> None:
        """Write the pending rows. The stream stays open."""
        if self._pending:
            write_npy(self._stream, concatenate_tables(self._pending))
            self._pending.clear()


@contextmanager
def open_writer(target: str, encoding: Encoding) -> Iterator[TableWriter]:
    """Open a TableWriter for the file `target`, or for stdout for `-`. The file appears only if the block succeeds.

    Raises TableError for NPY at the end of a file with content.
    """
    with open_output(target) as stream:
        if encoding == "npy":
            check_appends(stream.fileno(), target)
        writer = TableWriter(stream, encoding, single_block=is_regular_file(stream))
        yield writer
        writer.close()


def check_appends(descriptor: int, target: str) -> None:
    """Raise TableError if an NPY block would follow other content in the regular file that the shell opened.

    np.load reads the first block of a file and says nothing about the others. JSONL lines may be appended.
    """
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size:
        name = "standard output" if target == "-" else target
        raise TableError(f"{name}: the file is not empty, and np.load reads only the first NPY block of a file")


def is_regular_file(stream: BinaryIO) -> bool:
    """Return whether `stream` is a regular file and not, for example, a pipe."""
    return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)


@contextmanager
def open_input(source: str) -> Iterator[io.BufferedReader]:
    """Open the file `source`, or stdin for `-`, as a binary stream. OSErrors name it."""
    if source == "-":
        yield descriptors.standard_input()
    else:
        # The block only reads, so its errors without a name are those of the stream.
        with descriptors.named_errors(source), Path(source).open("rb") as stream:
            yield stream


@contextmanager
def open_output(target: str) -> Iterator[BinaryIO]:
    """Open the file `target` for atomic writing, or stdout for `-`, which is flushed at the end of the block."""
    if target != "-":
        with files.atomic_writer(target) as stream:
            yield stream
        return
    descriptors.check_writable(descriptors.STDOUT)
    sys.stdout.flush()
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()
