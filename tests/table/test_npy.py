"""The NPY encoding: NumPy compatibility, plain arrays from other tools, and errors with block numbers."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from facetools.table import npy, streams
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
@pytest.mark.parametrize(("columns", "names"), [(40, CELEBA40), (37, PAPER37), (3, ("0", "1", "2"))])
def test_plain_float_arrays_are_scores(columns: int, names: tuple[str, ...], dtype: Any) -> None:
    array = np.random.default_rng(columns).random((5, columns)).astype(dtype)
    expected = Table(scores=AttributeColumns(names, array.astype(np.float32)))
    assert_same(decode(to_npy(array)), expected)
    assert_same(decode(to_npy(np.asfortranarray(array))), expected)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, ">i2"])
def test_plain_arrays_of_0_and_1_are_labels(dtype: Any) -> None:
    array = np.random.default_rng(0).integers(0, 2, (6, 40))
    assert_same(decode(to_npy(array.astype(dtype))), Table(labels=AttributeColumns(CELEBA40, array.astype(np.uint8))))
    array[4, 4] = 2
    if dtype is not bool:
        with pytest.raises(TableError, match="must hold 0 and 1 only; scores are floating-point numbers"):
            decode(to_npy(array.astype(dtype)))


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


def structured_zeros(*columns: tuple[str, Any], shape: tuple[int, ...] = (2,)) -> np.ndarray:
    return np.zeros(shape, list(columns))


@pytest.mark.filterwarnings("ignore:Stored array in format 3.0")
@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([{}, []], dtype=object), "it holds Python objects, which are not supported"),
        (structured_zeros(("path", object)), "it holds Python objects, which are not supported"),
        (structured_zeros(("path", "S4"), ("age", "<f4")), "the field 'age' is not a column of a face table"),
        (structured_zeros(("scores", "<f4")), "the field 'scores' is not a struct of <f4"),
        (structured_zeros(("scores", [("A", "<f4"), ("B", "<f8")])), "the field 'scores' is not a struct of <f4"),
        (structured_zeros(("labels", [("A", "<f4")])), "the field 'labels' is not a struct of u1"),
        (structured_zeros(("path", "<U4")), "the field 'path' is not bytes"),
        (structured_zeros(("cluster", "<f4")), "the field 'cluster' is not a signed integer"),
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


def test_values_out_of_range_are_rejected() -> None:
    cluster = np.array([(2**31,)], [("cluster", "<i8")])
    with pytest.raises(TableError, match="cluster"):
        decode_blocks(to_npy(cluster))
    labels = np.array([((2,),)], [("labels", [("A", "u1")])])
    with pytest.raises(TableError, match="labels"):
        decode_blocks(to_npy(labels))


def test_a_path_that_is_not_utf_8_is_rejected() -> None:
    with pytest.raises(TableError, match=r"^faces: NPY block 1: .*path"):
        decode_blocks(to_npy(np.array([(b"\xff.jpg",)], [("path", "S5")])))


def test_blocks_with_different_columns_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "faces.npy"
    path.write_bytes(encode([Table(cluster=np.zeros(2, np.int32))], "npy") + VALID_BLOCK)
    with pytest.raises(TableError, match=f"^{path}: .*'paths?'"):
        streams.read_table(str(path))
