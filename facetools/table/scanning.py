"""Read a face table in one pass with little memory: `open_scan` yields blocks whose columns are read on demand.

Rows of NPY stay as they are in the file until they are taken, which is much faster than reading all their columns.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import numpy as np

from facetools.table import streams
from facetools.table.columns import AttributeColumns, Table, TableError
from facetools.table.content import open_content
from facetools.table.detection import find_format
from facetools.table.errors import InputError
from facetools.table.npy import read_npy_rows, rows_to_table

#: Rows of NPY that are in memory at a time.
BLOCK_ROWS = 1 << 16

AttributeColumn = Literal["scores", "labels"]


class Block:
    """Consecutive rows: a Table, or a structured array with the fields of one."""

    def __init__(self, rows: Table | np.ndarray) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def names(self, column: AttributeColumn) -> tuple[str, ...] | None:
        """The attributes of a column, or None if the table does not have it."""
        if isinstance(self._rows, Table):
            attributes: AttributeColumns | None = getattr(self._rows, column)
            return None if attributes is None else attributes.names
        fields = self._rows.dtype
        return fields[column].names if column in (fields.names or ()) else None

    def values(self, column: AttributeColumn, names: Sequence[str], rows: np.ndarray | None = None) -> np.ndarray:
        """The values of some attributes, float32 (n, len(names)); by default of all rows."""
        chosen = slice(None) if rows is None else rows
        if isinstance(self._rows, Table):
            attributes: AttributeColumns = getattr(self._rows, column)
            return attributes.select(tuple(names))[chosen].astype(np.float32)
        array = self._rows[chosen][column]
        values = np.empty((len(array), len(names)), np.float32)
        for number, name in enumerate(names):
            values[:, number] = array[name]
        return values

    def has_key(self, key: str) -> bool:
        """Whether a row has a key that is no column, which NPY does not have."""
        extras = self._rows.extras if isinstance(self._rows, Table) else None
        return any(key in row for row in extras or ())

    def paths(self) -> list[str] | None:
        """The paths of all rows, or None if the table has none."""
        if isinstance(self._rows, Table):
            return None if self._rows.paths is None else [self._rows.path(row) for row in range(len(self))]
        if "path" not in (self._rows.dtype.names or ()):
            return None
        table = rows_to_table(self._rows[["path"]])
        return [table.path(row) for row in range(len(table))]

    def take(self, rows: np.ndarray) -> Table:
        """The rows with these numbers, as a table."""
        return self._rows.take(rows) if isinstance(self._rows, Table) else rows_to_table(self._rows[rows])


@contextmanager
def open_scan(source: str) -> Iterator[Iterator[Block]]:
    """Open the file `source`, or stdin for `-`, and return the blocks of its table; see scan_blocks."""
    with streams.open_input(source) as stream:
        yield scan_blocks(stream, source)


def scan_blocks(stream: io.BufferedReader, name: str) -> Iterator[Block]:
    """Yield the table in `stream` in blocks of at most BLOCK_ROWS rows of NPY, or as the reader of another format does.

    All blocks have the same attributes. TableErrors start with `name`.
    """
    try:
        content = open_content(stream)
        is_npy = find_format(content.peek(1)) == "npy"
        blocks = read_npy_rows(content, BLOCK_ROWS) if is_npy else streams.read_blocks(content, name)
        first: list[tuple[str, ...] | None] = []
        for rows in blocks:
            block = Block(rows)
            attributes = [block.names("scores"), block.names("labels")]
            first = first or attributes
            if attributes != first:
                raise TableError("the attributes change between blocks")
            yield block
    except TableError as error:
        shown = "standard input" if name == "-" else name
        message = str(error)
        raise TableError(message if message.startswith(f"{shown}: ") else f"{shown}: {message}") from None
    except InputError as error:
        raise TableError(f"{'standard input' if name == '-' else name}: {error}") from None
