"""The steps of K-Means against NumPy and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import kmeans_plusplus

from facetools.clustering import codes
from tests.core.cases import Faces, drawn_faces, faces_of, repeated, some_faces


@settings(max_examples=60, deadline=None)
@given(faces=some_faces(), clusters=st.integers(1, 150), weighted=st.booleans(), seed=st.integers(0, 1000))
def test_assign_and_update(faces: Faces, clusters: int, weighted: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    centroids = rng.random((clusters, faces.attributes))
    weights = rng.uniform(0.1, 2, faces.attributes) if weighted else None
    bits = codes.unpack(faces.codes, faces.attributes).astype(float)
    scale = np.ones(faces.attributes) if weights is None else weights
    expected = (((bits[:, None] - centroids) * scale) ** 2).sum(axis=2)
    for threads in (1, 2, 7):
        labels, distances, inertia = codes.kmeans_assign(
            faces.codes, faces.counts, centroids, weights=weights, threads=threads
        )
        np.testing.assert_array_equal(labels, expected.argmin(axis=1))
        np.testing.assert_allclose(distances, expected.min(axis=1))
        assert inertia == pytest.approx(expected.min(axis=1)[faces.inverse].sum())

        labels[0] = -1
        sums, sizes = codes.kmeans_update(
            faces.codes, faces.counts, labels, clusters, attributes=faces.attributes, threads=threads
        )
        for cluster in range(clusters):
            members = faces.rows[labels[faces.inverse] == cluster]
            np.testing.assert_array_equal(sums[cluster], members.sum(axis=0))
            assert sizes[cluster] == len(members)


def test_the_first_of_equal_centroids_is_taken() -> None:
    faces = drawn_faces(500, 37, seed=1)
    centroids = np.random.default_rng(1).random((90, 37))
    labels, _, _ = codes.kmeans_assign(faces.codes, faces.counts, np.concatenate([centroids, centroids, centroids]))
    assert labels.max() < 90


@settings(max_examples=40, deadline=None)
@given(faces=some_faces(), share=st.floats(0, 1), weighted=st.booleans(), seed=st.integers(0, 2**64 - 1))
def test_seeds_differ_and_do_not_depend_on_threads(faces: Faces, share: float, weighted: bool, seed: int) -> None:
    clusters = max(1, round(share * len(faces.counts)))
    weights = np.linspace(0, 1, faces.attributes) if weighted else None
    found = [
        codes.kmeans_seed(
            faces.codes, faces.counts, clusters, seed, attributes=faces.attributes, weights=weights, threads=threads
        )
        for threads in (1, 2, 7)
    ]
    assert len(set(found[0])) == clusters
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_seeding_by_counts_is_seeding_of_repeated_rows() -> None:
    faces = drawn_faces(3000, 37, seed=2)
    order = np.argsort(faces.inverse, kind="stable")
    rows, once = repeated(faces)
    by_count = codes.kmeans_seed(faces.codes, faces.counts, 40, 7, attributes=37)
    by_row = codes.kmeans_seed(rows[order], once, 40, 7, attributes=37)
    np.testing.assert_array_equal(by_count, faces.inverse[order][by_row])


def test_seeds_are_as_good_as_those_of_scikit_learn() -> None:
    faces = drawn_faces(3000, 37, seed=3, groups=12)
    ours, theirs = [], []
    for seed in range(5):
        found = codes.kmeans_seed(faces.codes, faces.counts, 12, seed, attributes=37)
        centroids = codes.unpack(faces.codes[found], 37).astype(float)
        ours.append(codes.kmeans_assign(faces.codes, faces.counts, centroids)[2])
        peers, _ = kmeans_plusplus(faces.rows.astype(float), 12, random_state=seed)
        theirs.append(codes.kmeans_assign(faces.codes, faces.counts, peers)[2])
    assert np.mean(ours) < 1.1 * np.mean(theirs)


def test_large_counts() -> None:
    codes_of_two = np.array([0b01, 0b11], np.uint64)
    counts = np.array([2**38, 2**39])
    labels, _, inertia = codes.kmeans_assign(codes_of_two, counts, np.array([[1.0, 0.5]]))
    assert inertia == (2**38 + 2**39) / 4
    sums, sizes = codes.kmeans_update(codes_of_two, counts, labels, 1, attributes=2)
    np.testing.assert_array_equal(sums, [[2**38 + 2**39, 2**39]])
    np.testing.assert_array_equal(sizes, [2**38 + 2**39])


def test_bad_input_is_refused() -> None:
    faces = faces_of(np.eye(5, dtype=np.uint8))
    with pytest.raises(ValueError, match="clusters: 6"):
        codes.kmeans_seed(faces.codes, faces.counts, 6, 0, attributes=5)
    with pytest.raises(ValueError, match="seed: -1"):
        codes.kmeans_seed(faces.codes, faces.counts, 2, -1, attributes=5)
    with pytest.raises(ValueError, match="centroids: not finite"):
        codes.kmeans_assign(faces.codes, faces.counts, np.full((2, 5), np.nan))
    with pytest.raises(ValueError, match="centroids: not from 1"):
        codes.kmeans_assign(faces.codes, faces.counts, np.zeros((0, 5)))
    with pytest.raises(ValueError, match="centroids: two dimensions"):
        codes.kmeans_assign(faces.codes, faces.counts, np.zeros(5))
    with pytest.raises(ValueError, match="codes: a bit is set past"):
        codes.kmeans_assign(faces.codes, faces.counts, np.zeros((2, 4)))
    with pytest.raises(ValueError, match="labels: not from -1"):
        codes.kmeans_update(faces.codes, faces.counts, np.full(5, 2, np.int32), 2, attributes=5)
