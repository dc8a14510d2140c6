"""NumPy's .npy format: `read_npy` and `write_npy` for face tables; plain arrays from other tools are read too.

A face table is a sequence of .npy blocks of one structured dtype, whose fields are the table's columns. np.load needs a
seekable file and limits the header length, so this module reads and writes the blocks itself. Format:
https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import ast
import io
from collections.abc import Iterator
from typing import BinaryIO, Literal

import numpy as np

from facetools.table.attributes import default_attribute_names
from facetools.table.columns import COLUMNS, AttributeColumns, Table, TableError

NPY_MAGIC = b"\x93NUMPY"


def read_npy(stream: io.BufferedReader) -> Iterator[Table]:
    """Yield one table per .npy block of `stream`. Raises TableError, with the block's number, for an invalid block."""
    number = 0
    while stream.peek(1):
        number += 1
        try:
            block = _to_table(_read_array(stream))
        except TableError as error:
            raise TableError(f"NPY block {number}: {error}") from None
        yield block


def _read_array(stream: BinaryIO) -> np.ndarray:
    shape, order, dtype = _read_header(stream)
    if dtype.hasobject:
        raise TableError("it holds Python objects, which are not supported")
    array = np.empty(shape, dtype, order)
    buffer = array.reshape(-1, order=order).view(np.uint8).data if array.size else memoryview(b"")
    filled = 0
    while filled < len(buffer):
        count = stream.readinto(buffer[filled:])  # type: ignore[attr-defined]
        if not count:
            raise TableError(f"truncated after {filled} of {len(buffer)} bytes")
        filled += count
    return array


def _read_header(stream: BinaryIO) -> tuple[tuple[int, ...], Literal["C", "F"], np.dtype]:
    """Read shape, memory order and dtype from a header of any format version and length."""
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
        return shape, "F" if header["fortran_order"] else "C", dtype
    except (ValueError, SyntaxError, TypeError, KeyError, IndexError, MemoryError, RecursionError):
        raise TableError("the NPY header is invalid or truncated") from None


def _to_table(array: np.ndarray) -> Table:
    """Return the table that `array` encodes.

    A structured array is a face table. uint64 (n,) or (n, words) are packed codes; other 2-D arrays are scores (floats)
    or labels (integers or bools of 0 and 1).
    """
    if array.dtype.names is not None:
        return _structured_to_table(array)
    if array.dtype.kind == "u" and array.dtype.itemsize == 8 and array.ndim in (1, 2):
        return Table(codes=np.ascontiguousarray(array.reshape(len(array), -1), np.uint64))
    if array.ndim != 2 or array.dtype.kind not in "buif" or array.shape[1] == 0:
        raise TableError(f"a {array.ndim}-D array of {array.dtype} is neither a face table, scores nor packed codes")
    names = default_attribute_names(array.shape[1])
    if array.dtype.kind == "f":
        return Table(scores=AttributeColumns(names, array.astype(np.float32)))
    if ((array != 0) & (array != 1)).any():
        raise TableError(f"an array of {array.dtype} must hold 0 and 1 only; scores are floating-point numbers")
    return Table(labels=AttributeColumns(names, array.astype(np.uint8)))


def _structured_to_table(array: np.ndarray) -> Table:
    columns = array.dtype.names or ()
    unknown = [column for column in columns if column not in COLUMNS]
    if unknown:
        raise TableError(f"the field '{unknown[0]}' is not a column of a face table")
    if array.ndim != 1:
        raise TableError(f"a face table has one dimension, but this array is {array.ndim}-D")

    def attributes(column: str, base: str) -> AttributeColumns | None:
        if column not in columns:
            return None
        struct = array.dtype[column]
        if struct.names is None or any(struct[name] != np.dtype(base) for name in struct.names):
            raise TableError(f"the field '{column}' is not a struct of {base}")
        # Converting to a dtype without padding makes the values contiguous.
        packed = np.dtype([(name, base) for name in struct.names])
        values = np.ascontiguousarray(array[column].astype(packed)).view(base).reshape(len(array), len(struct.names))
        return AttributeColumns(struct.names, values)

    for column, kind, expected in (("path", "S", "bytes"), ("cluster", "i", "a signed integer")):
        if column in columns and array.dtype[column].kind != kind:
            raise TableError(f"the field '{column}' is not {expected}")
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


def write_npy(stream: BinaryIO, table: Table) -> None:
    """Write `table` to `stream` as one .npy block. Packed codes and extras are not written."""
    array = to_structured_array(table)
    stream.write(_encode_header(array))
    stream.write(array.view(np.uint8).data if array.size else b"")


def to_structured_array(table: Table) -> np.ndarray:
    """Return `table` as a structured array (n,) with the fields that `columns` lists."""
    columns: dict[str, np.ndarray] = {}
    if table.paths is not None:
        columns["path"] = table.paths
    for name, attributes, base in (("scores", table.scores, "<f4"), ("labels", table.labels, "u1")):
        if attributes is not None:
            struct = np.dtype([(attribute, base) for attribute in attributes.names])
            columns[name] = np.ascontiguousarray(attributes.values, base).view(struct)[:, 0]
    if table.cluster is not None:
        columns["cluster"] = table.cluster.astype("<i4")
    array = np.empty(len(table), [(name, column.dtype) for name, column in columns.items()])
    for name, column in columns.items():
        array[name] = column
    return array


def _encode_header(array: np.ndarray) -> bytes:
    """Return the header of `array` in the lowest format version that can represent it."""
    description = np.lib.format.dtype_to_descr(array.dtype)
    text = repr({"descr": description, "fortran_order": False, "shape": array.shape})
    # Version 1 has a 2-byte length, version 2 a 4-byte length, version 3 also UTF-8 field names.
    is_latin = all(ord(letter) < 256 for letter in text)
    encoded = text.encode("latin-1" if is_latin else "utf-8")
    version, width = ((1, 2) if len(encoded) < 65000 else (2, 4)) if is_latin else (3, 4)
    encoded += b" " * (-(8 + width + len(encoded) + 1) % np.lib.format.ARRAY_ALIGN) + b"\n"
    return np.lib.format.magic(version, 0) + len(encoded).to_bytes(width, "little") + encoded
