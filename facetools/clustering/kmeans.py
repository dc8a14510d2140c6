"""K-Means on distinct rows with counts, with split-and-merge moves to leave local optima.

Minimizes the inertia, the sum over all faces of the squared distance to the centroid of their cluster. With the cosine
metric it is spherical K-Means (Dhillon and Modha: Concept decompositions for large sparse text data using clustering,
2001): rows and centroids have length 1, and the distance is 1 - cos.

1. Greedy k-means++ chooses the initial centroids (Arthur and Vassilvitskii 2007).
2. Lloyd's iterations (1982) converge to a local optimum.
3. Moves merge the two clusters whose merger costs least and split the cluster whose split gains most. They continue as
   long as they lower the inertia (Kaukoranta, Franti and Nevalainen: Iterative split-and-merge algorithm for VQ
   codebook generation, 1998). They reach a lower inertia than restarts do, and take less time.

Time: O(d k a) per iteration for d distinct rows with a columns, and O(k^2 a) per round of moves.
Memory: O((d + k) a + k^2).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from facetools.clustering.codes import Progress
from facetools.clustering.method import METRIC_ALIASES, Method, Parameters
from facetools.clustering.points import Points
from facetools.clustering.rows import BitRows, Rows, UnitRows, VectorRows, choose_faiss_gpu
from facetools.clustering.vectors import center

#: The limit of Lloyd's iterations until convergence, after moves, and within one cluster that is split in two.
MAX_ITERATIONS = 300
MOVE_ITERATIONS = 6
SPLIT_ITERATIONS = 5

#: The first round moves this fraction of the k clusters at once.
INITIAL_MOVE_FRACTION = 1 / 8
#: A round of moves is accepted if it lowers the inertia by at least this fraction.
MIN_RELATIVE_GAIN = 1e-4
#: For more clusters, no moves are tried: the merge costs of all pairs would take too much time and memory.
MAX_CLUSTERS_FOR_MOVES = 2048

#: For forecasts: the total number of iterations that attribute codes typically need, and bytes per distinct row.
TYPICAL_ITERATIONS = 350
BYTES_PER_ROW = 64


@dataclass(frozen=True)
class _Fit:
    """A clustering into k clusters."""

    labels: np.ndarray  # int (d,)
    centroids: np.ndarray  # (k, a)
    sizes: np.ndarray  # (k,) see Rows.means
    errors: np.ndarray  # (k,) sum of distances of each cluster

    @property
    def inertia(self) -> float:
        return float(self.errors.sum())


class KMeans(Method):
    #: The name for messages.
    title: ClassVar[str] = "K-Means"
    requires_k = True
    parameter_names: ClassVar[tuple[str, ...]] = ("metric", "redo", "seed")
    metrics = ("euclidean", "cosine")
    uses_gpu = True

    def __init__(self, points: Points, parameters: Parameters) -> None:
        is_spherical = METRIC_ALIASES.get(parameters.metric, parameters.metric) == "cosine"
        use_core = parameters.engine == "auto" and parameters.device in ("auto", "cpu") and not is_spherical
        if use_core and points.packed_codes is not None:
            self._prepare(BitRows(points.packed_codes, points.counts, points.weights, parameters.jobs), parameters)
            return
        gpu = choose_faiss_gpu(parameters.device)
        if is_spherical:
            self._prepare(UnitRows(points.unit_rows, points.counts, parameters.jobs, gpu), parameters)
        else:
            rows = VectorRows(center(points.weighted_rows)[0], points.counts, parameters.jobs, gpu)
            self._prepare(rows, parameters)

    def _prepare(self, rows: Rows, parameters: Parameters) -> None:
        self._rows, self._size, self._parameters = rows, len(rows.counts), parameters

    def compute_labels(self, k: int | None) -> np.ndarray:
        assert k is not None
        if not 1 <= k <= self._size:
            raise ValueError(f"k is {k}; it must be from 1 to {self._size}, the number of distinct rows")
        restarts, monitor = self._parameters.redo or self.default_redo, self._parameters.monitor
        task = f"{self.title} of {self._size:,} distinct rows, k = {k}"
        with monitor.stage(task) as progress:
            best: _Fit | None = None
            for restart in range(restarts):
                rng = np.random.default_rng([self._parameters.seed, k, restart])
                started = time.perf_counter()
                centroids = self._rows.initial_centroids(k, rng)
                if restart == 0:
                    seeding_seconds = time.perf_counter() - started
                    seconds = restarts * (seeding_seconds + TYPICAL_ITERATIONS * self._time_iteration(centroids))
                    monitor.forecast(task, seconds, self._size * BYTES_PER_ROW)

                def report(fraction: float, restart: int = restart) -> None:
                    progress((restart + fraction) / restarts)

                fit = _split_and_merge(self._rows, run_lloyd(self._rows, centroids), rng, report)
                if best is None or fit.inertia < best.inertia:
                    best = fit
        assert best is not None
        return best.labels

    def _time_iteration(self, centroids: np.ndarray) -> float:
        """The seconds that one iteration takes. Short ones are repeated, as the first one may start threads."""
        best = math.inf
        for _ in range(3):
            started = time.perf_counter()
            self._rows.assign(centroids)
            best = min(best, time.perf_counter() - started)
            if best > 0.1:
                break
        return best


def run_lloyd(rows: Rows, centroids: np.ndarray, max_iterations: int = MAX_ITERATIONS) -> _Fit:
    """Lloyd's iterations from `centroids` (k, a) until no label changes. No cluster stays empty."""
    k, labels = len(centroids), np.empty(0)
    sizes = np.zeros(k)
    for _ in range(max_iterations):
        previous_labels, (labels, distances) = labels, rows.assign(centroids)
        _fill_empty_clusters(labels, distances, k)
        if np.array_equal(previous_labels, labels):
            break
        centroids, sizes = rows.means(labels, k)
    return _Fit(labels, centroids, sizes, np.bincount(labels, rows.counts * distances, k))


def _split_and_merge(rows: Rows, fit: _Fit, rng: np.random.Generator, progress: Progress) -> _Fit:
    """Improve `fit` by rounds of moves, each of which merges two clusters and splits another.

    A round that does not lower the inertia enough is discarded, and the number of moves per round is halved.
    `progress` receives the fraction of the work that is done, estimated from the number of moves per round.
    """
    k = len(fit.sizes)
    initial_moves = math.ceil(k * INITIAL_MOVE_FRACTION) if k <= MAX_CLUSTERS_FOR_MOVES else 0
    moves = initial_moves
    while moves:
        progress(1 - 0.7 * math.log1p(moves) / math.log1p(initial_moves))
        centroids = _move_centroids(rows, fit, moves, rng)
        if centroids is None:
            break
        new_fit = run_lloyd(rows, centroids, MOVE_ITERATIONS)
        if new_fit.inertia < fit.inertia * (1 - MIN_RELATIVE_GAIN):
            fit = new_fit
        else:
            moves //= 2
    return run_lloyd(rows, fit.centroids)


def _move_centroids(rows: Rows, fit: _Fit, moves: int, rng: np.random.Generator) -> np.ndarray | None:
    """The centroids (k, a) after at most `moves` moves, or None if no cluster can be split.

    Pairs are merged in order of increasing cost; clusters are split in order of decreasing gain. A cluster takes part
    in one move at most. The gain of a split need not exceed the cost of the merger: iterations may still improve it.
    """
    halves, gains = _split_clusters(rows, fit, rng)
    first, second, costs = rows.merge_costs(fit.centroids, fit.sizes)
    centroids = fit.centroids.copy()
    moved: set[int] = set()
    for pair in np.argsort(costs, kind="stable"):
        merged, freed = int(first[pair]), int(second[pair])
        if len(moved) == 3 * moves:
            break
        if moved & {merged, freed}:
            continue
        candidates = set(range(len(gains))) - moved - {merged, freed}
        split = max(candidates, key=lambda cluster: gains[cluster], default=None)
        if split is None or gains[split] <= 0:
            break
        centroids[merged] = rows.merge(fit.centroids[[merged, freed]], fit.sizes[[merged, freed]])
        centroids[[freed, split]] = halves[split]
        moved |= {merged, freed, split}
    return centroids if moved else None


def _split_clusters(rows: Rows, fit: _Fit, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The two centroids of each cluster split by K-Means (k, 2, a), and by how much that lowers the inertia (k,)."""
    order = np.argsort(fit.labels, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(fit.labels, minlength=len(fit.sizes)))[:-1])
    halves, gains = np.repeat(fit.centroids[:, None], 2, axis=1), np.zeros(len(members))
    for cluster, indices in enumerate(members):
        if len(indices) > 1:
            cluster_rows = rows.select(indices)
            split = run_lloyd(cluster_rows, cluster_rows.initial_centroids(2, rng), SPLIT_ITERATIONS)
            halves[cluster], gains[cluster] = split.centroids, fit.errors[cluster] - split.inertia
    return halves, gains


def _fill_empty_clusters(labels: np.ndarray, distances: np.ndarray, k: int) -> None:
    """Move a row to each empty cluster, in place: the row farthest from its centroid whose cluster has other rows."""
    row_counts = np.bincount(labels, minlength=k)
    empty = np.flatnonzero(row_counts == 0)
    if not len(empty):
        return
    farthest_rows = iter(np.argsort(-distances, kind="stable"))
    for cluster in empty:
        row = next(row for row in farthest_rows if row_counts[labels[row]] > 1)
        row_counts[labels[row]] -= 1
        row_counts[cluster] += 1
        labels[row] = cluster
