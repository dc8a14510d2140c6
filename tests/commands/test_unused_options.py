"""Options that have no effect with the other options are usage errors that name both."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Run, SyntheticFaces


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with labels.npy, scores.npy, codes.npy and clusters.jsonl."""
    folder, rng = tmp_path_factory.mktemp("tables"), np.random.default_rng(0)
    bits = rng.random((60, 5)) < 0.5
    bits[:, 0] = True
    np.save(folder / "labels.npy", bits)
    np.save(folder / "scores.npy", np.abs(bits - 0.3 * rng.random(bits.shape)))
    np.save(folder / "codes.npy", rng.integers(1, 99, 60, dtype=np.uint64))
    rows = ({"path": f"{row}.jpg", "scores": {"Smiling": 0.5}, "cluster": row % 2} for row in range(4))
    (folder / "clusters.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.mark.parametrize(
    ("table", "arguments", "option", "reason"),
    [
        ("labels", "-k 2 --linkage ward", "--linkage", "with the method kmeans; it is for agglomerative"),
        ("labels", "-k 2 --eps 0.5", "--eps", "with the method kmeans; it is for dbscan"),
        ("labels", "-k 2 --min-samples 5", "--min-samples", "with the method kmeans; it is for dbscan, optics"),
        ("labels", "-k 2 --birch-threshold 1", "--birch-threshold", "with the method kmeans; it is for birch"),
        ("labels", "-k 2 --method agglomerative --redo 1", "--redo", "with the method agglomerative; it is for kmeans"),
        ("labels", "-k 2 --method birch --metric cosine", "--metric", "with the method birch; it is for kmeans, agg"),
        ("labels", "-k 2 --method spectral --eps 1", "--eps", "with the method spectral"),
        ("labels", "-k 2 --method birch --device cuda", "--device", "with the method birch; it is for kmeans"),
        ("labels", "--method dbscan --linkage ward", "--linkage", "with the method dbscan"),
        ("labels", "--method optics --eps 1", "--eps", "with the method optics"),
        ("labels", "-k 2 --methods kmeans", "--methods", "without --compare"),
        ("labels", "--compare 2:3 --method kmeans", "--method", "with --compare"),
        ("labels", "--compare 2:3 --birch-threshold 1", "--birch-threshold", "with the methods kmeans, agglomerative,"),
        ("labels", "-k 2 --frequencies data", "--frequencies", "without --weights common or --weights rare"),
        ("labels", "-k 2 --threshold 0.5", "--threshold", "on labels"),
        ("labels", "-k 2 --column labels --threshold 0.5", "--threshold", "on labels"),
        ("scores", "-k 2 --soft --threshold 0.5", "--threshold", "with --soft"),
        ("codes", "-k 2 --threshold 0.5", "--threshold", "on packed codes"),
        ("codes", "-k 2 --column labels", "--column", "on packed codes"),
    ],
)
def test_cluster(tables: Path, table: str, arguments: str, option: str, reason: str, run: Run) -> None:
    done = run("cluster", tables / f"{table}.npy", *arguments.split(), "-o", tables / "out.jsonl", check=2)
    assert f"Invalid value for {option}: it has no effect {reason}" in " ".join(done.stderr.decode().split())
    assert done.stdout == b"" and not (tables / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("table", "arguments"),
    [
        ("labels", "-k 2 --redo 2 --metric cosine --seed 1 --engine sklearn"),
        ("labels", "-k 2 --metric l2"),
        ("labels", "--method dbscan --metric manhattan --eps 1 --min-samples 3"),
        ("labels", "--compare 2:2 --linkage complete --eps 1 --redo 2"),
        ("scores", "-k 2 --threshold 0.4 --weights rare --frequencies data"),
        ("scores", "-k 2 --soft --threshold 0.4 --weights rare --frequencies data"),
    ],
)
def test_cluster_accepts_options_with_effect(tables: Path, table: str, arguments: str, run: Run) -> None:
    run("cluster", tables / f"{table}.npy", *arguments.split(), "-o", "/dev/null")


def test_a_comparison_says_which_method_takes_another_metric(tables: Path, run: Run) -> None:
    done = run(
        "cluster", tables / "labels.npy", *["--compare", "2:2", "--linkage", "complete", "--metric", "manhattan"]
    )
    assert b"kmeans does not support manhattan distances; it is compared with euclidean distances" in done.stderr
    metrics = [json.loads(line)["parameters"]["metric"] for line in done.stdout.splitlines()]
    assert metrics == ["euclidean", "manhattan", "manhattan"]
    refused = run(
        "cluster", tables / "labels.npy", "--compare", "2:2", "--metric", "l1", "--methods", "kmeans", check=2
    )
    assert b"KMeans takes the metric euclidean or cosine, not l1" in refused.stderr
    refused = run("cluster", tables / "labels.npy", "--compare", "2:2", "-o", tables / "out.npy", check=2)
    assert b"it writes JSONL records" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("train", "{faces}", "-o", "run", "--no-augment", "--rotation", "3"),
            "--rotation: it has no effect with --no-",
        ),
        (("train", "{faces}", "-o", "run", "--no-augment", "--flip"), "--flip: it has no effect with --no-augment"),
        (
            ("train", "{faces}", "-o", "run", "--schedule", "constant", "--final-rate", "0"),
            "--final-rate does not apply",
        ),
        (("train", "{faces}", "-o", "run", "--distillation", "0", "--teacher", "x"), "--teacher needs --distillation"),
        (("train", "{faces}", "-o", "run", "--valid-share", "0.2"), "--valid-share: it has no effect on "),
        (("train", "{faces}", "-o", "run", "-0"), "--null: it has no effect without the source -"),
        (("predict", "{faces}", "-0"), "--null: it has no effect without the source -"),
        (("augment", "{faces}", "-o", "copies", "-0"), "--null: it has no effect without the source -"),
        (("predict", "{faces}", "--parts", "-o", "x", "--format", "jsonl"), "--format: it has no effect with --parts"),
        (("report", "{tables}/clusters.jsonl", "--format", "text", "--faces", "3"), "--faces: it has no effect with"),
        (("report", "{tables}/labels.npy", "--prominent", "0.7"), "--prominent: it has no effect on a table without"),
        (("report", "{tables}/labels.npy", "--max-clusters", "3"), "--max-clusters: it has no effect on a table"),
    ],
)
def test_other_commands(
    arguments: tuple[str, ...], message: str, synthetic: SyntheticFaces, tables: Path, run: Run, tmp_path: Path
) -> None:
    given = [argument.format(faces=synthetic.folder, tables=tables) for argument in arguments]
    done = run(*given, check=2, cwd=tmp_path)
    assert message in " ".join(done.stderr.decode().split())
    assert not list(tmp_path.iterdir())


def test_a_report_as_text_accepts_zero_faces(tables: Path, run: Run) -> None:
    run("report", tables / "clusters.jsonl", "--format", "text", "--faces", "0")
