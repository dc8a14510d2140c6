"""The face table: round trips through both encodings, files and pipes; what other tools write; what is no table."""

import io
import itertools
import json
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from facetools.table import columns, jsonl, npy, streams
from facetools.table.attributes import CELEBA40, PAPER37
from facetools.table.columns import AttributeColumns, Table, TableError
from facetools.table.streams import TableWriter

# Tables to draw

#: Other work may share the cores.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

FLOAT32 = np.finfo(np.float32)
AWKWARD_SCORES = [0.0, -0.0, 0.1, 1.0, 0.99999994, 5e-324, FLOAT32.smallest_subnormal, FLOAT32.tiny, FLOAT32.max]

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
attribute_names = st.lists(st.text("abcXYZ_ 0é", min_size=1, max_size=8), min_size=1, max_size=6, unique=True)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
extra_keys = st.dictionaries(texts.filter(lambda key: key not in columns.COLUMNS), json_values, max_size=3)
scores = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.sampled_from(AWKWARD_SCORES)


@st.composite
def tables(draw: st.DrawFn, *, extras: bool = False) -> Table:
    """A table with any of the columns but at least one, 1 to 8 rows."""
    n = draw(st.integers(1, 8))
    present = draw(st.sets(st.sampled_from(["paths", "scores", "labels", "cluster"]), min_size=1))

    def attributes(values: st.SearchStrategy, dtype: type) -> AttributeColumns:
        names = draw(attribute_names)
        flat = draw(st.lists(values, min_size=n * len(names), max_size=n * len(names)))
        return AttributeColumns(tuple(names), np.array(flat, dtype).reshape(n, len(names)))

    rows = draw(st.lists(extra_keys, min_size=n, max_size=n)) if extras else []
    return Table(
        columns.encode_paths(draw(st.lists(texts, min_size=n, max_size=n))) if "paths" in present else None,
        attributes(scores, np.float32) if "scores" in present else None,
        attributes(st.integers(0, 1), np.uint8) if "labels" in present else None,
        np.array(draw(st.lists(st.integers(-1, 2**31 - 1), min_size=n, max_size=n)), np.int32)
        if "cluster" in present
        else None,
        extras=rows if any(rows) else None,
    )


def assert_same(found: Table, expected: Table) -> None:
    """Equal in every column, scores to the bit; NumPy drops NULs after a path and its width does not matter."""
    assert len(found) == len(expected)
    for column in ("scores", "labels"):
        first, second = getattr(found, column), getattr(expected, column)
        assert (first is None) == (second is None), column
        if first is not None:
            assert first.names == second.names
            assert first.values.dtype == second.values.dtype
            assert first.values.shape == second.values.shape
            assert np.ascontiguousarray(first.values).tobytes() == np.ascontiguousarray(second.values).tobytes()
    for column in ("paths", "cluster", "codes"):
        first, second = getattr(found, column), getattr(expected, column)
        assert (None if first is None else first.tolist()) == (None if second is None else second.tolist()), column
    assert found.extras == expected.extras


def split(whole: Table, at: list[int]) -> list[Table]:
    """`whole` cut before the rows `at`; empty parts are left out."""
    edges = sorted({0, len(whole), *(row for row in at if row < len(whole))})
    return [whole.take(np.arange(first, end)) for first, end in itertools.pairwise(edges)]


def written(parts: list[Table], encoding: streams.Encoding, *, whole: bool = False) -> bytes:
    stream = io.BytesIO()
    writer = TableWriter(stream, encoding, whole=whole)
    for part in parts:
        writer.write(part)
    writer.close()
    return stream.getvalue()


def blocks_of(data: bytes, name: str = "faces") -> list[Table]:
    return list(streams.read_blocks(io.BufferedReader(io.BytesIO(data)), name))


def read_back(data: bytes) -> Table:
    return columns.concatenate_tables(blocks_of(data))


@contextmanager
def through_a_pipe(parts: list[Table], encoding: streams.Encoding) -> Iterator[io.BufferedReader]:
    """The reading end of a pipe to which a thread writes `parts`, each as it comes."""
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb", buffering=0) as stream:
            assert not streams.is_regular_file(stream)
            for part in parts:
                stream.write(written([part], encoding))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        with os.fdopen(reading, "rb") as stream:
            yield stream
    finally:
        thread.join()


def as_jsonl(*rows: Any) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def as_npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


# Round trips


@unhurried
@given(tables(), st.sampled_from(["jsonl", "npy"]), st.lists(st.integers(1, 7)), st.booleans())
def test_round_trip(whole: Table, encoding: streams.Encoding, at: list[int], one_block: bool) -> None:
    assert_same(read_back(written(split(whole, at), encoding, whole=one_block)), whole)


@unhurried
@given(tables(extras=True))
def test_other_keys_pass_through_jsonl(whole: Table) -> None:
    data = written([whole], "jsonl")
    assert_same(read_back(data), whole)
    for line, extra in zip(data.splitlines(), whole.extras or [{}] * len(whole), strict=True):
        assert {key: value for key, value in json.loads(line).items() if key not in columns.COLUMNS} == extra


@settings(unhurried, max_examples=30)
@given(tables(), st.sampled_from(["jsonl", "npy"]), st.lists(st.integers(1, 7)))
def test_round_trip_through_a_pipe(whole: Table, encoding: streams.Encoding, at: list[int]) -> None:
    with through_a_pipe(split(whole, at), encoding) as stream:
        assert streams.detect_encoding(stream, "-") == encoding
        assert_same(columns.concatenate_tables(list(streams.read_blocks(stream, "-"))), whole)


@settings(unhurried, max_examples=500)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
@example(float(FLOAT32.smallest_subnormal))
@example(float(FLOAT32.max))
@example(-0.0)
def test_a_score_is_the_same_to_the_bit_after_jsonl(score: float) -> None:
    values = np.array([[score]], np.float32)
    found = read_back(written([Table(scores=AttributeColumns(("A",), values))], "jsonl"))
    assert found.scores is not None
    assert found.scores.values.tobytes() == values.tobytes()


def test_scores_are_written_as_short_as_they_can_be() -> None:
    values = np.array([[0.1, 0.97, 1 / 3, 1e-5, 0.0, 1.0, 16777216.0]], np.float32)
    line = written([Table(scores=AttributeColumns(tuple("ABCDEFG"), values))], "jsonl").decode()
    row = json.loads(line, parse_float=str)["scores"]
    assert [row[name] for name in "ABCEFG"] == ["0.1", "0.97", "0.33333334", "0.0", "1.0", "16777216.0"]
    assert float(row["D"]) == 1e-5
    rng = np.random.default_rng(0)
    many = Table(scores=AttributeColumns(("A",), rng.random((3000, 1), np.float32)))
    numbers = [json.loads(line, parse_float=str)["scores"]["A"] for line in written([many], "jsonl").splitlines()]
    assert max(len(number.split("e")[0].lstrip("0.").replace(".", "")) for number in numbers) <= 9


def many_rows(n: int) -> Table:
    rng = np.random.default_rng(n)
    return Table(
        columns.encode_paths(f"faces.zip/ä/{row:06}.jpg" for row in range(n)),
        AttributeColumns(PAPER37, rng.random((n, 37), np.float32)),
        AttributeColumns(CELEBA40, rng.integers(0, 2, (n, 40), np.uint8)),
        rng.integers(-1, 9, n).astype(np.int32),
    )


@pytest.mark.parametrize("encoding", ["jsonl", "npy"])
def test_more_rows_than_a_block_or_a_pipe_holds(encoding: streams.Encoding) -> None:
    n = columns.BLOCK_ROWS + 5
    whole = many_rows(n)
    with through_a_pipe(split(whole, [1000, n - 1]), encoding) as stream:
        parts = list(streams.read_blocks(stream, "-"))
    assert [len(part) for part in parts] == ([8192, 5] if encoding == "jsonl" else [1000, n - 1001, 1])
    assert_same(columns.concatenate_tables(parts), whole)


@pytest.mark.parametrize("encoding", ["jsonl", "npy"])
def test_a_file(encoding: streams.Encoding, tmp_path: Path) -> None:
    whole, path = many_rows(50), str(tmp_path / "faces")
    with streams.open_writer(path, encoding) as writer:
        for part in split(whole, [10, 20, 21]):
            writer.write(part)
    found, found_encoding = streams.read_table(path)
    assert found_encoding == encoding
    assert_same(found, whole)


@pytest.mark.parametrize("mmap_mode", [None, "r"])
def test_numpy_reads_a_npy_file_as_one_array(mmap_mode: Any, tmp_path: Path) -> None:
    whole, path = many_rows(50), tmp_path / "faces.npy"
    with streams.open_writer(str(path), "npy") as writer:
        for part in split(whole, [7, 30]):
            writer.write(part)
    array = np.load(path, mmap_mode=mmap_mode)
    assert array.dtype.names == ("path", "scores", "labels", "cluster")
    assert array.shape == (50,)
    assert array["path"][3].decode() == "faces.zip/ä/000003.jpg"
    assert whole.scores is not None and whole.labels is not None
    np.testing.assert_array_equal(array["scores"]["Bald"], whole.scores.select(["Bald"])[:, 0])
    np.testing.assert_array_equal(array["labels"]["Young"], whole.labels.select(["Young"])[:, 0])
    assert array.dtype["scores"]["Bald"] == np.dtype("<f4")
    assert array.dtype["labels"]["Bald"] == np.dtype("u1")
    assert array.dtype["cluster"] == np.dtype("<i4")


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "faces.jsonl"
    with pytest.raises(RuntimeError), streams.open_writer(str(path), "jsonl") as writer:
        writer.write(many_rows(3))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_blocks_leave_a_pipe_as_they_come() -> None:
    """The first rows can be had while the rest has not been written."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as source, os.fdopen(writing, "wb", buffering=0) as sink:
        sink.write(written([many_rows(3)], "npy"))
        found = streams.read_blocks(source, "-")
        assert len(next(found)) == 3
        sink.write(written([many_rows(2)], "npy"))
        assert len(next(found)) == 2


@pytest.mark.parametrize("encoding", ["jsonl", "npy"])
def test_attribute_names_in_any_script(encoding: streams.Encoding) -> None:
    whole = Table(scores=AttributeColumns(("眼鏡", "Größe"), np.float32([[0.25, 0.5]])))
    assert_same(read_back(written([whole], encoding)), whole)


@pytest.mark.parametrize("encoding", ["jsonl", "npy"])
@pytest.mark.parametrize("columns", [2048, 5000])
def test_embeddings_keep_all_their_columns(columns: int, encoding: streams.Encoding) -> None:
    whole = blocks_of(as_npy(np.random.default_rng(0).random((2, columns), np.float32)))[0]
    assert_same(read_back(written([whole], encoding)), whole)


def test_keys_that_only_later_rows_have_pass_through() -> None:
    rows = [{"cluster": 1}] * columns.BLOCK_ROWS + [{"cluster": 2, "camera": "x"}]
    whole = read_back(as_jsonl(*rows))
    assert len(whole) == len(rows)
    assert json.loads(written([whole], "jsonl").splitlines()[-1]) == rows[-1]


@unhurried
@given(tables(extras=True), st.data())
def test_take(whole: Table, data: st.DataObject) -> None:
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(whole), max_size=len(whole))), bool)
    assert_same(whole.take(mask), whole.take(np.flatnonzero(mask)))
    lines = written([whole], "jsonl").splitlines()
    assume(mask.any())
    assert written([whole.take(mask)], "jsonl").splitlines() == [lines[row] for row in np.flatnonzero(mask)]


def test_select_and_path() -> None:
    attributes = AttributeColumns(("A", "B", "C"), np.float32([[1, 2, 3]]))
    assert attributes.select(["C", "A"]).tolist() == [[3, 1]]
    assert attributes.select(("A", "B", "C")) is attributes.values
    assert Table(columns.encode_paths(["x", "眼.png"])).path(1) == "眼.png"
    assert Table(cluster=np.zeros(5, np.int32)).path(3) == "row 3"
    with pytest.raises(ValueError, match="NUL"):
        columns.encode_paths(["a\0b"])


def test_concatenate_wants_the_same_columns() -> None:
    scores, cluster = Table(scores=AttributeColumns(("A",), np.float32([[1]]))), Table(cluster=np.zeros(1, np.int32))
    with pytest.raises(TableError, match="some blocks have no column 'scores'"):
        columns.concatenate_tables([scores, cluster])
    with pytest.raises(TableError, match="the attributes of 'scores' change"):
        columns.concatenate_tables([scores, Table(scores=AttributeColumns(("B",), np.float32([[1]])))])
    assert len(columns.concatenate_tables([])) == 0


# What other tools write


def test_jsonl_in_any_order_of_keys_with_blank_lines_and_integers() -> None:
    data = b'\n{"scores": {"A": 1, "B": 0.5}, "path": "x"}\r\n \n'
    data += b'{"path": "y", "scores": {"B": 0, "A": 2e-1}, "cluster": null}'
    found = read_back(data)
    assert_same(
        found, Table(columns.encode_paths(["x", "y"]), AttributeColumns(("A", "B"), np.float32([[1, 0.5], [0.2, 0]])))
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ">f8"])
@pytest.mark.parametrize(("columns", "names"), [(40, CELEBA40), (37, PAPER37), (3, ("0", "1", "2"))])
def test_a_plain_array_of_scores(columns: int, names: tuple[str, ...], dtype: Any) -> None:
    array = np.random.default_rng(columns).random((5, columns)).astype(dtype)
    expected = Table(scores=AttributeColumns(names, array.astype(np.float32)))
    assert_same(read_back(as_npy(array)), expected)
    assert_same(read_back(as_npy(np.asfortranarray(array))), expected)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, ">i2"])
def test_a_plain_array_of_attributes(dtype: Any) -> None:
    array = np.random.default_rng(0).integers(0, 2, (6, 40))
    assert_same(
        read_back(as_npy(array.astype(dtype))), Table(labels=AttributeColumns(CELEBA40, array.astype(np.uint8)))
    )
    array[4, 4] = 2
    if dtype is not bool:
        with pytest.raises(TableError, match="must hold 0 and 1 only; scores are floating-point numbers"):
            read_back(as_npy(array.astype(dtype)))


@pytest.mark.parametrize("dtype", ["<u8", ">u8"])
def test_packed_codes(dtype: str) -> None:
    codes = np.random.default_rng(0).integers(0, 2**64, (4, 2), np.uint64).astype(dtype)
    assert_same(read_back(as_npy(codes)), Table(codes=codes))
    assert_same(read_back(as_npy(codes[:, 0])), Table(codes=codes[:, :1]))
    assert_same(read_back(as_npy(codes) + as_npy(codes[1:])), Table(codes=np.concatenate([codes, codes[1:]])))


def test_celebas_attribute_list() -> None:
    labels = AttributeColumns(("Bald", "Young"), np.uint8([[0, 1], [1, 1]]))
    expected = Table(columns.encode_paths(["1.jpg", "2.jpg"]), labels=labels)
    assert_same(read_back(b"2\nBald Young\n1.jpg -1 1\n2.jpg 1 1\n"), expected)
    assert_same(read_back(b"image_id,Bald,Young\n1.jpg,-1,1\n2.jpg,1,1\n"), expected)
    with pytest.raises(TableError, match=r"^faces: line 4: 1 values for 2 attributes$"):
        blocks_of(b"2\nBald Young\n1.jpg -1 1\n2.jpg 1\n")


@pytest.mark.parametrize(
    ("start", "encoding"),
    [
        (b"\x93NUMPY", "npy"),
        (b"{", "jsonl"),
        (b"  {", "jsonl"),
        (b"\r\n{", "jsonl"),
        (b"202599\n", "jsonl"),
        (b"image_id", "jsonl"),
    ],
)
def test_the_first_byte_tells(start: bytes, encoding: str) -> None:
    stream = io.BufferedReader(io.BytesIO(start))
    assert streams.detect_encoding(stream, "faces") == encoding
    assert stream.read() == start


# What is no table


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the input is empty; a face table was expected"),
        (b"\n \n", "the input has no rows"),
        (b"\xff\xd8\xff\xe0", r"not a face table: it starts with the byte b'\\xff'"),
        (b"PK\x03\x04", "not a face table: it starts with the byte b'P'"),
        (b'[{"path": "x"}]', "not a face table"),
        (b'{"cluster": 1}\n\n{"cluster": 1\n{"cluster": 1}\n', "line 3: not a JSON object"),
        (b'{"cluster": 1}\n[1]\n', "line 2: not a JSON object"),
        (b'{"cluster": 1}\n{"path": "\xff"}\n', "line 2: not a JSON object"),
        (b'{"path": "x", "cluster": 1}\n{"path": "x"}\n', "line 2 has no 'cluster', unlike line 1"),
        (b'\n{"path": "x"}\n{"path": "x", "cluster": 1}\n', "line 3 has a 'cluster', unlike line 2"),
        (b'{"path": 1}', "line 1: 'path' is not a text without NUL"),
        (b'{"path": "a\\u0000"}', "line 1: 'path' is not a text without NUL"),
        (b'{"scores": {}}', "line 1: 'scores' is not an object of attributes"),
        (b'{"scores": 0.5}', "line 1: 'scores' is not an object of attributes"),
        (b'{"labels": {"A": 1}}\n{"labels": [1]}', "line 2: 'labels' is not an object of attributes"),
        (b'{"scores": {"A": 1}}\n{"scores": {"A": 1, "B": 1}}', "line 2: 'scores' differs from line 1 in .* 'B'"),
        (b'{"scores": {"A": 1, "B": 1}}\n{"scores": {"A": 1}}', "line 2: 'scores' differs from line 1 in .* 'B'"),
        (b'{"scores": {"A": 1}}\n{"scores": {"A": NaN}}', "line 2: not a JSON object"),
        (b'{"scores": {"A": 1}}\n{"scores": {"A": null}}', "line 2: 'scores' of 'A' is null, not a number"),
        (b'{"scores": {"A": 1}}\n{"scores": {"A": "1"}}', "line 2: 'scores' of 'A' is \"1\", not a number"),
        (b'{"scores": {"A": true}}', "line 1: 'scores' of 'A' is true, not a number"),
        (b'{"labels": {"A": 1, "B": 2}}', "line 1: 'labels' of 'B' is 2, not 0 or 1"),
        (b'{"labels": {"A": 1, "B": -1}}', "line 1: 'labels' of 'B' is -1, not 0 or 1"),
        (b'{"labels": {"A": 1.0}}', "line 1: 'labels' of 'A' is 1.0, not 0 or 1"),
        (b'{"labels": {"A": true}}', "line 1: 'labels' of 'A' is true, not 0 or 1"),
        (b'{"cluster": 1}\n{"cluster": 1.5}', "line 2: 'cluster' is 1.5, not an integer"),
        (b'{"cluster": 1}\n{"cluster": 2147483648}', "lines? .*'cluster'.* out of range"),
        (b'{"scores": {"A": 1}}\n{"scores": {"A": 1e39}}', "line.* 2: .*'scores'"),
    ],
)  # fmt: skip
def test_jsonl_that_is_no_table(data: bytes, message: str) -> None:
    with pytest.raises(TableError, match=f"^faces: {message}"):
        blocks_of(data)
    with pytest.raises(TableError, match=f"^standard input: {message}"):
        blocks_of(data, "-")


def test_the_line_is_named_in_later_blocks() -> None:
    rows = [{"cluster": 1}] * (columns.BLOCK_ROWS + 3)
    with pytest.raises(TableError, match=f"^faces: line {columns.BLOCK_ROWS + 4} has no 'cluster', unlike line 1$"):
        blocks_of(as_jsonl(*rows, {"age": 1}))
    with pytest.raises(TableError, match=f"^faces: line {columns.BLOCK_ROWS + 4}: not a JSON object"):
        blocks_of(as_jsonl(*rows) + b"{")


GOOD = as_npy(npy.to_array(many_rows(4)))


@unhurried
@given(st.integers(1, len(GOOD) - 1))
@example(1)
@example(9)
@example(len(GOOD) - 1)
def test_truncated_npy(end: int) -> None:
    for data, block in ((GOOD[:end], 1), (GOOD + GOOD[:end], 2)):
        with pytest.raises(TableError, match=rf"^faces: NPY block {block}: (not a NPY header|truncated after \d+ of)"):
            blocks_of(data)


def struct_of(*columns: tuple[str, Any], shape: tuple[int, ...] = (2,)) -> np.ndarray:
    return np.zeros(shape, list(columns))


@pytest.mark.filterwarnings("ignore:Stored array in format 3.0")
@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([{}, []], dtype=object), "it holds Python objects, which are not read"),
        (struct_of(("path", object)), "it holds Python objects, which are not read"),
        (struct_of(("path", "S4"), ("age", "<f4")), "the field 'age' is no column of a face table"),
        (struct_of(("scores", "<f4")), "the field 'scores' is not a struct of <f4"),
        (struct_of(("scores", [("A", "<f4"), ("B", "<f8")])), "the field 'scores' is not a struct of <f4"),
        (struct_of(("labels", [("A", "<f4")])), "the field 'labels' is not a struct of u1"),
        (struct_of(("path", "<U4")), "the field 'path' is not bytes"),
        (struct_of(("cluster", "<f4")), "the field 'cluster' is not a signed integer"),
        (struct_of(("cluster", "<i4"), shape=(2, 2)), "2-D"),
        (np.zeros((2, 3, 4), np.float32), "a 3-D array of float32 is neither a face table, scores nor packed codes"),
        (np.zeros(5, np.float32), "a 1-D array of float32 is neither"),
        (np.float32(1), "a 0-D array of float32 is neither"),
        (np.zeros((5, 0), np.float32), "a 2-D array of float32 is neither"),
        (np.zeros((2, 2), complex), "a 2-D array of complex128 is neither"),
        (np.array([["a", "b"]]), "a 2-D array of <U1 is neither"),
    ],
)
def test_foreign_npy(array: np.ndarray, message: str) -> None:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    with pytest.raises(TableError, match=f"^faces: .*{message}"):
        blocks_of(stream.getvalue())


def test_npy_followed_by_something_else() -> None:
    with pytest.raises(TableError, match=r"^faces: NPY block 2: not a NPY header"):
        blocks_of(GOOD + b"{}\n")


@pytest.mark.parametrize("second", [np.zeros((2, 3, 4), np.float32), struct_of(("age", "<f4"))])
def test_the_block_at_fault_is_named(second: np.ndarray) -> None:
    with pytest.raises(TableError, match=r"^faces: NPY block 2: "):
        blocks_of(GOOD + as_npy(second))


def test_npy_values_that_no_table_holds() -> None:
    cluster = np.array([(2**31,)], [("cluster", "<i8")])
    with pytest.raises(TableError, match="cluster"):
        blocks_of(as_npy(cluster))
    labels = np.array([((2,),)], [("labels", [("A", "u1")])])
    with pytest.raises(TableError, match="labels"):
        blocks_of(as_npy(labels))


def test_a_npy_path_that_is_not_utf_8_is_named() -> None:
    with pytest.raises(TableError, match=r"^faces: NPY block 1: .*path"):
        blocks_of(as_npy(np.array([(b"\xff.jpg",)], [("path", "S5")])))


def test_npy_blocks_that_differ(tmp_path: Path) -> None:
    path = tmp_path / "faces.npy"
    path.write_bytes(written([Table(cluster=np.zeros(2, np.int32))], "npy") + GOOD)
    with pytest.raises(TableError, match=f"^{path}: .*'paths?'"):
        streams.read_table(str(path))


def test_an_empty_npy_table_keeps_its_columns() -> None:
    found = read_back(as_npy(npy.to_array(many_rows(3))[:0]))
    assert len(found) == 0
    assert found.scores is not None
    assert found.scores.names == PAPER37


def test_a_record_is_a_line() -> None:
    assert jsonl.encode_record({"epoch": 1, "loss": -0.5}) == b'{"epoch":1,"loss":-0.5}\n'
    assert math.isnan(json.loads(b"NaN"))  # what JSON itself has no word for, and msgspec writes as null
    assert jsonl.encode_record({"loss": math.nan}) == b'{"loss":null}\n'
