"""fa-cluster --method mixture and kmedians: posteriors, the summary, missing scores, and what is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Run

NAMES = ("Male", "Young", "Smiling", "Bald")


@pytest.fixture
def bits() -> np.ndarray:
    rng = np.random.default_rng(0)
    centers = np.array([[1, 1, 0, 0], [0, 0, 1, 1]])
    return (centers[np.repeat([0, 1], [70, 30])] ^ (rng.random((100, 4)) < 0.1)).astype(np.uint8)


@pytest.fixture
def table(bits: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "table.jsonl"
    with path.open("w") as stream:
        for row, values in enumerate(bits.tolist()):
            labels = dict(zip(NAMES, values, strict=True))
            stream.write(json.dumps({"path": f"{row}.jpg", "labels": labels, "note": row}) + "\n")
    return path


def test_posteriors_are_written_for_each_face(table: Path, run: Run, tmp_path: Path) -> None:
    arguments = ("cluster", table, "--method", "mixture", "-k", "2", "--soft-labels", "--summary", tmp_path / "s.json")
    rows = [json.loads(line) for line in run(*arguments).stdout.splitlines()]
    assert [row["note"] for row in rows] == list(range(100))
    for row in rows:
        assert len(row["posteriors"]) == 2
        assert sum(row["posteriors"]) == pytest.approx(1, abs=2e-6)
        assert row["cluster"] == int(np.argmax(row["posteriors"]))
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["parameters"] == {"k": 2, "redo": 10, "seed": 0}
    assert summary["icl"] == pytest.approx(summary["bic"] + 2 * summary["entropy"])
    assert summary["log_likelihood"] < 0 < summary["entropy"]
    first, second = summary["components"]
    assert first["weight"] > 0.6 and first["weight"] + second["weight"] == pytest.approx(1)
    assert tuple(first["probabilities"]) == NAMES
    assert first["probabilities"]["Male"] > 0.8 > 0.2 > first["probabilities"]["Bald"]


def test_all_rows_are_written_where_they_come_in_blocks(table: Path, run: Run) -> None:
    from facetools.commands import cluster

    many = table.read_text() * 200  # more than POSTERIOR_ROWS
    table.write_text(many)
    assert many.count("\n") > 2 * cluster.POSTERIOR_ROWS
    rows = run("cluster", table, "--method", "mixture", "-k", "2", "--soft-labels").stdout.splitlines()
    assert [json.loads(row)["note"] for row in rows] == 200 * list(range(100))


def test_other_outputs_have_no_posteriors(table: Path, run: Run, tmp_path: Path) -> None:
    for method in ("mixture", "kmedians", "kmeans"):
        rows = run("cluster", table, "--method", method, "-k", "2", "--summary", tmp_path / "s.json").stdout
        assert b"posteriors" not in rows
        summary = json.loads((tmp_path / "s.json").read_text())
        assert ("components" in summary) == (method == "mixture")
        assert ("l1" in summary) == (method == "kmedians")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("-k 2 --soft-labels", "it has no effect with the method kmeans; it is for mixture"),
        ("--compare 2:3 --methods mixture --soft-labels", "it has no effect with --compare"),
        ("-k 2 --method mixture --soft-labels --format npy", "NPY has no column for posteriors; use --format jsonl"),
    ],
)
def test_soft_labels_are_for_mixtures_in_jsonl(arguments: str, message: str, table: Path, run: Run) -> None:
    stderr = run("cluster", table, *arguments.split(), check=2).stderr.decode()
    assert "--soft-labels" in stderr and message in " ".join(stderr.replace("│", " ").split())


@pytest.mark.parametrize("method", ["mixture", "kmedians"])
def test_soft_and_weights_are_refused(method: str, bits: np.ndarray, run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "scores.npy", bits.astype(np.float32))
    weights = ("--weights", "rare", "--frequencies", "data")
    for arguments, option in ((("--soft",), b"--soft"), (weights, b"--weights")):
        done = run("cluster", tmp_path / "scores.npy", "--method", method, "-k", "2", *arguments, check=1)
        assert b"omit " + option in done.stderr and not done.stdout


def test_methods_are_compared(table: Path, run: Run) -> None:
    lines = run("cluster", table, "--compare", "1:3", "--methods", "kmedians,mixture").stdout.splitlines()
    records = [json.loads(line) for line in lines]
    assert [(record["method"], record["k"]) for record in records] == [
        (method, k) for method in ("kmedians", "mixture") for k in (1, 2, 3)
    ]
    assert min(records[3:], key=lambda record: record["bic"])["k"] == 2
    assert all("components" not in record for record in records)
    distances = [record["l1"] for record in records[:3]]
    assert distances == sorted(distances, reverse=True)


def test_nan_is_a_missing_value_for_the_mixture_only(bits: np.ndarray, run: Run, tmp_path: Path) -> None:
    scores = bits.astype(np.float32)
    scores[::5, 1] = np.nan
    scores[1] = np.nan
    np.save(tmp_path / "scores.npy", scores)
    arguments = ("cluster", tmp_path / "scores.npy", "-k", "2")
    summary = tmp_path / "s.json"
    done = run(*arguments, "--method", "mixture", "--format", "npy", "--summary", summary)
    clusters = np.load(io.BytesIO(done.stdout))["cluster"]
    assert len(clusters) == 100 and clusters[1] == 0
    assert (clusters == np.repeat([0, 1], [70, 30])).mean() > 0.9
    figures = json.loads(summary.read_text())
    assert figures["silhouette"] is figures["inertia"] is None and figures["faces"] == 100
    assert b"left out" not in done.stderr
    done = run(*arguments, "--method", "mixture", "--format", "jsonl", check=1)
    assert b"some scores are missing (NaN), which JSONL cannot hold; use --format npy" in done.stderr
    done = run(*arguments, "--method", "kmedians", "--format", "npy", check=3)
    assert b"left out row 0: its score of 1 is nan" in done.stderr
    assert len(np.load(io.BytesIO(done.stdout))) == 79


def test_scores_out_of_range_are_still_refused_beside_missing_ones(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "scores.npy", np.array([[np.nan, 0.5], [0.2, 1.5]], np.float32))
    done = run("cluster", tmp_path / "scores.npy", "--method", "mixture", "-k", "1", "--format", "npy", check=1)
    assert b"some values are outside 0 to 1" in done.stderr
