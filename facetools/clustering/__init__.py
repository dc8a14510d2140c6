"""Cluster faces by their attributes, evaluate the clustering, and compare methods.

`Points` hold the faces, `Parameters` the settings; `cluster` runs one method, `compare` several.
"""

from facetools.clustering.forecast import MemoryLimitError, Monitor
from facetools.clustering.method import Method, Parameters
from facetools.clustering.points import Points
from facetools.clustering.runs import (
    METHODS,
    Clustering,
    check_comparison,
    check_k,
    check_parameters,
    cluster,
    compare,
    methods_using,
    supports_missing,
)
from facetools.clustering.silhouette import mean_silhouette

__all__ = [
    "METHODS",
    "Clustering",
    "MemoryLimitError",
    "Method",
    "Monitor",
    "Parameters",
    "Points",
    "check_comparison",
    "check_k",
    "check_parameters",
    "cluster",
    "compare",
    "mean_silhouette",
    "methods_using",
    "supports_missing",
]
