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

import ast
import io
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec
import numpy as np

from facetools import celeba, files
from facetools.attributes import default_names

Encoding = Literal["jsonl", "npy"]

#: Rows of a block where the stream itself does not say.
BLOCK_ROWS = 8192

_NPY_MAGIC = b"\x93NUMPY"
_COLUMNS = ("path", "scores", "labels", "cluster")


class TableError(ValueError):
    """What came in is not a face table; the message says where and why."""


@dataclass(frozen=True)
class Attributes:
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
    scores: Attributes | None = None
    labels: Attributes | None = None
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
            if isinstance(column, Attributes):
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


def concatenate(blocks: Sequence[Table]) -> Table:
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
        if isinstance(parts[0], Attributes):
            if any(part.names != parts[0].names for part in parts):
                raise TableError(f"the attributes of '{column}' change between blocks")
            return replace(parts[0], values=np.concatenate([part.values for part in parts]))
        return np.concatenate(parts)

    return Table(*(joined(field.name) for field in fields(Table)))


# Reading


def read(source: str) -> tuple[Table, Encoding]:
    """The whole table in a file, or on stdin for `-`, and the encoding it came in."""
    with open_input(source) as stream:
        encoding = detect(stream, source)
        found = list(blocks(stream, source))
    try:
        return concatenate(found), encoding
    except TableError as error:
        raise TableError(f"{_shown(source)}: {error}") from None


def blocks(stream: io.BufferedReader, name: str) -> Iterator[Table]:
    """The table in `stream`, block after block; TableErrors begin with `name` and the line, or block, at fault."""
    readers = {"jsonl": _read_jsonl, "npy": _read_npy, "celeba": _read_celeba}
    try:
        yield from readers[_kind(stream)](stream)
    except (TableError, celeba.CelebAError) as error:
        raise TableError(f"{_shown(name)}: {error}") from None


def detect(stream: io.BufferedReader, name: str) -> Encoding:
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
    if first == _NPY_MAGIC[:1]:
        return "npy"
    if first in b"{ \t\r\n":
        return "jsonl"
    if first.isdigit() or first == b"i":
        return "celeba"
    raise TableError(f"not a face table: it starts with the byte {first!r}, neither JSONL nor NPY")


def _read_jsonl(stream: io.BufferedReader) -> Iterator[Table]:
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
        self.columns = tuple(column for column in _COLUMNS if row.get(column) is not None)
        self.names: dict[str, tuple[str, ...]] = {}
        for column in ("scores", "labels"):
            if column in self.columns:
                if not isinstance(row[column], dict) or not row[column]:
                    raise TableError(f"line {line}: '{column}' is not an object of attributes")
                self.names[column] = tuple(row[column])

    def table(self, rows: list[tuple[int, dict[str, Any]]]) -> Table:
        columns: dict[str, list[Any]] = {column: [] for column in self.columns}
        for number, row in rows:
            for column in _COLUMNS:
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

        def attributes(column: str, dtype: type[np.generic]) -> Attributes | None:
            names = self.names.get(column, ())
            return Attributes(names, _numbers(columns[column], dtype, column, numbers, names)) if names else None

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


def _read_npy(stream: io.BufferedReader) -> Iterator[Table]:
    number = 0
    while stream.peek(1):
        number += 1
        try:
            block = _table_of_array(_read_npy_block(stream))
        except TableError as error:
            raise TableError(f"NPY block {number}: {error}") from None
        yield block


def _read_npy_block(stream: BinaryIO) -> np.ndarray:
    shape, fortran_order, dtype = _read_npy_header(stream)
    if dtype.hasobject:
        raise TableError("it holds Python objects, which are not read")
    array = np.empty(shape, dtype, order="F" if fortran_order else "C")
    buffer = (
        array.reshape(-1, order="F" if fortran_order else "C").view(np.uint8).data if array.size else memoryview(b"")
    )
    filled = 0
    while filled < len(buffer):
        count = stream.readinto(buffer[filled:])  # type: ignore[attr-defined]
        if not count:
            raise TableError(f"truncated after {filled} of {len(buffer)} bytes")
        filled += count
    return array


def _read_npy_header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and dtype, of any version of the format and of any length, which NumPy's own reader limits."""
    start = stream.read(8)
    width = 2 if start[6:7] == b"\x01" else 4
    size = stream.read(width)
    text = stream.read(int.from_bytes(size, "little")) if start[:6] == _NPY_MAGIC and len(size) == width else b""
    try:
        header = ast.literal_eval(text.decode("utf-8" if start[6:7] == b"\x03" else "latin-1"))
        dtype = np.lib.format.descr_to_dtype(header["descr"])
        shape = tuple(int(length) for length in header["shape"])
        if min(shape, default=0) < 0:
            raise ValueError
        return shape, bool(header["fortran_order"]), dtype
    except (ValueError, SyntaxError, TypeError, KeyError, IndexError, MemoryError, RecursionError):
        raise TableError("not a NPY header, or a truncated one") from None


def _npy_header(array: np.ndarray) -> bytes:
    """The header of `array` in the lowest version of the format that can say it."""
    description = np.lib.format.dtype_to_descr(array.dtype)
    text = repr({"descr": description, "fortran_order": False, "shape": array.shape})
    latin = all(ord(letter) < 256 for letter in text)
    encoded = text.encode("latin-1" if latin else "utf-8")
    version, width = ((1, 2) if len(encoded) < 65000 else (2, 4)) if latin else (3, 4)
    encoded += b" " * (-(8 + width + len(encoded) + 1) % np.lib.format.ARRAY_ALIGN) + b"\n"
    return np.lib.format.magic(version, 0) + len(encoded).to_bytes(width, "little") + encoded


def _table_of_array(array: np.ndarray) -> Table:
    """The table in one NPY array: a structured one of this module's, or what other tools write."""
    if array.dtype.names is not None:
        return _table_of_struct(array)
    if array.dtype.kind == "u" and array.dtype.itemsize == 8 and array.ndim in (1, 2):
        return Table(codes=np.ascontiguousarray(array.reshape(len(array), -1), np.uint64))
    if array.ndim != 2 or array.dtype.kind not in "bui f" or array.shape[1] == 0:
        raise TableError(f"a {array.ndim}-D array of {array.dtype} is neither a face table, scores nor packed codes")
    names = default_names(array.shape[1])
    if array.dtype.kind == "f":
        return Table(scores=Attributes(names, array.astype(np.float32)))
    if ((array != 0) & (array != 1)).any():
        raise TableError(f"an array of {array.dtype} must hold 0 and 1 only; scores are floating-point numbers")
    return Table(labels=Attributes(names, array.astype(np.uint8)))


def _table_of_struct(array: np.ndarray) -> Table:
    columns = array.dtype.names or ()
    foreign = [column for column in columns if column not in _COLUMNS]
    if foreign:
        raise TableError(f"the field '{foreign[0]}' is no column of a face table")
    if array.ndim != 1:
        raise TableError(f"a face table has one dimension, this is {array.ndim}-D")

    def attributes(column: str, base: str) -> Attributes | None:
        if column not in columns:
            return None
        inner = array.dtype[column]
        if inner.names is None or any(inner[name] != np.dtype(base) for name in inner.names):
            raise TableError(f"the field '{column}' is not a struct of {base}")
        packed = np.dtype([(name, base) for name in inner.names])
        values = np.ascontiguousarray(array[column].astype(packed)).view(base).reshape(len(array), len(inner.names))
        return Attributes(inner.names, values)

    for column, kind, wanted in (("path", "S", "bytes"), ("cluster", "i", "a signed integer")):
        if column in columns and array.dtype[column].kind != kind:
            raise TableError(f"the field '{column}' is not {wanted}")
    if "path" in columns:
        try:
            np.ascontiguousarray(array["path"]).tobytes().decode("utf-8")
        except UnicodeDecodeError:
            raise TableError("a 'path' is not UTF-8") from None
    if "cluster" in columns and (np.abs(array["cluster"].astype(np.int64)) > np.iinfo(np.int32).max).any():
        raise TableError("a 'cluster' number is out of range")
    labels = attributes("labels", "u1")
    if labels is not None and (labels.values > 1).any():
        raise TableError("a value of 'labels' is neither 0 nor 1")
    return Table(
        array["path"] if "path" in columns else None,
        attributes("scores", "<f4"),
        labels,
        array["cluster"].astype(np.int32) if "cluster" in columns else None,
    )


def _read_celeba(stream: io.BufferedReader) -> Iterator[Table]:
    listed = celeba.parse_attributes(stream.read().decode("utf-8"))
    yield Table(encode_paths(listed.files), labels=Attributes(listed.names, listed.values))


# Writing


class Writer:
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
                self._stream.write(_encode_jsonl(rows))
        elif self._whole:
            self._kept.append(block)
        else:
            self._write_npy(block)

    def close(self) -> None:
        """Writes what is kept; the stream stays open."""
        if self._kept:
            self._write_npy(concatenate(self._kept))
            self._kept.clear()

    def _write_npy(self, block: Table) -> None:
        array = to_array(block)
        self._stream.write(_npy_header(array))
        self._stream.write(array.view(np.uint8).data if array.size else b"")


def to_array(table: Table) -> np.ndarray:
    """The table as one structured array (n,) with the fields of this module's table of columns."""
    columns: list[tuple[str, np.ndarray]] = []
    if table.paths is not None:
        columns.append(("path", table.paths))
    for name, attributes, base in (("scores", table.scores, "<f4"), ("labels", table.labels, "u1")):
        if attributes is not None:
            struct = np.dtype([(attribute, base) for attribute in attributes.names])
            columns.append((name, np.ascontiguousarray(attributes.values, base).view(struct)[:, 0]))
    if table.cluster is not None:
        columns.append(("cluster", table.cluster.astype("<i4")))
    array = np.empty(len(table), [(name, column.dtype) for name, column in columns])
    for name, column in columns:
        array[name] = column
    return array


def _encode_jsonl(table: Table) -> bytes:
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


# Where tables, and the records of other commands, come from and go to


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
        with files.replacing(target) as stream:
            yield stream
        return
    sys.stdout.flush()
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()


def is_regular(stream: BinaryIO) -> bool:
    """Whether `stream` ends in a regular file, which takes one NPY block, and not in a pipe."""
    return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)


@contextmanager
def writing(target: str, encoding: Encoding) -> Iterator[Writer]:
    """A Writer to the file `target`, or to stdout for `-`."""
    with open_output(target) as stream:
        writer = Writer(stream, encoding, whole=is_regular(stream))
        yield writer
        writer.close()


def record(value: dict[str, Any]) -> bytes:
    """One record that is not a face (an epoch, a cluster, a comparison) as a JSONL line."""
    return msgspec.json.encode(value) + b"\n"
