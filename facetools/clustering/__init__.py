"""Cluster faces by their attributes, judge the result and compare methods."""

from facetools.clustering.forecast import MemoryLimitError, Monitor
from facetools.clustering.method import Method, Parameters, check_parameters
from facetools.clustering.points import Points
from facetools.clustering.runs import METHODS, Clustering, cluster, compare
from facetools.clustering.silhouette import mean_silhouette

__all__ = [
    "METHODS",
    "Clustering",
    "MemoryLimitError",
    "Method",
    "Monitor",
    "Parameters",
    "Points",
    "check_parameters",
    "cluster",
    "compare",
    "mean_silhouette",
]
