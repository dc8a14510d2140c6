"""The tables that the page and the text share, as rows of formatted cells. A missing value is a dash."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from facetools.report.formatting import format_count, format_parameters, replace_controls
from facetools.report.model import PUBLISHED_METHODS, Accuracy, Report

MISSING = "–"

#: The column titles of `accuracy_rows` after the attribute.
ACCURACY_TITLES = (
    "Present", "Majority", "Accuracy", *PUBLISHED_METHODS.values(), "Balanced", "F1", "FNR", "FPR",
)  # fmt: skip

#: The column titles of `comparison_rows`.
COMPARISON_TITLES = ("Method", "Parameters", "Clusters", "Noise", "Inertia", "Silhouette")

#: The metrics of the accuracy table. The published accuracies come after the first two.
_METRICS = ("majority", "accuracy", "balanced_accuracy", "f1", "false_negative_rate", "false_positive_rate")

#: The columns of the training table: key in the record of an epoch, title and format.
_HISTORY_COLUMNS = {
    "epoch": ("Epoch", "g"),
    "loss": ("Loss", ".4f"),
    "valid_loss": ("Val. loss", ".4f"),
    "valid_accuracy": ("Val. accuracy", ".2%"),
    "valid_balanced_accuracy": ("Val. balanced acc.", ".2%"),
    "learning_rate": ("Learning rate", ".3g"),
    "images_per_second": ("Images/s", ".0f"),
}


def accuracy_rows(accuracy: Accuracy) -> list[list[str]]:
    """One row per attribute: its name, then the columns ACCURACY_TITLES in percent."""
    rows = []
    for index, name in enumerate(accuracy.names):
        published = [_format(values[index], "g") for values in accuracy.published.values()]
        metrics = {key: float(accuracy.metrics[key][index]) for key in _METRICS}
        rows.append([name, *_accuracy_cells(accuracy.prevalence[index], metrics, published)])
    return rows


def accuracy_mean_rows(accuracy: Accuracy) -> list[list[str]]:
    """The means of `accuracy_rows` over all attributes and, if table 1 has some but not all of them, over those.

    The published means are over the attributes in table 1, and are shown only where the other means are too.
    """
    in_table1 = accuracy.in_table1

    def row(title: str, attributes: np.ndarray | slice, has_published: bool) -> list[str]:
        means = [accuracy.published_mean(method) if has_published else math.nan for method in PUBLISHED_METHODS]
        published = [_format(mean, ".1f") for mean in means]
        prevalence = accuracy.prevalence[attributes].mean()
        return [title, *_accuracy_cells(prevalence, accuracy.mean(attributes), published)]

    rows = [row(f"Mean of {len(in_table1)}", slice(None), bool(in_table1.all()))]
    if in_table1.any() and not in_table1.all():
        rows.append(row(f"Mean of {in_table1.sum()} in table 1", in_table1, True))
    return rows


def _accuracy_cells(prevalence: float, metrics: Mapping[str, float], published: list[str]) -> list[str]:
    cells = [f"{100 * value:.1f}" for value in (prevalence, *(metrics[key] for key in _METRICS))]
    return [*cells[:3], *published, *cells[3:]]


def comparison_rows(records: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """One row per record of fa-cluster --compare, with the columns COMPARISON_TITLES."""
    return [
        [
            replace_controls(str(record["method"])),
            format_parameters(record, leave_out=("k",)),
            *(MISSING if record.get(key) is None else format_count(record[key]) for key in ("clusters", "noise")),
            _format(record.get("inertia"), ".6g"),
            _format(record.get("silhouette"), ".4f"),
        ]
        for record in records
    ]


def history_table(report: Report) -> tuple[list[str], list[list[str]]]:
    """The titles of the columns of the training history that have any value, and one row of cells per epoch."""
    titles, columns = [], []
    for key, (title, form) in _HISTORY_COLUMNS.items():
        values = report.history_column(key)
        if values is not None:
            titles.append(title)
            columns.append([_format(value, form) for value in values.tolist()])
    return titles, [list(row) for row in zip(*columns, strict=True)]


def _format(value: float | None, form: str) -> str:
    return MISSING if value is None or math.isnan(value) else format(value, form)
