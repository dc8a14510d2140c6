"""What a face table says, gathered once by `build` and told as one HTML file, as text, or as figures.

The sections follow the paper: attribute frequencies (figure 1), accuracy beside table 1, each cluster as faces,
attribute occurrences and eigenface (figure 5), the comparison of clustering methods (figure 4), training curves.
A section is there when what it needs is. The same input gives the same bytes.
"""

from __future__ import annotations

import base64
import io
import math
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from facetools import figures, metrics
from facetools.attributes import FREQUENCIES, PUBLISHED
from facetools.figures import Series

if TYPE_CHECKING:
    from facetools.table import Table

Thumbnails = Callable[[list[str]], list[np.ndarray | None]]

#: The longest side, in pixels, of the faces of a contact sheet, of an eigenface, and of one of its components.
FACE_SIDE, EIGENFACE_SIDE, COMPONENT_SIDE = 112, 256, 112

#: The same for the faces of the figures that are saved, where pictures are not compressed as well.
FIGURE_FACE_SIDE = 88

#: How many components of an eigenface the page shows.
COMPONENTS = 4

#: A cluster stands out by an attribute that it shows this much more, or less, often than all the faces do.
STANDS_OUT = 0.2

#: The rows of the paper's table 1: its own model and the one it is compared with.
TABLE1 = {"paper": "Paper", "LNets+ANet": "LNets+ANet"}

TEXT_COLUMNS = 100
NOISE = -1
THIN_SPACE = "\u202f"


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
class Report:
    """Everything the report says; see the fields of `build`, which makes it.

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

    # What the words and pictures are made of

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
    def curves(self) -> dict[str, dict[str, np.ndarray]]:
        """The training curves of each panel, float64 (epochs,) by name; those without any number are left out."""
        panels = {
            "loss": {"training": "loss", "validation": "valid_loss"},
            "accuracy": {"validation": "valid_accuracy", "validation, balanced": "valid_balanced_accuracy"},
        }
        curves = {
            panel: {name: _numbers(self.history, key) for name, key in keys.items() if _has(self.history, key)}
            for panel, keys in panels.items()
        }
        return {panel: by_name for panel, by_name in curves.items() if by_name}

    # Figures

    def figures(self) -> Iterator[tuple[str, Figure]]:
        """Each figure with the name of its file, drawn when its turn comes."""
        names = [_readable(name) for name in self.attributes]
        if names:
            yield "figure1-frequencies", figures.frequencies(names, self.overall, self.reference)
        if self.accuracy:
            yield "table1-accuracy", self._accuracy_figure(self.accuracy)
            yield "misprediction-ratio", self._misprediction_figure(self.accuracy)
        if names and self.shown:
            yield "clusters", self._glance_figure()
        for cluster in self.shown:
            yield (
                f"figure5-{cluster.anchor}",
                figures.cluster(
                    f"{cluster.title}, {_count(cluster.faces)} faces",
                    names,
                    cluster.shares,
                    None if cluster.shares is None else self.overall,
                    self.marks(cluster),
                    [_shrunk(pixels, FIGURE_FACE_SIDE) for _, pixels in cluster.pictures],
                    cluster.portrait.mean if cluster.portrait else None,
                ),
            )
        if self.series:
            yield "figure4-comparison", figures.comparison(self.series)
        if self.curves:
            yield "training-curves", figures.training(_epochs(self.history), self.curves)

    def _accuracy_figure(self, accuracy: Accuracy) -> Figure:
        return figures.accuracy(
            [_readable(name) for name in accuracy.names],
            100 * accuracy.measures["accuracy"],
            {TABLE1[method]: values for method, values in accuracy.published.items()},
            100 * accuracy.measures["majority"],
        )

    def _misprediction_figure(self, accuracy: Accuracy) -> Figure:
        missed, false_alarms = (accuracy.measures[key] for key in ("false_negative_rate", "false_positive_rate"))
        return figures.mispredictions([_readable(name) for name in accuracy.names], missed, false_alarms)

    def _glance_figure(self) -> Figure:
        shares = np.stack([cluster.shares for cluster in self.shown if cluster.shares is not None])
        return figures.glance(
            [cluster.title for cluster in self.shown], [_readable(name) for name in self.attributes], shares
        )

    # HTML

    def html(self) -> str:
        """The page: one file that asks for no other."""
        plots: dict[str, list[Markup]] = {}
        if self.accuracy:
            plots["accuracy"] = [
                _plot(
                    self._accuracy_figure(self.accuracy), "accuracy", "Accuracy by attribute, beside published figures"
                ),
                _plot(self._misprediction_figure(self.accuracy), "misprediction", "Misprediction ratios by attribute"),
            ]
        if self.series:
            alt = "Silhouette against the number of clusters, a line for each method"
            plots["comparison"] = [
                _plot(figures.comparison(self.series, width), f"comparison-{name}", alt)
                for name, width in (("wide", 6.6), ("narrow", 3.9))
            ]
        if self.curves:
            epochs = _epochs(self.history)
            plots["training"] = [
                _plot(figures.training(epochs, {panel: curves}), f"training-{panel}", f"Training curves: {panel}")
                for panel, curves in self.curves.items()
            ]
        return _environment().get_template("report.html").render(report=self, plots=plots, **self._words())

    def _words(self) -> dict[str, Any]:
        """The numbers of the page that need some arithmetic first."""
        pictures = [pixels for cluster in self.shown for _, pixels in cluster.pictures]
        ratio = float(np.median([pixels.shape[1] / pixels.shape[0] for pixels in pictures])) if pictures else 1.0
        return {
            "tiles": self._tiles(),
            "lede": self._lede(),
            "hidden": self._hidden(),
            "face_ratio": f"{ratio:.3f}",
            "accuracy_rows": _accuracy_rows(self.accuracy) if self.accuracy else [],
            "accuracy_means": _accuracy_means(self.accuracy) if self.accuracy else [],
            "comparison_rows": _comparison_rows(self.comparison),
            "history_columns": _history_columns(self.history),
            "history_summary": self._history_summary(),
            "table1": list(TABLE1.values()),
        }

    def _tiles(self) -> list[tuple[str, str]]:
        tiles = [(_count(self.faces), "face" if self.faces == 1 else "faces")] if self.faces else []
        if self.attributes:
            tiles.append((_count(len(self.attributes)), "attributes"))
        if self.clustered:
            tiles.append((_count(self.cluster_count), "cluster" if self.cluster_count == 1 else "clusters"))
        if self.noise:
            tiles.append((_share(self.noise.faces / self.faces), "noise"))
        if self.accuracy:
            mean = self.accuracy.mean()
            tiles.append((f"{100 * mean['accuracy']:.2f}%", "mean accuracy"))
            tiles.append((f"{100 * mean['balanced_accuracy']:.2f}%", "mean balanced accuracy"))
        judged = [one["silhouette"] for one in self.comparison if one.get("silhouette") is not None]
        if judged:
            tiles.append((f"{max(judged):.2f}", "best silhouette compared"))
        return tiles

    def _lede(self) -> str:
        parts = []
        if self.source:
            scored = f"An attribute counts as present where its score is at least {self.threshold:g}."
            parts.append(scored if self.source == "scores" else "Attributes are as labelled; there are no scores.")
        if self.cluster_count:
            parts.append(f"The median cluster has {_count(self.median_size)} faces.")
        if self.noise:
            parts.append(f"{_count(self.noise.faces)} faces belong to no cluster (noise).")
        return " ".join(parts)

    def _hidden(self) -> str:
        hidden = self.cluster_count - len(self.clusters)
        if not self.cluster_count:
            return "There is no cluster: every face is noise."
        if self.cluster_count == 1 and not hidden:
            return "There is one cluster."
        if not hidden:
            return f"All {_count(self.cluster_count)} clusters are shown, the largest first."
        share = _share(self.hidden_faces / self.faces)
        return (
            f"The {_count(len(self.clusters))} largest of {_count(self.cluster_count)} clusters are shown, the largest"
            f" first; the other {_count(hidden)} hold {_count(self.hidden_faces)} faces ({share})."
        )

    def _history_summary(self) -> str:
        if not self.history:
            return ""
        parts = [f"{_count(len(self.history))} {'epoch' if len(self.history) == 1 else 'epochs'}"]
        best = _numbers(self.history, "valid_accuracy")
        if not np.isnan(best).all():
            at = int(np.nanargmax(best))
            epoch = _epochs(self.history)[at]
            parts.append(f"best validation accuracy {100 * best[at]:.2f}% after epoch {epoch:g}")
        speed = _numbers(self.history, "images_per_second")
        if not np.isnan(speed).all():
            parts.append(f"{_count(round(float(np.nanmedian(speed))))} images a second")
        return "; ".join(parts) + "."

    # Text

    def text(self) -> str:
        """The same for a terminal or a pipe, at most 100 columns wide."""
        lines = [self.title, "=" * min(len(self.title), TEXT_COLUMNS), ""]
        lines += _wrapped(", ".join(f"{value} {label}" for value, label in self._tiles()))
        lines += _wrapped(self._lede())
        if self.attributes:
            lines += _heading("Attribute frequencies")
            if self.reference is not None:
                lines += [f"{'':>{_NAME + _BAR + 2}} {'here':>5}  {'CelebA':>6}"]
            reference = self.reference if self.reference is not None else np.full(len(self.attributes), math.nan)
            for name, share, known in zip(self.attributes, self.overall, reference, strict=True):
                tail = "" if math.isnan(known) else f"  {_share(known):>6}"
                lines.append(f"{_name(name)}  {_bar(share, known)} {_share(share):>5}{tail}")
        if self.accuracy:
            lines += self._accuracy_text(self.accuracy)
        if self.clustered:
            lines += _heading("Clusters")
            lines += _wrapped(self._hidden())
            if self.attributes:
                lines += _wrapped(
                    f"Prominent attributes: at least {_share(self.prominent)} of the cluster’s faces; noisy ones: some,"
                    f" but at most {_share(self.noisy)}. | is the share among all faces."
                )
            for cluster in self.shown:
                lines += self._cluster_text(cluster)
        if self.comparison:
            lines += _heading("Comparison of clustering methods")
            rows = _comparison_rows(self.comparison)
            lines += _aligned(["method", "parameters", "clusters", "noise", "inertia", "silhouette"], rows, left=2)
        if self.history:
            lines += _heading("Training")
            lines += _wrapped(self._history_summary())
            titles, columns = _history_columns(self.history)
            lines += ["", *_aligned(titles, columns)]
        if self.provenance:
            lines += _heading("About this report")
            for name, value in self.provenance.items():
                lines += _wrapped(f"{name}: {value}", indent="    ")
        return "\n".join(_plain(line).rstrip() for line in lines) + "\n"

    def _accuracy_text(self, accuracy: Accuracy) -> list[str]:
        lines = _heading("Accuracy by attribute, percent")
        titles = ["", "present", "majority", "accuracy", *TABLE1.values(), "balanced", "F1", "missed", "false"]
        rows = [[_name(row[0]).strip(), *row[1:]] for row in _accuracy_rows(accuracy)]
        means = [[name, *values] for name, *values in _accuracy_means(accuracy)]
        lines += _aligned(titles, rows + means)
        return [*lines, "", *_wrapped(MISPREDICTION_NOTE), *_wrapped(TABLE1_NOTE)]

    def _cluster_text(self, cluster: Cluster) -> list[str]:
        title = f"{cluster.title}: {_count(cluster.faces)} faces ({_share(cluster.faces / self.faces)})"
        lines = ["", title, "-" * len(title)]
        if cluster.shares is not None:
            outstanding = ", ".join(f"{_readable(name)} {_points(by)}" for name, by in self.outstanding(cluster))
            if outstanding:
                lines += _wrapped(f"Unlike all faces, in points: {outstanding}")
            for name, share, all_faces, mark in zip(
                self.attributes, cluster.shares, self.overall, self.marks(cluster), strict=True
            ):
                lines.append(f"{_name(name)}  {_bar(share, all_faces)} {_share(share):>5}  {mark}")
        if cluster.portrait:
            ratios = ", ".join(f"{ratio:.1%}" for ratio, _ in cluster.portrait.components)
            known = f"; variance explained by its components: {ratios}" if ratios else ""
            lines += _wrapped(f"Eigenface of {_count(cluster.portrait.faces)} faces{known}")
        if cluster.sample:
            lines += ["Such as:", *(f"  {_shortened(path, TEXT_COLUMNS - 2)}" for path in cluster.sample[:5])]
        return lines


MISPREDICTION_NOTE = (
    "The misprediction ratio is the share predicted wrong, told apart by truth: missed, of the faces that have the"
    " attribute (false negative rate); false alarms, of the faces that lack it (false positive rate). Balanced accuracy"
    " is one minus their mean. Majority is the accuracy of always giving the more frequent answer."
)
TABLE1_NOTE = (
    "The paper and LNets+ANet are as printed in the paper’s table 1: measured on CelebA’s test split and rounded to"
    " whole percents. Figures on other faces, or on another split, are no like-for-like comparison."
)


def build(
    table: Table,
    *,
    eigenfaces: Mapping[int, Eigenface] | None = None,
    thumbnails: Thumbnails | None = None,
    comparison: Sequence[Mapping[str, Any]] | None = None,
    history: Sequence[Mapping[str, Any]] | None = None,
    provenance: Mapping[str, str] | None = None,
    seed: int = 0,
    faces_per_cluster: int = 24,
    max_clusters: int = 50,
    threshold: float = 0.5,
    prominent: float = 0.8,
    noisy: float = 0.2,
    title: str = "Faces by attribute",
) -> Report:
    """The report of a table and of what other commands wrote about it.

    `thumbnails` gives a picture uint8 (h, w, 3), or None, for each of a list of paths; it is called once. `eigenfaces`
    go by cluster number; `comparison` are the records of `fa-cluster --compare`, `history` the epochs of fa-train.
    Of at most `max_clusters` clusters, the largest, `faces_per_cluster` faces are drawn by `seed`. An attribute is
    present where its score is at least `threshold`; it is prominent in a cluster where its share is at least
    `prominent`, noisy where it occurs but its share is at most `noisy`.
    """
    if faces_per_cluster < 0 or max_clusters < 0:
        raise ValueError("the numbers of clusters and of faces a cluster are not negative")
    if not 0 <= noisy < prominent <= 1:
        raise ValueError(f"shares from 0 to 1, noisy below prominent, were expected, not {noisy:g} and {prominent:g}")
    names, present, source = _presence(table, threshold)
    order = np.argsort(-present.mean(0), kind="stable") if len(table) and names else np.arange(0)
    names, present = [names[at] for at in order], present[:, order]
    overall = present.mean(0) if names else np.zeros(0)

    numbers, inverse, sizes = _clusters(table)
    # The largest first, noise apart.
    ranked = [at for at in np.argsort(-sizes, kind="stable") if numbers[at] != NOISE]
    noise = np.flatnonzero(numbers == NOISE).tolist()
    shown = [*ranked[:max_clusters], *noise]
    samples = _samples(table, inverse, numbers, sizes, shown, seed, faces_per_cluster)
    pictures = _pictures(samples, thumbnails)
    shares = _shares(present, inverse, sizes) if names and shown else None
    entries = [
        Cluster(
            int(numbers[at]),
            int(sizes[at]),
            None if shares is None else shares[at],
            samples[place],
            pictures[place],
            _portrait(int(numbers[at]), (eigenfaces or {}).get(int(numbers[at]))),
        )
        for place, at in enumerate(shown)
    ]
    compared = [dict(one) for one in comparison or ()]
    return Report(
        title=title,
        faces=len(table),
        attributes=names,
        overall=overall,
        source=source if names else None,
        threshold=threshold,
        prominent=prominent,
        noisy=noisy,
        seed=seed,
        clustered=len(sizes) > 0,
        clusters=entries[: len(entries) - len(noise)],
        noise=entries[-1] if noise else None,
        cluster_count=len(ranked),
        hidden_faces=int(sizes[ranked[max_clusters:]].sum()),
        accuracy=_accuracy(table, names, threshold),
        comparison=compared,
        history=[dict(one) for one in history or ()],
        provenance=dict(provenance or {}),
        median_size=float(np.median(sizes[ranked])) if ranked else 0.0,
        series=_series(compared),
    )


# What the table says


def _presence(table: Table, threshold: float) -> tuple[list[str], np.ndarray, str | None]:
    """Attribute names, whether each face has each, bool (n, a), and the column that says so."""
    if len(table) and table.scores is not None:
        return list(table.scores.names), table.scores.values >= threshold, "scores"
    if len(table) and table.labels is not None:
        return list(table.labels.names), table.labels.values != 0, "labels"
    return [], np.zeros((len(table), 0), bool), None


def _clusters(table: Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cluster numbers, ascending, int32 (k,); which of them each face is in, int64 (n,); their sizes, int64 (k,)."""
    if table.cluster is None:
        return np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64)
    numbers, inverse, sizes = np.unique(table.cluster, return_inverse=True, return_counts=True)
    return numbers, inverse, sizes


def _shares(present: np.ndarray, inverse: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Share of each cluster's faces with each attribute, float64 (k, a), of `present` bool (n, a)."""
    counts = [np.bincount(inverse[column], minlength=len(sizes)) for column in present.T]
    return np.stack(counts, axis=1) / sizes[:, None]


def _samples(
    table: Table,
    inverse: np.ndarray,
    numbers: np.ndarray,
    sizes: np.ndarray,
    shown: Sequence[int],
    seed: int,
    count: int,
) -> list[list[str]]:
    """Paths of up to `count` faces of each cluster shown, in the table's order; no paths, no sample."""
    if table.paths is None or not shown:
        return [[] for _ in shown]
    rows = np.argsort(inverse, kind="stable")
    starts = np.cumsum(sizes) - sizes
    samples = []
    for at in shown:
        # A generator a cluster, so that what one cluster shows does not hang on how many others there are.
        generator = np.random.default_rng([seed, int(numbers[at]) % 2**32])
        chosen = np.sort(generator.choice(sizes[at], min(count, int(sizes[at])), replace=False))
        paths = table.paths[rows[starts[at] + chosen]]
        samples.append([path.decode("utf-8", "replace") for path in paths.tolist()])
    return samples


def _pictures(samples: Sequence[list[str]], thumbnails: Thumbnails | None) -> list[list[tuple[str, np.ndarray]]]:
    if thumbnails is None:
        return [[] for _ in samples]
    paths = [path for sample in samples for path in sample]
    found = thumbnails(paths) if paths else []
    if len(found) != len(paths):
        raise ValueError(f"{len(found)} pictures came for {len(paths)} paths")
    read = iter(found)
    pairs = [[(path, next(read)) for path in sample] for sample in samples]
    return [[(path, _shrunk(pixels, FACE_SIDE)) for path, pixels in sample if pixels is not None] for sample in pairs]


def _portrait(number: int, eigenface: Eigenface | None) -> Portrait | None:
    if eigenface is None:
        return None

    def decoded(encoded: bytes, side: int) -> np.ndarray:
        try:
            with Image.open(io.BytesIO(encoded)) as image:
                return _shrunk(np.asarray(image.convert("RGB")), side)
        except OSError:
            raise ValueError(f"a picture of the eigenface of cluster {number} cannot be decoded") from None

    # Variance ratios may outnumber the pictures written, never the other way round.
    components = zip(eigenface.explained_variance_ratio, eigenface.component_pngs, strict=False)
    return Portrait(
        eigenface.faces,
        decoded(eigenface.mean_png, EIGENFACE_SIDE),
        [(float(ratio), decoded(png, COMPONENT_SIDE)) for ratio, png in list(components)[:COMPONENTS]],
    )


def _shrunk(pixels: np.ndarray, side: int) -> np.ndarray:
    """A picture uint8 (h, w, 3) made smaller, never larger, until its longer side is `side`."""
    scale = side / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def _accuracy(table: Table, names: Sequence[str], threshold: float) -> Accuracy | None:
    """The accuracy of those of `names`, in their order, that have scores and labels."""
    if not len(table) or table.scores is None or table.labels is None:
        return None
    names = [name for name in names if name in table.labels.names]
    if not names:
        return None
    labels = table.labels.select(names)
    return Accuracy(
        names,
        len(table),
        labels.mean(0, dtype=np.float64),
        metrics.by_attribute(labels, table.scores.select(names), threshold),
        {method: np.array([PUBLISHED[method].get(name, math.nan) for name in names]) for method in TABLE1},
    )


def _series(records: Iterable[Mapping[str, Any]]) -> list[Series]:
    """The lines of figure 4: a method that is given its number of clusters is one line for each way to run it.

    A method that finds the number itself (`k` null) is one series, whatever its parameters. Records without a
    silhouette are left out.
    """
    found: dict[tuple[str, bool, str], list[tuple[int, float]]] = {}
    for record in records:
        if record.get("silhouette") is None:
            continue
        fixed = record.get("k") is None
        way = "" if fixed else _parameters(record, leave_out=("k", "clusters", "seed"))
        point = (int(record["clusters"]), float(record["silhouette"]))
        found.setdefault((str(record["method"]), fixed, way), []).append(point)
    ways = Counter(method for method, fixed, _ in found if not fixed)
    series = []
    for (method, fixed, way), points in found.items():
        label = f"{method} ({way})" if way and ways[method] > 1 else method
        if fixed and len(points) > 1:
            label = f"{method}, best of {len(points)}"
        clusters, silhouette = np.array(sorted(points), dtype=np.float64).T
        series.append(Series(label, clusters.astype(np.int64), silhouette, fixed))
    return series


# Cells and words


def _parameters(record: Mapping[str, Any], leave_out: Sequence[str] = ()) -> str:
    parameters = record.get("parameters") or {}
    return ", ".join(f"{name} {_value(value)}" for name, value in parameters.items() if name not in leave_out)


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _accuracy_rows(accuracy: Accuracy) -> list[list[str]]:
    measures = accuracy.measures
    columns = [
        accuracy.positive, measures["majority"], measures["accuracy"], measures["balanced_accuracy"], measures["f1"],
        measures["false_negative_rate"], measures["false_positive_rate"],
    ]  # fmt: skip
    rows = []
    for at, name in enumerate(accuracy.names):
        cells = [f"{100 * column[at]:.1f}" for column in columns]
        cells[3:3] = [_printed(values[at]) for values in accuracy.published.values()]
        rows.append([name, *cells])
    return rows


def _accuracy_means(accuracy: Accuracy) -> list[list[str]]:
    """The mean over all attributes and, where table 1 lacks some of them, over those it has."""
    rows = accuracy.in_table1

    def row(title: str, over: np.ndarray | slice, published: bool) -> list[str]:
        mean = accuracy.mean(over)
        keys = ("majority", "accuracy", "balanced_accuracy", "f1", "false_negative_rate", "false_positive_rate")
        cells = [f"{100 * accuracy.positive[over].mean():.1f}", *(f"{100 * mean[key]:.1f}" for key in keys)]
        cells[3:3] = [f"{accuracy.published_mean(method):.1f}" if published else "–" for method in TABLE1]
        return [title, *cells]

    means = [row(f"Mean of {len(rows)}", slice(None), bool(rows.all()))]
    if rows.any() and not rows.all():
        means.append(row(f"Mean of {rows.sum()} in table 1", rows, True))
    return means


def _printed(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:g}"


def _comparison_rows(records: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    def number(value: Any, form: str) -> str:
        return "–" if value is None else format(value, form)

    return [
        [
            str(record["method"]),
            _parameters(record, leave_out=("k",)),
            _count(record["clusters"]) if record.get("clusters") is not None else "–",
            _count(record["noise"]) if record.get("noise") is not None else "–",
            number(record.get("inertia"), ".6g"),
            number(record.get("silhouette"), ".4f"),
        ]
        for record in records
    ]


def _history_columns(history: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """The titles and rows of the table of epochs, with the columns that have a number."""
    forms = {
        "epoch": ("epoch", "g"),
        "loss": ("loss", ".4f"),
        "valid_loss": ("valid. loss", ".4f"),
        "valid_accuracy": ("valid. accuracy", ".2%"),
        "valid_balanced_accuracy": ("valid. balanced", ".2%"),
        "learning_rate": ("learning rate", ".3g"),
        "images_per_second": ("images/s", ".0f"),
    }
    present = {key: form for key, form in forms.items() if _has(history, key)}
    columns = [[_cell(value, form) for value in _numbers(history, key)] for key, (_, form) in present.items()]
    return [title for title, _ in present.values()], [list(row) for row in zip(*columns, strict=True)]


def _cell(value: float, form: str) -> str:
    return "–" if math.isnan(value) else format(float(value), form)


def _has(records: Iterable[Mapping[str, Any]], key: str) -> bool:
    return any(record.get(key) is not None for record in records)


def _numbers(records: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    values = [record.get(key) for record in records]
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _epochs(history: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """The number of each epoch, float64 (epochs,); records that do not say count from 1."""
    epochs = _numbers(history, "epoch")
    return np.where(np.isnan(epochs), np.arange(1, len(history) + 1), epochs)


def _readable(name: str) -> str:
    return name.replace("_", " ")


def _count(value: float) -> str:
    """A number with thin spaces between thousands, which do not break."""
    return f"{value:,.{0 if value == int(value) else 1}f}".replace(",", THIN_SPACE)


def _share(share: float) -> str:
    """A share as whole percents; what is not none, or not all, never looks so."""
    if 0 < share < 0.005:
        return "<1%"
    if 0.995 <= share < 1:
        return ">99%"
    return f"{100 * share:.0f}%"


def _points(difference: float) -> str:
    return f"{100 * difference:+.0f}".replace("-", "−")


# HTML


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("facetools", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "readable": _readable,
        "count": _count,
        "share": _share,
        "points": _points,
        "jpeg": _jpeg,
    }
    environment.globals |= {"misprediction_note": MISPREDICTION_NOTE, "table1_note": TABLE1_NOTE}
    return environment


def _plot(figure: Figure, name: str, alt: str) -> Markup:
    return Markup(figures.inline(figure, name, alt))


def _jpeg(pixels: np.ndarray, quality: int = 82) -> str:
    """A picture uint8 (h, w, 3) as a data URL."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


# Text

_NAME, _BAR = 22, 50


def _heading(title: str) -> list[str]:
    return ["", "", title, "=" * len(title)]


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, TEXT_COLUMNS, subsequent_indent=indent)


def _name(name: str) -> str:
    shown = _readable(name)
    return f"{shown if len(shown) <= _NAME else shown[: _NAME - 1] + '…':<{_NAME}}"


def _bar(share: float, tick: float) -> str:
    """A bar of `_BAR` columns with a tick where `tick` is; NaN is nowhere."""
    cells = list(f"{'█' * round(share * _BAR):·<{_BAR}}")
    if not math.isnan(tick):
        cells[min(_BAR - 1, int(tick * _BAR))] = "|"
    return "".join(cells)


def _aligned(titles: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """A table whose first `left` columns stand to the left, the others to the right."""
    room = TEXT_COLUMNS // 3
    table = [[_shortened(cell, room) for cell in row] for row in [titles, *rows]]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            f"{cell:<{width}}" if at < left else f"{cell:>{width}}"
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    ]


def _shortened(text: str, room: int) -> str:
    """The end of a text that is too long for its room: what tells paths apart."""
    return text if len(text) <= room else "…" + text[1 - room :]


def _plain(line: str) -> str:
    """A line without control characters: a file's name must not steer the terminal."""
    return "".join(one if one.isprintable() else "\ufffd" for one in line.replace(THIN_SPACE, " "))
