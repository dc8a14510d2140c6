"""The order of the codes decides nothing but names and ties; and no codes, one code and one cluster a code are fine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from facetools.clustering import codes
from tests.core.cases import ATTRIBUTES, Faces, labels_for, some_faces

seeds = st.integers(0, 2**32 - 1)


def shuffled(faces: Faces, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order = np.random.default_rng(seed).permutation(len(faces.counts))
    return order, faces.codes[order], faces.counts[order]


@settings(max_examples=40, deadline=None)
@given(faces=some_faces(least=3), metric=st.sampled_from(codes.METRICS), seed=seeds)
def test_silhouette(faces: Faces, metric: str, seed: int) -> None:
    if len(faces.counts) < 2:
        return
    labels = labels_for(faces, 4, noise=True)
    order, packed, counts = shuffled(faces, seed)
    one = codes.silhouette(faces.codes, faces.counts, labels, attributes=faces.attributes, metric=metric)
    other = codes.silhouette(packed, counts, labels[order], attributes=faces.attributes, metric=metric)
    np.testing.assert_allclose(other.samples, one.samples[order], atol=1e-12)
    assert other.mean == pytest.approx(one.mean, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(faces=some_faces(), radius=st.integers(0, 6), least=st.integers(1, 6), seed=seeds)
def test_dbscan_of_core_codes_and_noise(faces: Faces, radius: int, least: int, seed: int) -> None:
    order, packed, counts = shuffled(faces, seed)
    one = codes.dbscan(faces.codes, faces.counts, radius, least)[order]
    other = codes.dbscan(packed, counts, radius, least)
    rows = codes.unpack(packed, faces.attributes).astype(int)
    near = (np.abs(rows[:, None] - rows).sum(axis=2) <= radius) @ counts
    core = near >= least
    assert ((one < 0) == (other < 0)).all()
    assert core.sum() == 0 or adjusted_rand_score(one[core], other[core]) == 1


@settings(max_examples=40, deadline=None)
@given(faces=some_faces(least=2), method=st.sampled_from(list(codes.LINKAGE_METRICS)), seed=seeds)
def test_linkage_where_no_distances_are_equal(faces: Faces, method: str, seed: int) -> None:
    weights = np.sqrt(np.random.default_rng(seed).uniform(0.5, 1.5, faces.attributes))
    order, packed, counts = shuffled(faces, seed)
    one, other = (
        codes.linkage(some, of, method, attributes=faces.attributes, weights=weights)
        for some, of in ((faces.codes, faces.counts), (packed, counts))
    )
    np.testing.assert_allclose(other[:, 2], one[:, 2], rtol=1e-9)
    for clusters in {1, (len(one) + 2) // 2, len(one) + 1}:
        assert adjusted_rand_score(codes.cut(one, clusters)[order], codes.cut(other, clusters)) == 1


@settings(max_examples=40, deadline=None)
@given(faces=some_faces(), clusters=st.integers(1, 9), seed=seeds)
def test_kmeans_iterations(faces: Faces, clusters: int, seed: int) -> None:
    centroids = np.random.default_rng(seed).random((clusters, faces.attributes))
    order, packed, counts = shuffled(faces, seed)
    labels, distances, inertia = codes.kmeans_assign(faces.codes, faces.counts, centroids)
    other = codes.kmeans_assign(packed, counts, centroids)
    np.testing.assert_array_equal(other[0], labels[order])
    np.testing.assert_array_equal(other[1], distances[order])
    assert other[2] == pytest.approx(inertia)
    for sums, theirs in zip(
        codes.kmeans_update(faces.codes, faces.counts, labels, clusters, attributes=faces.attributes),
        codes.kmeans_update(packed, counts, other[0], clusters, attributes=faces.attributes),
        strict=True,
    ):
        np.testing.assert_array_equal(sums, theirs)


@pytest.mark.parametrize("attributes", ATTRIBUTES)
def test_no_codes_one_code_and_one_cluster_a_code(attributes: int) -> None:
    words = (attributes + 63) // 64
    none, nothing = np.zeros((0, words), np.uint64), np.zeros(0, np.int64)
    assert codes.dbscan(none, nothing, 1, 1).shape == (0,)
    labels, distances, inertia = codes.kmeans_assign(none, nothing, np.zeros((2, attributes)))
    assert labels.shape == distances.shape == (0,) and inertia == 0
    sums, sizes = codes.kmeans_update(none, nothing, labels, 2, attributes=attributes)
    assert not sums.any() and not sizes.any()
    for refused in (
        lambda: codes.linkage(none, nothing, attributes=attributes),
        lambda: codes.kmeans_seed(none, nothing, 1, 0, attributes=attributes),
        lambda: codes.silhouette(none, nothing, nothing.astype(np.int32), attributes=attributes),
    ):
        with pytest.raises(ValueError, match=r"^(codes|clusters|labels): "):
            refused()

    one, count = np.ones((1, words), np.uint64), np.array([3])
    assert codes.dbscan(one, count, 0, 3).tolist() == [0]
    assert codes.cut(codes.linkage(one, count, attributes=attributes), 1).tolist() == [0]
    assert codes.kmeans_seed(one, count, 1, 0, attributes=attributes).tolist() == [0]

    rows = np.unique(np.random.default_rng(0).integers(0, 2, (50, attributes), dtype=np.uint8), axis=0)
    packed, counts = codes.pack(rows), np.arange(1, len(rows) + 1)
    chosen = codes.kmeans_seed(packed, counts, len(rows), 0, attributes=attributes)
    assert sorted(chosen.tolist()) == list(range(len(rows)))
    labels, _, inertia = codes.kmeans_assign(packed, counts, rows[chosen].astype(float))
    assert inertia == 0 and len(np.unique(labels)) == len(rows)
