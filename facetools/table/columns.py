"""The face table, one row a face, in two encodings, JSONL and NPY; the only reader and writer of stdin and stdout.

| column    | JSONL                  | NPY field       | meaning                                             |
|-----------|------------------------|-----------------|-----------------------------------------------------|
| `path`    | string                 | `S<n>`, UTF-8   | the image; in an archive `faces.zip/dir/000001.jpg` |
| `scores`  | object, name -> number | struct of `<f4` | probability that the attribute is present           |
| `labels`  | object, name -> 0 or 1 | struct of `u1`  | the truth, where known                              |
| `cluster` | integer                | `<i4`           | cluster number from 0; -1 = noise                   |

Readers tell the encodings apart by their first byte. A NPY stream is any number of `.npy` blocks; a regular file holds
exactly one. Other keys of a JSONL row pass through to JSONL untouched; NPY holds the four columns alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

#: Rows of a block where the stream itself does not say.
BLOCK_ROWS = 8192


COLUMNS = ("path", "scores", "labels", "cluster")


class TableError(ValueError):
    """What came in is not a face table; the message says where and why."""


@dataclass(frozen=True)
class AttributeColumns:
    """Values by attribute: `values` (n, len(names)), float32 for scores, uint8 for labels."""

    names: tuple[str, ...]
    values: np.ndarray

    def select(self, names: Sequence[str]) -> np.ndarray:
        """The columns called `names`, in that order, (n, len(names))."""
        if tuple(names) == self.names:
            return self.values
        return self.values[:, [self.names.index(name) for name in names]]


@dataclass(frozen=True)
class Table:
    """Some rows of a face table; a column that is not there is None.

    `paths` bytes `S<n>` (n,); `scores` float32, `labels` uint8 (see Attributes); `cluster` int32 (n,); `codes` uint64
    (n, words), attributes given as packed codes instead of by name; `extras` the other keys of each JSONL row.
    """

    paths: np.ndarray | None = None
    scores: AttributeColumns | None = None
    labels: AttributeColumns | None = None
    cluster: np.ndarray | None = None
    codes: np.ndarray | None = None
    extras: list[dict[str, Any]] | None = None

    def __len__(self) -> int:
        for column in (self.paths, self.cluster, self.codes, self.extras):
            if column is not None:
                return len(column)
        for attributes in (self.scores, self.labels):
            if attributes is not None:
                return len(attributes.values)
        return 0

    def path(self, row: int) -> str:
        """The path of a row, or `row N` (from 0) where the table has no paths."""
        return f"row {row}" if self.paths is None else self.paths[row].decode("utf-8")

    def take(self, rows: np.ndarray) -> Table:
        """The rows at the positions, or under the mask, `rows`."""
        positions = np.flatnonzero(rows) if rows.dtype == bool else rows

        def taken(column: Any) -> Any:
            if isinstance(column, AttributeColumns):
                return replace(column, values=column.values[positions])
            if isinstance(column, list):
                return [column[position] for position in positions]
            return None if column is None else column[positions]

        return Table(*(taken(getattr(self, field.name)) for field in fields(self)))


def encode_paths(paths: Iterable[str]) -> np.ndarray:
    """Paths as the bytes `S<n>` (n,) of a Table; a ValueError names one that is not UTF-8 text without NUL."""
    encoded = [path.encode("utf-8") for path in paths]
    if any(b"\0" in path for path in encoded):
        raise ValueError("a path contains a NUL character")
    return np.array(encoded, dtype=f"S{max(map(len, encoded), default=1) or 1}")


def concatenate_tables(blocks: Sequence[Table]) -> Table:
    """All rows of `blocks`, which have the same columns, as one table."""
    if len(blocks) == 1:
        return blocks[0]
    if not blocks:
        return Table()

    def joined(column: str) -> Any:
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

    return Table(*(joined(field.name) for field in fields(Table)))
