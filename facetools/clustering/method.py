"""The protocol of clustering methods, and their parameters.

A method is a class. Its constructor does the work that is the same for every number of clusters; `compute_labels` then
gives the labels for one number of clusters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

import numpy as np

from facetools.clustering.forecast import Monitor
from facetools.clustering.points import Points

Linkage = Literal["ward", "complete", "average", "single"]
Metric = Literal["euclidean", "manhattan", "cosine", "l1", "l2"]
Engine = Literal["auto", "sklearn"]

METRIC_ALIASES = {"l1": "manhattan", "l2": "euclidean"}


@dataclass(frozen=True)
class Parameters:
    """The parameters of all methods. Each method uses its own subset (see Method.parameter_names).

    Defaults are those of scikit-learn, for methods that it has. Raises ValueError for values out of range.
    """

    redo: int = 1  #: K-Means: number of restarts; the one with the lowest inertia wins
    linkage: Linkage = "ward"  #: agglomerative clustering
    metric: Metric = "euclidean"  #: agglomerative clustering, DBSCAN, OPTICS
    eps: float = 0.5  #: DBSCAN: radius of a neighborhood
    min_samples: int = 5  #: DBSCAN, OPTICS: faces within the radius of a core sample, itself included
    threshold: float = 0.5  #: BIRCH: radius of a subcluster
    engine: Engine = "auto"  #: "sklearn" does not use the compiled core
    seed: int = 0  #: seed of the random number generator
    device: str = "auto"  #: auto, cpu, cuda or cuda:N; K-Means only
    jobs: int = 1  #: number of threads
    monitor: Monitor = field(default_factory=Monitor, compare=False)  #: receives forecasts and progress

    def __post_init__(self) -> None:
        for name, choices in (("linkage", Linkage), ("metric", Metric), ("engine", Engine)):
            _require_choice(name, getattr(self, name), choices)
        for name, radius in (("eps", self.eps), ("the threshold of BIRCH", self.threshold)):
            if not radius > 0:
                raise ValueError(f"{name} is {radius}; it must be greater than 0")
        for name in ("redo", "min_samples", "jobs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")


def _require_choice(name: str, value: str, choices: Any) -> None:
    if value not in get_args(choices):
        raise ValueError(f"{name} is '{value}'; it must be one of {', '.join(get_args(choices))}")


class Method(Protocol):
    """A clustering method, applied to one set of points."""

    #: Whether the caller sets the number of clusters, k. Other methods determine it themselves and take None for k.
    requires_k: bool
    #: The fields of Parameters that affect the result.
    parameter_names: tuple[str, ...]

    def __init__(self, points: Points, parameters: Parameters) -> None: ...

    def compute_labels(self, k: int | None) -> np.ndarray:
        """The cluster of each distinct row, int (d,), or of each face, int (n,). Clusters count from 0; -1 is noise.

        Raises ValueError if there is no clustering into `k` clusters.
        """
        ...
