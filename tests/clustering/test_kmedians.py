"""K-Medians against NumPy on all rows."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from facetools.clustering import Parameters, cluster
from facetools.clustering.kmedians import MedianRows
from facetools.clustering.points import Points, from_bits, from_values


def random_rows(faces: int, attributes: int, seed: int) -> np.ndarray:
    """Rows of four groups, uint8 (faces, attributes). Half of them are copies of others."""
    rng = np.random.default_rng(seed)
    centers = rng.random((4, attributes)) < 0.5
    rows = (centers[rng.integers(4, size=faces)] ^ (rng.random((faces, attributes)) < 0.15)).astype(np.uint8)
    return rows[rng.integers(faces, size=faces)]


def median_rows(points: Points) -> MedianRows:
    assert points.packed_codes is not None
    return MedianRows(points.packed_codes, points.counts, points.weights, 1)


def distance_to_medians(rows: np.ndarray, labels: np.ndarray) -> int:
    """The sum of manhattan distances of all rows to the medians of their clusters."""
    total = 0
    for label in set(labels.tolist()):
        members = rows[labels == label].astype(int)
        median = members.sum(axis=0) * 2 > len(members)
        total += int(np.abs(members - median).sum())
    return total


@pytest.mark.parametrize("attributes", [1, 37, 64, 65, 200])
def test_steps_equal_numpy_on_all_rows_and_never_raise_the_distance(attributes: int) -> None:
    bits = random_rows(400, attributes, seed=attributes)
    points = from_bits(bits)
    rows, k = median_rows(points), min(7, len(points.counts))
    medians = rows.initial_centroids(k, np.random.default_rng(0))
    previous = np.inf
    for _ in range(10):
        labels, distances = rows.assign(medians)
        manhattan = np.abs(points.rows[:, None].astype(int) - medians.astype(int)).sum(axis=2)
        np.testing.assert_array_equal(labels, manhattan.argmin(axis=1))
        np.testing.assert_array_equal(distances, manhattan.min(axis=1))
        assert points.counts @ distances <= previous
        previous = points.counts @ distances
        used = np.unique(labels)
        labels = np.searchsorted(used, labels)
        medians, sizes = rows.means(labels, len(used))
        for cluster_number in range(len(used)):
            members = bits[labels[points.inverse] == cluster_number].astype(int)
            np.testing.assert_array_equal(medians[cluster_number], members.sum(axis=0) * 2 > len(members))
            assert sizes[cluster_number] == len(members)


@pytest.mark.parametrize("k", [1, 2, 4, 9])
def test_the_distance_is_that_of_the_labels(k: int) -> None:
    bits = random_rows(500, 20, seed=k)
    result = cluster(from_bits(bits), "kmedians", k, Parameters())
    assert result.figures["l1"] == distance_to_medians(bits, result.labels)
    assert isinstance(result.figures["l1"], int)
    assert result.figures["clusters"] == k
    assert result.figures["parameters"] == {"k": k, "redo": 10, "seed": 0}
    sizes = np.bincount(result.labels)
    assert (np.diff(sizes) <= 0).all()


def test_the_optimum_of_few_faces_is_reached() -> None:
    """Against all medians: all pairs of 0/1 vectors with 5 attributes."""
    vectors = np.array(list(product((0, 1), repeat=5)))
    reached = []
    for seed in range(10):
        bits = random_rows(30, 5, seed)
        distances = np.abs(bits[:, None].astype(int) - vectors).sum(axis=2)
        best = min(int(np.minimum(distances[:, i], distances[:, j]).sum()) for i, j in combinations(range(32), 2))
        figures = cluster(from_bits(bits), "kmedians", 2, Parameters(redo=10)).figures
        assert figures["l1"] >= best
        reached.append(figures["l1"] == best)
    assert sum(reached) >= 9


def test_groups_are_found_and_the_distance_is_below_that_of_kmeans() -> None:
    rng = np.random.default_rng(0)
    centers = rng.random((5, 30)) < 0.5
    truth = rng.permutation(np.repeat(np.arange(5), [500, 400, 300, 200, 100]))
    bits = (centers[truth] ^ (rng.random((1500, 30)) < 0.05)).astype(np.uint8)
    result = cluster(from_bits(bits), "kmedians", 5, Parameters())
    assert (result.labels == truth).mean() > 0.99
    noisy = random_rows(2000, 15, seed=2)
    medians, means = (cluster(from_bits(noisy), name, 8, Parameters(redo=20)) for name in ("kmedians", "kmeans"))
    assert medians.figures["l1"] < distance_to_medians(noisy, means.labels)


def test_threads_and_counts_do_not_matter() -> None:
    bits = np.concatenate([random_rows(3000, 40, seed) for seed in range(4)])
    points = from_bits(bits)
    assert len(points.counts) > 4096, "the codes are processed by one thread"
    labels = [cluster(points, "kmedians", 6, Parameters(jobs=jobs)).labels.tobytes() for jobs in (1, 2, 3, 7)]
    assert len(set(labels)) == 1


def test_every_distinct_row_can_be_its_own_cluster() -> None:
    points = from_bits(random_rows(60, 6, seed=2))
    size = len(points.counts)
    result = cluster(points, "kmedians", size, Parameters())
    assert result.figures["clusters"] == size and result.figures["l1"] == 0
    with pytest.raises(ValueError, match=f"k is {size + 1}; it must be from 1 to {size}"):
        cluster(points, "kmedians", size + 1, Parameters())


def test_values_and_weights_are_refused() -> None:
    rows = random_rows(50, 5, seed=0)
    with pytest.raises(ValueError, match="K-Medians clusters 0/1 attributes; omit --soft"):
        cluster(from_values(rows.astype(np.float32)), "kmedians", 2, Parameters())
    with pytest.raises(ValueError, match="without weights; omit --weights"):
        cluster(from_bits(rows, np.arange(1.0, 6)), "kmedians", 2, Parameters())
