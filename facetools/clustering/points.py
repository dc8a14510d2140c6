"""What is clustered: distinct rows, how many faces share each, and weights of the attributes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from facetools.clustering import codes


@dataclass(frozen=True)
class Points:
    """The distinct rows among n faces, in order of first appearance.

    `rows` (d, a), uint8 bits or float32 values (scores, embeddings); `counts` int64 (d,) faces that share each;
    `inverse` int64 (n,) the row of each face; `weights` float64 (a,) multiply the columns before distances are taken;
    `packed` uint64 (d, words) the rows as codes, where they are bits.
    """

    rows: np.ndarray
    counts: np.ndarray
    inverse: np.ndarray
    weights: np.ndarray
    packed: np.ndarray | None = None

    @property
    def faces(self) -> int:
        """n, the number of faces."""
        return len(self.inverse)

    @cached_property
    def scaled(self) -> np.ndarray:
        """The weighted distinct rows, float32 (d, a)."""
        return self.rows.astype(np.float32) * self.weights.astype(np.float32)

    @property
    def all_scaled(self) -> np.ndarray:
        """The weighted rows of all faces, float32 (n, a), for methods that know no counts."""
        return self.scaled[self.inverse]

    @cached_property
    def first(self) -> np.ndarray:
        """The first face of each distinct row, int64 (d,)."""
        first = np.empty(len(self.counts), np.int64)
        first[self.inverse[::-1]] = np.arange(self.faces)[::-1]
        return first


def from_bits(bits: np.ndarray, weights: np.ndarray | None = None) -> Points:
    """Points of attributes, uint8 0/1 (n, a)."""
    return from_codes(codes.pack(bits), bits.shape[1], weights)


def from_codes(packed: np.ndarray, attributes: int, weights: np.ndarray | None = None) -> Points:
    """Points of packed codes, uint64 (n, words), bit j of word w being attribute 64 w + j."""
    found = codes.distinct(packed)
    bits = codes.unpack(found.codes, attributes)
    return Points(bits, found.counts, found.inverse, _or_ones(weights, attributes), found.codes)


def from_values(values: np.ndarray, weights: np.ndarray | None = None) -> Points:
    """Points of values clustered as they are, float32 (n, a); each row stands for itself."""
    count, columns = values.shape
    return Points(values, np.ones(count, np.int64), np.arange(count), _or_ones(weights, columns))


def _or_ones(weights: np.ndarray | None, columns: int) -> np.ndarray:
    return np.ones(columns) if weights is None else np.asarray(weights, np.float64)


def inertia(points: Points, labels: np.ndarray) -> float:
    """The within-cluster sum of squares over all clustered faces (the paper's equation 2), weighted attributes.

    `labels` int (d,) or (n,): of the distinct rows or of all faces; noise (-1) is left out.
    """
    rows, counts, labels = label_pairs(points, labels)
    if points.packed is not None:
        packed, clusters, attributes = points.packed[rows], int(labels.max(initial=0)) + 1, points.rows.shape[1]
        sums, sizes = codes.kmeans_update(packed, counts, labels, clusters, attributes=attributes)
        # A bit is its own square.
        spread = sums - sums.astype(np.float64) ** 2 / np.maximum(sizes, 1)[:, None]
        return float((spread @ points.weights**2).sum())
    kept = labels >= 0
    scaled = points.scaled[rows[kept]].astype(np.float64)
    counts, labels = counts[kept], labels[kept]
    sums, sizes = cluster_sums(scaled, counts, labels, int(labels.max(initial=-1)) + 1)
    total = float(counts @ np.einsum("ij,ij->i", scaled, scaled))
    return max(total - float((np.einsum("ij,ij->i", sums, sums) / np.maximum(sizes, 1)).sum()), 0.0)


def cluster_sums(scaled: np.ndarray, counts: np.ndarray, labels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The sum of the rows, float64 (k, a), and the number of faces, float64 (k,), of each cluster."""
    from scipy.sparse import csr_array

    membership = csr_array((counts.astype(np.float64), (labels, np.arange(len(labels)))), shape=(k, len(labels)))
    return membership @ scaled.astype(np.float64), np.bincount(labels, counts, k)


def label_pairs(points: Points, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of a distinct row and a label, with the number of faces of each: rows, counts, labels, all int64.

    Methods that know no counts may put faces of one row into different clusters, so a row can have several pairs.
    """
    if len(labels) == len(points.counts):
        return np.arange(len(labels)), points.counts, labels.astype(np.int64)
    pairs = np.stack([points.inverse, labels.astype(np.int64)], axis=1)
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    return found[:, 0], counts, found[:, 1]


def renumber(labels: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """`labels`, int32 (d,), with clusters numbered from 0 by size, the largest first, equal ones by first appearance;
    `counts` (d,) faces a row. Noise stays -1."""
    present, first, dense = np.unique(labels, return_index=True, return_inverse=True)
    sizes = np.bincount(dense, counts).astype(np.int64)
    sizes[present < 0] = -1
    order = np.lexsort((first, -sizes))
    number = np.empty(len(present), np.int32)
    number[order] = np.arange(len(present))
    number[present < 0] = -1
    return number[dense]
