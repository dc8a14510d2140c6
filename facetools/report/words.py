"""The words and numbers that the page and the text have in common: sentences, the cells of tables, notes.

A table is a list of rows of cells; a cell that has nothing to say holds a dash.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from facetools.report.contents import TABLE1, Accuracy, Report

MISPREDICTION_NOTE = (
    "The misprediction ratio is the share predicted wrong, told apart by truth: missed, of the faces that have the"
    " attribute (false negative rate); false alarms, of the faces that lack it (false positive rate). Balanced accuracy"
    " is one minus their mean. Majority is the accuracy of always giving the more frequent answer."
)
TABLE1_NOTE = (
    "The paper and LNets+ANet are as printed in the paper’s table 1: measured on CelebA’s test split and rounded to"
    " whole percents. Figures on other faces, or on another split, are no like-for-like comparison."
)

THIN_SPACE = "\u202f"


# Sentences


def tiles(report: Report) -> list[tuple[str, str]]:
    """The figures at the top, each with what it counts."""
    shown = [(count(report.faces), "face" if report.faces == 1 else "faces")] if report.faces else []
    if report.attributes:
        shown.append((count(len(report.attributes)), "attributes"))
    if report.clustered:
        shown.append((count(report.cluster_count), "cluster" if report.cluster_count == 1 else "clusters"))
    if report.noise:
        shown.append((share(report.noise.faces / report.faces), "noise"))
    if report.accuracy:
        mean = report.accuracy.mean()
        shown.append((f"{100 * mean['accuracy']:.2f}%", "mean accuracy"))
        shown.append((f"{100 * mean['balanced_accuracy']:.2f}%", "mean balanced accuracy"))
    judged = [one["silhouette"] for one in report.comparison if one.get("silhouette") is not None]
    if judged:
        shown.append((f"{max(judged):.2f}", "best silhouette compared"))
    return shown


def lede(report: Report) -> str:
    """What the figures at the top do not say: where attributes come from, how large clusters are."""
    parts = []
    if report.source:
        scored = f"An attribute counts as present where its score is at least {report.threshold:g}."
        parts.append(scored if report.source == "scores" else "Attributes are as labelled; there are no scores.")
    if report.cluster_count:
        parts.append(f"The median cluster has {count(report.median_size)} faces.")
    if report.noise:
        parts.append(f"{count(report.noise.faces)} faces belong to no cluster (noise).")
    return " ".join(parts)


def hidden(report: Report) -> str:
    """How many clusters are shown, and how many are not."""
    others = report.cluster_count - len(report.clusters)
    if not report.cluster_count:
        return "There is no cluster: every face is noise."
    if report.cluster_count == 1 and not others:
        return "There is one cluster."
    if not others:
        return f"All {count(report.cluster_count)} clusters are shown, the largest first."
    part = share(report.hidden_faces / report.faces)
    return (
        f"The {count(len(report.clusters))} largest of {count(report.cluster_count)} clusters are shown, the largest"
        f" first; the other {count(others)} hold {count(report.hidden_faces)} faces ({part})."
    )


def history_summary(report: Report) -> str:
    """How many epochs there were, the best of them, and how fast they were."""
    if not report.history:
        return ""
    parts = [f"{count(len(report.history))} {'epoch' if len(report.history) == 1 else 'epochs'}"]
    best = report.column("valid_accuracy")
    if best is not None and not np.isnan(best).all():
        at = int(np.nanargmax(best))
        parts.append(f"best validation accuracy {100 * best[at]:.2f}% after epoch {report.epochs[at]:g}")
    speed = report.column("images_per_second")
    if speed is not None and not np.isnan(speed).all():
        parts.append(f"{count(round(float(np.nanmedian(speed))))} images a second")
    return "; ".join(parts) + "."


# Tables


def accuracy_rows(accuracy: Accuracy) -> list[list[str]]:
    """An attribute a row, in percent, the methods of table 1 after the accuracy."""
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


def accuracy_means(accuracy: Accuracy) -> list[list[str]]:
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


def comparison_rows(records: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """A run of the comparison a row."""

    def number(value: Any, form: str) -> str:
        return "–" if value is None else format(value, form)

    return [
        [
            str(record["method"]),
            parameters(record, leave_out=("k",)),
            count(record["clusters"]) if record.get("clusters") is not None else "–",
            count(record["noise"]) if record.get("noise") is not None else "–",
            number(record.get("inertia"), ".6g"),
            number(record.get("silhouette"), ".4f"),
        ]
        for record in records
    ]


def history_rows(report: Report) -> tuple[list[str], list[list[str]]]:
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
    titles, columns = [], []
    for key, (title, form) in forms.items():
        values = report.column(key)
        if values is not None:
            titles.append(title)
            columns.append([_cell(value, form) for value in values])
    return titles, [list(row) for row in zip(*columns, strict=True)]


def _printed(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:g}"


def _cell(value: float, form: str) -> str:
    return "–" if math.isnan(value) else format(float(value), form)


# Names and numbers


def parameters(record: Mapping[str, Any], leave_out: Sequence[str] = ()) -> str:
    """The parameters of a record of the comparison, in a line."""
    used = record.get("parameters") or {}
    return ", ".join(f"{name} {_value(value)}" for name, value in used.items() if name not in leave_out)


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def readable(name: str) -> str:
    return name.replace("_", " ")


def count(value: float) -> str:
    """A number with thin spaces between thousands, which do not break."""
    return f"{value:,.{0 if value == int(value) else 1}f}".replace(",", THIN_SPACE)


def share(part: float) -> str:
    """A share as whole percents; what is not none, or not all, never looks so."""
    if 0 < part < 0.005:
        return "<1%"
    if 0.995 <= part < 1:
        return ">99%"
    return f"{100 * part:.0f}%"


def points(difference: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return f"{100 * difference:+.0f}".replace("-", "−")
