"""Read and write face tables from files, standard input and standard output."""

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

from facetools.runtime import files
from facetools.table import celeba
from facetools.table.columns import BLOCK_ROWS, AttributeColumns, Table, TableError, concatenate_tables, encode_paths
from facetools.table.jsonl import encode_jsonl, read_jsonl
from facetools.table.npy import NPY_MAGIC, npy_header, read_npy, to_array

Encoding = Literal["jsonl", "npy"]


def read_table(source: str) -> tuple[Table, Encoding]:
    """The whole table in a file, or on stdin for `-`, and the encoding it came in."""
    with open_input(source) as stream:
        encoding = detect_encoding(stream, source)
        found = list(read_blocks(stream, source))
    try:
        return concatenate_tables(found), encoding
    except TableError as error:
        raise TableError(f"{_shown(source)}: {error}") from None


def read_blocks(stream: io.BufferedReader, name: str) -> Iterator[Table]:
    """The table in `stream`, block after block; TableErrors begin with `name` and the line, or block, at fault."""
    readers = {"jsonl": read_jsonl, "npy": read_npy, "celeba": _read_celeba}
    try:
        yield from readers[_kind(stream)](stream)
    except (TableError, celeba.CelebAError) as error:
        raise TableError(f"{_shown(name)}: {error}") from None


def detect_encoding(stream: io.BufferedReader, name: str) -> Encoding:
    """The encoding of the table that `stream` starts with, told by its first byte; nothing is consumed."""
    try:
        return "npy" if _kind(stream) == "npy" else "jsonl"
    except TableError as error:
        raise TableError(f"{_shown(name)}: {error}") from None


def _shown(name: str) -> str:
    return "standard input" if name == "-" else name


def _kind(stream: io.BufferedReader) -> str:
    first = stream.peek(1)[:1]
    if not first:
        raise TableError("the input is empty; a face table was expected")
    if first == NPY_MAGIC[:1]:
        return "npy"
    if first in b"{ \t\r\n":
        return "jsonl"
    if first.isdigit() or first == b"i":
        return "celeba"
    raise TableError(f"not a face table: it starts with the byte {first!r}, neither JSONL nor NPY")


def _read_celeba(stream: io.BufferedReader) -> Iterator[Table]:
    listed = celeba.parse_attribute_list(stream.read().decode("utf-8"))
    yield Table(encode_paths(listed.files), labels=AttributeColumns(listed.names, listed.values))


class TableWriter:
    """Writes blocks of rows to a stream in one encoding.

    In NPY, `whole` keeps the rows and writes them as one block at the end, as a regular file wants it; without it each
    block leaves at once.
    """

    def __init__(self, stream: BinaryIO, encoding: Encoding, *, whole: bool = False) -> None:
        self._stream = stream
        self._encoding = encoding
        self._whole = whole
        self._kept: list[Table] = []

    def write(self, block: Table) -> None:
        if self._encoding == "jsonl":
            for start in range(0, len(block), BLOCK_ROWS):
                rows = block.take(np.arange(start, min(start + BLOCK_ROWS, len(block))))
                self._stream.write(encode_jsonl(rows))
        elif self._whole:
            self._kept.append(block)
        else:
            self._write_npy(block)

    def close(self) -> None:
        """Writes what is kept; the stream stays open."""
        if self._kept:
            self._write_npy(concatenate_tables(self._kept))
            self._kept.clear()

    def _write_npy(self, block: Table) -> None:
        array = to_array(block)
        self._stream.write(npy_header(array))
        self._stream.write(array.view(np.uint8).data if array.size else b"")


@contextmanager
def open_input(source: str) -> Iterator[io.BufferedReader]:
    """The file `source`, or stdin for `-`, as a binary stream."""
    if source == "-":
        yield sys.stdin.buffer  # type: ignore[misc]
    else:
        with Path(source).open("rb") as stream:
            yield stream


@contextmanager
def open_output(target: str) -> Iterator[BinaryIO]:
    """The file `target`, complete or absent, or stdout for `-`, flushed and checked before the block ends."""
    if target != "-":
        with files.atomic_writer(target) as stream:
            yield stream
        return
    sys.stdout.flush()
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()


def is_regular_file(stream: BinaryIO) -> bool:
    """Whether `stream` ends in a regular file, which takes one NPY block, and not in a pipe."""
    return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)


@contextmanager
def open_writer(target: str, encoding: Encoding) -> Iterator[TableWriter]:
    """A Writer to the file `target`, or to stdout for `-`."""
    with open_output(target) as stream:
        writer = TableWriter(stream, encoding, whole=is_regular_file(stream))
        yield writer
        writer.close()
