"""The input of clustering: distinct rows, the number of faces that share each, and attribute weights.

`from_bits`, `from_codes`, `from_values` and `from_partial` create `Points`; they raise ValueError for invalid weights
or values.
`inertia` evaluates a clustering, and `renumber_by_size` brings cluster numbers into a standard order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from facetools.clustering import codes, vectors

#: The largest number of 0/1 attributes.
MAX_ATTRIBUTES = 256

#: Weights are 0 or between these limits, so that all of them count in float32 computations.
MIN_WEIGHT, MAX_WEIGHT = 1e-12, 1e12


@dataclass(frozen=True)
class Points:
    """The d distinct rows among n faces, in order of first appearance.

    `rows`: (d, a), uint8 0/1 attributes or float32 values (scores, embeddings; or 0, 1 and NaN for missing values).
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
    def has_missing(self) -> bool:
        """Whether some values are missing (see `from_partial`). Such rows have no distances."""
        return self.packed_codes is None and bool(np.isnan(self.rows).any())

    @cached_property
    def weighted_rows(self) -> np.ndarray:
        """The distinct rows times the weights, float32 (d, a)."""
        rows = self.rows.astype(np.float32, copy=False)
        return rows if (self.weights == 1).all() else rows * self.weights.astype(np.float32)

    @cached_property
    def unit_rows(self) -> np.ndarray:
        """The weighted rows divided by their length, float32 (d, a). None may be zero (see `check_directions`)."""
        return vectors.normalize(self.weighted_rows)

    def rows_for(self, metric: str) -> tuple[np.ndarray, int]:
        """Rows that are safe in float32, (d, a), and an exponent e: their distances are 2^e times those of the weighted
        rows. `metric` is euclidean, manhattan or cosine, for which e is 0."""
        if metric == "cosine":
            return self.unit_rows, 0
        return (self.weighted_rows, 0) if self.packed_codes is not None else vectors.scale(self.weighted_rows)

    @property
    def weighted_faces(self) -> np.ndarray:
        """The rows of all faces times the weights, float32 (n, a), for methods that cannot use counts."""
        return self.weighted_rows[self.inverse]

    def check_directions(self) -> None:
        """Raise ValueError if a weighted row is zero: such a row has no direction, and no cosine with others."""
        is_zero = ~self.weighted_rows.any(axis=1)
        if is_zero.any():
            faces = f"{int(self.counts[is_zero].sum()):,} of {self.faces:,}"
            row = "row of zeros" if self.packed_codes is None else "face that has none of the attributes"
            raise ValueError(f"the cosine metric is undefined for a {row} ({faces})")

    @cached_property
    def distinct_rows(self) -> int:
        """The number of distinct weighted rows, which is the largest possible number of clusters."""
        if self.weights.all():
            return len(self.counts)
        return len(vectors.find_distinct(self.weighted_rows)[0])  # rows may differ in attributes of weight 0 only

    @cached_property
    def distinct_directions(self) -> int:
        """The number of distinct rows of `unit_rows`: the largest number of clusters for the cosine metric."""
        if self.packed_codes is not None and self.weights.all():
            return len(self.counts)
        return len(vectors.find_distinct(self.unit_rows)[0])


def from_bits(bits: np.ndarray, weights: np.ndarray | None = None) -> Points:
    """Points of 0/1 attributes, uint8 (n, a); a is at most MAX_ATTRIBUTES."""
    if bits.shape[1] > MAX_ATTRIBUTES:
        raise ValueError(
            f"there are {bits.shape[1]} attributes, but 0/1 attributes are limited to {MAX_ATTRIBUTES}; choose some by "
            "--attributes, or cluster all as numbers by --soft"
        )
    return from_codes(codes.pack(bits), bits.shape[1], weights)


def from_codes(packed_codes: np.ndarray, attributes: int, weights: np.ndarray | None = None) -> Points:
    """Points of packed codes, uint64 (n, words). Bit j of word w is attribute 64 w + j."""
    distinct = codes.distinct(packed_codes)
    bits = codes.unpack(distinct.codes, attributes)
    return Points(bits, distinct.counts, distinct.inverse, _weights_or_ones(weights, attributes), distinct.codes)


def from_values(values: np.ndarray, weights: np.ndarray | None = None) -> Points:
    """Points of continuous values (scores, embeddings), float32 (n, a), none of them above vectors.MAX_VALUE."""
    if not -vectors.MAX_VALUE <= values.min(initial=0) <= values.max(initial=0) <= vectors.MAX_VALUE:
        raise ValueError(f"values must be finite and at most {vectors.MAX_VALUE:g}")
    first, counts, inverse = vectors.find_distinct(values)
    rows = values if len(first) == len(values) else values[first]
    return Points(rows, counts, inverse, _weights_or_ones(weights, values.shape[1]))


def from_partial(attributes: np.ndarray, weights: np.ndarray | None = None) -> Points:
    """Points of 0/1 attributes of which some are missing: float32 (n, a) of 0, 1 and NaN."""
    if not (np.isnan(attributes) | (attributes == 0) | (attributes == 1)).all():
        raise ValueError("attributes must be 0, 1 or NaN")
    first, counts, inverse = vectors.find_distinct(np.where(np.isnan(attributes), np.float32(2), attributes))
    return Points(attributes[first], counts, inverse, _weights_or_ones(weights, attributes.shape[1]))


def _weights_or_ones(weights: np.ndarray | None, columns: int) -> np.ndarray:
    """`weights` as float64 (columns,); ones if it is None."""
    if weights is None:
        return np.ones(columns)
    weights = np.asarray(weights, np.float64)
    is_valid = (weights == 0) | ((weights >= MIN_WEIGHT) & (weights <= MAX_WEIGHT))
    if weights.shape != (columns,) or not (is_valid.all() and weights.any()):
        raise ValueError(
            f"weights must be {columns} finite numbers, each 0 or from {MIN_WEIGHT:g} to {MAX_WEIGHT:g}, and not all 0"
        )
    return weights


def inertia(points: Points, labels: np.ndarray, metric: str = "euclidean") -> float:
    """The sum, over all faces, of their distance to the mean of their cluster, with weights.

    The distance is the squared euclidean distance (the paper's equation 2). For the cosine metric it is 1 - cos, to the
    direction of the mean of the rows of length 1 (Dhillon and Modha 2001). `labels`: int (d,) of the distinct rows or
    int (n,) of the faces. Noise (-1) is ignored.
    """
    rows, counts, labels = count_row_label_pairs(points, labels)
    if points.packed_codes is not None and metric != "cosine":
        clusters, attributes = int(labels.max(initial=0)) + 1, points.rows.shape[1]
        labels = labels.astype(np.int32)
        sums, sizes = codes.kmeans_update(points.packed_codes[rows], counts, labels, clusters, attributes=attributes)
        # The squared deviations of a 0/1 attribute add up to sum - sum^2 / size, because a bit is its own square.
        deviations = sums - sums.astype(np.float64) ** 2 / np.maximum(sizes, 1)[:, None]
        return float((deviations @ points.weights**2).sum())
    clustered = labels >= 0
    rows, counts, labels = rows[clustered], counts[clustered], labels[clustered]
    clusters = int(labels.max(initial=-1)) + 1
    if metric == "cosine":
        weighted_rows = points.rows[rows] * points.weights
        lengths = np.sqrt(np.einsum("ij,ij->i", weighted_rows, weighted_rows))
        sums, sizes = sum_clusters(weighted_rows / lengths[:, None], counts, labels, clusters)
        # The cosines of a cluster with the direction of its sum add up to the length of the sum.
        return max(float((sizes - np.sqrt(np.einsum("ij,ij->i", sums, sums))).sum()), 0.0)
    centered, exponent = vectors.center(points.weighted_rows)
    centered = centered[rows].astype(np.float64)
    sums, sizes = sum_clusters(centered, counts, labels, clusters)
    total = float(counts @ np.einsum("ij,ij->i", centered, centered))
    scaled = max(total - float((np.einsum("ij,ij->i", sums, sums) / np.maximum(sizes, 1)).sum()), 0.0)
    return float(np.ldexp(scaled, -2 * exponent))


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
