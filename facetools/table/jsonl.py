"""JSON Lines: `read_jsonl` and `write_jsonl` for face tables, `encode_record` for any other record.

Each row is one object; the rows may also be objects over several lines or elements of an array. The first row decides
which columns and attributes all rows must have. Unknown keys may differ between rows and become the table's `extras`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, BinaryIO

import msgspec
import numpy as np

from facetools.table.columns import COLUMNS, AttributeColumns, Table, TableError, encode_paths
from facetools.table.json_stream import read_objects

#: Rows that are decoded or encoded at a time, which limits the memory for Python objects.
BLOCK_ROWS = 8192


def read_jsonl(stream: io.BufferedReader) -> Iterator[Table]:
    """Yield the rows of `stream`, in UTF-8, in tables of at most BLOCK_ROWS.

    Raises InputError, with the line, if there is anything but JSON objects, if a row does not match the first row or
    has an invalid value, and if there are no rows.
    """
    numbered_objects = read_objects(stream)
    schema: _Schema | None = None
    while block := list(islice(numbered_objects, BLOCK_ROWS)):
        lines, rows = (list(column) for column in zip(*block, strict=True))
        schema = schema or _Schema(rows[0], lines[0])
        yield schema.parse(rows, lines)
    if schema is None:
        raise TableError("the input has no rows")


class _Schema:
    """The columns and attribute names that all rows of a stream share. The first row defines them."""

    def __init__(self, row: dict[str, Any], line: int) -> None:
        self.line = line
        self.columns = tuple(column for column in COLUMNS if row.get(column) is not None)
        self.names: dict[str, tuple[str, ...]] = {}
        for column in ("scores", "labels"):
            if column in self.columns:
                if not isinstance(row[column], dict) or not row[column]:
                    raise TableError(f"line {line}: '{column}' is not an object of attributes")
                self.names[column] = tuple(row[column])
                if "" in self.names[column]:
                    raise TableError(f"line {line}: '{column}' has an attribute without a name")

    def parse(self, rows: list[dict[str, Any]], lines: list[int]) -> Table:
        """Return `rows`, whose line numbers are `lines`, as a table. Removes the table's columns from `rows`."""
        columns: dict[str, list[Any]] = {column: [] for column in self.columns}
        for row, line in zip(rows, lines, strict=True):
            for column in COLUMNS:
                value = row.pop(column, None)
                if (value is None) != (column not in columns):
                    article = "no" if value is None else "a"
                    raise TableError(f"line {line} has {article} '{column}', unlike line {self.line}")
                if value is None:
                    continue
                if column in self.names:
                    value = self._attribute_values(column, value, line)
                columns[column].append(value)
        paths = columns.get("path")
        cluster = columns.get("cluster")

        def attributes(column: str, dtype: type[np.generic]) -> AttributeColumns | None:
            if column not in self.names:
                return None
            names = self.names[column]
            return AttributeColumns(names, _to_array(columns[column], dtype, column, lines, names))

        return Table(
            None if paths is None else _to_paths(paths, lines),
            attributes("scores", np.float32),
            attributes("labels", np.uint8),
            None if cluster is None else _to_array([[value] for value in cluster], np.int32, "cluster", lines)[:, 0],
            extras=rows if any(rows) or not self.columns else None,
            lines=np.array(lines, np.int64),
        )

    def _attribute_values(self, column: str, value: Any, line: int) -> list[Any]:
        """Return the values of the object `value` in the order of the first row's attributes."""
        names = self.names[column]
        if not isinstance(value, dict):
            raise TableError(f"line {line}: '{column}' is not an object of attributes")
        if tuple(value) == names:
            return list(value.values())
        if value.keys() != set(names):
            difference = sorted(value.keys() ^ set(names))[0]
            raise TableError(f"line {line}: '{column}' differs from line {self.line} in the attribute {difference!r}")
        return [value[name] for name in names]


def _to_paths(paths: list[Any], lines: list[int]) -> np.ndarray:
    for path, line in zip(paths, lines, strict=True):
        if not isinstance(path, str) or "\0" in path:
            raise TableError(f"line {line}: 'path' is not a string without NUL characters")
    return encode_paths(paths)


#: The types of the values of each column, by the type of its array. true and false are not numbers in JSON.
_TYPES: dict[type[np.generic], frozenset[type]] = {
    np.float32: frozenset((int, float)),
    np.uint8: frozenset((int,)),
    np.int32: frozenset((int,)),
}

#: The largest double that rounds to a finite float32.
_LARGEST_SCORE = float(np.nextafter(2.0**128 - 2.0**103, 0))

#: The smallest and the largest value of each column.
_RANGES: dict[type[np.generic], tuple[float, float]] = {
    np.float32: (-_LARGEST_SCORE, _LARGEST_SCORE),
    np.uint8: (0, 1),
    np.int32: (-1, np.iinfo(np.int32).max),
}

#: What each column holds, for error messages: the type, and the range.
_DESCRIPTIONS: dict[type[np.generic], tuple[str, str]] = {
    np.float32: ("a number", "in the range of 32-bit floating point"),
    np.uint8: ("0 or 1", "0 or 1"),
    np.int32: ("an integer", "from -1 to 2147483647"),
}


def _to_array(
    rows: list[list[Any]], dtype: type[np.generic], column: str, lines: list[int], names: tuple[str, ...] = ()
) -> np.ndarray:
    """Return rows of JSON values as an array of `dtype`: float32 scores, uint8 labels or int32 cluster numbers.

    Raises TableError for the first value that is not valid.
    """
    types = _TYPES[dtype]
    smallest, largest = _RANGES[dtype]
    try:
        if types.issuperset(map(type, chain.from_iterable(rows))):
            wide = np.fromiter(chain.from_iterable(rows), np.float64 if dtype is np.float32 else np.int64)
            if (wide >= smallest).all() and (wide <= largest).all():
                return wide.astype(dtype).reshape(len(rows), -1)
    except OverflowError:
        pass
    for values, line in zip(rows, lines, strict=True):
        for position, value in enumerate(values):
            if type(value) not in types or not smallest <= value <= largest:
                item = f"'{column}'" + (f" of {names[position]!r}" if names else "")
                text = msgspec.json.encode(value).decode()
                text = text if len(text) <= 40 else f"{text[:20]}..."
                raise TableError(f"line {line}: {item} is {text}, not {_DESCRIPTIONS[dtype][type(value) in types]}")
    raise AssertionError("unreachable")


def write_jsonl(stream: BinaryIO, table: Table) -> None:
    """Write one line per row to `stream`. Raises TableError if a score is not finite."""
    for start in range(0, len(table), BLOCK_ROWS):
        stream.write(_encode_rows(table.take(np.arange(start, min(start + BLOCK_ROWS, len(table))))))


def _encode_rows(table: Table) -> bytes:
    columns: dict[str, list[Any]] = {}
    if table.paths is not None:
        columns["path"] = [path.decode("utf-8") for path in table.paths]
    if table.scores is not None:
        invalid = np.flatnonzero(~np.isfinite(table.scores.values).all(axis=1))
        if len(invalid):
            raise TableError(
                f"{table.path(int(invalid[0]))} has a score that is not finite, which JSON cannot represent"
            )
        columns["scores"] = _to_objects(table.scores.names, _shortest_doubles(table.scores.values))
    if table.labels is not None:
        columns["labels"] = _to_objects(table.labels.names, table.labels.values)
    if table.cluster is not None:
        columns["cluster"] = table.cluster.tolist()
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    if table.extras is not None:
        rows = [row | extra for row, extra in zip(rows or [{}] * len(table), table.extras, strict=True)]
    return msgspec.json.Encoder().encode_lines(rows)


def _to_objects(names: tuple[str, ...], values: np.ndarray) -> list[dict[str, Any]]:
    return [dict(zip(names, row, strict=True)) for row in values.tolist()]


def _shortest_doubles(values: np.ndarray) -> np.ndarray:
    """Return float32 `values` as doubles that print with the fewest digits (7 to 9) that restore the exact float32."""
    exact = values.astype(np.float64)
    exponent = np.floor(np.log10(np.abs(exact), out=np.zeros_like(exact), where=exact != 0))
    result = exact
    for digits in (9, 8, 7):
        scale = 10.0 ** (digits - 1 - exponent)
        rounded = np.rint(exact * scale) / scale
        result = np.where(rounded.astype(np.float32) == values, rounded, result)
    return result


def encode_record(value: dict[str, Any]) -> bytes:
    """Return a record that is not a face, such as an epoch or a comparison, as one JSON line."""
    return msgspec.json.encode(value) + b"\n"
