"""The input of clustering: distinct rows, the number of faces that share each, and attribute weights.

`from_bits`, `from_codes` and `from_values` create `Points`; they raise ValueError for invalid weights. `inertia`
evaluates a clustering, and `renumber_by_size` brings cluster numbers into a standard order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from facetools.clustering import codes


@dataclass(frozen=True)
class Points:
    """The d distinct rows among n faces, in order of first appearance.

    `rows`: (d, a), uint8 0/1 attributes or float32 values (scores, embeddings).
    `counts`: int64 (d,), the number of faces that share each row.
    `inverse`: int64 (n,), the index of each face's row.
    `weights`: float64 (a,), factors of the columns; they are applied before distances are computed.
    `packed_codes`: uint64 (d, words), the rows as packed codes if they are 0/1 attributes, else None.
    """

    rows: np.ndarray
    counts: np.ndarray
    inverse: np.ndarray
    weights: np.ndarray
    packed_codes: np.ndarray | None = None

    @property
    def faces(self) -> int:
        """n, the number of faces."""
        return len(self.inverse)

    @cached_property
    def weighted_rows(self) -> np.ndarray:
        """The distinct rows times the weights, float32 (d, a)."""
        return self.rows.astype(np.float32) * self.weights.astype(np.float32)

    @property
    def weighted_faces(self) -> np.ndarray:
        """The rows of all faces times the weights, float32 (n, a), for methods that cannot use counts."""
        return self.weighted_rows[self.inverse]


def from_bits(bits: np.ndarray, weights: np.ndarray | None = None) -> Points:
    """Points of 0/1 attributes, uint8 (n, a)."""
    return from_codes(codes.pack(bits), bits.shape[1], weights)


def from_codes(packed_codes: np.ndarray, attributes: int, weights: np.ndarray | None = None) -> Points:
    """Points of packed codes, uint64 (n, words). Bit j of word w is attribute 64 w + j."""
    distinct = codes.distinct(packed_codes)
    bits = codes.unpack(distinct.codes, attributes)
    return Points(bits, distinct.counts, distinct.inverse, _weights_or_ones(weights, attributes), distinct.codes)


def from_values(values: np.ndarray, weights: np.ndarray | None = None) -> Points:
    """Points of continuous values, float32 (n, a). Equal rows are not merged."""
    count, columns = values.shape
    return Points(values, np.ones(count, np.int64), np.arange(count), _weights_or_ones(weights, columns))


def _weights_or_ones(weights: np.ndarray | None, columns: int) -> np.ndarray:
    """`weights` as float64 (columns,); ones if it is None."""
    if weights is None:
        return np.ones(columns)
    weights = np.asarray(weights, np.float64)
    if weights.shape != (columns,) or not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        raise ValueError(f"weights must be {columns} finite numbers, none of them negative and not all 0")
    return weights


def inertia(points: Points, labels: np.ndarray) -> float:
    """The within-cluster sum of squared distances of all faces to their centroid, with weights (the paper's eq. 2).

    `labels`: int (d,) of the distinct rows or int (n,) of the faces. Noise (-1) is ignored.
    """
    rows, counts, labels = count_row_label_pairs(points, labels)
    if points.packed_codes is not None:
        clusters, attributes = int(labels.max(initial=0)) + 1, points.rows.shape[1]
        sums, sizes = codes.kmeans_update(points.packed_codes[rows], counts, labels, clusters, attributes=attributes)
        # The squared deviations of a 0/1 attribute add up to sum - sum^2 / size, because a bit is its own square.
        deviations = sums - sums.astype(np.float64) ** 2 / np.maximum(sizes, 1)[:, None]
        return float((deviations @ points.weights**2).sum())
    clustered = labels >= 0
    weighted_rows = points.weighted_rows[rows[clustered]].astype(np.float64)
    counts, labels = counts[clustered], labels[clustered]
    sums, sizes = sum_clusters(weighted_rows, counts, labels, int(labels.max(initial=-1)) + 1)
    total = float(counts @ np.einsum("ij,ij->i", weighted_rows, weighted_rows))
    return max(total - float((np.einsum("ij,ij->i", sums, sums) / np.maximum(sizes, 1)).sum()), 0.0)


def sum_clusters(rows: np.ndarray, counts: np.ndarray, labels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The sum of `rows` (d, a) over the faces of each cluster, float64 (k, a), and the number of faces of each
    cluster, float64 (k,)."""
    from scipy.sparse import csr_array

    membership = csr_array((counts.astype(np.float64), (labels, np.arange(len(labels)))), shape=(k, len(labels)))
    return membership @ rows.astype(np.float64), np.bincount(labels, counts, k)


def count_row_label_pairs(points: Points, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct pairs of row and label: row indices, numbers of faces, labels; all int64 (pairs,).

    `labels` is int (d,) or (n,). Methods that cannot use counts label every face. They may put equal faces into
    different clusters, so a row can occur in several pairs.
    """
    if len(labels) == len(points.counts):
        return np.arange(len(labels)), points.counts, labels.astype(np.int64)
    pairs = np.stack([points.inverse, labels.astype(np.int64)], axis=1)
    distinct_pairs, counts = np.unique(pairs, axis=0, return_counts=True)
    return distinct_pairs[:, 0], counts, distinct_pairs[:, 1]


def renumber_by_size(labels: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """`labels` with cluster 0 the largest, int32 of the same shape. Noise stays -1.

    `counts`: the number of faces of each label, by default 1. Clusters of equal size are ordered by first appearance.
    """
    old_labels, first_positions, indices = np.unique(labels, return_index=True, return_inverse=True)
    sizes = np.bincount(indices, counts).astype(np.int64)
    sizes[old_labels < 0] = -1
    order = np.lexsort((first_positions, -sizes))
    new_labels = np.empty(len(old_labels), np.int32)
    new_labels[order] = np.arange(len(old_labels))
    new_labels[old_labels < 0] = -1
    return new_labels[indices]
