"""The mean silhouette of a clustering (Rousseeuw 1987): exact, over all faces, euclidean, without attribute weights.

For d distinct codes of w words the compiled core takes O(d^2 w) time and O(d w) memory. For n rows of continuous values
scikit-learn takes O(n^2 a) time.
"""

from __future__ import annotations

import numpy as np

from facetools.clustering import codes
from facetools.clustering.forecast import Monitor
from facetools.clustering.points import Points, count_row_label_pairs


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
    if points.packed_codes is None:
        from sklearn.metrics import silhouette_score

        return float(silhouette_score(points.rows[rows[is_clustered]], labels[is_clustered]))
    packed_codes, attributes = np.ascontiguousarray(points.packed_codes[rows]), points.rows.shape[1]

    def compute(sample: slice, progress: codes.Progress | None) -> float:
        return codes.silhouette(
            packed_codes[sample],
            counts[sample],
            labels[sample],
            attributes=attributes,
            threads=jobs,
            progress=progress,
        ).mean

    return (monitor or Monitor()).run(
        f"the silhouette of {len(packed_codes):,} distinct codes",
        compute,
        len(packed_codes),
        sample_size=65536,
        exponent=2,
        memory_bytes=codes.silhouette_bytes(len(packed_codes), attributes),
        alternative="omit --summary",
    )
