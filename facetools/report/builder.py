"""Build a report from a face table and the records of other commands."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from facetools.clustering.explanation import AttributeDifferences, attribute_differences
from facetools.clustering.points import from_bits
from facetools.clustering.rules import MAX_VARYING, Rule, rules_of_points
from facetools.images.decoding import decode_image
from facetools.images.reading import ImageError
from facetools.prediction import metrics
from facetools.report.formatting import format_parameters, format_share, noise_share, replace_controls
from facetools.report.model import (
    NOISE,
    PUBLISHED_METHODS,
    Accuracy,
    Cluster,
    EigenfaceThumbnails,
    EncodedEigenface,
    Report,
    SampleFace,
    Series,
)
from facetools.report.sources import count_photos, describe_face, number_photos
from facetools.report.thumbnails import shrink_picture
from facetools.table.attributes import PUBLISHED_ACCURACIES

if TYPE_CHECKING:
    from facetools.table.columns import Table

#: Reads a picture, uint8 (h, w, 3), for each path; None if it cannot be read.
ReadThumbnails = Callable[[list[str]], list[np.ndarray | None]]

#: The longest side, in pixels, of a sampled face, of a mean face, and of a principal component.
FACE_SIDE, EIGENFACE_SIDE, COMPONENT_SIDE = 112, 256, 112

#: The number of principal components to show.
COMPONENTS = 4


def build_report(
    table: Table,
    *,
    eigenfaces: Mapping[int, EncodedEigenface] | None = None,
    thumbnails: ReadThumbnails | None = None,
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
    """Build the report of `table`.

    `eigenfaces` are by cluster number; `thumbnails` is called once, with all paths to show; `comparison` holds the
    records of fa-cluster --compare, `history` those of fa-train, one per epoch; `provenance` is shown as it is.

    The report shows the `max_clusters` largest clusters, and `faces_per_cluster` faces of each, sampled by `seed`. An
    attribute is present if its score is at least `threshold`. It is prominent in a cluster if its frequency is at least
    `prominent`, and noisy if it occurs with a frequency of at most `noisy`.

    Raises ValueError if a parameter is out of range or an eigenface cannot be decoded.
    """
    if faces_per_cluster < 0 or max_clusters < 0:
        raise ValueError("faces_per_cluster and max_clusters must not be negative")
    if not 0 <= noisy < prominent <= 1:
        raise ValueError(
            f"prominent is {prominent:g} and noisy is {noisy:g}; they must be from 0 to 1, with noisy below prominent"
        )
    names, present, source = _present_attributes(table, threshold)
    table_names, table_present = names, present
    order = np.argsort(-present.mean(0), kind="stable") if len(table) and names else np.arange(0)
    names, present = [names[index] for index in order], present[:, order]

    numbers, positions, sizes = _cluster_sizes(table)
    by_size = [position for position in np.argsort(-sizes, kind="stable") if numbers[position] != NOISE]
    noise = np.flatnonzero(numbers == NOISE).tolist()
    shown = [*by_size[:max_clusters], *noise]
    photos = number_photos(table)
    photo_counts = count_photos(photos, positions, len(sizes)) if shown else []
    samples = _sample_faces(table, positions, numbers, sizes, shown, seed, faces_per_cluster)
    differences = _attribute_differences(present, positions, sizes) if names and shown else None
    rules = _find_rules(table_names, table_present, positions, by_size[:max_clusters])
    clusters = [
        Cluster(
            int(numbers[position]),
            int(sizes[position]),
            photo_counts[position],
            None if differences is None else differences.shares[position],
            None if differences is None else differences.of_cluster(position),
            rules.get(position),
            sample,
            sample_thumbnails,
            _eigenface_thumbnails(int(numbers[position]), (eigenfaces or {}).get(int(numbers[position]))),
        )
        for position, sample, sample_thumbnails in zip(shown, samples, _read_samples(samples, thumbnails), strict=True)
    ]
    return Report(
        title=title,
        faces=len(table),
        photos=count_photos(photos, np.zeros(len(table), np.int64), 1)[0],
        attributes=names,
        frequencies=present.mean(0) if names else np.zeros(0),
        attribute_source=source if names else None,
        threshold=threshold,
        prominent=prominent,
        noisy=noisy,
        seed=seed,
        is_clustered=len(sizes) > 0,
        clusters=clusters[: len(clusters) - len(noise)],
        noise=clusters[-1] if noise else None,
        cluster_count=len(by_size),
        hidden_faces=int(sizes[by_size[max_clusters:]].sum()),
        median_cluster_size=float(np.median(sizes[by_size])) if by_size else 0.0,
        accuracy=_accuracy(table, names, threshold),
        comparison=[dict(record) for record in comparison or ()],
        series=_comparison_series(comparison or ()),
        history=[dict(record) for record in history or ()],
        provenance=dict(provenance or {}),
    )


# Attributes


def _present_attributes(table: Table, threshold: float) -> tuple[list[str], np.ndarray, str | None]:
    """Attribute names, which attributes each face has, bool (n, a), and the column that they come from."""
    # Values outside of 0 to 1 are embeddings, not scores.
    if len(table) and table.scores is not None and not ((table.scores.values < 0) | (table.scores.values > 1)).any():
        return list(table.scores.names), table.scores.values >= threshold, "scores"
    if len(table) and table.labels is not None:
        return list(table.labels.names), table.labels.values != 0, "labels"
    return [], np.zeros((len(table), 0), bool), None


def _accuracy(table: Table, names: Sequence[str], threshold: float) -> Accuracy | None:
    """The accuracy for those of `names` that have scores and labels; None if there are none."""
    if not len(table) or table.scores is None or table.labels is None:
        return None
    names = [name for name in names if name in table.labels.names]
    if not names:
        return None
    labels = table.labels.select(names)
    return Accuracy(
        names=names,
        faces=len(table),
        prevalence=labels.mean(0, dtype=np.float64),
        metrics=metrics.metrics_by_attribute(labels, table.scores.select(names), threshold),
        published={
            method: np.array([PUBLISHED_ACCURACIES[method].get(name, math.nan) for name in names])
            for method in PUBLISHED_METHODS
        },
    )


# Clusters


def _cluster_sizes(table: Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cluster numbers, int32 (k,), ascending; for each face the position of its cluster among them, int64 (n,); and the
    sizes of the clusters, int64 (k,)."""
    if table.cluster is None:
        return np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64)
    numbers, positions, sizes = np.unique(table.cluster, return_inverse=True, return_counts=True)
    return numbers, positions, sizes


def _attribute_differences(present: np.ndarray, positions: np.ndarray, sizes: np.ndarray) -> AttributeDifferences:
    """The share of each cluster's faces with each attribute, compared with all faces, from `present` bool (n, a)."""
    counts = [np.bincount(positions[column], minlength=len(sizes)) for column in present.T]
    return attribute_differences(np.stack(counts, axis=1), sizes)


def _find_rules(
    names: Sequence[str], present: np.ndarray, positions: np.ndarray, shown: Sequence[int]
) -> dict[int, Rule]:
    """The rules of the clusters at the positions `shown`, from `present` bool (n, a); empty if there are too many
    attributes. The order of the attributes is that of the table, so that fa-cluster finds the same rules."""
    varying = np.flatnonzero(present.any(axis=0) & ~present.all(axis=0)).tolist()
    if not shown or not names or len(varying) > MAX_VARYING:
        return {}
    bits = np.ascontiguousarray(present[:, varying])
    labels = np.full(int(positions.max()) + 1, -1, np.int32)  # clusters that are not shown are other faces
    labels[shown] = np.arange(len(shown))
    rules = rules_of_points(from_bits(bits), labels[positions], [names[index] for index in varying])
    return dict(zip(shown, rules, strict=True))


def _sample_faces(
    table: Table,
    positions: np.ndarray,
    numbers: np.ndarray,
    sizes: np.ndarray,
    shown: Sequence[int],
    seed: int,
    count: int,
) -> list[list[SampleFace]]:
    """Up to `count` faces of each shown cluster, in the order of the table; empty if it has no paths."""
    if table.paths is None or not shown:
        return [[] for _ in shown]
    rows = np.argsort(positions, kind="stable")
    starts = np.cumsum(sizes) - sizes
    samples = []
    for position in shown:
        # One generator per cluster, so that its sample does not depend on the other clusters.
        generator = np.random.default_rng([seed, int(numbers[position]) % 2**32])
        chosen = np.sort(generator.choice(sizes[position], min(count, int(sizes[position])), replace=False))
        faces = []
        for row in rows[starts[position] + chosen].tolist():
            path = table.paths[row].decode("utf-8", "replace")
            faces.append(SampleFace(path, describe_face(path, table.extras[row] if table.extras else {})))
        samples.append(faces)
    return samples


def _read_samples(
    samples: Sequence[list[SampleFace]], thumbnails: ReadThumbnails | None
) -> list[list[tuple[SampleFace, np.ndarray]]]:
    """Each sampled face that can be read, and its thumbnail."""
    if thumbnails is None:
        return [[] for _ in samples]
    paths = [face.path for sample in samples for face in sample]
    pictures = thumbnails(paths) if paths else []
    if len(pictures) != len(paths):
        raise ValueError(f"thumbnails() returned {len(pictures)} pictures for {len(paths)} paths")
    remaining = iter(pictures)
    pairs = [[(face, next(remaining)) for face in sample] for sample in samples]
    return [
        [(face, shrink_picture(pixels, FACE_SIDE)) for face, pixels in sample if pixels is not None] for sample in pairs
    ]


def _eigenface_thumbnails(number: int, eigenface: EncodedEigenface | None) -> EigenfaceThumbnails | None:
    if eigenface is None:
        return None

    def thumbnail(encoded: bytes, side: int) -> np.ndarray:
        try:
            return shrink_picture(decode_image(encoded), side)
        except ImageError:
            raise ValueError(f"a picture of the eigenface of cluster {number} cannot be decoded") from None

    # There may be more variance ratios than pictures.
    components = zip(eigenface.explained_variance_ratio, eigenface.component_pngs, strict=False)
    return EigenfaceThumbnails(
        eigenface.faces,
        thumbnail(eigenface.mean_png, EIGENFACE_SIDE),
        [(float(ratio), thumbnail(png, COMPONENT_SIDE)) for ratio, png in list(components)[:COMPONENTS]],
    )


# Comparison of methods


def _comparison_series(records: Iterable[Mapping[str, Any]]) -> list[Series]:
    """The series of figure 4. Records without a silhouette are left out.

    A method that takes the number of clusters has one series per set of its other parameters. A method that determines
    the number itself (`k` is null) has one series for all its parameters.
    """
    points: dict[tuple[str, bool, str], list[tuple[int, float, float]]] = {}
    for record in records:
        if record.get("silhouette") is None:
            continue
        automatic_k = record.get("k") is None
        parameters = "" if automatic_k else format_parameters(record, leave_out=("k", "clusters", "seed"))
        key = (replace_controls(str(record["method"])), automatic_k, parameters)
        point = int(record["clusters"]), float(record["silhouette"]), noise_share(record)
        points.setdefault(key, []).append(point)
    variants = Counter(method for method, automatic_k, _ in points if not automatic_k)
    series = []
    for (method, automatic_k, parameters), runs in points.items():
        label = f"{method} ({parameters})" if parameters and variants[method] > 1 else method
        if automatic_k and len(runs) > 1:
            label = f"{method}, best of {len(runs)}"
        _, _, noise = max(runs, key=lambda run: run[1])
        if noise:  # without the noise it is easy to have a high silhouette
            label = f"{label}, {format_share(noise)} noise"
        clusters, silhouette, _ = np.array(sorted(runs), dtype=np.float64).T
        series.append(Series(label, clusters.astype(np.int64), silhouette, automatic_k))
    return series
