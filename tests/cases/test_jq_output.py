"""JSON as jq writes it without -c, as an array, compressed, and with a byte-order mark, through the commands."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run

ROWS = [{"path": f"{name}.jpg", "scores": {"Smiling": smile, "Male": 0.5}} for name, smile in (("a", 0.9), ("b", 0.2))]
CLUSTERING = {
    "k": 2,
    "method": "kmeans",
    "parameters": {},
    "clusters": 2,
    "noise": 0,
    "inertia": 0.5,
    "silhouette": 0.75,
}


def lines(rows: list[dict[str, Any]], indent: int | None = None) -> bytes:
    return "".join(json.dumps(row, indent=indent) + "\n" for row in rows).encode()


WAYS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "jq .": lambda rows: lines(rows, 2),
    "jq -s .": lambda rows: json.dumps(rows, indent=2).encode() + b"\n",
    "jq -cs .": lambda rows: json.dumps(rows).encode() + b"\n",
    "gzip": lambda rows: gzip.compress(lines(rows)),
    "gzip twice": lambda rows: b"".join(gzip.compress(lines([row])) for row in rows),
    "mark": lambda rows: b"\xef\xbb\xbf" + lines(rows),
    "PowerShell": lambda rows: lines(rows).replace(b"\n", b"\r\n").decode().encode("utf-16"),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_tables_are_read(way: Callable[[list[dict[str, Any]]], bytes], run: Run) -> None:
    done = run("cluster", "-k", "2", "-q", input=way(ROWS))
    expected = run("cluster", "-k", "2", "-q", input=lines(ROWS))
    assert len(done.stdout.splitlines()) == 2
    assert done.stdout == expected.stdout


@pytest.mark.parametrize("way", ["jq .", "jq -s .", "gzip"])
def test_records_are_read(way: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "table").write_bytes(WAYS[way](ROWS))
    (tmp_path / "comparison").write_bytes(WAYS[way]([CLUSTERING, CLUSTERING | {"k": 3, "clusters": 3}]))
    done = run(
        "report", tmp_path / "table", "--comparison", tmp_path / "comparison", "--format", "text", "--faces", "0"
    )
    assert b"0.7500" in done.stdout


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"path": "a",\n"cluster": 1}\n{"path": "b",\n', "line 3: not a JSON object: it is not closed"),
        (b'[{"path": "a"}, 1]', "line 1: not a JSON object, but '1]'"),
        (gzip.compress(lines(ROWS))[:-9], "the gzip data is truncated"),
        (b"\x28\xb5\x2f\xfd\0\0\0\0", "it is compressed by zstd; decompress it first: zstdcat FILE | ..."),
        (b'{"cluster": 9223372036854775808}', "line 1: 'cluster' is 9223372036854775808, not from -1 to 2147483647"),
        (
            b'{"scores": {"A": %s}}' % (b"9" * 400),
            "line 1: 'scores' of 'A' is 99999999999999999999..., not in the range",
        ),
        (b'{"scores": {"A": 1, "A": 0}}', "line 1: the key 'A' occurs twice"),
        (b'{"x":' * 100_000, "line 1: a JSON object that is nested too deeply"),
    ],
)  # fmt: skip
def test_other_json_is_rejected_in_one_sentence(data: bytes, message: str, run: Run) -> None:
    done = run("cluster", "-k", "2", "-q", input=data, check=1)
    assert not done.stdout
    assert done.stderr.decode().startswith(f"fa-cluster: standard input: {message}")
    assert done.stderr.count(b"\n") == 1


def test_records_with_values_of_the_wrong_type_are_rejected(run: Run, tmp_path: Path) -> None:
    (tmp_path / "comparison").write_bytes(lines([CLUSTERING, CLUSTERING | {"silhouette": "high"}]))
    done = run("report", "--comparison", tmp_path / "comparison", "--format", "text", input=lines(ROWS), check=1)
    assert b"comparison: line 2: 'silhouette' is 'high', not a number from -1 to 1" in done.stderr
