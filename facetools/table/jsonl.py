"""JSON Lines: `read_jsonl` and `write_jsonl` for face tables, `encode_record` for any other record.

Each line is one row. The first row decides which columns and attributes all rows must have. Unknown keys may differ
between rows and become the table's `extras`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice
from typing import Any, BinaryIO

import msgspec
import numpy as np

from facetools.table.columns import COLUMNS, AttributeColumns, Table, TableError, encode_paths

#: Rows that are decoded or encoded at a time, which limits the memory for Python objects.
BLOCK_ROWS = 8192


def read_jsonl(stream: io.BufferedReader) -> Iterator[Table]:
    """Yield the rows of `stream` in tables of at most BLOCK_ROWS. Blank lines are ignored.

    Raises TableError, with the line number, if a line is not a JSON object, does not match the first row or has an
    invalid value, and if there are no rows.
    """
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    numbered_lines = enumerate(stream, start=1)
    schema: _Schema | None = None
    while lines := list(islice(numbered_lines, BLOCK_ROWS)):
        rows: list[dict[str, Any]] = []
        numbers: list[int] = []
        for number, line in lines:
            if line.isspace():
                continue
            try:
                rows.append(decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise TableError(f"line {number}: not a JSON object: {error}") from None
            numbers.append(number)
        if not rows:
            continue
        schema = schema or _Schema(rows[0], numbers[0])
        yield schema.parse(rows, numbers)
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
            raise TableError(f"line {line}: '{column}' differs from line {self.line} in the attribute '{difference}'")
        return [value[name] for name in names]


def _to_paths(paths: list[Any], lines: list[int]) -> np.ndarray:
    for path, line in zip(paths, lines, strict=True):
        if not isinstance(path, str) or "\0" in path:
            raise TableError(f"line {line}: 'path' is not a string without NUL characters")
    return encode_paths(paths)


#: Valid values of each column type, for error messages.
_VALID_VALUES: dict[type[np.generic], str] = {np.float32: "a number", np.uint8: "0 or 1", np.int32: "an integer"}


def _to_array(
    rows: list[list[Any]], dtype: type[np.generic], column: str, lines: list[int], names: tuple[str, ...] = ()
) -> np.ndarray:
    """Return rows of JSON values as an array of `dtype`: float32 scores, uint8 labels or int32 cluster numbers.

    Raises TableError for the first value that is not valid or that `dtype` cannot represent.
    """
    types = (int, float) if dtype is np.float32 else (int,)
    for values, line in zip(rows, lines, strict=True):
        for position, value in enumerate(values):
            # type() instead of isinstance(), because true and false are not numbers in JSON.
            if type(value) not in types or (dtype is np.uint8 and value not in (0, 1)):
                item = f"'{column}'" + (f" of '{names[position]}'" if names else "")
                text = msgspec.json.encode(value).decode()
                raise TableError(f"line {line}: {item} is {text}, not {_VALID_VALUES[dtype]}")
    wide = np.array(rows, dtype=np.float64 if dtype is np.float32 else np.int64)
    with np.errstate(over="ignore"):
        narrow = wide.astype(dtype)
    overflow = np.isinf(narrow) if dtype is np.float32 else np.not_equal(narrow, wide)
    if overflow.any():
        row, position = np.argwhere(overflow)[0]
        raise TableError(f"line {lines[row]}: '{column}' has the number {wide[row, position]:g}, which is out of range")
    return narrow


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
