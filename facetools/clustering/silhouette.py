"""The mean silhouette of a clustering (Rousseeuw 1987): exact, over all faces, euclidean, without attribute weights.

It does not depend on the metric of the clustering, so that all clusterings of the same faces can be compared. For d
distinct codes of w words the compiled core takes O(d^2 w) time and O(d w) memory. For d distinct rows of a continuous
values it takes O(d^2 a) time and O(d a) memory.
"""

from __future__ import annotations

import numpy as np

from facetools.clustering import codes
from facetools.clustering.forecast import Monitor
from facetools.clustering.points import Points, count_row_label_pairs
from facetools.clustering.vectors import center

#: The megabytes of distances that are computed at once for rows of continuous values.
DISTANCES_MEGABYTES = 128


def mean_silhouette(points: Points, labels: np.ndarray, jobs: int = 1, monitor: Monitor | None = None) -> float | None:
    """The mean silhouette over the clustered faces, or None if it is undefined.

    It is undefined if there are fewer than two clusters, or if every cluster has one face. `labels`: int32 (d,) of the
    distinct rows or (n,) of the faces; noise (-1) is ignored. `jobs` is the number of threads.
    """
    rows, counts, labels = count_row_label_pairs(points, labels)
    is_clustered = labels >= 0
    clusters = np.unique(labels[is_clustered])
    if len(clusters) < 2 or len(clusters) == counts[is_clustered].sum():
        return None
    rows, counts, labels = rows[is_clustered], counts[is_clustered], labels[is_clustered]
    size, attributes = len(rows), points.rows.shape[1]
    if points.packed_codes is None:
        centered = center(points.rows)[0][rows]

        def compute(sample: slice, progress: codes.Progress | None) -> float:
            return _vector_silhouette(centered[sample], counts[sample], labels[sample], jobs, progress)

        task, sample_size = f"the silhouette of {size:,} distinct rows", 4096
        memory_bytes = 2 * centered.nbytes + 4 * DISTANCES_MEGABYTES * 2**20
    else:
        packed_codes = np.ascontiguousarray(points.packed_codes[rows])

        def compute(sample: slice, progress: codes.Progress | None) -> float:
            return codes.silhouette(
                packed_codes[sample],
                counts[sample],
                labels[sample],
                attributes=attributes,
                threads=jobs,
                progress=progress,
            ).mean

        task, sample_size = f"the silhouette of {size:,} distinct codes", 65536
        memory_bytes = codes.silhouette_bytes(size, attributes)
    return (monitor or Monitor()).run(
        task,
        compute,
        size,
        sample_size=sample_size,
        exponent=2,
        memory_bytes=memory_bytes,
        alternative="omit --summary",
    )


def _vector_silhouette(
    rows: np.ndarray, counts: np.ndarray, labels: np.ndarray, jobs: int, progress: codes.Progress | None
) -> float:
    """The mean silhouette of float32 rows (d, a) with counts int64 (d,) and labels int64 (d,)."""
    from scipy.sparse import csr_array
    from sklearn import config_context
    from sklearn.metrics import pairwise_distances_chunked
    from threadpoolctl import threadpool_limits

    clusters, labels = np.unique(labels, return_inverse=True)
    if len(clusters) < 2:
        raise ValueError("labels: must have at least 2 clusters")
    sizes = np.bincount(labels, counts)
    membership = csr_array((counts.astype(np.float64), (labels, np.arange(len(rows)))), shape=(len(sizes), len(rows)))

    def score(distances: np.ndarray, start: int) -> np.ndarray:
        """The silhouettes, float64 (m,), of m rows from `start`, whose distances to all rows are float32 (m, d)."""
        sums = (membership @ distances.T).T
        chunk = np.arange(len(sums))
        own = labels[start : start + len(sums)]
        own_mean = sums[chunk, own] / np.maximum(sizes[own] - 1, 1)
        sums /= sizes
        sums[chunk, own] = np.inf
        nearest_mean = sums.min(axis=1)
        larger = np.maximum(own_mean, nearest_mean)
        is_defined = (sizes[own] > 1) & (larger > 0)
        if progress is not None:
            progress((start + len(sums)) / len(rows))
        return np.divide(nearest_mean - own_mean, larger, out=np.zeros(len(sums)), where=is_defined)

    with threadpool_limits(jobs), config_context(working_memory=DISTANCES_MEGABYTES):
        scores = np.concatenate(list(pairwise_distances_chunked(rows, reduce_func=score)))
    return float(counts @ scores / counts.sum())
