"""Read and write face tables as files, stdin and stdout.

`read_table` reads a whole table and `read_blocks` one block at a time; both recognize the encoding by the first byte.
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

from facetools.runtime import files
from facetools.table import celeba
from facetools.table.columns import AttributeColumns, Table, TableError, concatenate_tables, encode_paths
from facetools.table.jsonl import read_jsonl, write_jsonl
from facetools.table.npy import NPY_MAGIC, read_npy, write_npy

Encoding = Literal["jsonl", "npy"]


def read_table(source: str) -> tuple[Table, Encoding]:
    """Read the whole table from the file `source`, or from stdin for `-`.

    Returns the table and the encoding in which to write results: jsonl for a CelebA attribute list. Raises TableError
    if the source is not a valid table.
    """
    with open_input(source) as stream:
        encoding = detect_encoding(stream, source)
        blocks = list(read_blocks(stream, source))
    try:
        return concatenate_tables(blocks), encoding
    except TableError as error:
        raise TableError(f"{_display_name(source)}: {error}") from None


def read_blocks(stream: io.BufferedReader, name: str) -> Iterator[Table]:
    """Yield the table in `stream` block by block. TableErrors start with `name` and the invalid line or block."""
    readers = {"jsonl": read_jsonl, "npy": read_npy, "celeba": _read_celeba}
    try:
        yield from readers[_detect_format(stream)](stream)
    except (TableError, celeba.CelebAError) as error:
        raise TableError(f"{_display_name(name)}: {error}") from None


def detect_encoding(stream: io.BufferedReader, name: str) -> Encoding:
    """Return the encoding of the table in `stream` without consuming any of it. TableErrors start with `name`."""
    try:
        return "npy" if _detect_format(stream) == "npy" else "jsonl"
    except TableError as error:
        raise TableError(f"{_display_name(name)}: {error}") from None


def _display_name(source: str) -> str:
    return "standard input" if source == "-" else source


def _detect_format(stream: io.BufferedReader) -> Literal["jsonl", "npy", "celeba"]:
    first = stream.peek(1)[:1]
    if not first:
        raise TableError("the input is empty; a face table was expected")
    if first == NPY_MAGIC[:1]:
        return "npy"
    if first in b"{ \t\r\n":
        return "jsonl"
    # CelebA's lists start with the number of rows, or with the column image_id.
    if first.isdigit() or first == b"i":
        return "celeba"
    raise TableError(f"not a face table: it starts with the byte {first!r}, which is neither JSONL nor NPY")


def _read_celeba(stream: io.BufferedReader) -> Iterator[Table]:
    attributes = celeba.parse_attribute_list(stream.read().decode("utf-8"))
    yield Table(encode_paths(attributes.files), labels=AttributeColumns(attributes.names, attributes.values))


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
    """Open a TableWriter for the file `target`, or for stdout for `-`. The file appears only if the block succeeds."""
    with open_output(target) as stream:
        writer = TableWriter(stream, encoding, single_block=is_regular_file(stream))
        yield writer
        writer.close()


def is_regular_file(stream: BinaryIO) -> bool:
    """Return whether `stream` is a regular file and not, for example, a pipe."""
    return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)


@contextmanager
def open_input(source: str) -> Iterator[io.BufferedReader]:
    """Open the file `source`, or stdin for `-`, as a binary stream."""
    if source == "-":
        yield sys.stdin.buffer  # type: ignore[misc]
    else:
        with Path(source).open("rb") as stream:
            yield stream


@contextmanager
def open_output(target: str) -> Iterator[BinaryIO]:
    """Open the file `target` for atomic writing, or stdout for `-`, which is flushed at the end of the block."""
    if target != "-":
        with files.atomic_writer(target) as stream:
            yield stream
        return
    sys.stdout.flush()
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()
