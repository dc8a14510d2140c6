"""The figures of a report: which there are, by what it has, and what each of them shows.

The same report gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from facetools.report import charts
from facetools.report.contents import TABLE1, Accuracy, Report
from facetools.report.pictures import shrink_picture
from facetools.report.words import count, readable

#: The longest side, in pixels, of the faces in a figure, where pictures are not compressed as well as in the page.
FACE_SIDE = 88


def as_figures(report: Report) -> Iterator[tuple[str, Figure]]:
    """Each figure with the name of its file, drawn when its turn comes."""
    names = [readable(name) for name in report.attributes]
    if names:
        yield "figure1-frequencies", charts.frequencies(names, report.overall, report.reference)
    if report.accuracy:
        yield "table1-accuracy", accuracy_figure(report.accuracy)
        yield "misprediction-ratio", misprediction_figure(report.accuracy)
    if names and report.shown:
        yield "clusters", _glance_figure(report)
    for cluster in report.shown:
        yield (
            f"figure5-{cluster.anchor}",
            charts.cluster(
                f"{cluster.title}, {count(cluster.faces)} faces",
                names,
                cluster.shares,
                None if cluster.shares is None else report.overall,
                report.marks(cluster),
                [shrink_picture(pixels, FACE_SIDE) for _, pixels in cluster.pictures],
                cluster.portrait.mean if cluster.portrait else None,
            ),
        )
    if report.series:
        yield "figure4-comparison", charts.comparison(report.series)
    if report.curves:
        yield "training-curves", charts.training(report.epochs, report.curves)


def accuracy_figure(accuracy: Accuracy) -> Figure:
    """Table 1."""
    return charts.accuracy(
        [readable(name) for name in accuracy.names],
        100 * accuracy.measures["accuracy"],
        {TABLE1[method]: values for method, values in accuracy.published.items()},
        100 * accuracy.measures["majority"],
    )


def misprediction_figure(accuracy: Accuracy) -> Figure:
    """Misprediction ratios."""
    missed, false_alarms = (accuracy.measures[key] for key in ("false_negative_rate", "false_positive_rate"))
    return charts.mispredictions([readable(name) for name in accuracy.names], missed, false_alarms)


def _glance_figure(report: Report) -> Figure:
    shares = np.stack([cluster.shares for cluster in report.shown if cluster.shares is not None])
    return charts.glance(
        [cluster.title for cluster in report.shown], [readable(name) for name in report.attributes], shares
    )
