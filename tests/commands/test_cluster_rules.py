"""The rules of the clusters in the summary of fa-cluster and on its stderr."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Run

NAMES = ("Male", "No_Beard", "Young")


def write_table(path: Path, bits: np.ndarray, names: tuple[str, ...] = NAMES) -> Path:
    with path.open("w") as stream:
        for row in bits.tolist():
            stream.write(json.dumps({"labels": dict(zip(names, row, strict=True))}) + "\n")
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Six men with a beard, four young women, and two faces that are neither."""
    bits = np.array([[1, 0, 0]] * 6 + [[0, 1, 1]] * 4 + [[0, 1, 0]] * 2)
    return write_table(tmp_path / "table.jsonl", bits)


def lines(stderr: bytes) -> list[str]:
    return [line.removeprefix("fa-cluster: ") for line in stderr.decode().splitlines()]


def test_the_summary_and_stderr_have_a_rule_per_cluster(table: Path, run: Run, tmp_path: Path) -> None:
    done = run("cluster", table, "-k", "2", "--summary", tmp_path / "s.json")
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["clusters"] == 2 and set(summary["seconds"]) == {"read", "cluster", "silhouette", "rules", "write"}
    first, second = summary["explanations"]
    assert (first["cluster"], first["faces"], second["cluster"], second["faces"]) == (0, 6, 1, 6)
    assert first["rule"] == {
        "text": "Male: 100% of the cluster, 0% of other faces",
        "literals": [{"attribute": "Male", "present": True}],
        "precision": 1.0,
        "recall": 1.0,
        "f1": 1.0,
        "other_faces": 0.0,
    }
    assert second["rule"]["literals"] == [{"attribute": "Male", "present": False}]
    assert lines(done.stderr)[:-1] == [
        "cluster 0 (6 faces): Male: 100% of the cluster, 0% of other faces",
        "cluster 1 (6 faces): not Male: 100% of the cluster, 0% of other faces",
    ]


def test_noise_counts_as_other_faces(table: Path, run: Run, tmp_path: Path) -> None:
    """Without the noise, `not Male` would be as good as `Young`, and comes first."""
    arguments = ("--method", "dbscan", "--eps", "0.5", "--min-samples", "4", "--summary", tmp_path / "s.json")
    done = run("cluster", table, *arguments)
    assert lines(done.stderr)[1] == "cluster 1 (4 faces): Young: 100% of the cluster, 0% of other faces"
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["noise"] == 2 and [entry["faces"] for entry in summary["explanations"]] == [6, 4]


@pytest.mark.parametrize("method", ["kmeans", "birch"])
def test_rules_are_made_of_the_selected_attributes(method: str, table: Path, run: Run) -> None:
    done = run("cluster", table, "-k", "3", "--attributes", "Young,No_Beard", "--method", method)
    assert lines(done.stderr)[:-1] == [
        "cluster 0 (6 faces): Beard: 100% of the cluster, 0% of other faces",
        "cluster 1 (4 faces): Young: 100% of the cluster, 0% of other faces",
        "cluster 2 (2 faces): No Beard, not Young: 100% of the cluster, 0% of other faces",
    ]


def test_a_cluster_of_all_faces_has_no_line(table: Path, run: Run, tmp_path: Path) -> None:
    done = run("cluster", table, "-k", "1", "--summary", tmp_path / "s.json")
    assert len(lines(done.stderr)) == 1
    rule = json.loads((tmp_path / "s.json").read_text())["explanations"][0]["rule"]
    assert (rule["text"], rule["literals"], rule["other_faces"]) == ("every face: 100% of the cluster", [], None)


def test_plain_arrays_have_column_numbers(run: Run, tmp_path: Path) -> None:
    bits = np.array([[1, 0, 0]] * 6 + [[0, 1, 1]] * 4, np.uint8)
    np.save(tmp_path / "bits.npy", bits)
    np.save(tmp_path / "codes.npy", np.packbits(bits, axis=1, bitorder="little").astype(np.uint64).reshape(-1))
    for name in ("bits.npy", "codes.npy"):
        done = run("cluster", tmp_path / name, "-k", "2", "-o", tmp_path / "out.npy")
        assert lines(done.stderr)[:-1] == [
            "cluster 0 (6 faces): column 0: 100% of the cluster, 0% of other faces",
            "cluster 1 (4 faces): not column 0: 100% of the cluster, 0% of other faces",
        ]


def test_there_are_no_rules_without_attributes_in_comparisons_or_for_too_many_attributes(
    run: Run, tmp_path: Path, table: Path
) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "embeddings.npy", rng.normal(size=(30, 4)).astype(np.float32))
    done = run("cluster", tmp_path / "embeddings.npy", "-k", "2", "--soft", "--summary", tmp_path / "s.json")
    summary = json.loads((tmp_path / "s.json").read_text())
    assert [entry["rule"] for entry in summary["explanations"]] == [None, None]
    assert sum(entry["faces"] for entry in summary["explanations"]) == 30
    assert "rules" not in summary["seconds"] and len(lines(done.stderr)) == 1
    assert len(lines(run("cluster", table, "--compare", "2:3", "--methods", "kmeans").stderr)) == 1

    np.save(tmp_path / "many.npy", rng.integers(0, 2, (30, 65), np.uint8))
    done = run(
        "cluster", tmp_path / "many.npy", "-k", "2", "--summary", tmp_path / "s.json", "-o", tmp_path / "out.npy"
    )
    assert lines(done.stderr)[:-1] == ["no rules for the clusters; attributes: more than 64 differ between the faces"]
    assert json.loads((tmp_path / "s.json").read_text())["explanations"][1]["rule"] is None


def test_many_clusters_have_rules_in_the_summary_only(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "bits.npy", np.eye(21, dtype=np.uint8))
    for k, printed in ((20, 20), (21, 0)):
        done = run(
            "cluster", tmp_path / "bits.npy", "-k", str(k), "--summary", tmp_path / "s.json", "--format", "jsonl"
        )
        assert len(lines(done.stderr)) == printed + 1
        explanations = json.loads((tmp_path / "s.json").read_text())["explanations"]
        assert len(explanations) == k and explanations[-1]["rule"]["f1"] == 1


def test_control_characters_in_names_do_not_reach_the_terminal(run: Run, tmp_path: Path) -> None:
    names = ("\x1b[31mred\n", "b")
    table = write_table(tmp_path / "t.jsonl", np.array([[1, 0]] * 6 + [[0, 1]] * 4), names)
    done = run("cluster", table, "-k", "2", "--summary", tmp_path / "s.json")
    assert b"\x1b" not in done.stderr and len(lines(done.stderr)) == 3
    literals = json.loads((tmp_path / "s.json").read_text())["explanations"][0]["rule"]["literals"]
    assert literals == [{"attribute": names[0], "present": True}]
