"""The JSONL encoding: exact short numbers, extra keys, and errors with line numbers."""

import json
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from facetools.table import columns, jsonl
from facetools.table.columns import AttributeColumns, Table, TableError
from facetools.table.jsonl import BLOCK_ROWS
from tests.table.cases import (
    FLOAT32,
    assert_same,
    decode,
    decode_blocks,
    encode,
    no_deadline,
    tables,
    to_jsonl,
)


@no_deadline
@given(tables(extras=True))
def test_other_keys_pass_through(table: Table) -> None:
    data = encode([table], "jsonl")
    assert_same(decode(data), table)
    for line, extra in zip(data.splitlines(), table.extras or [{}] * len(table), strict=True):
        assert {key: value for key, value in json.loads(line).items() if key not in columns.COLUMNS} == extra


def test_keys_that_only_later_rows_have_pass_through() -> None:
    rows = [{"cluster": 1}] * BLOCK_ROWS + [{"cluster": 2, "camera": "x"}]
    table = decode(to_jsonl(*rows))
    assert len(table) == len(rows)
    assert json.loads(encode([table], "jsonl").splitlines()[-1]) == rows[-1]


@settings(no_deadline, max_examples=500)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
@example(float(FLOAT32.smallest_subnormal))
@example(float(FLOAT32.max))
@example(-0.0)
def test_scores_survive_bit_for_bit(score: float) -> None:
    values = np.array([[score]], np.float32)
    decoded = decode(encode([Table(scores=AttributeColumns(("A",), values))], "jsonl"))
    assert decoded.scores is not None
    assert decoded.scores.values.tobytes() == values.tobytes()


def test_scores_have_as_few_digits_as_possible() -> None:
    values = np.array([[0.1, 0.97, 1 / 3, 1e-5, 0.0, 1.0, 16777216.0]], np.float32)
    line = encode([Table(scores=AttributeColumns(tuple("ABCDEFG"), values))], "jsonl").decode()
    row = json.loads(line, parse_float=str)["scores"]
    assert [row[name] for name in "ABCEFG"] == ["0.1", "0.97", "0.33333334", "0.0", "1.0", "16777216.0"]
    assert float(row["D"]) == 1e-5


def test_scores_have_at_most_nine_digits() -> None:
    table = Table(scores=AttributeColumns(("A",), np.random.default_rng(0).random((3000, 1), np.float32)))
    numbers = [json.loads(line, parse_float=str)["scores"]["A"] for line in encode([table], "jsonl").splitlines()]
    assert max(len(number.split("e")[0].lstrip("0.").replace(".", "")) for number in numbers) <= 9


def test_keys_may_have_any_order_and_lines_may_be_blank() -> None:
    data = b'\n{"scores": {"A": 1, "B": 0.5}, "path": "x"}\r\n \n'
    data += b'{"path": "y", "scores": {"B": 0, "A": 2e-1}, "cluster": null}'
    scores = AttributeColumns(("A", "B"), np.float32([[1, 0.5], [0.2, 0]]))
    assert_same(decode(data), Table(columns.encode_paths(["x", "y"]), scores))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the input is empty; a face table was expected"),
        (b"\n \n", "the input has no rows"),
        (b'{"cluster": 1}\n\n{"cluster": 1\n{"cluster": 1}\n', "line 3: not a JSON object"),
        (b'{"cluster": 1}\n[1]\n', "line 2: not a JSON object"),
        (b'{"cluster": 1}\n{"path": "\xff"}\n', "line 2: the byte 0xff is not valid UTF-8; convert"),
        (b'{"path": "x", "cluster": 1}\n{"path": "x"}\n', "line 2 has no 'cluster', unlike line 1"),
        (b'\n{"path": "x"}\n{"path": "x", "cluster": 1}\n', "line 3 has a 'cluster', unlike line 2"),
        (b'{"path": 1}', "line 1: 'path' is not a string without NUL"),
        (b'{"path": "a\\u0000"}', "line 1: 'path' is not a string without NUL"),
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
        (b'{"cluster": 1}\n{"cluster": 2147483648}', "line 2: 'cluster' is 2147483648, not from -1 to 2147483647"),
        (b'{"cluster": -2}', "line 1: 'cluster' is -2, not from -1 to 2147483647"),
        (b'{"cluster": 9223372036854775808}', "line 1: 'cluster' is 9223372036854775808, not from -1"),
        (b'{"cluster": %s}' % (b"9" * 400), "line 1: 'cluster' is 99999999999999999999..., not from -1"),
        (b'{"scores": {"A": %s}}' % (b"9" * 400), "line 1: 'scores' of 'A' is 9+..., not in the range"),
        (b'{"scores": {"A": 3.5e38}}', "line 1: 'scores' of 'A' is 3.5e38, not in the range of 32-bit"),
        (b'{"scores": {"": 1}}', "line 1: 'scores' has an attribute without a name"),
        (b'{"scores": {"\\u001b[1m": ""}}', r"line 1: 'scores' of '\\x1b\[1m' is \"\", not a number"),
        (b'{"scores": {"A": 1}}\n{"scores": {"\\u001b": 1}}', r"line 2: 'scores' differs .* the attribute '\\x1b'"),

        (b'{"scores": {"A": 1}}\n{"scores": {"A": 1e39}}', "line 2: 'scores' of 'A' is 1e39, not in the range"),
    ],
)  # fmt: skip
def test_errors_name_the_source_and_the_line(data: bytes, message: str) -> None:
    with pytest.raises(TableError, match=f"^faces: {message}"):
        decode_blocks(data)
    with pytest.raises(TableError, match=f"^standard input: {message}"):
        decode_blocks(data, "-")


def test_errors_name_the_line_in_later_blocks() -> None:
    rows = [{"cluster": 1}] * (BLOCK_ROWS + 3)
    with pytest.raises(TableError, match=f"^faces: line {BLOCK_ROWS + 4} has no 'cluster', unlike line 1$"):
        decode_blocks(to_jsonl(*rows, {"age": 1}))
    with pytest.raises(TableError, match=f"^faces: line {BLOCK_ROWS + 4}: not a JSON object"):
        decode_blocks(to_jsonl(*rows) + b"{")


def test_encode_record_writes_one_line() -> None:
    assert jsonl.encode_record({"epoch": 1, "loss": -0.5}) == b'{"epoch":1,"loss":-0.5}\n'


def test_encode_record_writes_nan_as_null() -> None:
    assert jsonl.encode_record({"loss": math.nan}) == b'{"loss":null}\n'
