"""Agglomerative trees against SciPy's, and against the definition where equal distances leave a choice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster import hierarchy
from scipy.spatial.distance import pdist, squareform

from facetools.clustering import codes
from tests.core.cases import Faces, drawn_faces, faces_of, some_faces

CASES = [(method, metric) for method, metrics in codes.LINKAGE_METRICS.items() for metric in metrics]


def leaves(tree: np.ndarray) -> list[list[int]]:
    """The codes of each cluster that a tree knows."""
    clusters = [[i] for i in range(len(tree) + 1)]
    for left, right, _, _ in tree:
        clusters.append(clusters[int(left)] + clusters[int(right)])
    return clusters


def merge_heights(tree: np.ndarray) -> np.ndarray:
    """(d, d) the height at which two codes come together."""
    clusters, d = leaves(tree), len(tree) + 1
    heights = np.zeros((d, d))
    for left, right, height, _ in tree:
        heights[np.ix_(clusters[int(left)], clusters[int(right)])] = height
    return np.maximum(heights, heights.T)


def check_form(tree: np.ndarray, faces: Faces) -> None:
    d = len(faces.counts)
    assert tree.shape == (d - 1, 4)
    children = tree[:, :2].astype(int)
    assert (children[:, 0] < children[:, 1]).all()
    np.testing.assert_array_equal(np.sort(children.ravel()), np.arange(2 * d - 2))
    np.testing.assert_array_equal(tree[:, 3], [faces.counts[c].sum() for c in leaves(tree)[d:]])


def scipy_tree(faces: Faces, method: str, metric: str, weights: np.ndarray) -> np.ndarray:
    rows = faces.rows * weights
    if method in ("ward", "centroid"):
        return hierarchy.linkage(rows, method)
    return hierarchy.linkage(pdist(rows, "cityblock" if metric == "manhattan" else metric), method)


@settings(max_examples=100, deadline=None)
@given(faces=some_faces(least=2, most=80), case=st.sampled_from(CASES), seed=st.integers(0, 1000))
def test_the_tree_of_all_rows_where_no_distances_are_equal(faces: Faces, case: tuple[str, str], seed: int) -> None:
    method, metric = case
    if metric == "hamming" or len(faces.counts) < 2:
        return
    weights = np.random.default_rng(seed).uniform(0.5, 1.5, faces.attributes)
    of_rows = squareform(hierarchy.cophenet(scipy_tree(faces, method, metric, weights)))
    expected = of_rows[np.ix_(faces.distinct.first, faces.distinct.first)]
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
        check_form(tree, faces)
        np.testing.assert_allclose(merge_heights(tree), expected, rtol=1e-6, atol=1e-6)


def height_between(faces: Faces, method: str, left: list[int], right: list[int]) -> float:
    """The definition, over all the faces of two clusters; average, single and complete of Hamming distances."""
    x, y = (faces.rows[np.isin(faces.inverse, side)].astype(float) for side in (left, right))
    if method in ("ward", "centroid"):
        apart = np.sqrt(((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum())
        return float(apart * (np.sqrt(2 * len(x) * len(y) / (len(x) + len(y))) if method == "ward" else 1))
    distances = np.abs(x[:, None] - y).sum(axis=2)
    return float({"average": np.mean, "single": np.min, "complete": np.max}[method](distances))


@settings(max_examples=60, deadline=None)
@given(faces=some_faces(least=2, most=16), method=st.sampled_from(list(codes.LINKAGE_METRICS)))
def test_each_merge_is_of_two_nearest_clusters(faces: Faces, method: str) -> None:
    """Equal distances abound here: whichever of them is taken, no pair of clusters may be nearer."""
    tree = codes.linkage(faces.codes, faces.counts, method, attributes=faces.attributes)
    check_form(tree, faces)
    d = len(faces.counts)
    clusters, alive = leaves(tree), set(range(d))
    for step, (left, right, height, _) in enumerate(tree):
        assert height == pytest.approx(height_between(faces, method, clusters[int(left)], clusters[int(right)]))
        for i in alive:
            for j in alive:
                if i < j:
                    assert height <= height_between(faces, method, clusters[i], clusters[j]) + 1e-9
        alive -= {int(left), int(right)}
        alive.add(d + step)


@pytest.mark.parametrize("method", codes.LINKAGE_METRICS)
def test_the_tree_is_the_same_for_any_threads(method: str) -> None:
    faces = drawn_faces(1500, 37, seed=4)
    one, two, seven = (
        codes.linkage(faces.codes, faces.counts, method, attributes=37, threads=threads) for threads in (1, 2, 7)
    )
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, seven)


@pytest.mark.parametrize("method", ["ward", "average", "centroid", "complete"])
def test_many_codes_against_scipy(method: str) -> None:
    faces = faces_of(np.unique(drawn_faces(1500, 40, seed=5).rows, axis=0))
    weights = np.random.default_rng(5).uniform(0.5, 1.5, 40)
    metric = codes.LINKAGE_METRICS[method][0]
    expected = scipy_tree(faces, method, metric, weights)
    tree = codes.linkage(faces.codes, faces.counts, method, attributes=40, weights=weights)
    np.testing.assert_allclose(tree[:, 2], expected[:, 2], rtol=1e-9)
    np.testing.assert_allclose(merge_heights(tree), squareform(hierarchy.cophenet(expected)), rtol=1e-9)


def test_single_heights_against_scipy() -> None:
    faces = drawn_faces(2000, 37, seed=6)
    distances = pdist(codes.unpack(faces.codes, 37), "cityblock")
    expected = hierarchy.linkage(distances, "single")
    tree = codes.linkage(faces.codes, faces.counts, "single", attributes=37)
    np.testing.assert_array_equal(tree[:, 2], expected[:, 2])
    np.testing.assert_array_equal(merge_heights(tree), squareform(hierarchy.cophenet(expected)))


def test_heights_by_metric() -> None:
    faces = drawn_faces(200, 40, seed=7)
    for method in ("single", "complete"):
        plain = codes.linkage(faces.codes, faces.counts, method, attributes=40)[:, 2]
        for metric, height in (("sqeuclidean", plain), ("hamming", plain / 40), ("euclidean", np.sqrt(plain))):
            tree = codes.linkage(faces.codes, faces.counts, method, attributes=40, metric=metric)
            np.testing.assert_array_equal(tree[:, 2], height)


@settings(max_examples=40, deadline=None)
@given(faces=some_faces(least=2), method=st.sampled_from(["ward", "average", "single", "complete"]))
def test_cut_is_that_of_scipy(faces: Faces, method: str) -> None:
    tree = codes.linkage(faces.codes, faces.counts, method, attributes=faces.attributes)
    d = len(faces.counts)
    for clusters in {1, 2, (d + 1) // 2, d}:
        if clusters > d:
            continue
        labels = codes.cut(tree, clusters)
        _, first = np.unique(labels, return_index=True)
        assert len(first) == clusters
        assert (np.diff(first) > 0).all()
        members = leaves(tree)
        absorbed = set(tree[: d - clusters, :2].astype(int).ravel())
        for cluster in set(range(2 * d - clusters)) - absorbed:
            assert len(set(labels[members[cluster]])) == 1


def test_extremes() -> None:
    """All 256 attributes differ; one code; counts far beyond 2^32."""
    opposite = faces_of(np.array([[0] * 256, [1] * 256, [0] * 256], np.uint8))
    for method, height in (("single", 256), ("complete", 256), ("average", 256), ("centroid", 16)):
        tree = codes.linkage(opposite.codes, opposite.counts, method, attributes=256)
        np.testing.assert_array_equal(tree, [[0, 1, height, 3]])
    one = codes.linkage(opposite.codes[:1], opposite.counts[:1], attributes=256)
    assert one.shape == (0, 4)
    np.testing.assert_array_equal(codes.cut(one, 1), [0])

    many = np.array([2**37, 2**38])
    tree = codes.linkage(np.array([0, 1], np.uint64), many, "ward", attributes=1)
    np.testing.assert_allclose(tree, [[0, 1, np.sqrt(2 * 2**37 * 2 / 3), 3 * 2**37]])


@pytest.mark.parametrize("method", ["ward", "average", "centroid", "complete"])
@pytest.mark.parametrize("factor", [0.0, 1e-90, 1e90])
def test_weights_of_any_size(method: str, factor: float) -> None:
    faces = drawn_faces(300, 37, seed=9)
    weights = np.random.default_rng(9).uniform(0.5, 1.5, 37)
    metric = codes.LINKAGE_METRICS[method][0]
    tree, scaled = (
        codes.linkage(faces.codes, faces.counts, method, attributes=37, metric=metric, weights=weights * by)
        for by in (1, factor)
    )
    np.testing.assert_allclose(merge_heights(scaled), merge_heights(tree) * factor, rtol=1e-9)


def test_memory_is_told() -> None:
    assert codes.linkage_bytes("complete", 100_000, 37) == 10**10
    assert codes.linkage_bytes("complete", 1000, 37, weighted=True) == 8 * 10**6
    assert codes.linkage_bytes("ward", 300_000, 37) < 2 * 10**8
    assert codes.linkage_bytes("single", 300_000, 37) < 10**8


def test_codes_that_are_not_distinct() -> None:
    for method in codes.LINKAGE_METRICS:
        tree = codes.linkage(np.array([5, 5, 4, 5], np.uint64), np.array([1, 2, 3, 4]), method, attributes=37)
        np.testing.assert_allclose(tree[:2, 2], 0)
        assert tree[2, 2] > 0


def test_bad_input_is_refused() -> None:
    faces = drawn_faces(20, 37, seed=8)
    with pytest.raises(ValueError, match="method: ward"):
        codes.linkage(faces.codes, faces.counts, "median", attributes=37)
    with pytest.raises(ValueError, match=r"metric: average .* take sqeuclidean"):
        codes.linkage(faces.codes, faces.counts, "average", attributes=37, metric="euclidean")
    with pytest.raises(ValueError, match="codes: none"):
        codes.linkage(faces.codes[:0], faces.counts[:0], attributes=37)
    with pytest.raises(ValueError, match="weights: 37 numbers"):
        codes.linkage(faces.codes, faces.counts, attributes=37, weights=np.full(3, 0.5))
    tree = codes.linkage(faces.codes, faces.counts, attributes=37)
    with pytest.raises(ValueError, match="clusters: not from 1"):
        codes.cut(tree, len(tree) + 2)
    with pytest.raises(ValueError, match="clusters: not from 1"):
        codes.cut(tree, 0)
    with pytest.raises(ValueError, match="tree: a row merges"):
        codes.cut(tree[::-1], 2)
