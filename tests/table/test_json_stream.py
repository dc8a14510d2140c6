"""JSON objects with any white space between them, their line numbers, and limits against hostile input."""

import io
import itertools
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facetools.table import json_stream
from facetools.table.errors import InputError
from facetools.table.json_stream import read_objects
from tests.table.cases import json_values, no_deadline

ROWS: list[dict[str, Any]] = [{"a": 1, "b": {"c:d": '"}{'}}, {"a": "\\", "b": [[], {}]}, {"a": "x\ny", "b": None}]


def read(data: bytes, block: int | None = None) -> list[tuple[int, dict[str, Any]]]:
    """The objects of `data`, which arrives in blocks of `block` bytes."""

    class Pipe(io.RawIOBase):
        content = io.BytesIO(data)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            return self.content.readinto(memoryview(buffer)[:block])

    return list(read_objects(io.BufferedReader(Pipe())))


@pytest.mark.parametrize("block", [1, 7, None])
@pytest.mark.parametrize("indent", [None, 0, 2])
@pytest.mark.parametrize("end", ["", "\n", "\r\n", " \n\n", "\t", "\ufeff", "\n\ufeff"])
def test_objects_may_be_separated_by_any_white_space(end: str, indent: int | None, block: int | None) -> None:
    data = "".join(json.dumps(row, indent=indent) + end for row in ROWS)
    assert [row for _, row in read(data.encode(), block)] == ROWS


@pytest.mark.parametrize("block", [1, None])
@pytest.mark.parametrize("indent", [None, 2])
def test_arrays_of_objects_are_read(indent: int | None, block: int | None) -> None:
    array = json.dumps(ROWS, indent=indent)
    for data in (array, f"[]\n{array}\n[ ]", f"{array}{array}", f"{json.dumps(ROWS[0])}\n{array}"):
        expected = ROWS[: data.startswith("{")] + ROWS * data.count(array)
        assert [row for _, row in read(data.encode(), block)] == expected


@settings(no_deadline, max_examples=50)
@given(
    st.lists(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), json_values, max_size=3), max_size=4),
    st.sampled_from([None, 1]),
    st.booleans(),
    st.integers(1, 40),
)
def test_any_objects_survive(rows: list[dict[str, Any]], indent: int | None, ascii_only: bool, block: int) -> None:
    data = "\n".join(json.dumps(row, indent=indent, ensure_ascii=ascii_only) for row in rows).encode()
    assert [row for _, row in read(data, block)] == rows


@pytest.mark.parametrize("block", [1, None])
def test_the_line_is_that_where_the_object_starts(block: int | None) -> None:
    data = b'{"a":1}\n\n{"a":\n2}\r\n{"a":3}{"a":4}\r[\n{"a":5},\n\n{"a":6}]\n{"a":7}'
    assert [(line, row["a"]) for line, row in read(data, block)] == [
        *((1, 1), (3, 2), (5, 3), (5, 4)),
        *((7, 5), (9, 6), (10, 7)),
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a":1}\n{"a":1\n{"a":1}\n', "line 2: not a JSON object: it is not closed"),
        (b'{\n"a":1}\n{"b":"x}\n{"a":1}\n', "line 3: not a JSON object: a string has a control character or"),
        (b'{"a":1}\n[{"a":1},\n{"a":1}\n', "line 2: the JSON array is not closed"),
        (b'{"a":1}\n[1]\n', r"line 2: not a JSON object, but '1\]"),
        (b'[{"a":1},]', r"line 1: not a JSON object, but '\]'"),
        (b'[,{"a":1}]', "line 1: not a JSON object, but ',"),
        (b'[{"a":1}{"a":1}]', "line 1: not a JSON object, but '{"),
        (b'[[{"a":1}]]', r"line 1: not a JSON object, but '\["),
        (b'{"a":1},\n{"a":1}', "line 1: not a JSON object, but ','|line 1: not a JSON object, but ',"),
        (b'{"a":1}]', r"line 1: not a JSON object, but '\]'"),
        (b'{"a":1}\n\n\x1b[31m', r"line 3: not a JSON object, but '\\x1b\[31m'"),
        (b"{]", "line 1: not a JSON object: "),
        (b"{'a': 1}", "line 1: not a JSON object: "),
        (b'{"a":NaN}', "line 1: not a JSON object: JSON has no NaN"),
        (b'{"a": -Infinity}', "line 1: not a JSON object: JSON has no NaN and no infinite"),
        (b'{"a":1e400}', "line 1: not a JSON object: Number out of range"),
        (b'{"a":"\\ud800"}', "line 1: not a JSON object: a character is written as half a surrogate pair"),
        (b'{"a":1}\n{\n"b":"\xfc"}', "line 3: the byte 0xfc is not valid UTF-8; convert the text to UTF-8"),
        (b'{"a":1}\n{"b":2,"b":3}', "line 2: the key 'b' occurs twice"),
        (b'{"a":{"b:":2,"b:":3}}', "line 1: the key 'b:' occurs twice"),
        (b'{"a":{"b":1},"a":{"b":1}}', "line 1: the key 'a' occurs twice"),
        (b'{"a":[{"b":1,"\\u0062":1}]}', "line 1: the key 'b' occurs twice"),
        (b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}", "line 1: a JSON object that is nested too deeply"),
        (b'{"a":' * 100_000, "line 1: a JSON object that is nested too deeply"),
        (b"[" * 100_000, r"line 1: not a JSON object, but '\[\["),
    ],
)  # fmt: skip
def test_anything_else_is_rejected(data: bytes, message: str) -> None:
    for block in (None, 3):
        with pytest.raises(InputError, match=f"^(?:{message})"):
            read(data, block)


def test_equal_keys_of_different_objects_are_accepted() -> None:
    row = {"path": "http://a", "x": [{"a": 1}, {"a": ":"}], "scores": {"path": 1}}
    assert read(json.dumps(row).encode()) == [(1, row)]


def test_large_objects_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "MAX_OBJECT_BYTES", 1 << 20)
    with pytest.raises(
        InputError, match=r"^line 2: a JSON object of more than 1 MiB; one object per row was expected$"
    ):
        read(b'{"a":1}\n{"a":"' + b"x" * (1 << 21) + b'"}')


@pytest.mark.parametrize(
    ("opening", "separator", "end"), [(b"", b"\n", b"\n"), (b"[", b",", b"]"), (b"[\n", b"\n,", b"]")]
)
def test_memory_does_not_grow_with_the_input(opening: bytes, separator: bytes, end: bytes) -> None:
    rows = 20_000
    row = b'{"a":"%s"}' % (b"x" * 1000)
    size = len(opening) + rows * len(row + separator) + len(b"{}" + end)

    class Large(io.RawIOBase):
        """`rows` objects, of which only one block is in memory."""

        pieces = itertools.chain([opening], itertools.repeat(row + separator, rows), [b"{}" + end])
        pending = b""

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            pending = self.pending or next((piece for piece in self.pieces if piece), b"")
            count = min(len(buffer), len(pending))
            buffer[:count], self.pending = pending[:count], pending[count:]
            return count

    tracemalloc.start()
    try:
        assert sum(1 for _ in read_objects(io.BufferedReader(Large()))) == rows + 1
        assert tracemalloc.get_traced_memory()[1] < size // 4
    finally:
        tracemalloc.stop()
