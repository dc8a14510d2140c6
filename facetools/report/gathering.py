"""Gathers the contents of a report from a face table and from what other commands wrote about it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from facetools.prediction import metrics
from facetools.report.contents import NOISE, TABLE1, Accuracy, Cluster, Eigenface, Portrait, Report, Series
from facetools.report.pictures import load_pictures, shrink_picture
from facetools.report.words import parameters
from facetools.table.attributes import PUBLISHED

if TYPE_CHECKING:
    from facetools.table.columns import Table

Thumbnails = Callable[[list[str]], list[np.ndarray | None]]


#: The longest side, in pixels, of the faces of a contact sheet, of an eigenface, and of one of its components.
FACE_SIDE, EIGENFACE_SIDE, COMPONENT_SIDE = 112, 256, 112


#: How many components of an eigenface are shown.
COMPONENTS = 4


def build_report(
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


def _presence(table: Table, threshold: float) -> tuple[list[str], np.ndarray, str | None]:
    """Attribute names, whether each face has each, bool (n, a), and the column that says so; embeddings, which leave
    the range of scores, say nothing of attributes."""
    if len(table) and table.scores is not None and not ((table.scores.values < 0) | (table.scores.values > 1)).any():
        return list(table.scores.names), table.scores.values >= threshold, "scores"
    if len(table) and table.labels is not None:
        return list(table.labels.names), table.labels.values != 0, "labels"
    return [], np.zeros((len(table), 0), bool), None


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
        metrics.metrics_by_attribute(labels, table.scores.select(names), threshold),
        {method: np.array([PUBLISHED[method].get(name, math.nan) for name in names]) for method in TABLE1},
    )


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
    return [
        [(path, shrink_picture(pixels, FACE_SIDE)) for path, pixels in sample if pixels is not None] for sample in pairs
    ]


def _portrait(number: int, eigenface: Eigenface | None) -> Portrait | None:
    if eigenface is None:
        return None

    def picture(encoded: bytes, side: int) -> np.ndarray:
        try:
            return shrink_picture(load_pictures(encoded), side)
        except OSError:
            raise ValueError(f"a picture of the eigenface of cluster {number} cannot be decoded") from None

    # Variance ratios may outnumber the pictures written, never the other way round.
    components = zip(eigenface.explained_variance_ratio, eigenface.component_pngs, strict=False)
    return Portrait(
        eigenface.faces,
        picture(eigenface.mean_png, EIGENFACE_SIDE),
        [(float(ratio), picture(png, COMPONENT_SIDE)) for ratio, png in list(components)[:COMPONENTS]],
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
        way = "" if fixed else parameters(record, leave_out=("k", "clusters", "seed"))
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
