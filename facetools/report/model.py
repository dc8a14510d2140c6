"""The report as data: the classes that `build_report` fills and that the HTML page, text and figures render.

Arrays over attributes have shape (a,), in the order of the attributes of the report. Shares are from 0 to 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from facetools.clustering.explanation import AttributeDifferences
from facetools.clustering.rules import Rule
from facetools.table.attributes import FREQUENCIES

#: An attribute is distinctive of a cluster if its standardised residual is at least this large, so that the difference
#: from all faces is hardly due to chance (1 in 16 000 per attribute and cluster) ...
DISTINCTIVE_RESIDUAL = 4.0

#: ... and if the difference matters: its frequency differs at least this much from that of all faces, or is at least
#: this many times as high.
DISTINCTIVE_DIFFERENCE, DISTINCTIVE_LIFT = 0.2, 2.0

#: The confidence interval of a share is shown if it is wider than this, as in clusters of up to a few hundred faces.
WIDE_INTERVAL = 0.1

#: The methods of the paper's table 1, as in `PUBLISHED_ACCURACIES`, and their names in the report.
PUBLISHED_METHODS = {"paper": "Paper", "LNets+ANet": "LNets+ANet"}

#: The cluster number of faces that are in no cluster.
NOISE = -1


@dataclass(frozen=True)
class EncodedEigenface:
    """The mean face and principal components of a cluster as written by fa-eigenface: encoded images, and the share of
    the variance that each component explains."""

    faces: int
    mean_png: bytes
    component_pngs: list[bytes]
    explained_variance_ratio: list[float]


@dataclass(frozen=True)
class EigenfaceThumbnails:
    """The eigenface of `faces` images, shrunk for the page: `mean` uint8 (h, w, 3), and for each component its share of
    the variance and its picture, uint8 (h, w, 3)."""

    faces: int
    mean: np.ndarray
    components: list[tuple[float, np.ndarray]]


@dataclass(frozen=True)
class PhotoCount:
    """The number of photographs that faces come from: `known`, the distinct ones that their rows name; and
    `unknown_faces`, the number of faces whose rows name none."""

    known: int
    unknown_faces: int


@dataclass(frozen=True)
class SampleFace:
    """A face sampled from a cluster: its `path`, and a `description` that also names the photograph, if it is known."""

    path: str
    description: str


@dataclass(frozen=True)
class Cluster:
    """A cluster: its `number` (NOISE for the faces in no cluster), its size in `faces` and the `photos` of these.

    `frequencies` float64 (a,), the share of its faces with each attribute; `differences`, how they differ from those of
    all faces; both None without attributes. `rule`: the shortest rule that distinguishes the cluster; None for noise or
    if there are too many attributes. `samples`, faces sampled from the cluster; `thumbnails`, those that could be read,
    with their pixels uint8 (h, w, 3).
    """

    number: int
    faces: int
    photos: PhotoCount
    frequencies: np.ndarray | None
    differences: AttributeDifferences | None
    rule: Rule | None
    samples: list[SampleFace]
    thumbnails: list[tuple[SampleFace, np.ndarray]]
    eigenface: EigenfaceThumbnails | None

    @property
    def sample_paths(self) -> list[str]:
        """The paths of the sampled faces."""
        return [face.path for face in self.samples]

    @property
    def title(self) -> str:
        return "Noise" if self.number == NOISE else f"Cluster {self.number}"

    @property
    def anchor(self) -> str:
        """The identifier of the cluster in the page and in file names."""
        return "noise" if self.number == NOISE else f"cluster-{self.number:04d}"


@dataclass(frozen=True)
class Accuracy:
    """Metrics of the scores of `faces` labeled faces, by attribute: `metrics` as from `metrics_by_attribute`.

    `prevalence` float64 (a,), the share of faces labeled with each attribute; `published`, by method, the published
    accuracies in percent, float64 (a,), NaN for attributes that the method does not predict.
    """

    names: list[str]
    faces: int
    prevalence: np.ndarray
    metrics: dict[str, np.ndarray]
    published: dict[str, np.ndarray]

    def mean(self, rows: np.ndarray | slice = slice(None)) -> dict[str, float]:
        """The mean of each metric over the attributes selected by `rows`."""
        return {name: float(values[rows].mean()) for name, values in self.metrics.items()}

    @property
    def in_table1(self) -> np.ndarray:
        """Whether table 1 of the paper gives each attribute for all methods, bool (a,)."""
        return np.logical_and.reduce([~np.isnan(values) for values in self.published.values()])

    def published_mean(self, method: str) -> float:
        """The mean accuracy of `method` over the attributes in table 1, in percent; NaN if there are none."""
        rows = self.in_table1
        return float(self.published[method][rows].mean()) if rows.any() else math.nan


@dataclass(frozen=True)
class Series:
    """A series of the comparison of methods: `clusters` int64 (n,), ascending, and `silhouette` float64 (n,).

    `automatic_k` marks a method that determines the number of clusters itself; it is plotted as points, with a dashed
    line at the best of them.
    """

    label: str
    clusters: np.ndarray
    silhouette: np.ndarray
    automatic_k: bool


@dataclass(frozen=True)
class Report:
    """The content of a report; see `build_report` for what the parameters mean.

    `attributes` are sorted by descending frequency; `frequencies` float64 (a,) is the share of all faces with each.
    `attribute_source` is the column that the attributes come from, `scores` or `labels`, or None. `clusters` holds the
    largest clusters, largest first; `cluster_count` counts all clusters, and `hidden_faces` the faces of those not
    shown. `comparison` and `history` are the records of fa-cluster --compare and fa-train.
    """

    title: str
    faces: int
    photos: PhotoCount
    attributes: list[str]
    frequencies: np.ndarray
    attribute_source: str | None
    threshold: float
    prominent: float
    noisy: float
    seed: int
    is_clustered: bool
    clusters: list[Cluster]
    noise: Cluster | None
    cluster_count: int
    hidden_faces: int
    median_cluster_size: float
    accuracy: Accuracy | None
    comparison: list[dict[str, Any]]
    series: list[Series]
    history: list[dict[str, Any]]
    provenance: dict[str, str]

    @property
    def shown_clusters(self) -> list[Cluster]:
        """The clusters that are shown, then the noise."""
        return [*self.clusters, *([self.noise] if self.noise else [])]

    @property
    def has_rules(self) -> bool:
        """Whether any of the clusters that are shown has a rule."""
        return any(cluster.rule for cluster in self.clusters)

    @property
    def celeba_frequencies(self) -> np.ndarray | None:
        """The frequency of each attribute in CelebA, float64 (a,), NaN where unknown; None if all are unknown."""
        frequencies = np.array([FREQUENCIES.get(name, math.nan) for name in self.attributes])
        return None if np.isnan(frequencies).all() else frequencies

    def attribute_marks(self, cluster: Cluster) -> list[str]:
        """`prominent`, `noisy` or an empty string for each attribute of the cluster."""
        if cluster.frequencies is None:
            return []
        is_prominent = cluster.frequencies >= self.prominent
        is_noisy = (cluster.frequencies > 0) & (cluster.frequencies <= self.noisy)
        return np.where(is_prominent, "prominent", np.where(is_noisy, "noisy", "")).tolist()

    def distinctive_attributes(self, cluster: Cluster, limit: int = 5) -> list[int]:
        """The indices of up to `limit` attributes that distinguish the cluster from all faces (see
        DISTINCTIVE_RESIDUAL), in descending order of the size of their standardised residual."""
        if cluster.differences is None:
            return []
        shares, lifts, residuals = cluster.differences.shares, cluster.differences.lifts, cluster.differences.residuals
        matters = (np.abs(shares - self.frequencies) >= DISTINCTIVE_DIFFERENCE) | (lifts >= DISTINCTIVE_LIFT)
        is_distinctive = (np.abs(residuals) >= DISTINCTIVE_RESIDUAL) & matters
        order = np.argsort(-np.abs(residuals), kind="stable")
        return order[is_distinctive[order]][:limit].tolist()

    @property
    def epochs(self) -> np.ndarray:
        """The number of each epoch, float64 (epochs,); records without a number are numbered from 1."""
        positions = np.arange(1, len(self.history) + 1, dtype=np.float64)
        numbers = self.history_column("epoch")
        return positions if numbers is None else np.where(np.isnan(numbers), positions, numbers)

    def history_column(self, key: str) -> np.ndarray | None:
        """The value of `key` in each epoch, float64 (epochs,), NaN where missing; None if no epoch has one."""
        values = [record.get(key) for record in self.history]
        if all(value is None for value in values):
            return None
        return np.array([math.nan if value is None else value for value in values], dtype=np.float64)

    @property
    def training_curves(self) -> dict[str, dict[str, np.ndarray]]:
        """The curves of each panel by name, float64 (epochs,); curves and panels without any value are left out."""
        panels = {
            "loss": {"training": "loss", "validation": "valid_loss"},
            "accuracy": {"validation": "valid_accuracy", "validation, balanced": "valid_balanced_accuracy"},
        }
        curves = {
            panel: {name: values for name, key in keys.items() if (values := self.history_column(key)) is not None}
            for panel, keys in panels.items()
        }
        return {panel: by_name for panel, by_name in curves.items() if by_name}
