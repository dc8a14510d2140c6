"""NumPy's .npy format: `read_npy` and `write_npy` for face tables; plain arrays from other tools are read too.

A face table is a sequence of .npy blocks of one structured dtype, whose fields are the table's columns. np.load needs a
seekable file and limits the header length, so this module reads and writes the blocks itself. Format:
https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import ast
import io
import math
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from typing import BinaryIO, Literal

import numpy as np

from facetools.table.attributes import default_attribute_names
from facetools.table.columns import COLUMNS, AttributeColumns, Table, TableError

NPY_MAGIC = b"\x93NUMPY"

#: The longest header in bytes. Tables of 10 000 attributes need about 300 kB.
MAX_HEADER_BYTES = 1 << 20

INVALID_HEADER = "the NPY header is invalid or truncated"

#: Memory that is allocated before any data has been read from a pipe, in bytes.
_PIPE_BLOCK_BYTES = 1 << 24


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


def read_npy_rows(stream: io.BufferedReader, rows: int) -> Iterator[Table | np.ndarray]:
    """Yield the .npy blocks of `stream` in pieces of at most `rows` rows, which need little memory.

    A piece of a face table is a structured array, whose attributes are floats in `scores` and integers in `labels`, and
    are not checked otherwise; `rows_to_table` checks and converts rows. Other arrays are yielded whole, as tables.
    Raises TableError, with the block's number, for an invalid block.
    """
    number = 0
    while stream.peek(1):
        number += 1
        try:
            shape, order, dtype = _read_checked_header(stream)
            if dtype.names is None or len(shape) != 1:
                yield _to_table(_read_values(stream, shape, order, dtype))
                continue
            rows_to_table(np.zeros(0, dtype))
            # An empty block has columns, too.
            for start in range(0, max(1, shape[0]), rows):
                count = min(rows, shape[0] - start)
                yield _read_bytes(stream, count * dtype.itemsize).view(dtype)
        except TableError as error:
            raise TableError(f"NPY block {number}: {error}") from None


def rows_to_table(array: np.ndarray) -> Table:
    """Return the face table of a structured array (n,). Raises TableError if it is not one."""
    return _structured_to_table(array)


def _read_array(stream: io.BufferedReader) -> np.ndarray:
    return _read_values(stream, *_read_checked_header(stream))


def _read_checked_header(stream: io.BufferedReader) -> tuple[tuple[int, ...], Literal["C", "F"], np.dtype]:
    """Read a header, and refuse dtypes that cannot be read."""
    shape, order, dtype = _read_header(stream)
    if dtype.hasobject:
        raise TableError("it holds Python objects, which are not supported")
    if dtype.itemsize == 0 or any(dtype[field].itemsize == 0 for field in dtype.names or ()):
        raise TableError("it has a field without any data")
    return shape, order, dtype


def _read_values(
    stream: io.BufferedReader, shape: tuple[int, ...], order: Literal["C", "F"], dtype: np.dtype
) -> np.ndarray:
    data = _read_bytes(stream, math.prod(shape) * dtype.itemsize)
    try:
        return data.view(dtype).reshape(shape, order=order)
    except (ValueError, OverflowError):  # NumPy limits dimensions even if one of them is 0
        raise TableError(INVALID_HEADER) from None


def _read_bytes(stream: io.BufferedReader, size: int) -> np.ndarray:
    """Return the next `size` bytes of `stream`, uint8 (size,). Memory is allocated only for data that is there."""
    available = _remaining_bytes(stream)
    if available is not None and available < size:
        raise TableError(f"truncated after {available} of {size} bytes")
    data = np.empty(size if available is not None else min(size, _PIPE_BLOCK_BYTES), np.uint8)
    filled = 0
    while filled < size:
        if filled == len(data):
            data.resize(min(size, 2 * filled), refcheck=False)
        count = stream.readinto(data.data[filled:])
        if not count:
            raise TableError(f"truncated after {filled} of {size} bytes")
        filled += count
    return data


def _remaining_bytes(stream: io.BufferedReader) -> int | None:
    """Return the number of bytes to the end of a regular file, or None for any other stream."""
    try:
        status = os.fstat(stream.fileno())
        return status.st_size - stream.tell() if stat.S_ISREG(status.st_mode) else None
    except OSError:  # io.UnsupportedOperation if the stream is no file
        return None


def _read_header(stream: io.BufferedReader) -> tuple[tuple[int, ...], Literal["C", "F"], np.dtype]:
    """Read shape, memory order and dtype from a header of any format version."""
    start = stream.read(8)
    if start[:6] != NPY_MAGIC or len(start) < 8:
        raise TableError(INVALID_HEADER)
    if start[6] not in (1, 2, 3):
        raise TableError(f"version {start[6]} of the NPY format is not supported")
    width = 2 if start[6] == 1 else 4
    size = int.from_bytes(stream.read(width), "little")
    if size > MAX_HEADER_BYTES:
        raise TableError(f"the NPY header has {size} bytes; at most {MAX_HEADER_BYTES} are supported")
    text = stream.read(size)
    if len(text) < size or not size:
        raise TableError(INVALID_HEADER)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # for example about old names of types
            header = ast.literal_eval(text.decode("utf-8" if start[6] == 3 else "latin-1"))
            dtype = np.lib.format.descr_to_dtype(header["descr"])
        shape, is_fortran = header["shape"], header["fortran_order"]
        if not all(type(length) is int and length >= 0 for length in shape) or type(is_fortran) is not bool:
            raise ValueError
        return tuple(shape), "F" if is_fortran else "C", dtype
    except (
        ValueError,
        SyntaxError,
        TypeError,
        LookupError,
        AttributeError,
        MemoryError,
        RecursionError,
        OverflowError,
    ):
        raise TableError(INVALID_HEADER) from None


def _to_table(array: np.ndarray) -> Table:
    """Return the table that `array` encodes.

    A structured array is a face table. uint64 (n,) or (n, words) are packed codes; other 2-D arrays are scores (floats)
    or labels (bools, or integers 0 and 1, or -1 and 1).
    """
    if array.dtype.names is not None:
        return _structured_to_table(array)
    is_code = array.dtype.kind == "u" and array.dtype.itemsize == 8
    if is_code and array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.dtype.kind not in "buif" or array.shape[1] == 0:
        raise TableError(f"a {array.ndim}-D array of {array.dtype} is neither a face table, scores nor packed codes")
    if is_code:
        return Table(codes=np.ascontiguousarray(array, np.uint64))
    names = default_attribute_names(array.shape[1])
    convert = _to_scores if array.dtype.kind == "f" else _to_labels
    attributes = AttributeColumns(names, convert(array, names))
    return Table(scores=attributes) if convert is _to_scores else Table(labels=attributes)


def _to_scores(values: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Return floats (n, len(names)) as float32. Raises TableError for a finite value that float32 cannot represent."""
    with np.errstate(over="ignore"):
        scores = values.astype(np.float32)
    if values.dtype.itemsize > 4:
        is_too_large = np.isinf(scores) & np.isfinite(values)
        _check_values(values, is_too_large, names, ", which is out of the range of 32-bit floating point")
    return scores


def _to_labels(values: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Return labels (n, len(names)), bools or integers that are 0 and 1 or else -1 and 1, as uint8 0 and 1."""
    invalid = (values != 0) & (values != 1)
    if invalid.any() and (values != 0).all():
        invalid = (values != -1) & (values != 1)
    _check_values(values, invalid, names, "; labels are 0 and 1, or -1 and 1, and scores are floating-point numbers")
    return (values == 1).astype(np.uint8)


def _check_values(values: np.ndarray, invalid: np.ndarray, names: tuple[str, ...], reason: str) -> None:
    """Raise TableError, with the `reason`, for the first of the `values` that are `invalid`, both (n, len(names))."""
    if invalid.any():
        row, column = np.argwhere(invalid)[0]
        raise TableError(f"row {row}: {names[column]!r} is {values[row, column]}{reason}")


def _structured_to_table(array: np.ndarray) -> Table:
    fields = array.dtype.names or ()
    unknown = [field for field in fields if field not in COLUMNS]
    if unknown:
        raise TableError(
            f"the field {unknown[0]!r} is not supported; the fields of a face table are {', '.join(COLUMNS)}"
        )
    if array.ndim != 1:
        raise TableError(f"a face table has one dimension, but this array is {array.ndim}-D")
    return Table(
        _read_paths(array["path"]) if "path" in fields else None,
        _read_attributes(array["scores"], "scores", "f", _to_scores) if "scores" in fields else None,
        _read_attributes(array["labels"], "labels", "biu", _to_labels) if "labels" in fields else None,
        _read_cluster(array["cluster"]) if "cluster" in fields else None,
    )


def _read_paths(paths: np.ndarray) -> np.ndarray:
    """Return the field 'path', bytes in UTF-8 or Unicode strings, as UTF-8 bytes `S<n>` (n,)."""
    if paths.dtype.kind == "U":
        characters = np.ascontiguousarray(paths, paths.dtype.newbyteorder("=")).view(np.uint32)
        is_surrogate = (characters >= 0xD800) & (characters < 0xE000)
        if (is_surrogate | (characters > 0x10FFFF)).any():
            raise TableError("a 'path' is not valid Unicode")
        paths = np.strings.encode(paths, "utf-8") if len(paths) else np.zeros(0, "S1")
    elif paths.dtype.kind != "S":
        raise TableError("the field 'path' is neither bytes nor Unicode strings")
    if not len(paths):
        return paths
    # With a NUL after each path, no path can borrow bytes from the next one.
    ended = paths.astype(f"S{paths.dtype.itemsize + 1}")
    try:
        ended.tobytes().decode("utf-8")
    except UnicodeDecodeError:
        raise TableError("a 'path' is not UTF-8") from None
    is_nul = ended.view(np.uint8).reshape(len(ended), -1) == 0
    has_inner_nul = (is_nul[:, :-1] & ~is_nul[:, 1:]).any(axis=1)
    if has_inner_nul.any():
        raise TableError(f"the 'path' of row {int(np.argmax(has_inner_nul))} contains a NUL character")
    return paths


def _read_attributes(
    field: np.ndarray, column: str, kinds: str, convert: Callable[[np.ndarray, tuple[str, ...]], np.ndarray]
) -> AttributeColumns:
    """Return the struct array `field` (n,), the field `column`, whose fields have types of the given `kinds`."""
    names = field.dtype.names or ()
    types = {field.dtype[name] for name in names}
    if not names or any(dtype.kind not in kinds for dtype in types):
        description = "floating-point numbers" if kinds == "f" else "integers"
        raise TableError(f"the field '{column}' is not a struct of {description}")
    if "" in names:
        raise TableError(f"the field '{column}' has an attribute without a name")
    if len(types) > 1:
        return AttributeColumns(names, convert(np.stack([field[name] for name in names], axis=1), names))
    # Converting to a dtype without padding makes the values contiguous.
    dtype = types.pop()
    packed = np.ascontiguousarray(field.astype([(name, dtype) for name in names]))
    return AttributeColumns(names, convert(packed.view(dtype).reshape(len(field), len(names)), names))


def _read_cluster(cluster: np.ndarray) -> np.ndarray:
    if cluster.dtype.kind not in "iu":
        raise TableError("the field 'cluster' is not an integer")
    invalid = (cluster < -1) | (cluster > np.iinfo(np.int32).max) if cluster.dtype.kind == "i" else cluster > 2**31 - 1
    if invalid.any():
        row = int(np.argmax(invalid))
        raise TableError(f"the 'cluster' of row {row} is {cluster[row]}, not an integer from -1 to 2147483647")
    return cluster.astype(np.int32)


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
