"""What a report says: its parts as data, gathered in one place and told in others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from facetools.table.attributes import FREQUENCIES

#: A cluster stands out by an attribute that it shows this much more, or less, often than all the faces do.
STANDS_OUT = 0.2

#: The rows of the paper's table 1: its own model and the one it is compared with.
TABLE1 = {"paper": "Paper", "LNets+ANet": "LNets+ANet"}

NOISE = -1


@dataclass(frozen=True)
class Eigenface:
    """A cluster's pictures as fa-eigenface makes them: encoded images, and each component's share of the variance."""

    faces: int
    mean_png: bytes
    component_pngs: list[bytes]
    explained_variance_ratio: list[float]


@dataclass(frozen=True)
class Portrait:
    """An eigenface decoded and shrunk for the page: `mean` uint8 (h, w, 3), and (variance ratio, picture) pairs."""

    faces: int
    mean: np.ndarray
    components: list[tuple[float, np.ndarray]]


@dataclass(frozen=True)
class Cluster:
    """One cluster: `number` (-1 noise), its size, and what is known of it.

    `shares` float64 (a,), how often each attribute of the report occurs; `sample` paths drawn from the cluster;
    `pictures` those of them that could be read, (path, uint8 (h, w, 3)).
    """

    number: int
    faces: int
    shares: np.ndarray | None
    sample: list[str]
    pictures: list[tuple[str, np.ndarray]]
    portrait: Portrait | None

    @property
    def title(self) -> str:
        return "Noise" if self.number == NOISE else f"Cluster {self.number}"

    @property
    def anchor(self) -> str:
        return "noise" if self.number == NOISE else f"cluster-{self.number:04d}"


@dataclass(frozen=True)
class Accuracy:
    """How well the scores tell the labels: `measures` as metrics.by_attribute gives them, float64 (a,) each.

    `positive` float64 (a,), the share of faces labelled with each attribute; `published` percent float64 (a,) by
    method, NaN for an attribute that the method does not give.
    """

    names: list[str]
    faces: int
    positive: np.ndarray
    measures: dict[str, np.ndarray]
    published: dict[str, np.ndarray]

    def mean(self, rows: np.ndarray | slice = slice(None)) -> dict[str, float]:
        return {name: float(values[rows].mean()) for name, values in self.measures.items()}

    @property
    def in_table1(self) -> np.ndarray:
        """Which attributes the methods of table 1 give, bool (a,)."""
        return np.logical_and.reduce([~np.isnan(values) for values in self.published.values()])

    def published_mean(self, method: str) -> float:
        """The method's mean over the attributes that are in table 1, percent; NaN where none is."""
        rows = self.in_table1
        return float(self.published[method][rows].mean()) if rows.any() else math.nan


@dataclass(frozen=True)
class Series:
    """One line of the comparison: `clusters` int64 (n,), ascending, and `silhouette` float64 (n,).

    `fixed` marks a method that finds its own number of clusters: points, and a dashed line at the best of them.
    """

    label: str
    clusters: np.ndarray
    silhouette: np.ndarray
    fixed: bool


@dataclass(frozen=True)
class Report:
    """Everything the report says; see the parameters of `build`, which makes it.

    `attributes` are sorted by how often they occur, the commonest first, and `overall` float64 (a,) is that share.
    `source` says whether the shares come from `scores` or `labels`. `clusters` are those shown, the largest first.
    """

    title: str
    faces: int
    attributes: list[str]
    overall: np.ndarray
    source: str | None
    threshold: float
    prominent: float
    noisy: float
    seed: int
    clustered: bool
    clusters: list[Cluster]
    noise: Cluster | None
    cluster_count: int
    hidden_faces: int
    accuracy: Accuracy | None
    comparison: list[dict[str, Any]]
    history: list[dict[str, Any]]
    provenance: dict[str, str]
    median_size: float
    series: list[Series]

    @property
    def shown(self) -> list[Cluster]:
        """The clusters shown, and the noise at the end."""
        return [*self.clusters, *([self.noise] if self.noise else [])]

    @property
    def reference(self) -> np.ndarray | None:
        """CelebA's share of each attribute, float64 (a,), NaN where unknown; None where all are."""
        known = np.array([FREQUENCIES.get(name, math.nan) for name in self.attributes])
        return None if np.isnan(known).all() else known

    def marks(self, cluster: Cluster) -> list[str]:
        """`prominent`, `noisy` or nothing for each attribute of the cluster."""
        if cluster.shares is None:
            return []
        high, low = cluster.shares >= self.prominent, (cluster.shares > 0) & (cluster.shares <= self.noisy)
        return np.where(high, "prominent", np.where(low, "noisy", "")).tolist()

    def outstanding(self, cluster: Cluster, most: int = 5) -> list[tuple[str, float]]:
        """The attributes by which the cluster differs most from all faces, and the difference of the shares."""
        if cluster.shares is None:
            return []
        difference = cluster.shares - self.overall
        order = np.argsort(-np.abs(difference), kind="stable")[:most]
        return [(self.attributes[at], float(difference[at])) for at in order if abs(difference[at]) >= STANDS_OUT]

    @property
    def epochs(self) -> np.ndarray:
        """The number of each epoch, float64 (epochs,); records that do not say count from 1."""
        counted = np.arange(1, len(self.history) + 1, dtype=np.float64)
        said = self.column("epoch")
        return counted if said is None else np.where(np.isnan(said), counted, said)

    def column(self, key: str) -> np.ndarray | None:
        """What each epoch says of `key`, float64 (epochs,), NaN where it says nothing; None where all say nothing."""
        values = [record.get(key) for record in self.history]
        if all(value is None for value in values):
            return None
        return np.array([math.nan if value is None else value for value in values], dtype=np.float64)

    @property
    def curves(self) -> dict[str, dict[str, np.ndarray]]:
        """The training curves of each panel, float64 (epochs,) by name; those without any number are left out."""
        panels = {
            "loss": {"training": "loss", "validation": "valid_loss"},
            "accuracy": {"validation": "valid_accuracy", "validation, balanced": "valid_balanced_accuracy"},
        }
        curves = {
            panel: {name: values for name, key in keys.items() if (values := self.column(key)) is not None}
            for panel, keys in panels.items()
        }
        return {panel: by_name for panel, by_name in curves.items() if by_name}
