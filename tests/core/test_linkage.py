"""Agglomerative trees against SciPy on all rows, and against the definition of each linkage where distances tie."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster import hierarchy
from scipy.spatial.distance import pdist, squareform

from facetools.clustering import codes
from tests.core.cases import Faces, faces_from_rows, faces_strategy, random_faces

LINKAGES = [(method, metric) for method, metrics in codes.LINKAGE_METRICS.items() for metric in metrics]


def cluster_members(tree: np.ndarray) -> list[list[int]]:
    """The codes of each cluster of `tree`: first the single codes, then one cluster per merge."""
    clusters = [[i] for i in range(len(tree) + 1)]
    for left, right, _, _ in tree:
        clusters.append(clusters[int(left)] + clusters[int(right)])
    return clusters


def cophenetic_distances(tree: np.ndarray) -> np.ndarray:
    """The height at which each pair of codes is merged, (d, d)."""
    clusters, d = cluster_members(tree), len(tree) + 1
    heights = np.zeros((d, d))
    for left, right, height, _ in tree:
        heights[np.ix_(clusters[int(left)], clusters[int(right)])] = height
    return np.maximum(heights, heights.T)


def assert_valid_tree(tree: np.ndarray, faces: Faces) -> None:
    d = len(faces.counts)
    assert tree.shape == (d - 1, 4)
    children = tree[:, :2].astype(int)
    assert (children[:, 0] < children[:, 1]).all()
    np.testing.assert_array_equal(np.sort(children.ravel()), np.arange(2 * d - 2))
    np.testing.assert_array_equal(tree[:, 3], [faces.counts[members].sum() for members in cluster_members(tree)[d:]])


def scipy_tree(faces: Faces, method: str, metric: str, weights: np.ndarray) -> np.ndarray:
    """The tree of all n rows by SciPy."""
    rows = faces.rows * weights
    if method in ("ward", "centroid"):
        return hierarchy.linkage(rows, method)
    return hierarchy.linkage(pdist(rows, "cityblock" if metric == "manhattan" else metric), method)


@settings(max_examples=100, deadline=None)
@given(faces=faces_strategy(min_size=2, max_size=80), linkage=st.sampled_from(LINKAGES), seed=st.integers(0, 1000))
def test_tree_without_ties_equals_scipy_on_all_rows(faces: Faces, linkage: tuple[str, str], seed: int) -> None:
    method, metric = linkage
    if metric == "hamming" or len(faces.counts) < 2:
        return
    weights = np.random.default_rng(seed).uniform(0.5, 1.5, faces.attributes)
    row_distances = squareform(hierarchy.cophenet(scipy_tree(faces, method, metric, weights)))
    expected = row_distances[np.ix_(faces.distinct.first, faces.distinct.first)]
    for threads in (1, 2, 7):
        tree = codes.linkage(
            faces.codes,
            faces.counts,
            method,
            attributes=faces.attributes,
            metric=metric,
            weights=weights,
            threads=threads,
        )
        assert_valid_tree(tree, faces)
        np.testing.assert_allclose(cophenetic_distances(tree), expected, rtol=1e-6, atol=1e-6)


def cluster_distance(faces: Faces, method: str, left: list[int], right: list[int]) -> float:
    """The distance of two clusters of codes by definition, over all their faces; Hamming for average, single and
    complete linkage."""
    x, y = (faces.rows[np.isin(faces.inverse, members)].astype(float) for members in (left, right))
    if method in ("ward", "centroid"):
        distance = np.sqrt(((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum())
        return float(distance * (np.sqrt(2 * len(x) * len(y) / (len(x) + len(y))) if method == "ward" else 1))
    distances = np.abs(x[:, None] - y).sum(axis=2)
    return float({"average": np.mean, "single": np.min, "complete": np.max}[method](distances))


@settings(max_examples=60, deadline=None)
@given(faces=faces_strategy(min_size=2, max_size=16), method=st.sampled_from(list(codes.LINKAGE_METRICS)))
def test_each_merge_is_of_two_nearest_clusters(faces: Faces, method: str) -> None:
    """Without weights there are many ties. Any nearest pair is correct, but no other pair may be nearer."""
    tree = codes.linkage(faces.codes, faces.counts, method, attributes=faces.attributes)
    assert_valid_tree(tree, faces)
    d = len(faces.counts)
    clusters, active = cluster_members(tree), set(range(d))
    for step, (left, right, height, _) in enumerate(tree):
        assert height == pytest.approx(cluster_distance(faces, method, clusters[int(left)], clusters[int(right)]))
        for i in active:
            for j in active:
                if i < j:
                    assert height <= cluster_distance(faces, method, clusters[i], clusters[j]) + 1e-9
        active -= {int(left), int(right)}
        active.add(d + step)


@pytest.mark.parametrize("method", codes.LINKAGE_METRICS)
def test_tree_does_not_depend_on_threads(method: str) -> None:
    faces = random_faces(1500, 37, seed=4)
    one, two, seven = (
        codes.linkage(faces.codes, faces.counts, method, attributes=37, threads=threads) for threads in (1, 2, 7)
    )
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, seven)


@pytest.mark.parametrize("method", ["ward", "average", "centroid", "complete"])
def test_tree_of_many_codes_equals_scipy(method: str) -> None:
    faces = faces_from_rows(np.unique(random_faces(1500, 40, seed=5).rows, axis=0))
    weights = np.random.default_rng(5).uniform(0.5, 1.5, 40)
    metric = codes.LINKAGE_METRICS[method][0]
    expected = scipy_tree(faces, method, metric, weights)
    tree = codes.linkage(faces.codes, faces.counts, method, attributes=40, weights=weights)
    np.testing.assert_allclose(tree[:, 2], expected[:, 2], rtol=1e-9)
    np.testing.assert_allclose(cophenetic_distances(tree), squareform(hierarchy.cophenet(expected)), rtol=1e-9)


def test_single_linkage_heights_equal_scipy_despite_ties() -> None:
    faces = random_faces(2000, 37, seed=6)
    distances = pdist(codes.unpack(faces.codes, 37), "cityblock")
    expected = hierarchy.linkage(distances, "single")
    tree = codes.linkage(faces.codes, faces.counts, "single", attributes=37)
    np.testing.assert_array_equal(tree[:, 2], expected[:, 2])
    np.testing.assert_array_equal(cophenetic_distances(tree), squareform(hierarchy.cophenet(expected)))


@pytest.mark.parametrize("method", ["single", "complete"])
def test_heights_are_in_the_requested_metric(method: str) -> None:
    faces = random_faces(200, 40, seed=7)
    differing = codes.linkage(faces.codes, faces.counts, method, attributes=40)[:, 2]
    expected = {"sqeuclidean": differing, "hamming": differing / 40, "euclidean": np.sqrt(differing)}
    for metric, heights in expected.items():
        tree = codes.linkage(faces.codes, faces.counts, method, attributes=40, metric=metric)
        np.testing.assert_array_equal(tree[:, 2], heights)


@settings(max_examples=40, deadline=None)
@given(faces=faces_strategy(min_size=2), method=st.sampled_from(["ward", "average", "single", "complete"]))
def test_cutting_the_tree_undoes_the_last_merges(faces: Faces, method: str) -> None:
    tree = codes.linkage(faces.codes, faces.counts, method, attributes=faces.attributes)
    d = len(faces.counts)
    for clusters in {1, 2, (d + 1) // 2, d}:
        if clusters > d:
            continue
        labels = codes.cut_tree(tree, clusters)
        _, first = np.unique(labels, return_index=True)
        assert len(first) == clusters
        assert (np.diff(first) > 0).all()  # clusters are numbered by first appearance
        members = cluster_members(tree)
        merged = set(tree[: d - clusters, :2].astype(int).ravel())
        for cluster in set(range(2 * d - clusters)) - merged:
            assert len(set(labels[members[cluster]])) == 1


def test_256_attributes_one_code_and_large_counts_are_supported() -> None:
    opposite = faces_from_rows(np.array([[0] * 256, [1] * 256, [0] * 256], np.uint8))
    for method, height in (("single", 256), ("complete", 256), ("average", 256), ("centroid", 16)):
        tree = codes.linkage(opposite.codes, opposite.counts, method, attributes=256)
        np.testing.assert_array_equal(tree, [[0, 1, height, 3]])
    tree = codes.linkage(opposite.codes[:1], opposite.counts[:1], attributes=256)
    assert tree.shape == (0, 4)
    np.testing.assert_array_equal(codes.cut_tree(tree, 1), [0])

    counts = np.array([2**37, 2**38])
    tree = codes.linkage(np.array([0, 1], np.uint64), counts, "ward", attributes=1)
    np.testing.assert_allclose(tree, [[0, 1, np.sqrt(2 * 2**37 * 2 / 3), 3 * 2**37]])


@pytest.mark.parametrize("method", ["ward", "average", "centroid", "complete"])
@pytest.mark.parametrize("factor", [0.0, 1e-90, 1e90])
def test_heights_scale_with_weights(method: str, factor: float) -> None:
    faces = random_faces(300, 37, seed=9)
    weights = np.random.default_rng(9).uniform(0.5, 1.5, 37)
    metric = codes.LINKAGE_METRICS[method][0]
    tree, scaled_tree = (
        codes.linkage(faces.codes, faces.counts, method, attributes=37, metric=metric, weights=scale * weights)
        for scale in (1, factor)
    )
    np.testing.assert_allclose(cophenetic_distances(scaled_tree), cophenetic_distances(tree) * factor, rtol=1e-9)


def test_memory_estimates_are_quadratic_for_complete_linkage_only() -> None:
    assert codes.linkage_bytes("complete", 100_000, 37) == 10**10
    assert codes.linkage_bytes("complete", 1000, 37, weighted=True) == 8 * 10**6
    assert codes.linkage_bytes("ward", 300_000, 37) < 2 * 10**8
    assert codes.linkage_bytes("single", 300_000, 37) < 10**8


def test_equal_codes_are_merged_at_height_0() -> None:
    for method in codes.LINKAGE_METRICS:
        tree = codes.linkage(np.array([5, 5, 4, 5], np.uint64), np.array([1, 2, 3, 4]), method, attributes=37)
        np.testing.assert_allclose(tree[:2, 2], 0)
        assert tree[2, 2] > 0


def test_invalid_arguments_are_rejected() -> None:
    faces = random_faces(20, 37, seed=8)
    with pytest.raises(ValueError, match=r"^method: must be one of ward, .*, not median"):
        codes.linkage(faces.codes, faces.counts, "median", attributes=37)
    message = "^metric: must be manhattan or sqeuclidean or hamming for average linkage, not euclidean"
    with pytest.raises(ValueError, match=message):
        codes.linkage(faces.codes, faces.counts, "average", attributes=37, metric="euclidean")
    with pytest.raises(ValueError, match=r"^codes: "):
        codes.linkage(faces.codes[:0], faces.counts[:0], attributes=37)
    with pytest.raises(ValueError, match=r"^weights: must be 37 numbers"):
        codes.linkage(faces.codes, faces.counts, attributes=37, weights=np.full(3, 0.5))
    tree = codes.linkage(faces.codes, faces.counts, attributes=37)
    for clusters in (0, len(tree) + 2):
        with pytest.raises(ValueError, match=r"^clusters: "):
            codes.cut_tree(tree, clusters)
    with pytest.raises(ValueError, match=r"^tree: "):
        codes.cut_tree(tree[::-1], 2)
