"""Records of other commands: any white space and encoding, and values of the wrong type."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from facetools.table.errors import InputError
from facetools.table.records import COMPARISON, EIGENFACES, HISTORY, RecordKind, read_records

CLUSTERING = {
    "k": 2,
    "method": "kmeans",
    "clusters": 2,
    "noise": 0,
    "inertia": 0.5,
    "silhouette": 0.5,
    "parameters": {},
}
EPOCH = {"epoch": 1, "loss": 0.5, "valid_accuracy": 0.9}
EIGENFACE = {"cluster": 0, "faces": 3, "mean": "a.png", "components": ["b.png"], "explained_variance_ratio": [0.5]}


@pytest.mark.parametrize("indent", [None, 2])
def test_records_are_read_whatever_wrote_them(indent: int | None, tmp_path: Path) -> None:
    rows = [CLUSTERING, CLUSTERING | {"k": None, "silhouette": None}]
    path = tmp_path / "records"
    text = "\n".join(json.dumps(row, indent=indent) for row in rows)
    for data in (
        text.encode(),
        json.dumps(rows, indent=indent).encode(),
        text.encode("utf-16"),
        gzip.compress(text.encode()),
    ):
        path.write_bytes(data)
        assert read_records(str(path), COMPARISON) == rows


@pytest.mark.parametrize(
    ("kind", "record", "key", "value", "message"),
    [
        (COMPARISON, CLUSTERING, "silhouette", "high", "'silhouette' is 'high', not a number from -1 to 1"),
        (COMPARISON, CLUSTERING, "silhouette", 1.5, "'silhouette' is 1.5, not a number from -1 to 1"),
        (COMPARISON, CLUSTERING, "silhouette", True, "'silhouette' is True, not a number"),
        (COMPARISON, CLUSTERING, "clusters", "3", "'clusters' is '3', not a count"),
        (COMPARISON, CLUSTERING, "clusters", None, "'clusters' is None, not a count"),
        (COMPARISON, CLUSTERING, "clusters", 10**30, "'clusters' is 10+, not a count"),
        (COMPARISON, CLUSTERING, "noise", -1, "'noise' is -1, not a count"),
        (COMPARISON, CLUSTERING, "method", ["x" * 99], r"'method' is \['x+\.\.\., not a text"),
        (COMPARISON, CLUSTERING, "parameters", [1], r"'parameters' is \[1\], not an object"),
        (HISTORY, EPOCH, "loss", "0.5", "'loss' is '0.5', not a number"),
        (HISTORY, EPOCH, "loss", 10**400, "'loss' is 10+..., not a number"),
        (HISTORY, EPOCH, "epoch", None, "'epoch' is None, not a number"),
        (EIGENFACES, EIGENFACE, "mean", "a\0", r"'mean' is 'a\\x00', not a text"),
        (EIGENFACES, EIGENFACE, "components", "b.png", "'components' is 'b.png', not a list of texts"),
        (EIGENFACES, EIGENFACE, "explained_variance_ratio", [None], r"'explained_variance_ratio' is \[None\], not a"),
    ],
)  # fmt: skip
def test_values_of_the_wrong_type_are_rejected(
    kind: RecordKind, record: dict[str, Any], key: str, value: Any, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "records"
    path.write_text(json.dumps(record) + "\n" + json.dumps(record | {key: value}))
    with pytest.raises(InputError, match=f"^{path}: line 2: {message}"):
        read_records(str(path), kind)


@pytest.mark.parametrize(("kind", "record"), [(COMPARISON, EPOCH), (HISTORY, CLUSTERING), (EIGENFACES, EPOCH)])
def test_records_of_another_command_are_rejected(kind: RecordKind, record: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "records"
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=f"^{path}: line 1 has no '.*'; it is no record of {kind.command}$"):
        read_records(str(path), kind)
    path.write_text("\n")
    with pytest.raises(InputError, match=f"^{path}: no records of {kind.command}$"):
        read_records(str(path), kind)
