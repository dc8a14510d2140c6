"""The mean silhouette of a clustering."""

from __future__ import annotations

import numpy as np

from facetools.clustering import codes
from facetools.clustering.forecast import Monitor
from facetools.clustering.points import Points, label_pairs


def mean_silhouette(points: Points, labels: np.ndarray, jobs: int = 1, watch: Monitor | None = None) -> float | None:
    """The mean silhouette (Rousseeuw 1987) of the clustered faces, on unweighted attributes, euclidean, exact.

    `labels` int32 of the distinct rows (d,) or of all faces (n,); noise is neither scored nor a cluster. None where
    fewer than two clusters, or only clusters of one face, make it undefined.
    """
    rows, counts, pair_labels = label_pairs(points, labels)
    clusters = np.unique(pair_labels[pair_labels >= 0])
    if len(clusters) < 2 or len(clusters) == counts[pair_labels >= 0].sum():
        return None
    if points.packed is not None:
        packed, attributes = np.ascontiguousarray(points.packed[rows]), points.rows.shape[1]

        def scored(chosen: slice, progress: codes.Progress | None) -> float:
            return codes.silhouette(
                packed[chosen],
                counts[chosen],
                pair_labels[chosen],
                attributes=attributes,
                threads=jobs,
                progress=progress,
            ).mean

        return (watch or Monitor()).run(
            f"the silhouette of {len(packed):,} distinct codes",
            scored,
            len(packed),
            sample=65536,
            power=2,
            needed=codes.silhouette_bytes(len(packed), attributes),
            instead="leave out --summary",
        )
    from sklearn.metrics import silhouette_score

    kept = pair_labels >= 0
    return float(silhouette_score(points.rows[rows[kept]], pair_labels[kept]))
