"""The figures of a report: which ones it has, their file names, and the data that each one plots."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from facetools.report import charts
from facetools.report.formatting import format_count, format_name
from facetools.report.model import PUBLISHED_METHODS, Accuracy, Cluster, Report
from facetools.report.thumbnails import shrink_picture

#: The longest side, in pixels, of the faces in a figure. Figures compress pictures less than the page does.
FACE_SIDE = 88


def draw_figures(report: Report) -> Iterator[tuple[str, Figure]]:
    """Yield the file name, without suffix, and the figure for each figure of the report."""
    names = [format_name(attribute) for attribute in report.attributes]
    if names:
        yield "figure1-frequencies", charts.frequencies(names, report.frequencies, report.celeba_frequencies)
    if report.accuracy:
        yield "table1-accuracy", accuracy_figure(report.accuracy)
        yield "misprediction-ratio", misprediction_figure(report.accuracy)
    if names and report.shown_clusters:
        yield "clusters", _cluster_map(report, names)
    for cluster in report.shown_clusters:
        yield f"figure5-{cluster.anchor}", _cluster_figure(report, cluster, names)
    if report.series:
        yield "figure4-comparison", charts.comparison(report.series)
    if report.training_curves:
        yield "training-curves", charts.training(report.epochs, report.training_curves)


def accuracy_figure(accuracy: Accuracy) -> Figure:
    """The accuracies next to those of the paper's table 1."""
    return charts.accuracy(
        [format_name(name) for name in accuracy.names],
        100 * accuracy.metrics["accuracy"],
        {PUBLISHED_METHODS[method]: values for method, values in accuracy.published.items()},
        100 * accuracy.metrics["majority"],
    )


def misprediction_figure(accuracy: Accuracy) -> Figure:
    """The false negative and false positive rates."""
    return charts.mispredictions(
        [format_name(name) for name in accuracy.names],
        accuracy.metrics["false_negative_rate"],
        accuracy.metrics["false_positive_rate"],
    )


def _cluster_map(report: Report, names: list[str]) -> Figure:
    frequencies = [cluster.frequencies for cluster in report.shown_clusters if cluster.frequencies is not None]
    return charts.cluster_map([cluster.title for cluster in report.shown_clusters], names, np.stack(frequencies))


def _cluster_figure(report: Report, cluster: Cluster, names: list[str]) -> Figure:
    return charts.cluster(
        f"{cluster.title}, {format_count(cluster.faces)} faces",
        names,
        cluster.frequencies,
        None if cluster.frequencies is None else report.frequencies,
        report.attribute_marks(cluster),
        [shrink_picture(pixels, FACE_SIDE) for _, pixels in cluster.thumbnails],
        cluster.eigenface.mean if cluster.eigenface else None,
    )
