"""Clustering: every method against scikit-learn on all rows, counts against repeated rows, how results are judged."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import cluster as reference
from sklearn.metrics import adjusted_rand_score, silhouette_score

from facetools.clustering import Parameters, kmeans
from facetools.clustering.codes import pack
from facetools.clustering.forecast import MemoryLimitError, Monitor, require_memory
from facetools.clustering.points import Points, from_bits, from_codes, from_values, inertia, renumber
from facetools.clustering.runs import METHODS, cluster, compare
from facetools.clustering.silhouette import mean_silhouette


def bits(count: int, attributes: int, seed: int, groups: int = 5) -> np.ndarray:
    """Rows of attributes in groups, many of them equal, uint8 (count, attributes)."""
    rng = np.random.default_rng(seed)
    centres = rng.random((groups, attributes)) < 0.5
    flips = rng.random((count, attributes)) < 0.12
    return (centres[rng.integers(groups, size=count)] ^ flips).astype(np.uint8)


def labels_of(points: Points, method: str, k: int | None = None, **parameters: object) -> np.ndarray:
    return cluster(points, method, k, Parameters(**parameters)).labels  # type: ignore[arg-type]


#: Weights without ties: equal distances between different rows would leave the answer open.
def untied(attributes: int) -> np.ndarray:
    return np.sqrt(np.random.default_rng(7).uniform(0.5, 1.5, attributes))


def test_points_are_the_distinct_rows_with_counts() -> None:
    rows = bits(500, 9, 1)
    points = from_bits(rows)
    assert len(points.counts) == len(np.unique(rows, axis=0)) < 500
    assert points.counts.sum() == points.faces == 500
    assert (points.rows[points.inverse] == rows).all()
    assert (points.rows == rows[points.first]).all()
    packed = from_codes(pack(rows), 9)
    assert (packed.rows == points.rows).all()


# K-Means


@pytest.mark.parametrize("engine", ["auto", "sklearn"])
def test_kmeans_is_within_a_percent_of_scikit_learns_best_of_ten(engine: Literal["auto", "sklearn"]) -> None:
    rows = bits(3000, 20, 2, groups=9)
    ours = cluster(from_bits(rows), "kmeans", 9, Parameters(redo=10, engine=engine)).figures["inertia"]
    theirs = reference.KMeans(9, n_init=10, random_state=0).fit(rows.astype(float)).inertia_
    assert ours <= 1.01 * theirs


def test_inertia_is_the_sum_over_all_rows() -> None:
    rows = bits(400, 8, 3)
    weights = untied(8)
    points = from_bits(rows, weights)
    labels = labels_of(points, "kmeans", 6)
    scaled = rows * weights
    expected = sum(((scaled[labels == c] - scaled[labels == c].mean(0)) ** 2).sum() for c in range(6))
    assert inertia(points, labels) == pytest.approx(expected, rel=1e-6)


def test_kmeans_fills_every_cluster() -> None:
    rows = np.eye(7, dtype=np.uint8)[np.arange(70) % 7]
    points = from_bits(rows)
    result = cluster(points, "kmeans", 7, Parameters())
    assert (np.bincount(result.labels) == 10).all()
    assert result.figures["inertia"] == 0
    with pytest.raises(ValueError, match="from 1 to 7, the number of distinct rows"):
        cluster(points, "kmeans", 8, Parameters())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_kmeans_of_counts_is_kmeans_of_repeated_rows(seed: int, k: int) -> None:
    rows = np.unique(bits(60, 6, seed), axis=0)
    counts = np.random.default_rng(seed).integers(1, 5, len(rows))
    k = min(k, len(rows))
    repeated = from_bits(np.repeat(rows, counts, axis=0))
    once = Points(repeated.rows, counts, np.arange(len(rows)), np.ones(6), repeated.packed)
    one, other = (labels_of(points, "kmeans", k, seed=seed) for points in (once, repeated))
    assert inertia(once, one) == pytest.approx(inertia(repeated, other), rel=1e-9)
    assert adjusted_rand_score(np.repeat(one, counts), other) == 1


def test_the_answer_depends_on_the_seed_alone() -> None:
    points = from_bits(bits(2000, 15, 4))
    first, again = (labels_of(points, "kmeans", 8, seed=1, jobs=jobs) for jobs in (1, 2))
    assert (first == again).all()


# The methods of scikit-learn


@pytest.mark.parametrize("engine", ["auto", "sklearn"])
@pytest.mark.parametrize("linkage", ["ward", "complete", "average", "single"])
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine", "l1", "l2"])
def test_agglomerative_is_scikit_learns(linkage: str, metric: str, engine: str) -> None:
    rows = bits(250, 12, 5)
    if linkage == "ward" and metric not in ("euclidean", "l2"):
        with pytest.raises(ValueError, match="ward linkage takes the euclidean metric only"):
            labels_of(from_bits(rows), "agglomerative", 6, linkage=linkage, metric=metric)
        return
    rows[:, 0] = 1  # no face without attributes, for which cosine is not defined
    weights = untied(12)
    model = reference.AgglomerativeClustering(6, linkage=linkage, metric="euclidean" if linkage == "ward" else metric)
    # scikit-learn sees what we cluster, in float32, so that the two do not differ by rounding
    points = from_bits(rows, weights)
    theirs = model.fit(points.all_scaled.astype(float)).labels_
    ours = labels_of(points, "agglomerative", 6, linkage=linkage, metric=metric, engine=engine)
    assert adjusted_rand_score(theirs, ours) == 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.5, 1.0, 1.5, 2.0]), st.integers(1, 9))
def test_dbscan_is_scikit_learns_on_all_rows(seed: int, eps: float, min_samples: int) -> None:
    rows = bits(200, 8, seed)
    theirs = reference.DBSCAN(eps=eps, min_samples=min_samples).fit(rows.astype(float)).labels_
    ours = labels_of(from_bits(rows), "dbscan", eps=eps, min_samples=min_samples)
    assert (renumber(theirs) == ours).all()


@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
@pytest.mark.parametrize("squared", range(9))
def test_the_radius_of_dbscan_is_in_the_metric_that_is_named(metric: str, squared: int) -> None:
    from sklearn.metrics.pairwise import pairwise_distances

    from facetools.clustering.dbscan import hamming_radius

    eps = np.sqrt(squared) if metric == "euclidean" else float(squared)
    rows = np.tri(10, 9, -1)  # row i has i attributes
    for near in (np.nextafter(eps, 0), eps, np.nextafter(eps, 9)):
        expected = int((pairwise_distances(rows[:1], rows, metric=metric)[0] <= near).sum()) - 1
        assert hamming_radius(near, metric, 9) == expected


def test_dbscan_takes_weights_and_metrics() -> None:
    rows, weights = bits(300, 12, 8), untied(12)
    for metric, eps in (("manhattan", 1.0), ("cosine", 0.05), ("euclidean", 1.0)):
        if metric == "cosine":
            rows[:, 0] = 1
        points = from_bits(rows, weights)
        theirs = reference.DBSCAN(eps=eps, min_samples=4, metric=metric).fit(points.all_scaled).labels_
        ours = labels_of(points, "dbscan", eps=eps, min_samples=4, metric=metric)
        assert len(np.unique(ours)) > 2
        assert adjusted_rand_score(theirs, ours) == 1


def test_birch_spectral_and_optics_are_scikit_learns() -> None:
    rows = bits(220, 10, 6, groups=4)
    points = from_bits(rows)
    floats = points.all_scaled
    birch = reference.Birch(n_clusters=4).fit(floats).predict(floats)
    assert adjusted_rand_score(birch, labels_of(points, "birch", 4)) == 1
    spectral = reference.SpectralClustering(4, random_state=0).fit(floats).labels_
    assert adjusted_rand_score(spectral, labels_of(points, "spectral", 4)) == 1
    with np.errstate(all="ignore"):
        optics = reference.OPTICS(min_samples=5).fit(floats).labels_
    assert adjusted_rand_score(optics, labels_of(points, "optics")) == 1


# How results are judged


@pytest.mark.parametrize("method", ["kmeans", "agglomerative", "birch"])
def test_silhouette_is_scikit_learns_on_all_rows_without_weights(method: str) -> None:
    rows = bits(300, 12, 9)
    result = cluster(from_bits(rows, untied(12)), method, 5, Parameters())
    expected = silhouette_score(rows.astype(float), result.labels)
    assert result.figures["silhouette"] == pytest.approx(expected, abs=1e-9)


def test_silhouette_leaves_noise_out() -> None:
    rows = bits(300, 12, 10)
    result = cluster(from_bits(rows), "dbscan", None, Parameters(eps=1.0, min_samples=6))
    kept = result.labels >= 0
    assert 0 < result.figures["noise"] == (~kept).sum()
    expected = silhouette_score(rows[kept].astype(float), result.labels[kept])
    assert result.figures["silhouette"] == pytest.approx(expected, abs=1e-9)


def test_silhouette_of_soft_scores() -> None:
    values = np.random.default_rng(3).random((150, 6)).astype(np.float32)
    result = cluster(from_values(values), "kmeans", 4, Parameters())
    assert result.figures["silhouette"] == pytest.approx(silhouette_score(values, result.labels), abs=1e-6)


def test_silhouette_of_equal_rows_in_different_clusters() -> None:
    rows = bits(120, 5, 11)
    labels = np.random.default_rng(0).integers(0, 3, 120).astype(np.int32)
    assert mean_silhouette(from_bits(rows), labels) == pytest.approx(
        silhouette_score(rows.astype(float), labels), abs=1e-9
    )


def test_silhouette_is_none_where_it_is_not_defined() -> None:
    points = from_bits(bits(50, 6, 12))
    assert cluster(points, "kmeans", 1, Parameters()).figures["silhouette"] is None
    assert cluster(from_bits(np.eye(4, dtype=np.uint8)), "kmeans", 4, Parameters()).figures["silhouette"] is None


def test_clusters_are_numbered_by_size() -> None:
    assert renumber(np.array([7, 3, 3, -1, 5, 3, 5])).tolist() == [2, 0, 0, -1, 1, 0, 1]
    assert renumber(np.array([2, 1, 0]), np.array([1, 5, 1])).tolist() == [1, 0, 2]


# The comparison


def test_comparison_has_the_figures_of_each_clustering() -> None:
    points = from_bits(bits(400, 10, 13))
    parameters = Parameters(eps=1.0)
    told: list[tuple[str, str]] = []
    records = list(
        compare(
            points, ["kmeans", "agglomerative", "dbscan"], range(2, 6), parameters, on_failure=lambda *w: told.append(w)
        )
    )
    assert not told
    assert [(record["method"], record["k"]) for record in records] == [
        *(("kmeans", k) for k in range(2, 6)),
        *(("agglomerative", k) for k in range(2, 6)),
        ("dbscan", None),
    ]
    for record in records:
        alone = cluster(points, record["method"], record["k"], parameters).figures
        assert {key: record[key] for key in alone if key != "seconds"} == {
            key: value for key, value in alone.items() if key != "seconds"
        }


def test_comparison_tells_what_cannot_be_had() -> None:
    points = from_bits(np.eye(3, dtype=np.uint8)[[0, 1, 2, 0, 1, 2]])
    told: list[tuple[str, str]] = []
    for last in (4, 9):
        records = list(
            compare(points, ["kmeans"], range(2, last + 1), Parameters(), on_failure=lambda *what: told.append(what))
        )
        assert [record["k"] for record in records] == [2, 3]
    assert [what for what, _ in told] == ["kmeans with k = 4", "kmeans with k = 4 and more"]


def test_memory_is_refused_with_a_cheaper_method_named() -> None:
    with pytest.raises(MemoryLimitError, match=r"needs 1000000\.0 GB .* take kmeans"):
        require_memory(10**15, "agglomerative clustering", "take kmeans")


@pytest.mark.parametrize("method", METHODS)
def test_no_faces_and_one_face(method: str) -> None:
    with pytest.raises(ValueError, match="there are no faces"):
        cluster(from_bits(np.zeros((0, 5), np.uint8)), method, 1, Parameters())
    if method != "spectral":  # scikit-learn's needs two
        labels = labels_of(from_bits(np.ones((1, 5), np.uint8)), method, 1)
        assert labels.tolist() == ([0] if method in ("kmeans", "agglomerative", "birch") else [-1])


def test_real_attributes(celeba) -> None:  # type: ignore[no-untyped-def]
    from facetools.table.celeba import read_attribute_list

    listed = read_attribute_list(celeba / "list_attr_celeba.txt")
    rows = listed.values[:2000]
    result = cluster(from_bits(rows), "kmeans", 10, Parameters(redo=10))
    theirs = reference.KMeans(10, n_init=10, random_state=0).fit(rows.astype(float))
    assert result.figures["inertia"] <= 1.01 * theirs.inertia_
    assert result.figures["silhouette"] == pytest.approx(silhouette_score(rows.astype(float), result.labels), abs=1e-9)


def test_long_work_is_foretold_by_a_sample_and_watched() -> None:
    told: list[tuple[str, float, int]] = []
    shares: list[float] = []

    @contextmanager
    def stage(what: str) -> Iterator[Callable[[float], object]]:
        shares.append(-1)
        yield shares.append
        shares.append(2)

    def work(rows: slice, progress: Callable[[float], object] | None) -> int:
        count = len(range(1000)[rows])
        time.sleep(count * 1e-4)
        if progress:
            progress(0.5)
        return count

    watch = Monitor(lambda *what: told.append(what), stage)
    assert watch.run("work", work, 1000, sample=100, power=3, needed=7, instead="rest") == 1000
    assert shares == [-1, 0.5, 2]
    [(what, seconds, needed)] = told
    assert (what, needed) == ("work", 7) and 10 <= seconds < 100
    told.clear()
    assert watch.run("work", work, 1000, sample=100, power=1, needed=7, instead="rest") == 1000
    assert watch.run("work", work, 150, sample=100, power=9, needed=7, instead="rest") == 1000
    assert not told
    with pytest.raises(MemoryLimitError, match=r"^work needs 1000000\.0 GB of memory, .* GB are free; rest$"):
        watch.run("work", work, 1000, sample=100, power=1, needed=10**15, instead="rest")


@pytest.mark.parametrize(("method", "parameters"), [("kmeans", {}), ("dbscan", {"eps": 1.0}), ("agglomerative", {})])
def test_the_core_tells_of_its_work(method: str, parameters: dict) -> None:
    stages: dict[str, list[float]] = {}

    @contextmanager
    def stage(what: str) -> Iterator[Callable[[float], object]]:
        yield stages.setdefault(what, []).append

    points = from_bits(np.random.default_rng(0).integers(0, 2, (30_000, 37), dtype=np.uint8))
    cluster(points, method, 3, Parameters(watch=Monitor(stage=stage), **parameters))
    assert len(stages) == (1 if method == "dbscan" else 2)  # of noise alone there is no silhouette
    assert all(0 <= share <= 1 for shares in stages.values() for share in shares)
    assert method != "kmeans" or next(iter(stages.values()))


def test_moves_leave_what_iterations_alone_cannot() -> None:
    """Two seeds in one of four groups and none in another: Lloyd's iterations stay there."""
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [0, 20], [20, 0], [20, 20]])
    rows = np.float32(np.repeat(centres, 50, axis=0) + rng.normal(0, 0.5, (200, 2)))
    stuck = np.array([rows[0], rows[1], rows[50], rows[100:].mean(0)])
    values = kmeans.VectorRows(rows, np.ones(200, np.int64), 1, None)
    fit = kmeans._converged(values, stuck)
    moved = kmeans._improved(values, fit, rng, lambda share: None)
    assert moved.objective < fit.objective / 10
    assert (np.bincount(moved.labels) == 50).all()
