"""The sentences, notes and key figures that the page and the text share."""

from __future__ import annotations

import numpy as np

from facetools.clustering.explanation import AttributeDifferences
from facetools.clustering.rules import Rule
from facetools.report.formatting import (
    format_count,
    format_interval,
    format_lift,
    format_name,
    format_residual,
    format_share,
    noise_share,
    replace_controls,
)
from facetools.report.model import WIDE_INTERVAL, Cluster, PhotoCount, Report

ACCURACY_NOTE = (
    "All values are percentages. Present is the share of faces labeled with the attribute. Majority is the"
    " majority-class baseline: the accuracy of always predicting the more frequent class. FNR, the false negative rate,"
    " is the share of faces with the attribute that are predicted without it. FPR, the false positive rate, is the"
    " share of faces without the attribute that are predicted with it. Balanced accuracy is one minus the mean of FNR"
    " and FPR; if a class has no faces, only the rate of the other class counts."
)
PUBLISHED_NOTE = (
    "Paper and LNets+ANet are the accuracies in table 1 of the paper, measured on the test split of CelebA and rounded"
    " to whole percent. They are directly comparable only to results on the same split."
)
SILHOUETTE_NOTE = (
    "The silhouette, from −1 to 1, measures how much closer faces are to their own cluster than to the nearest other"
    " cluster; higher is better. It leaves out noise: faces in no cluster."
)
COMPARISON_NOTE = (
    "Noise is the number of faces in no cluster; the silhouette excludes them. Inertia is the sum of squared distances"
    " of faces to the mean of their cluster, or of 1 − cos for the cosine metric; lower is better for the same number"
    " of clusters."
)

RULE_NOTE = (
    "The bold line of a cluster is its rule: the shortest conjunction of at most three attributes, present or absent,"
    " whose F1 is at most 0.01 below the best. F1 is the harmonic mean of precision, the share of the selected faces"
    " that are in the cluster, and recall, the share of the cluster that is selected."
)
LIFT_NOTE = (
    "× is the lift: the share of the cluster's faces with the attribute, divided by that of all faces. The attributes"
    " below a rule have the largest standardised residuals: their difference from all faces, in standard deviations of"
    " chance. A range is the 95% confidence interval of the share, if it is wider than 10 percentage points."
)


def key_figures(report: Report) -> list[tuple[str, str]]:
    """The figures at the top of the report: (value, label) pairs."""
    figures = [_counted_faces(report.faces, report.photos)] if report.faces else []
    if report.attributes:
        figures.append(_counted(len(report.attributes), "attribute"))
    if report.is_clustered:
        figures.append(_counted(report.cluster_count, "cluster"))
    if report.noise:
        figures.append((format_share(report.noise.faces / report.faces), "noise"))
    if report.accuracy:
        mean = report.accuracy.mean()
        figures.append((f"{100 * mean['accuracy']:.2f}%", "mean accuracy"))
        figures.append((f"{100 * mean['balanced_accuracy']:.2f}%", "mean balanced accuracy"))
    return figures + _best_silhouettes(report)


def _best_silhouettes(report: Report) -> list[tuple[str, str]]:
    """The best silhouette, with the share of the faces that it leaves out as noise, and that of a clustering without
    noise."""
    records = [record for record in report.comparison if record.get("silhouette") is not None]
    if not records:
        return []
    best = max(records, key=lambda record: float(record["silhouette"]))
    if not noise_share(best):
        return [(f"{best['silhouette']:.2f}", "best silhouette")]
    complete = [record["silhouette"] for record in records if not noise_share(record)]
    figures = [(f"{max(complete):.2f}", "best silhouette without noise")] if complete else []
    return [*figures, (f"{best['silhouette']:.2f}", f"silhouette with {format_share(noise_share(best))} noise")]


def overview(report: Report) -> str:
    """The paragraph below the key figures: where the attributes come from, and how large the clusters are."""
    sentences = []
    if report.photos.known and report.photos.unknown_faces:
        sentences.append(f"The photo of {' '.join(_counted(report.photos.unknown_faces, 'face'))} is not known.")
    if report.attribute_source == "scores":
        sentences.append(f"An attribute counts as present if its score is at least {report.threshold:g}.")
    elif report.attribute_source == "labels":
        sentences.append("Attributes are the labels of the faces; the input has no scores.")
    if report.cluster_count:
        sentences.append(f"The median cluster size is {' '.join(_counted(report.median_cluster_size, 'face'))}.")
    if report.noise:
        faces, verb = _counted(report.noise.faces, "face"), "is" if report.noise.faces == 1 else "are"
        sentences.append(f"{' '.join(faces)} {verb} in no cluster (noise).")
    return " ".join(sentences)


def cluster_size(cluster: Cluster) -> str:
    """The number of faces in the cluster, and of the photographs that they come from."""
    return " ".join(_counted_faces(cluster.faces, cluster.photos))


def rule_conditions(rule: Rule) -> str:
    """The literals of a rule, such as `Male, not Young`."""
    return replace_controls(rule.conditions)


def rule_shares(rule: Rule) -> str:
    """What follows the literals of a rule: how many faces it holds for."""
    others = "" if rule.other_share is None else f" and {format_share(rule.other_share)} of other faces"
    return (
        f"holds for {format_share(rule.recall)} of the cluster{others}"
        f" (precision {format_share(rule.precision)}, recall {format_share(rule.recall)})"
    )


def distinctive_attributes(report: Report, cluster: Cluster) -> list[tuple[str, str]]:
    """The name of each attribute that distinguishes the cluster, and its share and lift. A share that is uncertain has
    its confidence interval."""
    differences = cluster.differences
    if differences is None:
        return []
    chips = []
    for index in report.distinctive_attributes(cluster):
        low, high = float(differences.low[index]), float(differences.high[index])
        interval = f" ({format_interval(low, high)})" if high - low > WIDE_INTERVAL else ""
        figures = f"{format_share(differences.shares[index])}{interval} {format_lift(differences.lifts[index])}"
        chips.append((format_name(report.attributes[index]), figures))
    return chips


def attribute_note(differences: AttributeDifferences, index: int) -> str:
    """The standardised residual and the confidence interval of one attribute of a cluster."""
    interval = format_interval(float(differences.low[index]), float(differences.high[index]))
    return f"residual {format_residual(differences.residuals[index])}, 95% interval {interval}"


def clusters_summary(report: Report) -> str:
    """How many clusters are shown and how many faces the others contain."""
    hidden = report.cluster_count - len(report.clusters)
    if not report.cluster_count:
        return "There are no clusters: every face is noise."
    if hidden:
        share = format_share(report.hidden_faces / report.faces)
        return (
            f"The {format_count(len(report.clusters))} largest of {format_count(report.cluster_count)} clusters are"
            f" shown, largest first. The remaining {' '.join(_counted(hidden, 'cluster'))} contain"
            f" {' '.join(_counted(report.hidden_faces, 'face'))} ({share})."
        )
    if report.cluster_count == 1:
        return "There is one cluster."
    return f"All {format_count(report.cluster_count)} clusters are shown, largest first."


def history_summary(report: Report) -> str:
    """The number of epochs, the best validation accuracy, and the median throughput."""
    if not report.history:
        return ""
    parts = [" ".join(_counted(len(report.history), "epoch"))]
    accuracy = report.history_column("valid_accuracy")
    if accuracy is not None and not np.isnan(accuracy).all():
        best = int(np.nanargmax(accuracy))
        parts.append(f"best validation accuracy {100 * accuracy[best]:.2f}% after epoch {report.epochs[best]:g}")
    throughput = report.history_column("images_per_second")
    if throughput is not None and not np.isnan(throughput).all():
        parts.append(f"median throughput {format_count(round(float(np.nanmedian(throughput))))} images per second")
    return "; ".join(parts) + "."


def _counted_faces(faces: int, photos: PhotoCount) -> tuple[str, str]:
    """The formatted number of faces, and the noun with the number of their photographs if any of these is known."""
    value, noun = _counted(faces, "face")
    if not photos.known:
        return value, noun
    # Faces without a known photograph may come from others or from the same ones.
    bound = "at least " if photos.unknown_faces else ""
    return value, f"{noun} from {bound}{' '.join(_counted(photos.known, 'photo'))}"


def _counted(count: float, noun: str) -> tuple[str, str]:
    """The formatted count, and the noun in singular or plural."""
    return format_count(count), noun if count == 1 else f"{noun}s"
