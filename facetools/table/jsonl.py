"""The JSONL encoding of the face table."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec
import numpy as np

from facetools.table.columns import BLOCK_ROWS, COLUMNS, AttributeColumns, Table, TableError, encode_paths


def read_jsonl(stream: io.BufferedReader) -> Iterator[Table]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    numbered = enumerate(stream, start=1)
    layout: _Layout | None = None
    while lines := list(islice(numbered, BLOCK_ROWS)):
        rows: list[tuple[int, dict[str, Any]]] = []
        for number, line in lines:
            if line.isspace():
                continue
            try:
                rows.append((number, decode(line)))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise TableError(f"line {number}: not a JSON object: {error}") from None
        if not rows:
            continue
        layout = layout or _Layout(rows[0][1], rows[0][0])
        yield layout.table(rows)
    if layout is None:
        raise TableError("the input has no rows")


class _Layout:
    """The columns of a JSONL stream, which its first row sets for all."""

    def __init__(self, row: dict[str, Any], line: int) -> None:
        self.line = line
        self.columns = tuple(column for column in COLUMNS if row.get(column) is not None)
        self.names: dict[str, tuple[str, ...]] = {}
        for column in ("scores", "labels"):
            if column in self.columns:
                if not isinstance(row[column], dict) or not row[column]:
                    raise TableError(f"line {line}: '{column}' is not an object of attributes")
                self.names[column] = tuple(row[column])

    def table(self, rows: list[tuple[int, dict[str, Any]]]) -> Table:
        columns: dict[str, list[Any]] = {column: [] for column in self.columns}
        for number, row in rows:
            for column in COLUMNS:
                value = row.pop(column, None)
                if (value is None) != (column not in columns):
                    has = "no" if value is None else "a"
                    raise TableError(f"line {number} has {has} '{column}', unlike line {self.line}")
                if value is None:
                    continue
                if column in self.names:
                    value = self._ordered(column, value, number)
                columns[column].append(value)
        numbers = [number for number, _ in rows]
        extras = [row for _, row in rows]
        paths = columns.get("path")
        cluster = columns.get("cluster")

        def attributes(column: str, dtype: type[np.generic]) -> AttributeColumns | None:
            names = self.names.get(column, ())
            return AttributeColumns(names, _numbers(columns[column], dtype, column, numbers, names)) if names else None

        return Table(
            None if paths is None else _path_column(paths, numbers),
            attributes("scores", np.float32),
            attributes("labels", np.uint8),
            None if cluster is None else _numbers([[value] for value in cluster], np.int32, "cluster", numbers)[:, 0],
            extras=extras if any(extras) or not self.columns else None,
        )

    def _ordered(self, column: str, value: Any, number: int) -> list[Any]:
        names = self.names[column]
        if not isinstance(value, dict):
            raise TableError(f"line {number}: '{column}' is not an object of attributes")
        if tuple(value) == names:
            return list(value.values())
        if value.keys() != set(names):
            odd = sorted(value.keys() ^ set(names))[0]
            raise TableError(f"line {number}: '{column}' differs from line {self.line} in the attribute '{odd}'")
        return [value[name] for name in names]


def _path_column(paths: list[Any], lines: list[int]) -> np.ndarray:
    for path, line in zip(paths, lines, strict=True):
        if not isinstance(path, str) or "\0" in path:
            raise TableError(f"line {line}: 'path' is not a text without NUL")
    return encode_paths(paths)


def _numbers(
    rows: list[list[Any]], dtype: type[np.generic], column: str, lines: list[int], names: tuple[str, ...] = ()
) -> np.ndarray:
    """Rows of JSON numbers as an array; the first value that is none, or that `dtype` cannot hold, raises."""
    kinds = (int, float) if dtype is np.float32 else (int,)
    for values, line in zip(rows, lines, strict=True):
        for position, value in enumerate(values):
            if type(value) not in kinds or (dtype is np.uint8 and value not in (0, 1)):
                where = f"'{column}'" + (f" of '{names[position]}'" if names else "")
                wanted = {np.float32: "a number", np.uint8: "0 or 1", np.int32: "an integer"}[dtype]  # type: ignore[index]
                raise TableError(f"line {line}: {where} is {msgspec.json.encode(value).decode()}, not {wanted}")
    wide = np.array(rows, dtype=np.float64 if dtype is np.float32 else np.int64)
    with np.errstate(over="ignore"):
        narrow = wide.astype(dtype)
    lost = np.isinf(narrow) if dtype is np.float32 else np.not_equal(narrow, wide)
    if lost.any():
        row, position = np.argwhere(lost)[0]
        raise TableError(f"line {lines[row]}: '{column}' has the number {wide[row, position]:g}, which is out of range")
    return narrow


def encode_jsonl(table: Table) -> bytes:
    columns: list[tuple[str, list[Any]]] = []
    if table.paths is not None:
        columns.append(("path", [path.decode("utf-8") for path in table.paths]))
    if table.scores is not None:
        wrong = np.flatnonzero(~np.isfinite(table.scores.values).all(axis=1))
        if len(wrong):
            raise TableError(f"{table.path(int(wrong[0]))} has a score that is no number, which JSON cannot hold")
        columns.append(("scores", _objects(table.scores.names, _shortest(table.scores.values))))
    if table.labels is not None:
        columns.append(("labels", _objects(table.labels.names, table.labels.values)))
    if table.cluster is not None:
        columns.append(("cluster", table.cluster.tolist()))
    names = [name for name, _ in columns]
    rows = [dict(zip(names, values, strict=True)) for values in zip(*(values for _, values in columns), strict=True)]
    if table.extras is not None:
        rows = [row | extra for row, extra in zip(rows or [{}] * len(table), table.extras, strict=True)]
    return msgspec.json.Encoder().encode_lines(rows)


def _objects(names: tuple[str, ...], values: np.ndarray) -> list[dict[str, Any]]:
    return [dict(zip(names, row, strict=True)) for row in values.tolist()]


def _shortest(values: np.ndarray) -> np.ndarray:
    """float32 values as doubles that print with the fewest of 7 to 9 significant digits that give back the float32."""
    exact = values.astype(np.float64)
    magnitude = np.floor(np.log10(np.abs(exact), out=np.zeros_like(exact), where=exact != 0))
    result = exact
    for digits in (9, 8, 7):
        places = 10.0 ** (digits - 1 - magnitude)
        rounded = np.rint(exact * places) / places
        result = np.where(rounded.astype(np.float32) == values, rounded, result)
    return result


def encode_record(value: dict[str, Any]) -> bytes:
    """One record that is not a face (an epoch, a cluster, a comparison) as a JSONL line."""
    return msgspec.json.encode(value) + b"\n"
