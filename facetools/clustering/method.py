"""The interface of clustering methods, and their parameters.

A method is a class. Its constructor does the work that is the same for every number of clusters; `compute_labels` then
gives the labels for one number of clusters.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from facetools.clustering.forecast import Monitor
from facetools.clustering.points import Points

Linkage = Literal["ward", "complete", "average", "single"]
Metric = Literal["euclidean", "manhattan", "cosine", "l1", "l2"]
Engine = Literal["auto", "sklearn"]

#: A radius above every distance that occurs, which the libraries can still square or store in float32.
MAX_RADIUS = 1e38

METRIC_ALIASES = {"l1": "manhattan", "l2": "euclidean"}


@dataclass(frozen=True)
class Parameters:
    """The parameters of all methods. Each method uses its own subset (see Method.parameter_names).

    Defaults are those of scikit-learn, for methods that it has. Raises ValueError for values out of range.
    """

    redo: int | None = None  #: K-Means, K-Medians, mixture: number of starts, of which the best wins; see default_redo
    linkage: Linkage = "ward"  #: agglomerative clustering
    metric: Metric = "euclidean"  #: see Method.metrics; cosine with K-Means is spherical K-Means
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
            if not 0 < radius < math.inf:
                raise ValueError(f"{name} is {radius}; it must be greater than 0 and finite")
        for name in ("redo", "min_samples", "jobs"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; it must not be negative")
        if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", self.device):
            raise ValueError(f"device is '{self.device}'; it must be auto, cpu, cuda or cuda:N")


def _require_choice(name: str, value: str, choices: Any) -> None:
    if value not in get_args(choices):
        raise ValueError(f"{name} is '{value}'; it must be one of {', '.join(get_args(choices))}")


@dataclass(frozen=True)
class Components:
    """The components of a mixture, in the order of the clusters."""

    weights: np.ndarray  #: float64 (k,), the shares of the components; their sum is 1
    probabilities: np.ndarray  #: float64 (k, a), the probability of each attribute


class Method(ABC):
    """A clustering method, applied to one set of points."""

    #: Whether the caller sets the number of clusters, k. Other methods determine it themselves and take None for k.
    requires_k: ClassVar[bool]
    #: The fields of Parameters that affect the result.
    parameter_names: ClassVar[tuple[str, ...]]
    #: The metrics that it supports, if `metric` is one of its parameters; aliases are not listed.
    metrics: ClassVar[tuple[str, ...]] = ("euclidean", "manhattan", "cosine")
    #: Whether it can run on a GPU (see Parameters.device).
    uses_gpu: ClassVar[bool] = False
    #: The number of starts if Parameters.redo is None.
    default_redo: ClassVar[int] = 1
    #: Whether it can cluster rows with missing values (see Points.has_missing).
    supports_missing: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, points: Points, parameters: Parameters) -> None: ...

    @classmethod
    def supports_metric(cls, metric: str) -> bool:
        """Whether it can run with `metric`; True if it uses none."""
        return "metric" not in cls.parameter_names or METRIC_ALIASES.get(metric, metric) in cls.metrics

    @classmethod
    def check_parameters(cls, parameters: Parameters) -> None:
        """Raise ValueError if the method does not support this combination of parameters."""
        if not cls.supports_metric(parameters.metric):
            raise ValueError(f"{cls.__name__} takes the metric {' or '.join(cls.metrics)}, not {parameters.metric}")

    @abstractmethod
    def compute_labels(self, k: int | None) -> np.ndarray:
        """The cluster of each distinct row, int (d,), or of each face, int (n,). Clusters count from 0; -1 is noise.

        `k` is at most the number of distinct rows. Raises ValueError if there is no clustering into `k` clusters.
        """

    def figures(self) -> dict[str, Any]:
        """Further figures of the clustering that `compute_labels` made last, as plain numbers."""
        return {}

    def components(self) -> Components | None:
        """The mixture that `compute_labels` fitted last. Methods that fit none return None."""
        return None

    def posteriors(self) -> np.ndarray | None:
        """The probability of each of its components for each distinct row, float64 (d, k)."""
        return None
