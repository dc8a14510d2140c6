"""Packing, distinct codes and the silhouette, against NumPy and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import pairwise_distances, silhouette_samples

from facetools.clustering import codes
from tests.core.cases import ATTRIBUTES, Faces, drawn_faces, faces_of, labels_for, some_faces


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
def test_pack_and_unpack(n: int, attributes: int, dtype: type) -> None:
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


def test_pack_refuses_what_is_no_score() -> None:
    rows = np.zeros((9000, 3), np.float32)
    rows[[8000, 5000], 1] = np.nan
    with pytest.raises(ValueError, match="rows: NaN in row 5000"):
        codes.pack(rows)
    with pytest.raises(ValueError, match="rows: a value other than 0 and 1 in row 1"):
        codes.pack(np.array([[0, 1], [2, 0]], np.uint8))
    with pytest.raises(ValueError, match="rows: more than 256"):
        codes.pack(np.zeros((1, 257), np.uint8))
    with pytest.raises(ValueError, match="rows: two dimensions"):
        codes.pack(np.zeros(3, np.uint8))
    with pytest.raises(ValueError, match="rows: float32"):
        codes.pack(np.zeros((2, 3), np.int64))
    with pytest.raises(ValueError, match="threshold: NaN"):
        codes.pack(np.zeros((2, 3), np.float32), np.nan)


@given(some_faces())
def test_distinct_codes_in_order_of_first_appearance(faces: Faces) -> None:
    packed, found = codes.pack(faces.rows), faces.distinct
    expected, first, counts = np.unique(packed, axis=0, return_index=True, return_counts=True)
    order = np.argsort(first)
    np.testing.assert_array_equal(found.codes, expected[order])
    np.testing.assert_array_equal(found.first, first[order])
    np.testing.assert_array_equal(found.counts, counts[order])
    np.testing.assert_array_equal(found.codes[found.inverse], packed)


def test_distinct_of_many_codes_and_of_none() -> None:
    packed = np.random.default_rng(0).integers(0, 2**40, 50_000, dtype=np.uint64).repeat(3)
    found = codes.distinct(packed)
    assert len(found.counts) == len(np.unique(packed))
    np.testing.assert_array_equal(found.codes[found.inverse, 0], packed)
    none = codes.distinct(np.zeros((0, 3), np.uint64))
    assert none.codes.shape == (0, 3)
    assert none.counts.shape == none.inverse.shape == none.first.shape == (0,)


def silhouette_of_all_rows(faces: Faces, labels: np.ndarray, metric: str, weights: np.ndarray | None) -> np.ndarray:
    rows = faces.rows * (1.0 if weights is None else weights)
    distances = pairwise_distances(rows, metric="l2" if metric == "euclidean" else metric)
    if metric == "euclidean":  # scikit-learn's own is off by 1e-8 where rows are equal
        distances = np.sqrt(((rows[:, None] - rows) ** 2).sum(axis=2))
    np.fill_diagonal(distances, 0)
    kept = labels[faces.inverse] >= 0
    scores = np.full(len(rows), np.nan)
    if kept.sum() == len(np.unique(labels[faces.inverse][kept])):  # scikit-learn refuses clusters of one row each
        scores[kept] = 0
        return scores
    scores[kept] = silhouette_samples(distances[np.ix_(kept, kept)], labels[faces.inverse][kept], metric="precomputed")
    return scores


@settings(max_examples=60, deadline=None)
@given(
    faces=some_faces(least=3),
    metric=st.sampled_from(codes.METRICS),
    weighted=st.booleans(),
    noise=st.booleans(),
    clusters=st.integers(2, 60),
    seed=st.integers(0, 1000),
)
def test_silhouette_is_that_of_all_rows(
    faces: Faces, metric: str, weighted: bool, noise: bool, clusters: int, seed: int
) -> None:
    if len(faces.counts) < 2:
        return
    labels = labels_for(faces, clusters, seed, noise)
    weights = np.random.default_rng(seed).uniform(0.1, 2, faces.attributes) if weighted else None
    expected = silhouette_of_all_rows(faces, labels, metric, weights)
    for threads in (1, 2, 7):
        found = codes.silhouette(
            faces.codes,
            faces.counts,
            labels,
            attributes=faces.attributes,
            metric=metric,
            weights=weights,
            threads=threads,
        )
        np.testing.assert_allclose(found.samples[faces.inverse], expected, atol=1e-10)
        assert found.mean == pytest.approx(np.nanmean(expected), abs=1e-10)


@pytest.mark.parametrize("metric", codes.METRICS)
@pytest.mark.parametrize("weighted", [False, True])
def test_silhouette_is_the_same_for_any_threads(metric: str, weighted: bool) -> None:
    faces = drawn_faces(6000, 37, seed=5)
    labels = labels_for(faces, 9)
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
def test_silhouette_of_large_counts(metric: str) -> None:
    """Scores of so many faces come close to those where the own distance need not be left out."""
    faces = drawn_faces(400, 37, seed=6)
    labels = labels_for(faces, 3)
    many = np.full(len(faces.counts), 2**31)
    found = codes.silhouette(faces.codes, many, labels, attributes=37, metric=metric)
    rows = codes.unpack(faces.codes, 37).astype(float)
    distances = pairwise_distances(rows, metric=metric)
    mean = np.stack([distances[:, labels == c].mean(axis=1) for c in range(3)])
    own = mean[labels, np.arange(len(rows))]
    other = np.where(np.arange(3)[:, None] == labels, np.inf, mean).min(axis=0)
    np.testing.assert_allclose(found.samples, (other - own) / np.maximum(own, other), atol=1e-8)


@pytest.mark.parametrize("metric", codes.METRICS)
def test_silhouette_of_each_code_its_own_cluster(metric: str) -> None:
    faces = drawn_faces(500, 37, seed=7)
    labels = np.arange(len(faces.counts), dtype=np.int32)
    found = codes.silhouette(faces.codes, faces.counts, labels, attributes=37, metric=metric)
    np.testing.assert_allclose(found.samples, faces.counts > 1, atol=1e-12)


def test_silhouette_takes_labels_with_gaps() -> None:
    faces = drawn_faces(100, 37, seed=8)
    labels = labels_for(faces, 3)
    dense = codes.silhouette(faces.codes, faces.counts, labels, attributes=37)
    gaps = codes.silhouette(faces.codes, faces.counts, labels * 1000 + 5, attributes=37)
    np.testing.assert_array_equal(dense.samples, gaps.samples)


def test_silhouette_refuses_bad_input() -> None:
    faces = drawn_faces(50, 37, seed=9)
    d = len(faces.counts)
    labels = labels_for(faces, 3)

    def refused(message: str, **changes: object) -> None:
        call = {"codes": faces.codes, "counts": faces.counts, "labels": labels, "attributes": 37} | changes
        with pytest.raises(ValueError, match=message):
            codes.silhouette(**call)

    refused("labels: two clusters", labels=np.zeros(d, np.int32))
    refused("labels: two clusters", labels=np.where(labels == 0, 0, -1))
    refused("labels: below -1", labels=labels - 2)
    refused("labels: .* integers", labels=labels[1:])
    refused("labels: .* integers", labels=labels.astype(float))
    refused("counts: not as many", counts=faces.counts[1:])
    refused("counts: below 1", counts=faces.counts * 0)
    refused("counts: integers", counts=faces.counts.astype(float))
    refused("counts: more than 2.40", counts=np.full(d, 2**39))
    refused("attributes: more than", attributes=65)
    refused("attributes: 0 to 256", attributes=257)
    refused("codes: a bit is set past", attributes=5)
    refused("codes: uint64", codes=faces.codes.astype(np.int64))
    refused("codes: 1 to 4 words", codes=np.zeros((d, 5), np.uint64))
    refused("metric: euclidean", metric="hamming")
    refused("weights: 37 numbers", weights=np.full(37, np.nan))
    refused("weights: 37 numbers", weights=-np.ones(37))
    refused("weights: 37 numbers", weights=np.full(36, 0.5))
    refused("threads: -1", threads=-1)


def test_progress_is_told_and_may_stop_the_work() -> None:
    faces = drawn_faces(40_000, 64, seed=10, repeat=0)
    labels = labels_for(faces, 5)
    weights = np.linspace(1, 2, 64)

    def stop(share: float) -> None:
        assert 0 <= share <= 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        codes.silhouette(faces.codes, faces.counts, labels, attributes=64, weights=weights, progress=stop)


def test_one_code_in_one_dimension() -> None:
    faces = faces_of(np.ones((3, 40), np.uint8))
    np.testing.assert_array_equal(codes.unpack(faces.codes[:, 0], 40), np.ones((1, 40)))
    assert faces.counts == 3
