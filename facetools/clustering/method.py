"""What a clustering method is: a class that takes points and parameters once, and gives labels for any k."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from facetools.clustering.forecast import Monitor
from facetools.clustering.points import Points

Linkage = Literal["ward", "complete", "average", "single"]


Metric = Literal["euclidean", "manhattan", "cosine", "l1", "l2"]


Engine = Literal["auto", "sklearn"]


METRIC_ALIASES = {"l1": "manhattan", "l2": "euclidean"}


@dataclass(frozen=True)
class Parameters:
    """The parameters of all methods; each takes its own. Defaults are scikit-learn's where it has the method.

    `redo` how often K-Means starts anew; `linkage`, `metric` of agglomerative clustering (metric of DBSCAN and OPTICS
    too); `eps` radius, `min_samples` faces, of DBSCAN and OPTICS; `threshold` radius of BIRCH's subclusters;
    `engine` "sklearn" leaves the compiled core out; `seed`, `device` and `jobs` as everywhere; `watch` is told of the
    core's long work.
    """

    redo: int = 1
    linkage: Linkage = "ward"
    metric: Metric = "euclidean"
    eps: float = 0.5
    min_samples: int = 5
    threshold: float = 0.5
    engine: Engine = "auto"
    seed: int = 0
    device: str = "auto"
    jobs: int = 1
    watch: Monitor = field(default_factory=Monitor, compare=False)

    def __post_init__(self) -> None:
        for name, radius in (("eps", self.eps), ("the threshold of BIRCH", self.threshold)):
            if not radius > 0:
                raise ValueError(f"{name} is {radius}; it must be over 0")
        for name in ("redo", "min_samples", "jobs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")


def check_parameters(parameters: Parameters, method: str) -> None:
    """Raises a ValueError where `method` cannot take these parameters together."""
    metric = METRIC_ALIASES.get(parameters.metric, parameters.metric)
    if method == "agglomerative" and parameters.linkage == "ward" and metric != "euclidean":
        raise ValueError(f"ward linkage takes the euclidean metric only, not {parameters.metric}")


class Method(Protocol):
    """One method on one set of points. Work that serves every k is done once, when it is made."""

    #: Whether the number of clusters is given; else the method finds it and takes None for k.
    takes_k: bool
    #: The fields of Parameters that change the result.
    uses: tuple[str, ...]

    def __init__(self, points: Points, parameters: Parameters) -> None: ...

    def labels(self, k: int | None) -> np.ndarray:
        """The cluster, from 0, or -1 for noise, of each distinct row, int (d,), or of each face, int (n,)."""
        ...
