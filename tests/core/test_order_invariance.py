"""All algorithms of the core give the same result for any order of the codes, and accept zero codes or one code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from facetools.clustering import codes
from tests.core.cases import ATTRIBUTES, Faces, faces_strategy, random_labels

seeds = st.integers(0, 2**32 - 1)


def shuffle(faces: Faces, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A random order of the codes, and the codes and counts in that order."""
    order = np.random.default_rng(seed).permutation(len(faces.counts))
    return order, faces.codes[order], faces.counts[order]


@settings(max_examples=40, deadline=None)
@given(faces=faces_strategy(min_size=3), metric=st.sampled_from(codes.METRICS), seed=seeds)
def test_silhouette_does_not_depend_on_order(faces: Faces, metric: str, seed: int) -> None:
    if len(faces.counts) < 2:
        return
    labels = random_labels(faces, 4, noise=True)
    order, shuffled_codes, shuffled_counts = shuffle(faces, seed)
    original = codes.silhouette(faces.codes, faces.counts, labels, attributes=faces.attributes, metric=metric)
    shuffled = codes.silhouette(
        shuffled_codes, shuffled_counts, labels[order], attributes=faces.attributes, metric=metric
    )
    np.testing.assert_allclose(shuffled.samples, original.samples[order], atol=1e-12)
    assert shuffled.mean == pytest.approx(original.mean, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(faces=faces_strategy(), radius=st.integers(0, 6), min_samples=st.integers(1, 6), seed=seeds)
def test_noise_and_clusters_of_core_samples_do_not_depend_on_order(
    faces: Faces, radius: int, min_samples: int, seed: int
) -> None:
    """Border codes may change clusters with the order, by the definition of DBSCAN."""
    order, shuffled_codes, shuffled_counts = shuffle(faces, seed)
    original = codes.dbscan(faces.codes, faces.counts, radius, min_samples)[order]
    shuffled = codes.dbscan(shuffled_codes, shuffled_counts, radius, min_samples)
    rows = codes.unpack(shuffled_codes, faces.attributes).astype(int)
    neighbors = (np.abs(rows[:, None] - rows).sum(axis=2) <= radius) @ shuffled_counts
    is_core_sample = neighbors >= min_samples
    assert ((original < 0) == (shuffled < 0)).all()
    if is_core_sample.any():
        assert adjusted_rand_score(original[is_core_sample], shuffled[is_core_sample]) == 1


@settings(max_examples=40, deadline=None)
@given(faces=faces_strategy(min_size=2), method=st.sampled_from(list(codes.LINKAGE_METRICS)), seed=seeds)
def test_tree_without_ties_does_not_depend_on_order(faces: Faces, method: str, seed: int) -> None:
    weights = np.sqrt(np.random.default_rng(seed).uniform(0.5, 1.5, faces.attributes))
    order, shuffled_codes, shuffled_counts = shuffle(faces, seed)
    original, shuffled = (
        codes.linkage(packed_codes, counts, method, attributes=faces.attributes, weights=weights)
        for packed_codes, counts in ((faces.codes, faces.counts), (shuffled_codes, shuffled_counts))
    )
    np.testing.assert_allclose(shuffled[:, 2], original[:, 2], rtol=1e-9)
    d = len(order)
    for clusters in {1, (d + 1) // 2, d}:
        original_labels, shuffled_labels = (codes.cut_tree(tree, clusters) for tree in (original, shuffled))
        assert adjusted_rand_score(original_labels[order], shuffled_labels) == 1


@settings(max_examples=40, deadline=None)
@given(faces=faces_strategy(), clusters=st.integers(1, 9), seed=seeds)
def test_kmeans_iterations_do_not_depend_on_order(faces: Faces, clusters: int, seed: int) -> None:
    centroids = np.random.default_rng(seed).random((clusters, faces.attributes))
    order, shuffled_codes, shuffled_counts = shuffle(faces, seed)
    labels, distances, inertia = codes.kmeans_assign(faces.codes, faces.counts, centroids)
    shuffled_labels, shuffled_distances, shuffled_inertia = codes.kmeans_assign(
        shuffled_codes, shuffled_counts, centroids
    )
    np.testing.assert_array_equal(shuffled_labels, labels[order])
    np.testing.assert_array_equal(shuffled_distances, distances[order])
    assert shuffled_inertia == pytest.approx(inertia)
    sums, sizes = codes.kmeans_update(faces.codes, faces.counts, labels, clusters, attributes=faces.attributes)
    shuffled_sums, shuffled_sizes = codes.kmeans_update(
        shuffled_codes, shuffled_counts, shuffled_labels, clusters, attributes=faces.attributes
    )
    np.testing.assert_array_equal(shuffled_sums, sums)
    np.testing.assert_array_equal(shuffled_sizes, sizes)


@pytest.mark.parametrize("attributes", ATTRIBUTES)
def test_zero_codes_give_empty_results_or_are_rejected(attributes: int) -> None:
    no_codes, no_counts = np.zeros((0, (attributes + 63) // 64), np.uint64), np.zeros(0, np.int64)
    assert codes.dbscan(no_codes, no_counts, 1, 1).shape == (0,)
    labels, distances, inertia = codes.kmeans_assign(no_codes, no_counts, np.zeros((2, attributes)))
    assert labels.shape == distances.shape == (0,) and inertia == 0
    sums, sizes = codes.kmeans_update(no_codes, no_counts, labels, 2, attributes=attributes)
    assert not sums.any() and not sizes.any()
    with pytest.raises(ValueError, match=r"^codes: "):
        codes.linkage(no_codes, no_counts, attributes=attributes)
    with pytest.raises(ValueError, match=r"^clusters: "):
        codes.kmeans_seed(no_codes, no_counts, 1, 0, attributes=attributes)
    with pytest.raises(ValueError, match=r"^labels: "):
        codes.silhouette(no_codes, no_counts, no_counts.astype(np.int32), attributes=attributes)


@pytest.mark.parametrize("attributes", ATTRIBUTES)
def test_one_code_is_one_cluster(attributes: int) -> None:
    code, counts = np.ones((1, (attributes + 63) // 64), np.uint64), np.array([3])
    assert codes.dbscan(code, counts, 0, 3).tolist() == [0]
    assert codes.cut_tree(codes.linkage(code, counts, attributes=attributes), 1).tolist() == [0]
    assert codes.kmeans_seed(code, counts, 1, 0, attributes=attributes).tolist() == [0]


@pytest.mark.parametrize("attributes", ATTRIBUTES)
def test_every_code_can_be_its_own_cluster(attributes: int) -> None:
    rows = np.unique(np.random.default_rng(0).integers(0, 2, (50, attributes), dtype=np.uint8), axis=0)
    packed_codes, counts = codes.pack(rows), np.arange(1, len(rows) + 1)
    chosen = codes.kmeans_seed(packed_codes, counts, len(rows), 0, attributes=attributes)
    assert sorted(chosen.tolist()) == list(range(len(rows)))
    labels, _, inertia = codes.kmeans_assign(packed_codes, counts, rows[chosen].astype(float))
    assert inertia == 0 and len(np.unique(labels)) == len(rows)
