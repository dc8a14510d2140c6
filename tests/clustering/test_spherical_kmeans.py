"""Spherical K-Means against a plain NumPy version (Dhillon and Modha 2001), on attributes and on vectors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, silhouette_score

from facetools.clustering import Parameters
from facetools.clustering.points import Points, from_bits, from_values, inertia
from facetools.clustering.rows import UnitRows
from facetools.clustering.runs import check_parameters, cluster, compare

COSINE = Parameters(metric="cosine", device="cpu")


def spherical_kmeans(rows: np.ndarray, k: int, starts: int = 20) -> float:
    """The smallest inertia of `starts` runs of spherical K-Means from random rows."""
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    rng, best = np.random.default_rng(0), np.inf
    for _ in range(starts):
        centroids = units[rng.choice(len(units), k, replace=False)]
        for _ in range(100):
            labels = (units @ centroids.T).argmax(axis=1)
            sums = np.stack([units[labels == c].sum(axis=0) for c in range(k)])
            lengths = np.linalg.norm(sums, axis=1, keepdims=True)
            centroids = np.where(lengths > 0, sums / np.maximum(lengths, 1e-300), centroids)
        best = min(best, float((1 - (units @ centroids.T).max(axis=1)).sum()))
    return best


def random_bits(count: int, attributes: int, seed: int) -> np.ndarray:
    """0/1 attributes with groups and repeated rows; every face has the first attribute."""
    rng = np.random.default_rng(seed)
    centers = rng.random((5, attributes)) < 0.4
    bits = centers[rng.integers(5, size=count)] ^ (rng.random((count, attributes)) < 0.1)
    bits[:, 0] = True
    return bits.astype(np.uint8)


def cosine_inertia(rows: np.ndarray, labels: np.ndarray) -> float:
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    total = 0.0
    for label in np.unique(labels):
        members = units[labels == label]
        total += (1 - members @ (members.sum(axis=0) / np.linalg.norm(members.sum(axis=0)))).sum()
    return total


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_attributes_are_clustered_as_well_as_by_the_plain_version(seed: int, weighted: bool) -> None:
    bits = random_bits(400, 12, seed)
    weights = np.random.default_rng(seed).uniform(0.2, 2, 12) if weighted else None
    rows = bits * (1.0 if weights is None else weights)
    result = cluster(from_bits(bits, weights), "kmeans", 5, Parameters(metric="cosine", device="cpu", redo=10))
    assert result.figures["inertia"] == pytest.approx(cosine_inertia(rows, result.labels), rel=1e-9)
    assert result.figures["inertia"] <= 1.01 * spherical_kmeans(rows, 5)
    assert result.figures["silhouette"] == pytest.approx(silhouette_score(bits.astype(float), result.labels), abs=1e-9)
    assert result.figures["parameters"] == {"k": 5, "metric": "cosine", "redo": 10, "seed": 0}


@pytest.mark.parametrize("weighted", [False, True])
def test_vectors_are_clustered_as_well_as_by_the_plain_version(weighted: bool) -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(size=(8, 10))[rng.integers(8, size=500)] + 0.4 * rng.normal(size=(500, 10))
    values = np.float32(values * rng.uniform(0.1, 50, (500, 1)))  # the lengths do not matter
    weights = rng.uniform(0.5, 1.5, 10) if weighted else None
    result = cluster(from_values(values, weights), "kmeans", 8, COSINE)
    rows = values.astype(np.float64) * (1.0 if weights is None else weights)
    assert result.figures["inertia"] == pytest.approx(cosine_inertia(rows, result.labels), rel=1e-6)
    assert result.figures["inertia"] <= 1.01 * spherical_kmeans(rows, 8)


def test_the_length_of_a_row_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(3, 6))
    groups = rng.integers(3, size=90)
    values = np.float32((directions[groups] + 0.05 * rng.normal(size=(90, 6))) * 10 ** rng.uniform(-3, 3, (90, 1)))
    spherical = cluster(from_values(values), "kmeans", 3, COSINE)
    assert adjusted_rand_score(groups, spherical.labels) == 1
    euclidean = cluster(from_values(values), "kmeans", 3, Parameters(device="cpu"))
    assert adjusted_rand_score(groups, euclidean.labels) < 0.5


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_a_count_equals_repeated_rows(seed: int, k: int) -> None:
    rows = np.unique(random_bits(60, 6, seed), axis=0)
    counts = np.random.default_rng(seed).integers(1, 5, len(rows))
    k = min(k, len(rows))
    weights = np.sqrt(np.random.default_rng(7).uniform(0.5, 1.5, 6))  # avoids ties
    repeated = from_bits(np.repeat(rows, counts, axis=0), weights)
    counted = Points(repeated.rows, counts, np.arange(len(rows)), weights, repeated.packed_codes)
    counted_labels = cluster(counted, "kmeans", k, COSINE).labels
    result = cluster(repeated, "kmeans", k, COSINE)
    assert inertia(counted, counted_labels, "cosine") == pytest.approx(result.figures["inertia"], abs=1e-9)
    assert adjusted_rand_score(np.repeat(counted_labels, counts), result.labels) == 1


def test_the_engines_and_the_numbers_of_threads_agree() -> None:
    for points in (
        from_bits(random_bits(3000, 30, 3)),
        from_values(np.float32(np.random.default_rng(0).random((1500, 9)))),
    ):
        labels = [
            cluster(points, "kmeans", 6, Parameters(metric="cosine", device="cpu", jobs=jobs, engine=engine)).labels
            for jobs, engine in ((1, "auto"), (2, "auto"), (5, "auto"), (1, "sklearn"))
        ]
        assert all((other == labels[0]).all() for other in labels)


def test_means_are_directions_and_merge_costs_are_those_of_the_inertia() -> None:
    rng = np.random.default_rng(2)
    points = from_values(rng.normal(size=(40, 5)).astype(np.float32))
    rows = UnitRows(points.unit_rows, points.counts, 1, None)
    labels = np.arange(40) % 4
    centroids, sizes = rows.means(labels, 4)
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1)
    before = inertia(points, labels, "cosine")
    for first, second, cost in zip(*rows.merge_costs(centroids, sizes), strict=True):
        merged = np.where(labels == second, first, labels)
        assert cost == pytest.approx(inertia(points, merged, "cosine") - before, abs=1e-5)
        expected, _ = rows.means(np.unique(merged, return_inverse=True)[1], 3)
        pair = [first, second]
        direction = rows.merge(centroids[pair], sizes[pair])
        assert np.abs(expected - direction).sum(axis=1).min() < 1e-9


def test_opposite_rows_have_a_centroid() -> None:
    values = np.array([[1, 0], [-1, 0], [2, 0], [-2, 0]], np.float32)
    assert cluster(from_values(values), "kmeans", 1, COSINE).figures["inertia"] == pytest.approx(4)
    two = cluster(from_values(values), "kmeans", 2, COSINE)
    assert two.figures["inertia"] == 0 and two.labels[0] == two.labels[2] != two.labels[1] == two.labels[3]
    with pytest.raises(ValueError, match="k is 3; it must be from 1 to 2, the number of distinct directions"):
        cluster(from_values(values), "kmeans", 3, COSINE)


@pytest.mark.parametrize("method", ["kmeans", "agglomerative", "dbscan", "optics"])
def test_rows_without_direction_are_refused(method: str) -> None:
    parameters = Parameters(metric="cosine", linkage="average")
    k = 2 if method in ("kmeans", "agglomerative") else None
    bits = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 1], [0, 0, 0]], np.uint8)
    message = "the cosine metric is undefined for a face that has none of the attributes \\(2 of 4\\)"
    with pytest.raises(ValueError, match=message):
        cluster(from_bits(bits), method, k, parameters)
    with pytest.raises(ValueError, match="none of the attributes"):  # only an attribute of weight 0
        cluster(from_bits(bits[1:3], np.array([0, 1.0, 1])), method, k, parameters)
    with pytest.raises(ValueError, match="the cosine metric is undefined for a row of zeros \\(2 of 4\\)"):
        cluster(from_values(bits.astype(np.float32)), method, k, parameters)


def test_kmeans_takes_no_manhattan_metric_except_euclidean_in_a_comparison() -> None:
    for metric in ("manhattan", "l1"):
        with pytest.raises(ValueError, match=f"KMeans takes the metric euclidean or cosine, not {metric}"):
            check_parameters(Parameters(metric=metric), "kmeans")  # type: ignore[arg-type]
    check_parameters(Parameters(metric="l2"), "kmeans")
    records = compare(
        from_bits(random_bits(100, 8, 0)),
        ["kmeans", "agglomerative"],
        range(2, 3),
        Parameters(metric="manhattan", linkage="complete"),
        on_failure=lambda name, reason: pytest.fail(reason),
    )
    assert [record["parameters"]["metric"] for record in records] == ["euclidean", "manhattan"]
