"""Face tables in files and pipes: round trips in both encodings, block sizes, and format detection."""

import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facetools.table import columns, streams
from facetools.table.columns import AttributeColumns, Table, TableError
from facetools.table.jsonl import BLOCK_ROWS
from tests.table.cases import (
    assert_same,
    decode,
    decode_blocks,
    encode,
    no_deadline,
    random_table,
    split_table,
    tables,
    to_npy,
)


@contextmanager
def pipe_of(blocks: list[Table], encoding: streams.Encoding) -> Iterator[io.BufferedReader]:
    """The reading end of a pipe to which a thread writes `blocks`."""
    read_end, write_end = os.pipe()

    def write() -> None:
        with os.fdopen(write_end, "wb", buffering=0) as stream:
            assert not streams.is_regular_file(stream)
            for block in blocks:
                stream.write(encode([block], encoding))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        with os.fdopen(read_end, "rb") as stream:
            yield stream
    finally:
        thread.join()


@no_deadline
@given(tables(), st.sampled_from(["jsonl", "npy"]), st.lists(st.integers(1, 7)), st.booleans())
def test_tables_survive_a_round_trip(
    table: Table, encoding: streams.Encoding, at: list[int], single_block: bool
) -> None:
    assert_same(decode(encode(split_table(table, at), encoding, single_block=single_block)), table)


@settings(no_deadline, max_examples=30)
@given(tables(), st.sampled_from(["jsonl", "npy"]), st.lists(st.integers(1, 7)))
def test_tables_survive_a_pipe(table: Table, encoding: streams.Encoding, at: list[int]) -> None:
    with pipe_of(split_table(table, at), encoding) as stream:
        assert_same(columns.concatenate_tables(list(streams.read_blocks(stream, "-"))), table)


@pytest.mark.parametrize("encoding", ["jsonl", "npy"])
def test_tables_may_exceed_a_block_and_the_pipe_buffer(encoding: streams.Encoding) -> None:
    n = BLOCK_ROWS + 5
    table = random_table(n)
    with pipe_of(split_table(table, [1000, n - 1]), encoding) as stream:
        blocks = list(streams.read_blocks(stream, "-"))
    assert [len(block) for block in blocks] == ([8192, 5] if encoding == "jsonl" else [1000, n - 1001, 1])
    assert_same(columns.concatenate_tables(blocks), table)


@pytest.mark.parametrize("encoding", ["jsonl", "npy"])
def test_tables_survive_a_file(encoding: streams.Encoding, tmp_path: Path) -> None:
    table, path = random_table(50), str(tmp_path / "faces")
    with streams.open_writer(path, encoding) as writer:
        for block in split_table(table, [10, 20, 21]):
            writer.write(block)
    loaded, detected = streams.read_table(path)
    assert detected == encoding
    assert_same(loaded, table)


def test_no_file_remains_if_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "faces.jsonl"
    with pytest.raises(RuntimeError), streams.open_writer(str(path), "jsonl") as writer:
        writer.write(random_table(3))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_the_reader_gets_each_block_before_the_next_is_written() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as source, os.fdopen(write_end, "wb", buffering=0) as sink:
        sink.write(encode([random_table(3)], "npy"))
        blocks = streams.read_blocks(source, "-")
        assert len(next(blocks)) == 3
        sink.write(encode([random_table(2)], "npy"))
        assert len(next(blocks)) == 2


@pytest.mark.parametrize("encoding", ["jsonl", "npy"])
def test_attribute_names_may_use_any_script(encoding: streams.Encoding) -> None:
    table = Table(scores=AttributeColumns(("眼鏡", "Größe"), np.float32([[0.25, 0.5]])))
    assert_same(decode(encode([table], encoding)), table)


@pytest.mark.parametrize("encoding", ["jsonl", "npy"])
@pytest.mark.parametrize("width", [2048, 5000])
def test_tables_may_have_thousands_of_columns(width: int, encoding: streams.Encoding) -> None:
    """In NPY, the header of 5000 columns needs version 2 of the format."""
    table = decode(to_npy(np.random.default_rng(0).random((2, width), np.float32)))
    assert_same(decode(encode([table], encoding)), table)


def test_a_celeba_attribute_list_is_a_table_of_labels() -> None:
    labels = AttributeColumns(("Bald", "Young"), np.uint8([[0, 1], [1, 1]]))
    expected = Table(columns.encode_paths(["1.jpg", "2.jpg"]), labels=labels)
    assert_same(decode(b"2\nBald Young\n1.jpg -1 1\n2.jpg 1 1\n"), expected)
    assert_same(decode(b"image_id,Bald,Young\n1.jpg,-1,1\n2.jpg,1,1\n"), expected)
    with pytest.raises(TableError, match=r"^faces: line 4: 1 values for 2 attributes$"):
        decode_blocks(b"2\nBald Young\n1.jpg -1 1\n2.jpg 1\n")


def test_an_endless_stream_that_is_no_table_is_rejected() -> None:
    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            buffer[:] = (b"y\n" * len(buffer))[: len(buffer)]
            return len(buffer)

    with pytest.raises(TableError, match=r"^yes: line 1: 'y' is neither a number of rows nor the names of columns$"):
        list(streams.read_blocks(io.BufferedReader(Endless()), "yes"))
