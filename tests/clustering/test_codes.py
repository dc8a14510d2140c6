"""Packing, distinct codes and silhouette against NumPy and scikit-learn on all rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import pairwise_distances, silhouette_samples

from facetools.clustering import codes
from tests.core.cases import ATTRIBUTES, Faces, faces_from_rows, faces_strategy, random_faces, random_labels


@pytest.mark.parametrize("attributes", ATTRIBUTES)
def test_bit_j_of_word_w_is_attribute_64_w_plus_j(attributes: int) -> None:
    packed = codes.pack(np.eye(attributes, dtype=np.uint8))
    assert packed.shape == (attributes, (attributes + 63) // 64)
    for attribute, code in enumerate(packed):
        assert code[attribute // 64] == 1 << (attribute % 64)
        assert np.count_nonzero(code) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.bool_])
@pytest.mark.parametrize("attributes", [0, *ATTRIBUTES])
@pytest.mark.parametrize("n", [0, 1, 9000])
def test_pack_and_unpack_equal_numpy(n: int, attributes: int, dtype: type) -> None:
    rng = np.random.default_rng(n + attributes)
    if np.issubdtype(dtype, np.floating):
        rows, threshold = rng.random((n, attributes)).astype(dtype), 0.3
        rows[rng.random(rows.shape) < 0.1] = threshold
        expected = rows >= threshold
    else:
        rows, threshold = rng.integers(0, 2, (n, attributes)).astype(dtype), 0.5
        expected = rows != 0
    packed = codes.pack(rows, threshold)
    assert packed.dtype == np.uint64
    assert packed.shape == (n, max(1, (attributes + 63) // 64))
    np.testing.assert_array_equal(codes.unpack(packed, attributes), expected)
    np.testing.assert_array_equal(codes.pack(rows[::-1], threshold), packed[::-1])


def test_pack_rejects_invalid_rows() -> None:
    rows = np.zeros((9000, 3), np.float32)
    rows[[8000, 5000], 1] = np.nan
    with pytest.raises(ValueError, match=r"^rows: .*5000"):
        codes.pack(rows)
    with pytest.raises(ValueError, match=r"^rows: .*1$"):
        codes.pack(np.array([[0, 1], [2, 0]], np.uint8))
    with pytest.raises(ValueError, match=r"^rows: .*256"):
        codes.pack(np.zeros((1, 257), np.uint8))
    with pytest.raises(ValueError, match=r"^rows: must have 2 dimensions, not 1"):
        codes.pack(np.zeros(3, np.uint8))
    with pytest.raises(ValueError, match=r"^rows: must be float32, float64, uint8 or bool, not int64"):
        codes.pack(np.zeros((2, 3), np.int64))
    with pytest.raises(ValueError, match=r"^threshold: "):
        codes.pack(np.zeros((2, 3), np.float32), np.nan)


@given(faces_strategy())
def test_distinct_codes_are_in_order_of_first_appearance(faces: Faces) -> None:
    packed, distinct = codes.pack(faces.rows), faces.distinct
    expected, first, counts = np.unique(packed, axis=0, return_index=True, return_counts=True)
    order = np.argsort(first)
    np.testing.assert_array_equal(distinct.codes, expected[order])
    np.testing.assert_array_equal(distinct.first, first[order])
    np.testing.assert_array_equal(distinct.counts, counts[order])
    np.testing.assert_array_equal(distinct.codes[distinct.inverse], packed)


def test_distinct_supports_many_codes_and_zero_codes() -> None:
    packed = np.random.default_rng(0).integers(0, 2**40, 50_000, dtype=np.uint64).repeat(3)
    distinct = codes.distinct(packed)
    assert len(distinct.counts) == len(np.unique(packed))
    np.testing.assert_array_equal(distinct.codes[distinct.inverse, 0], packed)
    empty = codes.distinct(np.zeros((0, 3), np.uint64))
    assert empty.codes.shape == (0, 3)
    assert empty.counts.shape == empty.inverse.shape == empty.first.shape == (0,)


def expected_silhouette(faces: Faces, labels: np.ndarray, metric: str, weights: np.ndarray | None) -> np.ndarray:
    """The silhouette scores of all rows by scikit-learn, float64 (n,); NaN for noise."""
    rows = faces.rows * (1.0 if weights is None else weights)
    distances = pairwise_distances(rows, metric="l2" if metric == "euclidean" else metric)
    if metric == "euclidean":  # scikit-learn's distance of equal rows is up to 1e-8
        distances = np.sqrt(((rows[:, None] - rows) ** 2).sum(axis=2))
    np.fill_diagonal(distances, 0)
    row_labels = labels[faces.inverse]
    is_clustered = row_labels >= 0
    row_labels = row_labels[is_clustered]
    scores = np.full(len(rows), np.nan)
    if len(row_labels) == len(np.unique(row_labels)):  # scikit-learn does not accept only clusters of one row
        scores[is_clustered] = 0
        return scores
    distances = distances[np.ix_(is_clustered, is_clustered)]
    scores[is_clustered] = silhouette_samples(distances, row_labels, metric="precomputed")
    return scores


@settings(max_examples=60, deadline=None)
@given(
    faces=faces_strategy(min_size=3),
    metric=st.sampled_from(codes.METRICS),
    weighted=st.booleans(),
    noise=st.booleans(),
    clusters=st.integers(2, 60),
    seed=st.integers(0, 1000),
)
def test_silhouette_equals_scikit_learn_on_all_rows(
    faces: Faces, metric: str, weighted: bool, noise: bool, clusters: int, seed: int
) -> None:
    if len(faces.counts) < 2:
        return
    labels = random_labels(faces, clusters, seed, noise)
    weights = np.random.default_rng(seed).uniform(0.1, 2, faces.attributes) if weighted else None
    expected = expected_silhouette(faces, labels, metric, weights)
    for threads in (1, 2, 7):
        silhouette = codes.silhouette(
            faces.codes,
            faces.counts,
            labels,
            attributes=faces.attributes,
            metric=metric,
            weights=weights,
            threads=threads,
        )
        np.testing.assert_allclose(silhouette.samples[faces.inverse], expected, atol=1e-10)
        assert silhouette.mean == pytest.approx(np.nanmean(expected), abs=1e-10)


@pytest.mark.parametrize("metric", codes.METRICS)
@pytest.mark.parametrize("weighted", [False, True])
def test_silhouette_does_not_depend_on_threads(metric: str, weighted: bool) -> None:
    faces = random_faces(6000, 37, seed=5)
    labels = random_labels(faces, 9)
    weights = np.linspace(0, 1, 37) if weighted else None
    one, two, seven = (
        codes.silhouette(
            faces.codes, faces.counts, labels, attributes=37, metric=metric, weights=weights, threads=threads
        )
        for threads in (1, 2, 7)
    )
    assert one.mean == two.mean == seven.mean
    np.testing.assert_array_equal(one.samples, two.samples)
    np.testing.assert_array_equal(one.samples, seven.samples)


@pytest.mark.parametrize("metric", codes.METRICS)
def test_silhouette_supports_large_counts(metric: str) -> None:
    """With so many faces, the mean distance to the own cluster may include the distance of 0 to itself."""
    faces = random_faces(400, 37, seed=6)
    labels = random_labels(faces, 3)
    counts = np.full(len(faces.counts), 2**31)
    silhouette = codes.silhouette(faces.codes, counts, labels, attributes=37, metric=metric)
    rows = codes.unpack(faces.codes, 37).astype(float)
    distances = pairwise_distances(rows, metric=metric)
    means = np.stack([distances[:, labels == c].mean(axis=1) for c in range(3)])
    own_mean = means[labels, np.arange(len(rows))]
    nearest_mean = np.where(np.arange(3)[:, None] == labels, np.inf, means).min(axis=0)
    expected = (nearest_mean - own_mean) / np.maximum(own_mean, nearest_mean)
    np.testing.assert_allclose(silhouette.samples, expected, atol=1e-8)


@pytest.mark.parametrize("metric", codes.METRICS)
def test_silhouette_is_1_in_clusters_of_equal_faces_and_0_in_clusters_of_one(metric: str) -> None:
    faces = random_faces(500, 37, seed=7)
    labels = np.arange(len(faces.counts), dtype=np.int32)
    silhouette = codes.silhouette(faces.codes, faces.counts, labels, attributes=37, metric=metric)
    np.testing.assert_allclose(silhouette.samples, faces.counts > 1, atol=1e-12)


def test_silhouette_accepts_labels_with_gaps() -> None:
    faces = random_faces(100, 37, seed=8)
    labels = random_labels(faces, 3)
    expected = codes.silhouette(faces.codes, faces.counts, labels, attributes=37)
    with_gaps = codes.silhouette(faces.codes, faces.counts, labels * 1000 + 5, attributes=37)
    np.testing.assert_array_equal(with_gaps.samples, expected.samples)


def test_silhouette_rejects_invalid_arguments() -> None:
    faces = random_faces(50, 37, seed=9)
    d = len(faces.counts)
    labels = random_labels(faces, 3)

    def assert_rejected(message: str, **arguments: object) -> None:
        valid = {"codes": faces.codes, "counts": faces.counts, "labels": labels, "attributes": 37}
        with pytest.raises(ValueError, match=f"^{message}"):
            codes.silhouette(**valid | arguments)

    assert_rejected("labels: must have at least 2 clusters, not 1", labels=np.zeros(d, np.int32))
    assert_rejected("labels: must have at least 2 clusters, not 1", labels=np.where(labels == 0, 0, -1))
    assert_rejected("labels: must be at least -1, not -", labels=labels - 2)
    assert_rejected(f"labels: must be {d} integers", labels=labels[1:])
    assert_rejected(f"labels: must be {d} integers", labels=labels.astype(float))
    assert_rejected("counts: ", counts=faces.counts[1:])
    assert_rejected("counts: ", counts=faces.counts * 0)
    assert_rejected("counts: must be integers", counts=faces.counts.astype(float))
    assert_rejected("counts: .*2.40", counts=np.full(d, 2**39))
    assert_rejected("attributes: ", attributes=65)
    assert_rejected("attributes: must be from 0 to 256, not 257", attributes=257)
    assert_rejected("codes: ", attributes=5)
    assert_rejected("codes: must be uint64", codes=faces.codes.astype(np.int64))
    assert_rejected("codes: ", codes=np.zeros((d, 5), np.uint64))
    assert_rejected("metric: ", metric="hamming")
    assert_rejected("weights: must be 37 numbers", weights=np.full(37, np.nan))
    assert_rejected("weights: must be 37 numbers", weights=-np.ones(37))
    assert_rejected("weights: must be 37 numbers", weights=np.full(36, 0.5))
    assert_rejected("threads: must not be negative", threads=-1)


def test_progress_callback_can_stop_the_computation() -> None:
    faces = random_faces(40_000, 64, seed=10, repeated_fraction=0)
    labels = random_labels(faces, 5)
    weights = np.linspace(1, 2, 64)

    def stop(fraction: float) -> None:
        assert 0 <= fraction <= 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        codes.silhouette(faces.codes, faces.counts, labels, attributes=64, weights=weights, progress=stop)


def test_codes_of_one_word_may_be_one_dimensional() -> None:
    faces = faces_from_rows(np.ones((3, 40), np.uint8))
    np.testing.assert_array_equal(codes.unpack(faces.codes[:, 0], 40), np.ones((1, 40)))
    assert faces.counts == 3
