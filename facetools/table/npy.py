"""The NPY encoding of the face table: blocks of one structured dtype, and plain arrays of other tools."""

from __future__ import annotations

import ast
import io
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from facetools.table.attributes import default_attribute_names
from facetools.table.columns import COLUMNS, AttributeColumns, Table, TableError

NPY_MAGIC = b"\x93NUMPY"


def read_npy(stream: io.BufferedReader) -> Iterator[Table]:
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
    text = stream.read(int.from_bytes(size, "little")) if start[:6] == NPY_MAGIC and len(size) == width else b""
    try:
        header = ast.literal_eval(text.decode("utf-8" if start[6:7] == b"\x03" else "latin-1"))
        dtype = np.lib.format.descr_to_dtype(header["descr"])
        shape = tuple(int(length) for length in header["shape"])
        if min(shape, default=0) < 0:
            raise ValueError
        return shape, bool(header["fortran_order"]), dtype
    except (ValueError, SyntaxError, TypeError, KeyError, IndexError, MemoryError, RecursionError):
        raise TableError("not a NPY header, or a truncated one") from None


def npy_header(array: np.ndarray) -> bytes:
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
    names = default_attribute_names(array.shape[1])
    if array.dtype.kind == "f":
        return Table(scores=AttributeColumns(names, array.astype(np.float32)))
    if ((array != 0) & (array != 1)).any():
        raise TableError(f"an array of {array.dtype} must hold 0 and 1 only; scores are floating-point numbers")
    return Table(labels=AttributeColumns(names, array.astype(np.uint8)))


def _table_of_struct(array: np.ndarray) -> Table:
    columns = array.dtype.names or ()
    foreign = [column for column in columns if column not in COLUMNS]
    if foreign:
        raise TableError(f"the field '{foreign[0]}' is no column of a face table")
    if array.ndim != 1:
        raise TableError(f"a face table has one dimension, this is {array.ndim}-D")

    def attributes(column: str, base: str) -> AttributeColumns | None:
        if column not in columns:
            return None
        inner = array.dtype[column]
        if inner.names is None or any(inner[name] != np.dtype(base) for name in inner.names):
            raise TableError(f"the field '{column}' is not a struct of {base}")
        packed = np.dtype([(name, base) for name in inner.names])
        values = np.ascontiguousarray(array[column].astype(packed)).view(base).reshape(len(array), len(inner.names))
        return AttributeColumns(inner.names, values)

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
