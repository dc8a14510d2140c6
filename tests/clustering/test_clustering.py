"""All clustering methods against scikit-learn on all faces, counts against repeated rows, figures and comparisons."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import pytest
import sklearn.cluster
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, silhouette_score

from facetools.clustering import Parameters, check_k, check_parameters, kmeans
from facetools.clustering.codes import pack
from facetools.clustering.forecast import MemoryLimitError, Monitor, require_memory
from facetools.clustering.points import Points, from_bits, from_codes, from_values, inertia, renumber_by_size
from facetools.clustering.rows import FaissSearch, SklearnSearch, VectorRows
from facetools.clustering.runs import METHODS, cluster, compare
from facetools.clustering.silhouette import mean_silhouette
from facetools.runtime import extras


def random_bits(count: int, attributes: int, seed: int, groups: int = 5) -> np.ndarray:
    """0/1 attributes, uint8 (count, attributes), of faces in groups. Many rows are equal."""
    rng = np.random.default_rng(seed)
    centers = rng.random((groups, attributes)) < 0.5
    flips = rng.random((count, attributes)) < 0.12
    return (centers[rng.integers(groups, size=count)] ^ flips).astype(np.uint8)


def random_weights(attributes: int) -> np.ndarray:
    """Attribute weights that avoid ties: with equal distances between different rows, several results are correct."""
    return np.sqrt(np.random.default_rng(7).uniform(0.5, 1.5, attributes))


def compute_labels(points: Points, method: str, k: int | None = None, **parameters: object) -> np.ndarray:
    return cluster(points, method, k, Parameters(**parameters)).labels  # type: ignore[arg-type]


# Points


def test_points_are_distinct_rows_with_counts() -> None:
    bits = random_bits(500, 9, 1)
    points = from_bits(bits)
    assert len(points.counts) == len(np.unique(bits, axis=0)) < 500
    assert points.counts.sum() == points.faces == 500
    assert (points.rows[points.inverse] == bits).all()
    assert (from_codes(pack(bits), 9).rows == points.rows).all()


@pytest.mark.parametrize("weights", [[1.0], [1.0, np.nan, 1.0], [1.0, -1.0, 1.0], [0.0, 0.0, 0.0]])
def test_invalid_weights_are_rejected(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights must be 3 finite numbers"):
        from_bits(np.eye(3, dtype=np.uint8), np.array(weights))
    with pytest.raises(ValueError, match="weights must be 3 finite numbers"):
        from_values(np.eye(3, dtype=np.float32), np.array(weights))


def test_clusters_are_numbered_by_size() -> None:
    assert renumber_by_size(np.array([7, 3, 3, -1, 5, 3, 5])).tolist() == [2, 0, 0, -1, 1, 0, 1]
    assert renumber_by_size(np.array([2, 1, 0]), np.array([1, 5, 1])).tolist() == [1, 0, 2]


# Parameters


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"linkage": "median"}, "linkage is 'median'; it must be one of ward, complete, average, single"),
        ({"metric": "hamming"}, "metric is 'hamming'; it must be one of euclidean"),
        ({"engine": "faiss"}, "engine is 'faiss'; it must be one of auto, sklearn"),
        ({"eps": 0.0}, "eps is 0.0; it must be greater than 0"),
        ({"eps": np.nan}, "eps is nan; it must be greater than 0"),
        ({"threshold": -1.0}, "the threshold of BIRCH is -1.0; it must be greater than 0"),
        ({"redo": 0}, "redo is 0; it must be at least 1"),
        ({"min_samples": 0}, "min_samples is 0; it must be at least 1"),
        ({"jobs": 0}, "jobs is 0; it must be at least 1"),
    ],
)
def test_parameters_out_of_range_are_rejected(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Parameters(**parameters)


def test_ward_linkage_needs_the_euclidean_metric() -> None:
    parameters = Parameters(metric="manhattan")
    with pytest.raises(ValueError, match="ward linkage takes the euclidean metric only, not manhattan"):
        check_parameters(parameters, "agglomerative")
    check_parameters(parameters, "dbscan")
    check_parameters(Parameters(metric="l2"), "agglomerative")


def test_unknown_methods_are_rejected() -> None:
    message = "'ward' is not a clustering method; choose from kmeans, agglomerative, dbscan"
    with pytest.raises(ValueError, match=message):
        check_parameters(Parameters(), "ward")
    with pytest.raises(ValueError, match=message):
        check_k(3, "ward")
    with pytest.raises(ValueError, match=message):
        compute_labels(from_bits(np.eye(3, dtype=np.uint8)), "ward", 2)


@pytest.mark.parametrize("method", METHODS)
def test_k_is_rejected_if_missing_or_superfluous_or_below_1(method: str) -> None:
    finds_k = method in ("dbscan", "optics")
    invalid: list[tuple[int | None, str]] = (
        [(2, f"the method {method} finds the number of clusters itself; omit k")]
        if finds_k
        else [(None, f"the method {method} needs the number of clusters, k"), (0, "k is 0; it must be at least 1")]
    )
    for k, message in invalid:
        with pytest.raises(ValueError, match=message):
            check_k(k, method)
        with pytest.raises(ValueError, match=message):
            compute_labels(from_bits(np.eye(5, dtype=np.uint8)), method, k)
    check_k(None if finds_k else 2, method)


@pytest.mark.parametrize("method", METHODS)
def test_no_faces_are_rejected_and_one_face_is_clustered(method: str) -> None:
    k = None if method in ("dbscan", "optics") else 1
    with pytest.raises(ValueError, match="there are no faces"):
        compute_labels(from_bits(np.zeros((0, 5), np.uint8)), method, k)
    if method != "spectral":  # scikit-learn needs two faces
        labels = compute_labels(from_bits(np.ones((1, 5), np.uint8)), method, k)
        assert labels.tolist() == ([0] if k == 1 else [-1])


# K-Means


@pytest.mark.parametrize("engine", ["auto", "sklearn"])
def test_kmeans_inertia_is_within_one_percent_of_ten_runs_of_scikit_learn(engine: Literal["auto", "sklearn"]) -> None:
    bits = random_bits(3000, 20, 2, groups=9)
    result = cluster(from_bits(bits), "kmeans", 9, Parameters(redo=10, engine=engine))
    expected = sklearn.cluster.KMeans(9, n_init=10, random_state=0).fit(bits.astype(float)).inertia_
    assert result.figures["inertia"] <= 1.01 * expected


def test_inertia_is_the_weighted_sum_of_squares_over_all_faces() -> None:
    bits, weights = random_bits(400, 8, 3), random_weights(8)
    points = from_bits(bits, weights)
    labels = compute_labels(points, "kmeans", 6)
    weighted = bits * weights
    expected = sum(((weighted[labels == c] - weighted[labels == c].mean(0)) ** 2).sum() for c in range(6))
    assert inertia(points, labels) == pytest.approx(expected, rel=1e-6)


def test_kmeans_leaves_no_cluster_empty() -> None:
    points = from_bits(np.eye(7, dtype=np.uint8)[np.arange(70) % 7])
    result = cluster(points, "kmeans", 7, Parameters())
    assert (np.bincount(result.labels) == 10).all()
    assert result.figures["inertia"] == 0
    with pytest.raises(ValueError, match="from 1 to 7, the number of distinct rows"):
        cluster(points, "kmeans", 8, Parameters())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_kmeans_with_counts_equals_kmeans_of_repeated_rows(seed: int, k: int) -> None:
    rows = np.unique(random_bits(60, 6, seed), axis=0)
    counts = np.random.default_rng(seed).integers(1, 5, len(rows))
    k = min(k, len(rows))
    repeated = from_bits(np.repeat(rows, counts, axis=0))
    counted = Points(repeated.rows, counts, np.arange(len(rows)), np.ones(6), repeated.packed_codes)
    counted_labels, repeated_labels = (compute_labels(points, "kmeans", k, seed=seed) for points in (counted, repeated))
    assert inertia(counted, counted_labels) == pytest.approx(inertia(repeated, repeated_labels), rel=1e-9)
    assert adjusted_rand_score(np.repeat(counted_labels, counts), repeated_labels) == 1


def test_kmeans_does_not_depend_on_the_number_of_threads() -> None:
    points = from_bits(random_bits(2000, 15, 4))
    labels, labels_of_two_threads = (compute_labels(points, "kmeans", 8, seed=1, jobs=jobs) for jobs in (1, 2))
    assert (labels == labels_of_two_threads).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_kmeans_of_vectors_is_the_same_with_faiss_and_with_scikit_learn(
    weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    rng = np.random.default_rng(5)
    values = (rng.normal(size=(12, 16))[rng.integers(12, size=3000)] + rng.normal(0, 0.5, (3000, 16))).astype(
        np.float32
    )
    points = from_values(values, random_weights(16) if weighted else None)
    labels = {}
    for has_faiss, search in ((True, FaissSearch), (False, SklearnSearch)):
        monkeypatch.setattr(extras, "is_installed", lambda module, has_faiss=has_faiss: has_faiss)
        rows = VectorRows(points.weighted_rows, points.counts, 1, None)
        assert isinstance(rows._search, search)
        labels[has_faiss] = compute_labels(points, "kmeans", 20, device="cpu", seed=3)
    assert len(np.unique(labels[True])) == 20
    np.testing.assert_array_equal(labels[True], labels[False])


def test_moves_leave_a_local_optimum_of_lloyds_iterations() -> None:
    """Two initial centroids lie in one of four groups and none in another."""
    rng = np.random.default_rng(0)
    centers = np.array([[0, 0], [0, 20], [20, 0], [20, 20]])
    values = np.float32(np.repeat(centers, 50, axis=0) + rng.normal(0, 0.5, (200, 2)))
    initial_centroids = np.array([values[0], values[1], values[50], values[100:].mean(0)])
    rows = VectorRows(values, np.ones(200, np.int64), 1, None)
    local_optimum = kmeans.run_lloyd(rows, initial_centroids)
    improved = kmeans._split_and_merge(rows, local_optimum, rng, lambda fraction: None)
    assert improved.inertia < local_optimum.inertia / 10
    assert (np.bincount(improved.labels) == 50).all()


# Other methods


@pytest.mark.parametrize("engine", ["auto", "sklearn"])
@pytest.mark.parametrize("linkage", ["ward", "complete", "average", "single"])
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine", "l1", "l2"])
def test_agglomerative_clustering_equals_scikit_learn(linkage: str, metric: str, engine: str) -> None:
    if linkage == "ward" and metric not in ("euclidean", "l2"):
        return  # see test_ward_linkage_needs_the_euclidean_metric
    bits = random_bits(250, 12, 5)
    bits[:, 0] = 1  # the cosine metric is undefined for a face without attributes
    points = from_bits(bits, random_weights(12))
    model = sklearn.cluster.AgglomerativeClustering(
        6, linkage=linkage, metric="euclidean" if linkage == "ward" else metric
    )
    expected = model.fit(points.weighted_faces.astype(float)).labels_  # float32 values, so that rounding is the same
    labels = compute_labels(points, "agglomerative", 6, linkage=linkage, metric=metric, engine=engine)
    assert adjusted_rand_score(expected, labels) == 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.5, 1.0, 1.5, 2.0]), st.integers(1, 9))
def test_dbscan_equals_scikit_learn_on_all_faces(seed: int, eps: float, min_samples: int) -> None:
    bits = random_bits(200, 8, seed)
    expected = sklearn.cluster.DBSCAN(eps=eps, min_samples=min_samples).fit(bits.astype(float)).labels_
    labels = compute_labels(from_bits(bits), "dbscan", eps=eps, min_samples=min_samples)
    assert (renumber_by_size(expected) == labels).all()


@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
@pytest.mark.parametrize("squared", range(9))
def test_hamming_radius_is_exact_near_the_distances_that_occur(metric: str, squared: int) -> None:
    from sklearn.metrics.pairwise import pairwise_distances

    from facetools.clustering.dbscan import hamming_radius

    distance = np.sqrt(squared) if metric == "euclidean" else float(squared)
    rows = np.tri(10, 9, -1)  # row i differs from row 0 in i attributes
    for eps in (np.nextafter(distance, 0), distance, np.nextafter(distance, 9)):
        expected = int((pairwise_distances(rows[:1], rows, metric=metric)[0] <= eps).sum()) - 1
        assert hamming_radius(eps, metric, 9) == expected


@pytest.mark.parametrize(("metric", "eps"), [("manhattan", 1.0), ("cosine", 0.05), ("euclidean", 1.0)])
def test_dbscan_with_weights_equals_scikit_learn(metric: str, eps: float) -> None:
    bits = random_bits(300, 12, 8)
    if metric == "cosine":
        bits[:, 0] = 1  # the cosine metric is undefined for a face without attributes
    points = from_bits(bits, random_weights(12))
    expected = sklearn.cluster.DBSCAN(eps=eps, min_samples=4, metric=metric).fit(points.weighted_faces).labels_
    labels = compute_labels(points, "dbscan", eps=eps, min_samples=4, metric=metric)
    assert len(np.unique(labels)) > 2
    assert adjusted_rand_score(expected, labels) == 1


def test_birch_spectral_and_optics_equal_scikit_learn() -> None:
    points = from_bits(random_bits(220, 10, 6, groups=4))
    values = points.weighted_faces
    birch = sklearn.cluster.Birch(n_clusters=4).fit(values).predict(values)
    assert adjusted_rand_score(birch, compute_labels(points, "birch", 4)) == 1
    spectral = sklearn.cluster.SpectralClustering(4, random_state=0).fit(values).labels_
    assert adjusted_rand_score(spectral, compute_labels(points, "spectral", 4)) == 1
    with np.errstate(all="ignore"):
        optics = sklearn.cluster.OPTICS(min_samples=5).fit(values).labels_
    assert adjusted_rand_score(optics, compute_labels(points, "optics")) == 1


# Silhouette


@pytest.mark.parametrize("method", ["kmeans", "agglomerative", "birch"])
def test_silhouette_equals_scikit_learn_on_all_faces_without_weights(method: str) -> None:
    bits = random_bits(300, 12, 9)
    result = cluster(from_bits(bits, random_weights(12)), method, 5, Parameters())
    expected = silhouette_score(bits.astype(float), result.labels)
    assert result.figures["silhouette"] == pytest.approx(expected, abs=1e-9)


def test_silhouette_ignores_noise() -> None:
    bits = random_bits(300, 12, 10)
    result = cluster(from_bits(bits), "dbscan", None, Parameters(eps=1.0, min_samples=6))
    is_clustered = result.labels >= 0
    assert 0 < result.figures["noise"] == (~is_clustered).sum()
    expected = silhouette_score(bits[is_clustered].astype(float), result.labels[is_clustered])
    assert result.figures["silhouette"] == pytest.approx(expected, abs=1e-9)


def test_silhouette_of_vectors_equals_scikit_learn() -> None:
    values = np.random.default_rng(3).random((150, 6)).astype(np.float32)
    result = cluster(from_values(values), "kmeans", 4, Parameters())
    assert result.figures["silhouette"] == pytest.approx(silhouette_score(values, result.labels), abs=1e-6)


def test_silhouette_supports_equal_rows_in_different_clusters() -> None:
    bits = random_bits(120, 5, 11)
    labels = np.random.default_rng(0).integers(0, 3, 120).astype(np.int32)
    expected = silhouette_score(bits.astype(float), labels)
    assert mean_silhouette(from_bits(bits), labels) == pytest.approx(expected, abs=1e-9)


def test_silhouette_is_none_if_undefined() -> None:
    points = from_bits(random_bits(50, 6, 12))
    assert cluster(points, "kmeans", 1, Parameters()).figures["silhouette"] is None
    assert cluster(from_bits(np.eye(4, dtype=np.uint8)), "kmeans", 4, Parameters()).figures["silhouette"] is None


# Comparison


def test_comparison_gives_the_figures_of_single_clusterings() -> None:
    points = from_bits(random_bits(400, 10, 13))
    parameters = Parameters(eps=1.0)
    failures: list[tuple[str, str]] = []
    methods = ["kmeans", "agglomerative", "dbscan"]
    records = list(
        compare(points, methods, range(2, 6), parameters, on_failure=lambda *failure: failures.append(failure))
    )
    assert not failures
    assert [(record["method"], record["k"]) for record in records] == [
        *(("kmeans", k) for k in range(2, 6)),
        *(("agglomerative", k) for k in range(2, 6)),
        ("dbscan", None),
    ]
    for record in records:
        figures = cluster(points, record["method"], record["k"], parameters).figures
        assert {key: record[key] for key in figures if key != "seconds"} == {
            key: value for key, value in figures.items() if key != "seconds"
        }


def test_comparison_reports_what_fails() -> None:
    points = from_bits(np.eye(3, dtype=np.uint8)[[0, 1, 2, 0, 1, 2]])
    failures: list[tuple[str, str]] = []
    for last in (4, 9):
        records = list(
            compare(
                points,
                ["ward", "kmeans"],
                range(2, last + 1),
                Parameters(),
                on_failure=lambda *failure: failures.append(failure),
            )
        )
        assert [record["k"] for record in records] == [2, 3]
    assert [name for name, _ in failures] == ["ward", "kmeans with k = 4", "ward", "kmeans with k = 4 and more"]


def test_real_attributes_are_clustered_as_well_as_by_scikit_learn(celeba) -> None:  # type: ignore[no-untyped-def]
    from facetools.table.lists import read_attribute_list

    bits = read_attribute_list(celeba / "list_attr_celeba.txt").values[:2000]
    result = cluster(from_bits(bits), "kmeans", 10, Parameters(redo=10))
    expected = sklearn.cluster.KMeans(10, n_init=10, random_state=0).fit(bits.astype(float)).inertia_
    assert result.figures["inertia"] <= 1.01 * expected
    assert result.figures["silhouette"] == pytest.approx(silhouette_score(bits.astype(float), result.labels), abs=1e-9)


# Forecasts and progress


def test_too_little_memory_is_reported_with_an_alternative() -> None:
    message = r"ward linkage needs 1000000\.0 GB of memory, but only [\d.]+ GB are available; use kmeans"
    with pytest.raises(MemoryLimitError, match=message):
        require_memory(10**15, "ward linkage", "use kmeans")


def test_monitor_forecasts_from_a_sample_and_reports_progress() -> None:
    forecasts: list[tuple[str, float, int]] = []
    events: list[float | str] = []

    @contextmanager
    def stage(task: str) -> Iterator[Callable[[float], object]]:
        events.append(f"start {task}")
        yield events.append
        events.append("end")

    def compute(sample: slice, progress: Callable[[float], object] | None) -> int:
        count = len(range(1000)[sample])
        time.sleep(count * 1e-4)
        if progress:
            progress(0.5)
        return count

    monitor = Monitor(lambda *forecast: forecasts.append(forecast), stage)

    def run(size: int, exponent: float, memory_bytes: int = 7) -> int:
        return monitor.run(
            "work",
            compute,
            size,
            sample_size=100,
            exponent=exponent,
            memory_bytes=memory_bytes,
            alternative="use less",
        )

    assert run(1000, exponent=3) == 1000
    assert events == ["start work", 0.5, "end"]
    [(task, seconds, memory_bytes)] = forecasts
    assert (task, memory_bytes) == ("work", 7) and 10 <= seconds < 100
    forecasts.clear()
    assert run(1000, exponent=1) == 1000  # too short for a forecast
    assert run(150, exponent=9) == 1000  # too few codes for a sample
    assert not forecasts
    with pytest.raises(MemoryLimitError, match=r"^work needs 1000000\.0 GB of memory, .* available; use less$"):
        run(1000, exponent=1, memory_bytes=10**15)


@pytest.mark.parametrize(("method", "k", "eps"), [("kmeans", 3, 0.5), ("dbscan", None, 1.0), ("agglomerative", 3, 0.5)])
def test_the_compiled_core_reports_progress(method: str, k: int | None, eps: float) -> None:
    stages: dict[str, list[float]] = {}

    @contextmanager
    def stage(task: str) -> Iterator[Callable[[float], object]]:
        yield stages.setdefault(task, []).append

    points = from_bits(np.random.default_rng(0).integers(0, 2, (30_000, 37), dtype=np.uint8))
    cluster(points, method, k, Parameters(eps=eps, monitor=Monitor(stage=stage)))
    assert len(stages) == (1 if method == "dbscan" else 2)  # DBSCAN finds only noise, which has no silhouette
    assert all(0 <= fraction <= 1 for fractions in stages.values() for fraction in fractions)
    assert method != "kmeans" or next(iter(stages.values()))
