"""Tests of fa-find: the rows it finds and their probabilities, its inputs and outputs, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facetools.network.calibration import Calibration
from facetools.network.checkpoint import STARTER_MODEL, read_entries
from facetools.table import streams
from facetools.table.attributes import PAPER37
from facetools.table.columns import AttributeColumns, Table, encode_paths
from tests.conftest import Run, SyntheticFaces

FACES = 300


@pytest.fixture(scope="module")
def faces() -> Table:
    """Random faces, several from each photo. Scores repeat, so that there are ties."""
    rng = np.random.default_rng(0)
    scores = (rng.integers(1, 20, (FACES, 37)) / 20).astype(np.float32)
    paths = encode_paths(f"faces/{number:04d}.jpg" for number in range(FACES))
    extras = [{"source": f"photo{number % 50}.jpg", "note": number} for number in range(FACES)]
    return Table(paths, AttributeColumns(PAPER37, scores), cluster=np.arange(FACES, dtype=np.int32) % 7, extras=extras)


@pytest.fixture(scope="module")
def tables(faces: Table, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The faces in both encodings."""
    folder = tmp_path_factory.mktemp("find")
    paths = {"jsonl": folder / "faces.jsonl", "npy": folder / "faces.npy"}
    for encoding, path in paths.items():
        with streams.open_writer(str(path), encoding) as writer:  # type: ignore[arg-type]
            writer.write(faces)
    return paths


def parse(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


def probabilities(faces: Table, terms: dict[str, bool]) -> np.ndarray:
    """The calibrated probability of a description, float64 (n,), by its definition."""
    calibration = Calibration.from_entry(read_entries(STARTER_MODEL)["calibration"], 37)
    assert faces.scores is not None
    result = np.zeros(len(faces))
    for weight, offsets in zip(calibration.weights, calibration.offsets, strict=True):
        p = 1 / (1 + np.exp(-calibration.logits(faces.scores.values) - offsets))
        factors = [
            p[:, PAPER37.index(name)] if value else 1 - p[:, PAPER37.index(name)] for name, value in terms.items()
        ]
        result += weight * np.prod(factors, axis=0)
    return result


DESCRIPTION = {"Eyeglasses": True, "No_Beard": True, "Gray_Hair": True}


@pytest.mark.parametrize("encoding", ["jsonl", "npy"])
def test_best_rows_come_first_with_their_probability(
    run: Run, faces: Table, tables: dict[str, Path], encoding: str
) -> None:
    expected = probabilities(faces, DESCRIPTION)
    order = np.argsort(-expected, kind="stable")[:15].tolist()
    rows = parse(run("find", "eyeglasses, no beard, gray hair", tables[encoding], "-n", "15").stdout)
    assert [row["path"] for row in rows] == [faces.path(row) for row in order]
    assert [row["match"] for row in rows] == pytest.approx(expected[order], rel=1e-5)
    assert [row["cluster"] for row in rows] == [row % 7 for row in order]
    assert faces.scores is not None
    assert np.array_equal(np.float32([list(row["scores"].values()) for row in rows]), faces.scores.values[order])
    if encoding == "jsonl":
        assert [row["note"] for row in rows] == order
    with tables[encoding].open("rb") as stdin:
        from_stdin = run("find", "eyeglasses, no beard, gray hair", "-", "-n", "15", stdin=stdin).stdout
    assert parse(from_stdin) == rows


def test_ties_keep_table_order(run: Run, faces: Table, tables: dict[str, Path]) -> None:
    rows = parse(run("find", "smiling", tables["npy"], "-n", "100").stdout)
    assert faces.scores is not None
    smiling = faces.scores.values[:, PAPER37.index("Smiling")]
    assert len(set(smiling.tolist())) < 20
    assert [row["path"] for row in rows] == [faces.path(row) for row in np.argsort(-smiling, kind="stable")[:100]]


def test_at_least_and_no_match(run: Run, faces: Table, tables: dict[str, Path]) -> None:
    expected = probabilities(faces, {"Smiling": True, "Male": False})
    rows = parse(run("find", "smiling, woman", tables["npy"], "-n", "1000", "--at-least", "0.5").stdout)
    assert len(rows) == (expected >= 0.5).sum() > 10
    done = run("find", "smiling", tables["npy"], "--at-least", "1")
    assert done.stdout == b"" and b"no face matches" in done.stderr


def test_by_photo_gives_the_best_face_of_each(run: Run, faces: Table, tables: dict[str, Path]) -> None:
    expected = probabilities(faces, {"Smiling": True})
    rows = parse(run("find", "smiling", tables["jsonl"], "--by", "photo", "-n", "1000").stdout)
    photos = np.arange(FACES) % 50
    assert len({row["source"] for row in rows}) == len(rows) == 50
    for row in rows:
        assert row["match"] == pytest.approx(expected[photos == int(row["source"][5:-4])].max(), rel=1e-5)
    assert b"source" in run("find", "smiling", tables["npy"], "--by", "photo", check=1).stderr


def test_like_ranks_by_differences_and_combines_with_terms(run: Run, tables: dict[str, Path]) -> None:
    alone = parse(run("find", "", tables["npy"], "--like", "faces/0042.jpg", "-n", "5").stdout)
    assert alone[0]["path"] == "faces/0042.jpg" and alone[0]["differences"] == 0 and "match" not in alone[0]
    differences = [row["differences"] for row in alone]
    assert differences == sorted(differences) and differences[1] > 0
    by_name = parse(run("find", "", tables["jsonl"], "--like", "0042", "-n", "5").stdout)
    assert [row["path"] for row in by_name] == [row["path"] for row in alone]
    both = parse(run("find", "hat", tables["npy"], "--like", "faces/0042.jpg", "-n", "300").stdout)
    keys = [np.log(row["match"]) - row["differences"] for row in both]
    assert len(keys) == FACES and (np.diff(keys) <= 1e-4).all()
    assert b"neither a path" in run("find", "", tables["npy"], "--like", "x.jpg", check=1).stderr


def test_like_scores_an_image(run: Run, synthetic: SyntheticFaces, tmp_path: Path) -> None:
    table = tmp_path / "scores.npy"
    run("predict", synthetic.folder, "--partition", "test", "--model", synthetic.model, "-o", table)
    import zipfile

    name = np.load(table)["path"][3].decode()
    with zipfile.ZipFile(synthetic.zip) as archive:
        (tmp_path / "me.jpg").write_bytes(archive.read(name.partition(".zip/")[2]))
    done = run("find", "", table, "--like", tmp_path / "me.jpg", "--model", synthetic.model, "-n", "1")
    assert parse(done.stdout)[0]["path"] == name


def test_queries_of_a_file(run: Run, tables: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "queries.txt").write_text("smiling\n\nwoman, hat:2\n")
    rows = parse(run("find", "--queries", tmp_path / "queries.txt", tables["npy"], "-n", "3").stdout)
    assert [row["query"] for row in rows] == ["smiling"] * 3 + ["woman, hat:2"] * 3
    for query, part in (("smiling", rows[:3]), ("woman, hat:2", rows[3:])):
        single = parse(run("find", query, tables["npy"], "-n", "3").stdout)
        assert single == [{key: value for key, value in row.items() if key != "query"} for row in part]


def test_npy_output_has_the_rows_only(run: Run, tables: dict[str, Path], tmp_path: Path) -> None:
    done = run("find", "smiling", tables["npy"], "-n", "5", "-o", tmp_path / "best.npy")
    assert b"no room for the key match" in done.stderr
    array = np.load(tmp_path / "best.npy")
    rows = parse(run("find", "smiling", tables["npy"], "-n", "5").stdout)
    assert [path.decode() for path in array["path"]] == [row["path"] for row in rows]
    run("find", "smiling", tables["npy"], "--at-least", "1", "-o", tmp_path / "none.npy")
    assert len(np.load(tmp_path / "none.npy")) == 0


def test_labels_are_certain(run: Run, tmp_path: Path) -> None:
    labels = np.array([[0, 1], [1, 1], [1, 0]], np.uint8)
    table = Table(encode_paths("abc"), labels=AttributeColumns(("Smiling", "My_Attribute"), labels))
    with streams.open_writer(str(tmp_path / "labels.npy"), "npy") as writer:
        writer.write(table)
    rows = parse(run("find", "smiling, no my attribute", tmp_path / "labels.npy").stdout)
    assert rows[0]["path"] == "c"
    assert [row["match"] for row in rows] == pytest.approx([1, 0, 0], abs=1e-5)


def test_scores_of_other_attributes_count_as_probabilities(run: Run, tmp_path: Path) -> None:
    table = tmp_path / "table.jsonl"
    table.write_text('{"path":"a","scores":{"Monocle":0.25}}\n{"path":"b","scores":{"Monocle":0.75}}\n')
    done = run("find", "monocle", table)
    assert [row["match"] for row in parse(done.stdout)] == pytest.approx([0.75, 0.25])
    assert b"scores count as probabilities" in done.stderr


def test_scores_that_are_not_numbers_are_left_out(run: Run, tmp_path: Path) -> None:
    scores = np.array([[0.2, np.nan], [np.nan, 0.5]], np.float32)
    table = Table(encode_paths("ab"), AttributeColumns(("Smiling", "Male"), scores))
    with streams.open_writer(str(tmp_path / "scores.npy"), "npy") as writer:
        writer.write(table)
    done = run("find", "smiling", tmp_path / "scores.npy", "--format", "npy", check=3)
    assert b"1 face has scores that are not numbers" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("glases",), 2, b"did you mean glasses"),
        (("man, woman",), 2, b"contradict"),
        (("",), 2, b"give a QUERY"),
        (("pale",), 1, b"no scores of Pale_Skin"),
        (("smiling", "--count", "0"), 2, b"--count"),
        (("smiling", "--model", "none.pt"), 1, b"none.pt: No such file"),
    ],
)
def test_failures(run: Run, tables: dict[str, Path], arguments: tuple[str, ...], code: int, message: bytes) -> None:
    done = run("find", arguments[0], tables["npy"], *arguments[1:], check=code)
    assert message in done.stderr and done.stdout == b""


def test_terms_are_listed(run: Run) -> None:
    lines = run("find", "--terms").stdout.decode().splitlines()
    assert "Eyeglasses, glasses, spectacles" in lines and "no Young, old, elderly" in lines


def test_a_table_of_many_blocks_takes_little_memory(run: Run, tmp_path: Path) -> None:
    """The table has 100 MB, and memory grows by less than half of that."""
    rows = 640_000
    rng = np.random.default_rng(0)
    array = np.zeros(rows, [("path", "S8"), ("scores", [(name, "<f4") for name in PAPER37])])
    array["path"] = np.char.mod("%07d", np.arange(rows))
    array["scores"]["Smiling"] = rng.random(rows, np.float32)
    np.save(tmp_path / "large.npy", array)
    np.save(tmp_path / "small.npy", array[:10])
    peaks = []
    for name in ("small.npy", "large.npy"):
        done = run("find", "smiling", tmp_path / name, "-n", "3")
        peaks.append(int(done.stderr.rpartition(b"peak memory ")[2].split()[0]))
    best = np.argsort(-array["scores"]["Smiling"], kind="stable")[:3]
    assert [int(row["path"]) for row in parse(done.stdout)] == best.tolist()
    assert peaks[1] < peaks[0] + 50
