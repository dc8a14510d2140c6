"""Distinct rows, unit rows and centered rows of continuous values, and clusterings that must not depend on them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import OPTICS
from sklearn.metrics import adjusted_rand_score, silhouette_score

from facetools.clustering import Parameters, vectors
from facetools.clustering.points import from_values
from facetools.clustering.runs import METHODS, cluster
from facetools.clustering.silhouette import mean_silhouette

METHODS_FOR_VALUES = [method for method in METHODS if method not in ("kmedians", "mixture")]


def random_groups(seed: int = 0, faces: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Well separated values, float32 (faces, 16), and the group of each face."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(5, size=faces)
    values = 2 * rng.normal(size=(5, 16))[groups] + 0.2 * rng.normal(size=(faces, 16))
    return values.astype(np.float32), groups


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 5))
def test_distinct_rows_are_in_order_of_first_appearance(seed: int, count: int, columns: int) -> None:
    rows = np.random.default_rng(seed).integers(-1, 2, (count, columns)).astype(np.float32)
    rows[::3] *= -1  # makes zeros negative
    first, counts, inverse = vectors.find_distinct(rows)
    assert (np.diff(first) > 0).all()
    np.testing.assert_array_equal(rows[first[inverse]], rows)
    assert len(np.unique(rows[first] + 0, axis=0)) == len(first)
    np.testing.assert_array_equal(counts, np.bincount(inverse))


def test_distinct_rows_are_found_if_all_hashes_are_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).integers(-1, 2, (300, 4)).astype(np.float32)
    rows[rows == 0] *= -1
    expected = vectors.find_distinct(rows)
    monkeypatch.setattr(vectors, "_hash_rows", lambda rows: np.zeros(len(rows), np.uint64))
    for actual, array in zip(vectors.find_distinct(rows), expected, strict=True):
        np.testing.assert_array_equal(actual, array)


@pytest.mark.parametrize("factor", [1.0, 1e24, 1e-38])
def test_scaled_rows_are_exact_multiples(factor: float) -> None:
    rows = np.float32(np.random.default_rng(1).normal(size=(50, 3)).clip(-1, 1) * factor)
    scaled, exponent = vectors.scale(rows)
    np.testing.assert_array_equal(scaled.astype(np.float64), np.ldexp(rows.astype(np.float64), exponent))
    assert 2.0**49 <= np.abs(scaled).max() < 2.0**50


def test_one_huge_row_does_not_move_the_center() -> None:
    rows, _ = random_groups()
    rows[7] = 1e20
    centered, exponent = vectors.center(rows)
    distance = np.float64(centered[0] - centered[1])
    np.testing.assert_allclose(distance, np.ldexp(np.float64(rows[0]) - rows[1], exponent), rtol=1e-5)


def test_values_that_are_not_finite_or_too_large_are_rejected() -> None:
    for value in (np.nan, np.inf, -np.inf, 1e25):
        with pytest.raises(ValueError, match=r"values must be finite and at most 1e\+24"):
            from_values(np.full((2, 3), value, np.float32))


@pytest.mark.parametrize("method", METHODS_FOR_VALUES)
@pytest.mark.parametrize(("offset", "factor"), [(30_000, 1), (0, 1e20), (0, 1e-30)])
def test_clusters_and_figures_do_not_depend_on_offset_and_scale(method: str, offset: float, factor: float) -> None:
    values, groups = random_groups()
    if method == "spectral" and factor != 1:
        return  # the width of its kernel is absolute
    k = None if method in ("dbscan", "optics") else 5
    results = [
        cluster(
            from_values(((values.astype(np.float64) + shift) * scale).astype(np.float32)),
            method,
            k,
            Parameters(device="cpu", eps=2 * scale, threshold=scale),
        )
        for shift, scale in ((0, 1), (offset, factor))
    ]
    assert all(adjusted_rand_score(groups, result.labels) == 1 for result in results)
    expected, actual = (result.figures for result in results)
    assert actual["inertia"] / factor**2 == pytest.approx(expected["inertia"], rel=1e-3)
    assert actual["silhouette"] == pytest.approx(expected["silhouette"], abs=1e-4)


# Counts


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("method", METHODS_FOR_VALUES)
def test_repeated_rows_give_the_clusters_of_distinct_rows(method: str, metric: str) -> None:
    values, groups = random_groups(faces=60)
    repetitions = np.random.default_rng(2).integers(1, 4, 60)
    repeated = np.repeat(values, repetitions, axis=0)
    points = from_values(repeated)
    assert len(points.rows) == 60 and points.faces == repetitions.sum()
    np.testing.assert_array_equal(points.counts, repetitions)
    if metric == "cosine" and method in ("birch", "spectral"):
        return
    parameters = Parameters(device="cpu", metric=metric, linkage="average", eps=2 if metric == "euclidean" else 0.2)
    k = None if method in ("dbscan", "optics") else 5
    result = cluster(points, method, k, parameters)
    expected = np.repeat(groups, repetitions)
    if method == "optics":
        with np.errstate(divide="ignore", invalid="ignore"):
            expected = OPTICS(metric=metric).fit(repeated).labels_
    assert adjusted_rand_score(expected, result.labels) == 1
    clustered = result.labels >= 0
    assert result.figures["faces"] == len(repeated)
    assert result.figures["distinct_codes"] == 60
    assert result.figures["silhouette"] == pytest.approx(
        silhouette_score(repeated[clustered], result.labels[clustered]), abs=1e-6
    )


@pytest.mark.parametrize("clusters", [2, 7])
def test_silhouette_of_vectors_counts_repeated_rows_and_ignores_noise(clusters: int) -> None:
    rng = np.random.default_rng(clusters)
    values = rng.normal(size=(40, 3)).astype(np.float32)[rng.integers(40, size=300)]
    labels = rng.integers(-1, clusters, 300).astype(np.int32)  # equal rows are in different clusters
    is_clustered = labels >= 0
    expected = silhouette_score(values[is_clustered], labels[is_clustered])
    assert mean_silhouette(from_values(values), labels) == pytest.approx(expected, abs=1e-6)


def test_silhouette_of_vectors_is_0_in_clusters_of_one_face() -> None:
    values = np.array([[0.0], [0.0], [1.0]], np.float32)
    assert mean_silhouette(from_values(values), np.array([0, 0, 1], np.int32)) == pytest.approx(2 / 3)


@pytest.mark.parametrize("method", ["kmeans", "agglomerative", "birch", "spectral"])
def test_more_clusters_than_distinct_rows_are_refused(method: str) -> None:
    values = np.array([[0.0, 1], [-0.0, 1], [1, 0], [1, 0], [1, 0]], np.float32)
    assert sorted(np.bincount(cluster(from_values(values), method, 2, Parameters()).labels)) == [2, 3]
    for count, points in ((1, from_values(np.ones((50, 8), np.float32))), (2, from_values(values))):
        with pytest.raises(ValueError, match=f"k is {count + 1}; it must be from 1 to {count}, the number of distinct"):
            cluster(points, method, count + 1, Parameters())
