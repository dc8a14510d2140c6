"""The face table in memory: `Table`, an ordered set of rows, one per face.

| column    | JSONL                  | NPY field       | meaning                                                     |
|-----------|------------------------|-----------------|-------------------------------------------------------------|
| `path`    | string                 | `S<n>`, UTF-8   | the image; an archive member is `faces.zip/dir/000001.jpg`  |
| `scores`  | object, name -> number | struct of `<f4` | probability that the attribute is present                   |
| `labels`  | object, name -> 0 or 1 | struct of `u1`  | ground truth, where known                                   |
| `cluster` | integer                | `<i4`           | cluster number from 0; -1 = noise                           |

`jsonl` and `npy` implement the two encodings; `streams` reads and writes files, stdin and stdout. Other keys of a JSONL
row are kept as `extras` and written back to JSONL. NPY holds only the four columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from facetools.table.errors import InputError

COLUMNS = ("path", "scores", "labels", "cluster")


class TableError(InputError):
    """The input is not a valid face table; the message says where and why."""


@dataclass(frozen=True)
class AttributeColumns:
    """One column per attribute: `values` (n, len(names)), float32 for scores, uint8 for labels."""

    names: tuple[str, ...]
    values: np.ndarray

    def select(self, names: Sequence[str]) -> np.ndarray:
        """Return the columns called `names`, in that order, as an array (n, len(names))."""
        if tuple(names) == self.names:
            return self.values
        return self.values[:, [self.names.index(name) for name in names]]


@dataclass(frozen=True)
class Table:
    """Consecutive rows of a face table. A column that the table does not have is None."""

    #: Image paths, UTF-8 bytes `S<n>` (n,).
    paths: np.ndarray | None = None
    #: Probabilities, float32 (n, attributes).
    scores: AttributeColumns | None = None
    #: Ground truth, uint8 0 or 1 (n, attributes).
    labels: AttributeColumns | None = None
    #: Cluster numbers, int32 (n,); -1 is noise.
    cluster: np.ndarray | None = None
    #: Attributes as packed codes without names, uint64 (n, words): bit j of word w is attribute 64 w + j.
    codes: np.ndarray | None = None
    #: The other keys of each JSONL row.
    extras: list[dict[str, Any]] | None = None
    #: The line of each row in the text that it was read from, from 1, int64 (n,).
    lines: np.ndarray | None = None

    def __len__(self) -> int:
        for column in (self.paths, self.cluster, self.codes, self.extras):
            if column is not None:
                return len(column)
        for attributes in (self.scores, self.labels):
            if attributes is not None:
                return len(attributes.values)
        return 0

    def path(self, row: int) -> str:
        """Return the path of a row, or `row N` (from 0) if the table has no paths."""
        return f"row {row}" if self.paths is None else self.paths[row].decode("utf-8")

    def take(self, rows: np.ndarray) -> Table:
        """Return a table of the selected rows. `rows` holds row numbers (integers) or is a mask (bool, (n,))."""
        positions = np.flatnonzero(rows) if rows.dtype == bool else rows

        def take_from(column: Any) -> Any:
            if isinstance(column, AttributeColumns):
                return replace(column, values=column.values[positions])
            if isinstance(column, list):
                return [column[position] for position in positions]
            return None if column is None else column[positions]

        return Table(*(take_from(getattr(self, field.name)) for field in fields(self)))


def add_columns(table: Table, source: Table) -> Table:
    """Return `table` with the columns and keys of `source` that it lacks. Both have the same rows, in the same order.

    The paths, the packed codes and the line numbers of `source` are not added.
    """
    extras = table.extras
    if source.extras is not None:
        own = table.extras or [{}] * len(table)
        extras = [
            row | {key: value for key, value in other.items() if key not in row}
            for row, other in zip(own, source.extras, strict=True)
        ]
    missing = {
        column: getattr(source, column) for column in ("scores", "labels", "cluster") if getattr(table, column) is None
    }
    return replace(table, extras=extras, **missing)


def encode_paths(paths: Iterable[str]) -> np.ndarray:
    """Return `paths` as UTF-8 bytes `S<n>` (n,). Raises ValueError if a path contains NUL or is not valid Unicode."""
    encoded = [path.encode("utf-8") for path in paths]
    if any(b"\0" in path for path in encoded):
        raise ValueError("a path contains a NUL character")
    return np.array(encoded, dtype=f"S{max(map(len, encoded), default=1) or 1}")


def concatenate_tables(blocks: Sequence[Table]) -> Table:
    """Return all rows of `blocks` as one table. Raises TableError if their columns or attributes differ."""
    if len(blocks) == 1:
        return blocks[0]
    if not blocks:
        return Table()

    def concatenate_column(column: str) -> Any:
        parts = [getattr(block, column) for block in blocks]
        if all(part is None for part in parts):
            return None
        if column == "extras":
            return [row for block in blocks for row in block.extras or [{}] * len(block)]
        if any(part is None for part in parts):
            raise TableError(f"some blocks have no column '{column}', though others do")
        if isinstance(parts[0], AttributeColumns):
            if any(part.names != parts[0].names for part in parts):
                raise TableError(f"the attributes of '{column}' change between blocks")
            return replace(parts[0], values=np.concatenate([part.values for part in parts]))
        return np.concatenate(parts)

    return Table(*(concatenate_column(field.name) for field in fields(Table)))
