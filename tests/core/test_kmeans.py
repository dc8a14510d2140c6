"""The steps of K-Means on distinct codes against NumPy and scikit-learn on all rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import kmeans_plusplus

from facetools.clustering import codes
from tests.core.cases import Faces, faces_from_rows, faces_strategy, random_faces, repeat_codes


@settings(max_examples=60, deadline=None)
@given(faces=faces_strategy(), clusters=st.integers(1, 150), weighted=st.booleans(), seed=st.integers(0, 1000))
def test_assign_and_update_equal_numpy_on_all_rows(faces: Faces, clusters: int, weighted: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    centroids = rng.random((clusters, faces.attributes))
    weights = rng.uniform(0.1, 2, faces.attributes) if weighted else None
    bits = codes.unpack(faces.codes, faces.attributes).astype(float)
    factors = np.ones(faces.attributes) if weights is None else weights
    expected = (((bits[:, None] - centroids) * factors) ** 2).sum(axis=2)
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


def test_ties_go_to_the_first_centroid() -> None:
    faces = random_faces(500, 37, seed=1)
    centroids = np.random.default_rng(1).random((90, 37))
    labels, _, _ = codes.kmeans_assign(faces.codes, faces.counts, np.concatenate([centroids, centroids, centroids]))
    assert labels.max() < 90


@settings(max_examples=40, deadline=None)
@given(faces=faces_strategy(), fraction=st.floats(0, 1), weighted=st.booleans(), seed=st.integers(0, 2**64 - 1))
def test_initial_centroids_differ_and_do_not_depend_on_threads(
    faces: Faces, fraction: float, weighted: bool, seed: int
) -> None:
    clusters = max(1, round(fraction * len(faces.counts)))
    weights = np.linspace(0, 1, faces.attributes) if weighted else None
    one, two, seven = (
        codes.kmeans_seed(
            faces.codes, faces.counts, clusters, seed, attributes=faces.attributes, weights=weights, threads=threads
        )
        for threads in (1, 2, 7)
    )
    assert len(set(one)) == clusters
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, seven)


def test_seeding_with_counts_equals_seeding_of_repeated_rows() -> None:
    faces = random_faces(3000, 37, seed=2)
    order = np.argsort(faces.inverse, kind="stable")
    all_codes, ones = repeat_codes(faces)
    chosen_codes = codes.kmeans_seed(faces.codes, faces.counts, 40, 7, attributes=37)
    chosen_rows = codes.kmeans_seed(all_codes[order], ones, 40, 7, attributes=37)
    np.testing.assert_array_equal(chosen_codes, faces.inverse[order][chosen_rows])


def test_initial_inertia_is_close_to_that_of_scikit_learn() -> None:
    faces = random_faces(3000, 37, seed=3, groups=12)
    inertias, expected = [], []
    for seed in range(5):
        chosen = codes.kmeans_seed(faces.codes, faces.counts, 12, seed, attributes=37)
        centroids = codes.unpack(faces.codes[chosen], 37).astype(float)
        inertias.append(codes.kmeans_assign(faces.codes, faces.counts, centroids)[2])
        centroids, _ = kmeans_plusplus(faces.rows.astype(float), 12, random_state=seed)
        expected.append(codes.kmeans_assign(faces.codes, faces.counts, centroids)[2])
    assert np.mean(inertias) < 1.1 * np.mean(expected)


def test_large_counts_are_exact() -> None:
    two_codes = np.array([0b01, 0b11], np.uint64)
    counts = np.array([2**38, 2**39])
    labels, _, inertia = codes.kmeans_assign(two_codes, counts, np.array([[1.0, 0.5]]))
    assert inertia == (2**38 + 2**39) / 4
    sums, sizes = codes.kmeans_update(two_codes, counts, labels, 1, attributes=2)
    np.testing.assert_array_equal(sums, [[2**38 + 2**39, 2**39]])
    np.testing.assert_array_equal(sizes, [2**38 + 2**39])


def test_invalid_arguments_are_rejected() -> None:
    faces = faces_from_rows(np.eye(5, dtype=np.uint8))
    with pytest.raises(ValueError, match=r"^clusters: must be from 1 to 5"):
        codes.kmeans_seed(faces.codes, faces.counts, 6, 0, attributes=5)
    with pytest.raises(ValueError, match=r"^seed: must be from 0"):
        codes.kmeans_seed(faces.codes, faces.counts, 2, -1, attributes=5)
    for centroids in (np.full((2, 5), np.nan), np.zeros((0, 5)), np.zeros(5)):
        with pytest.raises(ValueError, match=r"^centroids: "):
            codes.kmeans_assign(faces.codes, faces.counts, centroids)
    with pytest.raises(ValueError, match=r"^codes: "):
        codes.kmeans_assign(faces.codes, faces.counts, np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"^labels: "):
        codes.kmeans_update(faces.codes, faces.counts, np.full(5, 2, np.int32), 2, attributes=5)
