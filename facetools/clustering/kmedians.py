"""K-Medians of 0/1 attributes: the clusters that minimize the sum of manhattan distances to their medians.

The median of a cluster has an attribute if more than half of its faces do: the majority. The objective, the sum over
all faces of the number of attributes in which a face differs from the median of its cluster, is an integer. The method
is the best for binary data in the comparison of Brusco, Shireman and Steinley: A comparison of latent class, K-means,
and K-median methods for clustering dichotomous data (Psychological Methods, 2017).

It runs like K-Means (see kmeans): iterations of assignment and medians until no face changes its cluster, and moves
that merge and split clusters. On 0/1 attributes, the manhattan distance to a median equals the squared euclidean
distance, so the core's K-Means computes it. A start chooses codes by greedy k-means++ on manhattan distances. Many
distances are equal, so medians alone soon get stuck; therefore the first medians are those of the clusters of K-Means
from these codes.

Time: O(d k a) per iteration for d distinct codes with a attributes. Memory: O((d + k) a + k^2).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from facetools.clustering import codes
from facetools.clustering.kmeans import KMeans, run_lloyd
from facetools.clustering.method import Parameters
from facetools.clustering.points import Points
from facetools.clustering.rows import BitRows


class MedianRows(BitRows):
    """Rows of 0/1 attributes whose centroids are medians. Distances are integers, as exact doubles."""

    def select(self, indices: np.ndarray) -> MedianRows:
        return MedianRows(self._codes[indices], self.counts[indices], self.weights, self._jobs)

    def initial_centroids(self, k: int, rng: np.random.Generator) -> np.ndarray:
        """The medians (k, a) of the clusters of K-Means from k codes, chosen by greedy k-means++."""
        seeds = super().initial_centroids(k, rng)
        rows = BitRows(self._codes, self.counts, self.weights, self._jobs)
        return self.means(run_lloyd(rows, seeds).labels, k)[0]

    def means(self, labels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The medians, float64 0 or 1 (k, a), and the number of faces, float64 (k,). An attribute that exactly half of
        the faces have is 0."""
        sums, sizes = codes.kmeans_update(
            self._codes,
            self.counts,
            labels.astype(np.int32, copy=False),
            k,
            attributes=len(self.weights),
            threads=self._threads,
        )
        return (2 * sums > sizes[:, None]).astype(np.float64), sizes.astype(np.float64)

    def merge(self, centroids: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """The median of the larger cluster."""
        return centroids[np.argmax(sizes)]

    def merge_costs(self, centroids: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As in Rows. The costs are upper bounds: the faces of the smaller cluster go to the other median."""
        first, second = np.triu_indices(len(centroids), 1)
        ones = centroids.sum(axis=1)
        distances = ones[first] + ones[second] - 2 * (centroids @ centroids.T)[first, second]
        return first, second, np.minimum(sizes[first], sizes[second]) * distances


class KMedians(KMeans):
    title = "K-Medians"
    parameter_names = ("redo", "seed")
    uses_gpu = False
    default_redo = 10  # starts differ more than those of K-Means, because many distances are equal

    def __init__(self, points: Points, parameters: Parameters) -> None:
        if points.packed_codes is None:
            raise ValueError("K-Medians clusters 0/1 attributes; omit --soft, or use --method kmeans")
        if (points.weights != 1).any():
            raise ValueError("K-Medians counts differing attributes without weights; omit --weights")
        self._points = points
        self._distance = 0
        self._prepare(MedianRows(points.packed_codes, points.counts, points.weights, parameters.jobs), parameters)

    def compute_labels(self, k: int | None) -> np.ndarray:
        assert k is not None and self._points.packed_codes is not None
        labels = super().compute_labels(k)
        sums, sizes = codes.kmeans_update(
            self._points.packed_codes,
            self._points.counts,
            labels.astype(np.int32, copy=False),
            k,
            attributes=self._points.rows.shape[1],
        )
        self._distance = int(np.minimum(sums, sizes[:, None] - sums).sum())
        return labels

    def figures(self) -> dict[str, Any]:
        """`l1`: the sum of manhattan distances of all faces to the medians of their clusters."""
        return {"l1": self._distance}
