"""K-Means on distinct rows with counts: the paper's method of choice.

Lloyd's iterations (1982) end in a local optimum. Out of it lead moves that merge two clusters and split another
(Kaukoranta, Franti, Nevalainen: Iterative split-and-merge algorithm for VQ codebook generation, 1998): more
surely than other starts, and in less time.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from facetools.clustering.codes import Progress
from facetools.clustering.method import Parameters
from facetools.clustering.points import Points
from facetools.clustering.rows import BitRows, Rows, VectorRows, faiss_gpu

MAX_ITERATIONS = 300

#: The part of the clusters that is split at once, at first; a move must lower the objective by this share of it.
SPLIT_PART = 1 / 8
LEAST_GAIN = 1e-4
#: Iterations after which a move is judged.
SETTLING = 6
#: Clusters beyond which no moves are tried, whose cost grows with the square.
MOST_MOVED = 2048

#: What a run is foretold by: iterations that attribute codes usually take, and bytes for each distinct row.
USUAL_ITERATIONS = 350
BYTES_A_ROW = 64


@dataclass(frozen=True)
class _Fit:
    """Clusters: labels int (d,), centroids (k, a), faces (k,) and sum of squared distances (k,) of each."""

    labels: np.ndarray
    centroids: np.ndarray
    faces: np.ndarray
    errors: np.ndarray

    @property
    def objective(self) -> float:
        return float(self.errors.sum())


class KMeans:
    takes_k = True
    uses = ("redo", "seed")

    def __init__(self, points: Points, parameters: Parameters) -> None:
        self._size = len(points.counts)
        self._parameters = parameters
        self._rows: Rows
        if points.packed is not None and parameters.device in ("auto", "cpu") and parameters.engine == "auto":
            self._rows = BitRows(points.packed, points.counts, points.weights, parameters.jobs)
        else:
            self._rows = VectorRows(points.scaled, points.counts, parameters.jobs, faiss_gpu(parameters.device))

    def labels(self, k: int | None) -> np.ndarray:
        assert k is not None
        if not 1 <= k <= self._size:
            raise ValueError(f"k is {k}; it must be from 1 to {self._size}, the number of distinct rows")
        redo, watch = self._parameters.redo, self._parameters.watch
        what = f"K-Means of {self._size:,} distinct rows, k = {k}"
        with watch.stage(what) as progress:
            fits = []
            for start in range(redo):
                rng = np.random.default_rng([self._parameters.seed, k, start])
                started = time.perf_counter()
                centroids = self._rows.seed(k, rng)
                if start == 0:
                    seeded = time.perf_counter()
                    self._rows.nearest(centroids)
                    seconds = seeded - started + USUAL_ITERATIONS * (time.perf_counter() - seeded)
                    watch.foretell(what, redo * seconds, self._size * BYTES_A_ROW)

                def told(share: float, start: int = start) -> None:
                    progress((start + share) / redo)

                fits.append(_improved(self._rows, _converged(self._rows, centroids), rng, told))
        return min(fits, key=lambda fit: fit.objective).labels


def _converged(rows: Rows, centroids: np.ndarray, iterations: int = MAX_ITERATIONS) -> _Fit:
    """Lloyd's iterations from `centroids` (k, a) until no row changes its cluster; no cluster is left empty."""
    k, labels = len(centroids), np.empty(0)
    faces = np.zeros(k)
    for _ in range(iterations):
        before, (labels, distances) = labels, rows.nearest(centroids)
        _fill_empty(labels, distances, k)
        if np.array_equal(before, labels):
            break
        centroids, faces = rows.means(labels, k)
    return _Fit(labels, centroids, faces, np.bincount(labels, rows.counts * distances, k))


def _improved(rows: Rows, fit: _Fit, rng: np.random.Generator, told: Progress) -> _Fit:
    """`fit` after moves that merge pairs of clusters and split as many others: ever fewer at once, for as long as they
    lower the objective. `told` hears of the share done, by the number of moves at once."""
    k = len(fit.faces)
    moves = most = math.ceil(k * SPLIT_PART) if k <= MOST_MOVED else 0
    while moves:
        told(1 - 0.7 * math.log1p(moves) / math.log1p(most))
        centroids = _moved(rows, fit, moves, rng)
        if centroids is None:
            break
        other = _converged(rows, centroids, SETTLING)
        if other.objective < fit.objective * (1 - LEAST_GAIN):
            fit = other
        else:
            moves //= 2
    return _converged(rows, fit.centroids)


def _moved(rows: Rows, fit: _Fit, moves: int, rng: np.random.Generator) -> np.ndarray | None:
    """Centroids after at most `moves` merges of the pairs that cost least and splits of the clusters that gain most;
    None where no cluster can be split. Whether a move pays is seen when it has settled."""
    halves, gains = _split(rows, fit, rng)
    left, right, costs = _merge_costs(rows, fit)
    centroids = fit.centroids.copy()
    used: set[int] = set()
    for pair in np.argsort(costs, kind="stable"):
        one, other = int(left[pair]), int(right[pair])
        if len(used) == 3 * moves:
            break
        if used & {one, other}:
            continue
        split = max(set(range(len(gains))) - used - {one, other}, key=lambda cluster: gains[cluster], default=None)
        if split is None or gains[split] <= 0:
            break
        centroids[one] = np.average(fit.centroids[[one, other]], axis=0, weights=fit.faces[[one, other]])
        centroids[[other, split]] = halves[split]
        used |= {one, other, split}
    return centroids if used else None


def _merge_costs(rows: Rows, fit: _Fit) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of clusters and what merging them adds to the objective (Ward 1963): m n / (m + n) |difference|^2."""
    scaled = fit.centroids.astype(np.float64) * rows.weights
    left, right = np.triu_indices(len(scaled), 1)
    squares = np.einsum("ij,ij->i", scaled, scaled)
    apart = squares[left] - 2 * (scaled @ scaled.T)[left, right] + squares[right]
    faces = fit.faces
    return left, right, faces[left] * faces[right] / (faces[left] + faces[right]) * apart


def _split(rows: Rows, fit: _Fit, rng: np.random.Generator, iterations: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """The centroids of both halves of each cluster (k, 2, a), and by how much they lower the objective (k,)."""
    order = np.argsort(fit.labels, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(fit.labels, minlength=len(fit.faces)))[:-1])
    halves, gains = np.repeat(fit.centroids[:, None], 2, axis=1), np.zeros(len(members))
    for cluster, inside in enumerate(members):
        if len(inside) > 1:
            part = rows.part(inside)
            two = _converged(part, part.seed(2, rng), iterations)
            halves[cluster], gains[cluster] = two.centroids, fit.errors[cluster] - two.objective
    return halves, gains


def _fill_empty(labels: np.ndarray, distances: np.ndarray, k: int) -> None:
    """Gives each empty cluster the row farthest from its centroid, from clusters that have another."""
    sizes = np.bincount(labels, minlength=k)
    empty = np.flatnonzero(sizes == 0)
    if not len(empty):
        return
    farthest = iter(np.argsort(-distances, kind="stable"))
    for cluster in empty:
        row = next(row for row in farthest if sizes[labels[row]] > 1)
        sizes[labels[row]] -= 1
        sizes[cluster] += 1
        labels[row] = cluster
