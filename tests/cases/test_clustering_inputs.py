"""Clustering of tables that trouble other tools: too few distinct rows, no direction, no numbers, extreme values.

scikit-learn #7689, #10059, #10138, #12029, #31541; cuML #2050; FAISS #2363, #2492, #2619.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Run

RNG = np.random.default_rng(0)
EMBEDDINGS = RNG.normal(size=(120, 16)).astype(np.float32)


def cluster_array(run: Run, folder: Path, array: np.ndarray, *arguments: str, check: int = 0) -> tuple[list[int], str]:
    """The clusters of the rows of an array, and what fa-cluster printed."""
    np.save(folder / "in.npy", array)
    done = run("cluster", folder / "in.npy", "--format", "jsonl", *arguments, check=check)
    message = done.stderr.decode()
    assert "Warning" not in message and "defect" not in message
    return [json.loads(line)["cluster"] for line in done.stdout.splitlines()], message


def summarize(run: Run, folder: Path, array: np.ndarray, *arguments: str) -> dict[str, object]:
    cluster_array(run, folder, array, *arguments, "--summary", str(folder / "summary.json"))
    return json.loads((folder / "summary.json").read_text())


@pytest.mark.parametrize("method", ["kmeans", "agglomerative", "birch", "spectral"])
def test_more_clusters_than_distinct_rows_are_refused(method: str, run: Run, tmp_path: Path) -> None:
    for array, soft in ((np.ones((50, 8), np.float32), ["--soft"]), (np.zeros((40, 10), np.uint8), [])):
        rows, message = cluster_array(run, tmp_path, array, "-k", "2", "--method", method, *soft, check=1)
        assert not rows
        assert message == "fa-cluster: k is 2; it must be from 1 to 1, the number of distinct rows\n"


def test_equal_rows_are_one_row_with_a_count(run: Run, tmp_path: Path) -> None:
    array = EMBEDDINGS[RNG.integers(3, size=90)]
    rows, _ = cluster_array(run, tmp_path, array, "-k", "3", "--soft")
    assert len({(cluster, *row) for cluster, row in zip(rows, array.tolist(), strict=True)}) == 3
    assert summarize(run, tmp_path, array, "-k", "2", "--soft")["distinct_codes"] == 3


def test_kmeans_with_the_cosine_metric_is_spherical(run: Run, tmp_path: Path) -> None:
    lengths = 10 ** RNG.uniform(-2, 2, (120, 1))
    groups = np.arange(120) % 3
    array = np.float32((EMBEDDINGS[groups] + 0.01 * EMBEDDINGS) * lengths)
    cosine, _ = cluster_array(run, tmp_path, array, "-k", "3", "--soft", "--metric", "cosine")
    assert len(set(zip(cosine, groups.tolist(), strict=True))) == 3
    euclidean, _ = cluster_array(run, tmp_path, array, "-k", "3", "--soft")
    assert euclidean != cosine
    figures = summarize(run, tmp_path, array, "-k", "3", "--soft", "--metric", "cosine")
    assert figures["parameters"] == {"k": 3, "metric": "cosine", "redo": 1, "seed": 0}
    units = array.astype(np.float64)
    units /= np.linalg.norm(array, axis=1, keepdims=True)
    expected = sum(40 - np.linalg.norm(units[groups == group].sum(axis=0)) for group in range(3))
    assert figures["inertia"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("method", ["kmeans", "dbscan", "optics"])
def test_the_cosine_metric_needs_a_direction(method: str, run: Run, tmp_path: Path) -> None:
    arguments = ("--metric", "cosine", "--method", method, *(("-k", "2") if method == "kmeans" else ()))
    zero_row = EMBEDDINGS.copy()
    zero_row[5] = 0
    _, message = cluster_array(run, tmp_path, zero_row, "--soft", *arguments, check=1)
    assert message == "fa-cluster: the cosine metric is undefined for a row of zeros (1 of 120)\n"
    bits = (EMBEDDINGS[:, :3] > 0.7).astype(np.uint8)
    _, message = cluster_array(run, tmp_path, bits, *arguments, check=1)
    assert "undefined for a face that has none of the attributes (" in message and message.count("\n") == 1


def test_values_that_are_no_numbers_are_left_out(run: Run, tmp_path: Path) -> None:
    array = EMBEDDINGS.copy()
    array[7], array[9, 3], array[11, 2] = np.nan, np.inf, 1e30
    rows, message = cluster_array(run, tmp_path, array, "-k", "2", "--soft", check=3)
    assert len(rows) == 117
    assert "left out row 7: its value of 0 is nan" in message
    assert "left out row 9: its value of 3 is inf, but the largest that can be clustered is 1e+24" in message
    assert "left out row 11: its value of 2 is 1" in message
    _, message = cluster_array(run, tmp_path, np.full((9, 4), np.nan, np.float32), "-k", "2", "--soft", check=1)
    assert message.endswith("fa-cluster: there are no faces to cluster\n")


def test_values_beyond_32_bits_are_refused(run: Run, tmp_path: Path) -> None:
    _, message = cluster_array(run, tmp_path, EMBEDDINGS.astype(np.float64) * 1e200, "-k", "3", "--soft", check=1)
    assert "32-bit" in message and message.count("\n") == 1


@pytest.mark.parametrize(("offset", "factor"), [(30_000.0, 1.0), (1e6, 1.0), (0.0, 1e20), (0.0, 1e-30)])
def test_offset_and_scale_do_not_matter(offset: float, factor: float, run: Run, tmp_path: Path) -> None:
    groups = np.arange(120) % 3
    array = np.float32(((3 * EMBEDDINGS[groups] + 0.3 * EMBEDDINGS).astype(np.float64) + offset) * factor)
    rows, _ = cluster_array(run, tmp_path, array, "-k", "3", "--soft")
    assert len(set(zip(rows, groups.tolist(), strict=True))) == 3


def test_noise_is_counted_in_the_summary(run: Run, tmp_path: Path) -> None:
    figures = summarize(run, tmp_path, EMBEDDINGS, "--soft", "--method", "dbscan")
    assert (figures["clusters"], figures["noise"], figures["noise_share"]) == (0, 120, 1.0)
    assert figures["silhouette"] is None
    _, message = cluster_array(run, tmp_path, EMBEDDINGS, "--soft", "--method", "dbscan")
    assert "120 faces in 0 clusters, 120 noise (100.0%)" in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"0": true, "1": 1}', "the weight of '0' is not a number"),
        ('{"0": "0.5", "1": 1}', "the weight of '0' is not a number"),
        ('{"0": 1, "1": 1, "0": 2}', "two weights for the attribute '0'"),
        ('{"0": NaN, "1": 1}', "weights must be 2 finite numbers"),
        ('{"0": -1, "1": 1}', "weights must be 2 finite numbers"),
        ('{"0": 0, "1": 0}', "weights must be 2 finite numbers"),
        ('{"0": 1}', "no weight for the attribute '1'"),
        ("[1, 2]", "not a JSON object with a number for each attribute"),
        ("[" * 100_000, "not a JSON object with a number for each attribute"),
        ('{"0": 1' + "0" * 400 + "}", "not a JSON object with a number for each attribute"),
    ],
)
def test_weights_are_one_number_per_attribute(content: str, message: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "weights.json").write_text(content)
    bits = np.array([[0, 1], [1, 0], [1, 1]], np.uint8)
    _, error = cluster_array(run, tmp_path, bits, "-k", "2", "--weights", str(tmp_path / "weights.json"), check=1)
    assert message in error and error.count("\n") == 1


def test_a_weight_of_0_leaves_an_attribute_out(run: Run, tmp_path: Path) -> None:
    (tmp_path / "weights.json").write_text('{"0": 1, "1": 0}')
    bits, weights = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.uint8), ["--weights", str(tmp_path / "weights.json")]
    rows, _ = cluster_array(run, tmp_path, bits, "-k", "2", *weights)
    assert rows in ([0, 0, 1, 1], [1, 1, 0, 0])
    _, message = cluster_array(run, tmp_path, bits, "-k", "3", *weights, check=1)
    assert "k is 3; it must be from 1 to 2, the number of distinct rows" in message


def test_ranges_of_any_length_are_compared(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", np.eye(4, dtype=np.uint8))
    done = run("cluster", tmp_path / "in.npy", "--compare", "1:99999999999999", "--methods", "kmeans,kmeans", check=3)
    assert [json.loads(line)["k"] for line in done.stdout.splitlines()] == [1, 2, 3, 4]
    for wrong in ("2²:3", "0:3", "3:2", "1:9999999999999999999", ":", "2:"):
        assert b"is not a range" in run("cluster", tmp_path / "in.npy", "--compare", wrong, check=2).stderr


def test_numbers_of_any_size_are_accepted_or_refused(run: Run, tmp_path: Path) -> None:
    bits = np.eye(4, dtype=np.uint8)
    huge = "9" * 30
    rows, _ = cluster_array(run, tmp_path, bits, "--method", "dbscan", "--min-samples", huge)
    assert rows == [-1] * 4
    cluster_array(run, tmp_path, bits, "-k", "2", "--seed", huge)
    assert "k is 9999" in cluster_array(run, tmp_path, bits, "-k", huge, check=1)[1]
    assert (
        "seeds below 2^32"
        in cluster_array(run, tmp_path, bits, "-k", "2", "--method", "spectral", "--seed", huge, check=2)[1]
    )
    assert "--jobs" in cluster_array(run, tmp_path, bits, "-k", "2", "--jobs", huge, check=2)[1]
    assert "eps is inf" in cluster_array(run, tmp_path, bits, "--method", "dbscan", "--eps", "inf", check=2)[1]


def test_too_many_attributes_name_the_alternatives(run: Run, tmp_path: Path) -> None:
    bits = (RNG.random((20, 300)) < 0.5).astype(np.uint8)
    assert "limited to 256; choose some by --attributes" in cluster_array(run, tmp_path, bits, "-k", "2", check=1)[1]
    rows, _ = cluster_array(run, tmp_path, bits, "-k", "2", "--soft")
    assert set(rows) == {0, 1}
