"""The NPY encoding: NumPy compatibility, plain arrays from other tools, and errors with block numbers."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from facetools.table import columns, npy, streams
from facetools.table.attributes import CELEBA40, PAPER37
from facetools.table.columns import AttributeColumns, Table, TableError
from tests.table.cases import (
    assert_same,
    decode,
    decode_blocks,
    encode,
    no_deadline,
    random_table,
    split_table,
    to_npy,
)

VALID_BLOCK = to_npy(npy.to_structured_array(random_table(4)))


@pytest.mark.parametrize("mmap_mode", [None, "r"])
def test_numpy_loads_a_file_as_one_array(mmap_mode: Any, tmp_path: Path) -> None:
    table, path = random_table(50), tmp_path / "faces.npy"
    with streams.open_writer(str(path), "npy") as writer:
        for block in split_table(table, [7, 30]):
            writer.write(block)
    array = np.load(path, mmap_mode=mmap_mode)
    assert array.dtype.names == ("path", "scores", "labels", "cluster")
    assert array.shape == (50,)
    assert array["path"][3].decode() == "faces.zip/ä/000003.jpg"
    assert table.scores is not None and table.labels is not None
    np.testing.assert_array_equal(array["scores"]["Bald"], table.scores.select(["Bald"])[:, 0])
    np.testing.assert_array_equal(array["labels"]["Young"], table.labels.select(["Young"])[:, 0])
    assert array.dtype["scores"]["Bald"] == np.dtype("<f4")
    assert array.dtype["labels"]["Bald"] == np.dtype("u1")
    assert array.dtype["cluster"] == np.dtype("<i4")


def test_an_empty_table_keeps_its_columns() -> None:
    table = decode(to_npy(npy.to_structured_array(random_table(3))[:0]))
    assert len(table) == 0
    assert table.scores is not None
    assert table.scores.names == PAPER37


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ">f8"])
@pytest.mark.parametrize(("width", "names"), [(40, CELEBA40), (37, PAPER37), (3, ("0", "1", "2"))])
def test_plain_float_arrays_are_scores(width: int, names: tuple[str, ...], dtype: Any) -> None:
    array = np.random.default_rng(width).random((5, width)).astype(dtype)
    expected = Table(scores=AttributeColumns(names, array.astype(np.float32)))
    assert_same(decode(to_npy(array)), expected)
    assert_same(decode(to_npy(np.asfortranarray(array))), expected)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, ">i2"])
def test_plain_arrays_of_0_and_1_are_labels(dtype: Any) -> None:
    array = np.random.default_rng(0).integers(0, 2, (6, 40))
    assert_same(decode(to_npy(array.astype(dtype))), Table(labels=AttributeColumns(CELEBA40, array.astype(np.uint8))))
    array[4, 4] = 2
    if dtype is not bool:
        message = "row 4: 'Blond_Hair' is 2; labels are 0 and 1, or -1 and 1, and scores are floating-point"
        with pytest.raises(TableError, match=message.replace("Blond_Hair", CELEBA40[4])):
            decode(to_npy(array.astype(dtype)))


def test_plain_integers_of_minus_1_and_1_are_labels() -> None:
    array = np.int8([[-1, 1], [1, -1]])
    assert_same(decode(to_npy(array)), Table(labels=AttributeColumns(("0", "1"), np.uint8([[0, 1], [1, 0]]))))
    array[1, 1] = 0
    with pytest.raises(TableError, match="row 0: '0' is -1; labels are 0 and 1, or -1 and 1"):
        decode(to_npy(array))


@pytest.mark.parametrize("dtype", ["<u8", ">u8"])
def test_uint64_arrays_are_packed_codes(dtype: str) -> None:
    codes = np.random.default_rng(0).integers(0, 2**64, (4, 2), np.uint64).astype(dtype)
    assert_same(decode(to_npy(codes)), Table(codes=codes))
    assert_same(decode(to_npy(codes[:, 0])), Table(codes=codes[:, :1]))
    assert_same(decode(to_npy(codes) + to_npy(codes[1:])), Table(codes=np.concatenate([codes, codes[1:]])))


@no_deadline
@given(st.integers(1, len(VALID_BLOCK) - 1))
@example(1)
@example(9)
@example(len(VALID_BLOCK) - 1)
def test_truncated_blocks_are_rejected(end: int) -> None:
    for data, block in ((VALID_BLOCK[:end], 1), (VALID_BLOCK + VALID_BLOCK[:end], 2)):
        with pytest.raises(TableError, match=rf"^faces: NPY block {block}: (the NPY header is|truncated after \d+ of)"):
            decode_blocks(data)


def structured_zeros(*fields: Any, shape: tuple[int, ...] = (2,)) -> np.ndarray:
    return np.zeros(shape, list(fields))


@pytest.mark.filterwarnings("ignore:Stored array in format 3.0")
@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([{}, []], dtype=object), "it holds Python objects, which are not supported"),
        (structured_zeros(("path", object)), "it holds Python objects, which are not supported"),
        (
            structured_zeros(("path", "S4"), ("age", "<f4")),
            "the field 'age' is not supported; the fields .* are path, scores",
        ),
        (structured_zeros(("embedding", "<f4", (8,))), "the field 'embedding' is not supported"),
        (structured_zeros(("\x1b", "<f4")), r"the field '\\x1b' is not supported"),
        (structured_zeros(("scores", "<f4")), "the field 'scores' is not a struct of floating-point numbers"),
        (structured_zeros(("scores", "<f4", (3,))), "the field 'scores' is not a struct of floating-point numbers"),
        (structured_zeros(("scores", [("A", "<f4"), ("B", "<i8")])), "the field 'scores' is not a struct of floating"),
        (structured_zeros(("labels", [("A", "<f4")])), "the field 'labels' is not a struct of integers"),
        (structured_zeros(("path", "<f4")), "the field 'path' is neither bytes nor Unicode strings"),
        (structured_zeros(("cluster", "<f4")), "the field 'cluster' is not an integer"),
        (structured_zeros(("cluster", "<i4"), shape=(2, 2)), "2-D"),
        (np.zeros((2, 3, 4), np.float32), "a 3-D array of float32 is neither a face table, scores nor packed codes"),
        (np.zeros(5, np.float32), "a 1-D array of float32 is neither"),
        (np.float32(1), "a 0-D array of float32 is neither"),
        (np.zeros((5, 0), np.float32), "a 2-D array of float32 is neither"),
        (np.zeros((2, 2), complex), "a 2-D array of complex128 is neither"),
        (np.array([["a", "b"]]), "a 2-D array of <U1 is neither"),
    ],
)
def test_other_arrays_are_rejected(array: np.ndarray, message: str) -> None:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    with pytest.raises(TableError, match=f"^faces: .*{message}"):
        decode_blocks(stream.getvalue())


def test_data_after_a_block_is_rejected() -> None:
    with pytest.raises(TableError, match=r"^faces: NPY block 2: the NPY header is invalid"):
        decode_blocks(VALID_BLOCK + b"{}\n")


@pytest.mark.parametrize("second", [np.zeros((2, 3, 4), np.float32), structured_zeros(("age", "<f4"))])
def test_errors_name_the_block(second: np.ndarray) -> None:
    with pytest.raises(TableError, match=r"^faces: NPY block 2: "):
        decode_blocks(VALID_BLOCK + to_npy(second))


@pytest.mark.parametrize("number", [-2, 2**31, -(2**63), 2**63 - 1])
def test_cluster_numbers_out_of_range_are_rejected(number: int) -> None:
    cluster = np.array([(0,), (number,)], [("cluster", "<i8")])
    with pytest.raises(TableError, match=f"the 'cluster' of row 1 is {number}, not an integer from -1 to 2147483647"):
        decode_blocks(to_npy(cluster))


def test_values_out_of_range_are_rejected() -> None:
    labels = np.array([((2,),)], [("labels", [("A", "u1")])])
    with pytest.raises(TableError, match="row 0: 'A' is 2; labels are 0 and 1"):
        decode_blocks(to_npy(labels))
    scores = np.array([((0.5, 1.0),), ((0.5, 1e39),)], [("scores", [("A", "f8"), ("B", "f8")])])
    for array, name in ((scores, "B"), (np.array([[0.5, 1.0], [0.5, -1e39]]), "1")):
        with pytest.raises(TableError, match=f"row 1: '{name}' is -?1e\\+39, which is out of the range of 32-bit"):
            decode_blocks(to_npy(array))


def test_structured_arrays_of_other_types_are_converted() -> None:
    """As other tools write them: Unicode paths, scores of 64 and 16 bits, labels -1 and 1, any integers."""
    dtype = [
        ("path", ">U6"),
        ("scores", [("A", ">f8"), ("B", "<f2")]),
        ("labels", [("A", "<i8"), ("B", "i1")]),
        ("cluster", ">u8"),
    ]
    array = np.array([("ü.jpg", (0.5, 1), (-1, 1), 0), ("b", (0.25, 0), (1, -1), 7)], dtype)
    expected = Table(
        columns.encode_paths(["ü.jpg", "b"]),
        AttributeColumns(("A", "B"), np.float32([[0.5, 1], [0.25, 0]])),
        AttributeColumns(("A", "B"), np.uint8([[0, 1], [1, 0]])),
        np.int32([0, 7]),
    )
    assert_same(decode(to_npy(array)), expected)
    labels = np.array([((True,),), ((False,),)], [("labels", [("A", "?")])])
    assert_same(decode(to_npy(labels)), Table(labels=AttributeColumns(("A",), np.uint8([[1], [0]]))))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (np.array([b"a\xc3", b"\xa9b"]), "a 'path' is not UTF-8"),
        (np.array([b"ab", b"\0b"]), "the 'path' of row 1 contains a NUL"),
        (np.array(["ab", "\0b"]), "the 'path' of row 1 contains a NUL"),
        (np.array(["\ud800"]), "a 'path' is not valid Unicode"),
        (np.array([0x110000], np.uint32).view("U1"), "a 'path' is not valid Unicode"),
    ],
)
def test_invalid_paths_are_rejected(path: np.ndarray, message: str) -> None:
    array = np.empty(len(path), [("path", path.dtype)])
    array.view(np.uint8)[:] = path.view(np.uint8)
    with pytest.raises(TableError, match=f"^faces: NPY block 1: {message}"):
        decode_blocks(to_npy(array))


def npy_with_header(header: str, data: bytes = b"", *, version: int = 2, size: int | None = None) -> bytes:
    """A .npy block with any header; `size` is its declared length."""
    length = (len(header) if size is None else size).to_bytes(2 if version == 1 else 4, "little")
    return npy.NPY_MAGIC + bytes([version, 0]) + length + header.encode() + data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (npy_with_header("{}", size=2**32 - 1), "the NPY header has 4294967295 bytes; at most 1048576 are supported"),
        (npy_with_header("{}", version=9), "version 9 of the NPY format is not supported"),
        (npy_with_header("(" * 5000), "the NPY header is invalid"),
        (npy_with_header("-" * 100_000 + "1"), "the NPY header is invalid"),
        (npy_with_header("__import__('os')"), "the NPY header is invalid"),
    ],
)
def test_hostile_headers_are_rejected(data: bytes, message: str) -> None:
    with pytest.raises(TableError, match=f"^faces: NPY block 1: {message}"):
        decode_blocks(data)


@pytest.mark.parametrize(
    ("description", "shape", "message"),
    [
        ("'<f4'", "(10**12,)", "the NPY header is invalid"),
        ("'<f4'", "(1000000000000, 40)", "truncated after 64 of 160000000000000 bytes"),
        ("'<f4'", f"({10**30}, 40)", "truncated after 64 of"),
        ("'<f4'", f"(0, {10**30})", "the NPY header is invalid"),
        ("'<f4'", "(-1, 2)", "the NPY header is invalid"),
        ("'<f4'", "(2.0, 2)", "the NPY header is invalid"),
        ("'<f4'", "(" + "1, " * 70 + ")", "the NPY header is invalid"),
        ("'|V0'", "(1000000000000,)", "it has a field without any data"),
        ("[('path', '|S0'), ('cluster', '<i4')]", "(2,)", "it has a field without any data"),
        ("[]", "(1000000000000,)", "it has a field without any data"),
        ("('<f4', (3,))", "(2,)", "the NPY header is invalid"),
        ("[('scores', [('', '<f4')])]", "(2,)", "the field 'scores' has an attribute without a name"),
        ("[('scores', [('A', '<f4'), ('A', '<f4')])]", "(2,)", "the NPY header is invalid"),
    ],
)
def test_hostile_shapes_and_types_are_rejected(description: str, shape: str, message: str, tmp_path: Path) -> None:
    data = npy_with_header(f"{{'descr': {description}, 'fortran_order': False, 'shape': {shape}}}", b"\0" * 64)
    with pytest.raises(TableError, match=f"^faces: NPY block 1: {message}"):
        decode_blocks(data)
    path = tmp_path / "faces"
    path.write_bytes(data)
    with path.open("rb") as stream, pytest.raises(TableError, match=message):
        list(streams.read_blocks(stream, "faces"))


def test_a_large_block_is_read_from_a_stream_of_unknown_length() -> None:
    array = np.random.default_rng(0).random((1_500_000, 3), np.float32)
    scores = decode(to_npy(array)).scores
    assert scores is not None and np.array_equal(scores.values, array)


def test_a_path_that_is_not_utf_8_is_rejected() -> None:
    with pytest.raises(TableError, match=r"^faces: NPY block 1: .*path"):
        decode_blocks(to_npy(np.array([(b"\xff.jpg",)], [("path", "S5")])))


def test_blocks_with_different_columns_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "faces.npy"
    path.write_bytes(encode([Table(cluster=np.zeros(2, np.int32))], "npy") + VALID_BLOCK)
    with pytest.raises(TableError, match=f"^{path}: .*'paths?'"):
        streams.read_table(str(path))
