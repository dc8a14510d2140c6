"""Render the report as plain text, for a terminal or a pipe."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

from facetools.report import captions, tables
from facetools.report.formatting import THIN_SPACE, format_count, format_lift, format_name, format_share, shorten_path
from facetools.report.model import Accuracy, Cluster, Report

#: The width of the text in columns.
COLUMNS = 100

#: The width of an attribute's name and of its bar.
_NAME_COLUMNS, _BAR_COLUMNS = 22, 50

#: The number of sample paths per cluster.
_SAMPLE_PATHS = 5


def render_text(report: Report) -> str:
    """The report as lines of at most `COLUMNS` columns, without control characters."""
    lines = [report.title, "=" * min(len(report.title), COLUMNS), ""]
    lines += _wrap(", ".join(f"{value} {label}" for value, label in captions.key_figures(report)))
    lines += _wrap(captions.overview(report))
    if report.attributes:
        lines += _frequencies(report)
    if report.accuracy:
        lines += _accuracy(report.accuracy)
    if report.is_clustered:
        lines += _clusters(report)
    if report.comparison:
        rows = tables.comparison_rows(report.comparison)
        lines += _heading("Comparison of clustering methods")
        lines += _align(tables.COMPARISON_TITLES, rows, left=2)
        lines += ["", *_wrap(f"{captions.SILHOUETTE_NOTE} {captions.COMPARISON_NOTE}")]
    if report.history:
        lines += _heading("Training")
        lines += _wrap(captions.history_summary(report))
        lines += ["", *_align(*tables.history_table(report))]
    if report.provenance:
        lines += _heading("About this report")
        for name, value in report.provenance.items():
            lines += _wrap(f"{name}: {value}", indent="    ")
    return "\n".join(_to_printable(line).rstrip() for line in lines) + "\n"


# Sections


def _frequencies(report: Report) -> list[str]:
    lines = _heading("Attribute frequencies")
    celeba = report.celeba_frequencies
    if celeba is None:
        celeba = np.full(len(report.attributes), math.nan)
    else:
        lines += _wrap("Bar: these faces; |: CelebA.")
        lines += [f"{'':>{_NAME_COLUMNS + _BAR_COLUMNS + 2}} {'faces':>5}  {'CelebA':>6}"]
    for name, frequency, reference in zip(report.attributes, report.frequencies, celeba, strict=True):
        line = f"{_pad_name(name)}  {_bar(frequency, reference)} {format_share(frequency):>5}"
        lines.append(line if math.isnan(reference) else f"{line}  {format_share(reference):>6}")
    return lines


def _accuracy(accuracy: Accuracy) -> list[str]:
    rows = [[_shorten_name(name), *cells] for name, *cells in tables.accuracy_rows(accuracy)]
    return [
        *_heading("Accuracy by attribute"),
        *_align(["", *tables.ACCURACY_TITLES], rows + tables.accuracy_mean_rows(accuracy)),
        "",
        *_wrap(captions.ACCURACY_NOTE),
        *_wrap(captions.PUBLISHED_NOTE),
    ]


def _clusters(report: Report) -> list[str]:
    lines = [*_heading("Clusters"), *_wrap(captions.clusters_summary(report))]
    if report.attributes:
        lines += _wrap(
            f"Prominent attributes occur in at least {format_share(report.prominent)} of the faces of the cluster;"
            f" noisy attributes occur, but in at most {format_share(report.noisy)}."
            " Bar: faces of the cluster; |: all faces."
        )
        lines += ["", *_wrap(f"{captions.RULE_NOTE} {captions.LIFT_NOTE}" if report.has_rules else captions.LIFT_NOTE)]
    for cluster in report.shown_clusters:
        lines += _cluster(report, cluster)
    return lines


def _cluster(report: Report, cluster: Cluster) -> list[str]:
    title = (
        f"{cluster.title}: {captions.cluster_size(cluster)}, {format_share(cluster.faces / report.faces)} of all faces"
    )
    lines = ["", title, "-" * len(title)]
    if cluster.rule:
        lines += _wrap(f"{captions.rule_conditions(cluster.rule)} {captions.rule_shares(cluster.rule)}")
    if cluster.differences is not None:
        chips = captions.distinctive_attributes(report, cluster)
        if chips:
            lines += _wrap(f"Compared with all faces: {', '.join(f'{name} {figures}' for name, figures in chips)}")
        for name, frequency, overall, lift, mark in zip(
            report.attributes,
            cluster.differences.shares,
            report.frequencies,
            cluster.differences.lifts,
            report.attribute_marks(cluster),
            strict=True,
        ):
            figures = f"{format_share(frequency):>5} {format_lift(lift):>6}"
            lines.append(f"{_pad_name(name)}  {_bar(frequency, overall)} {figures}  {mark}")
    if cluster.eigenface:
        caption = f"Eigenface: the mean of {format_count(cluster.eigenface.faces)} faces"
        ratios = ", ".join(f"{ratio:.1%}" for ratio, _ in cluster.eigenface.components)
        lines += _wrap(f"{caption}; variance explained by its principal components: {ratios}" if ratios else caption)
    if cluster.sample_paths:
        lines += [
            "Sample:",
            *(f"  {shorten_path(path, COLUMNS - 2)}" for path in cluster.sample_paths[:_SAMPLE_PATHS]),
        ]
    return lines


# Lines


def _heading(title: str) -> list[str]:
    return ["", "", title, "=" * len(title)]


def _wrap(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, COLUMNS, subsequent_indent=indent)


def _shorten_name(attribute: str) -> str:
    name = format_name(attribute)
    return name if len(name) <= _NAME_COLUMNS else f"{name[: _NAME_COLUMNS - 1]}…"


def _pad_name(attribute: str) -> str:
    return f"{_shorten_name(attribute):<{_NAME_COLUMNS}}"


def _bar(share: float, tick: float) -> str:
    """A bar of `_BAR_COLUMNS` columns for `share`, with a tick at the share `tick` unless that is NaN."""
    cells = list(f"{'█' * round(share * _BAR_COLUMNS):·<{_BAR_COLUMNS}}")
    if not math.isnan(tick):
        cells[min(_BAR_COLUMNS - 1, int(tick * _BAR_COLUMNS))] = "|"
    return "".join(cells)


def _align(titles: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """A table with its first `left` columns aligned to the left and the others to the right."""
    table = [titles, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    # Text that is too long continues on the next lines.
    free = COLUMNS - sum(widths[left:]) - 2 * (len(widths) - 1)
    for column in range(left):
        widths[column] = min(widths[column], max(_NAME_COLUMNS, free - sum(widths[:column])))
    lines = []
    for row in table:
        texts = [textwrap.wrap(cell, width) or [""] for cell, width in zip(row[:left], widths, strict=False)]
        for number, cells in enumerate(zip_longest(*texts, fillvalue="")):
            others = row[left:] if number == 0 else [""] * len(row[left:])
            lines.append(
                "  ".join(
                    f"{cell:<{width}}" if column < left else f"{cell:>{width}}"
                    for column, (cell, width) in enumerate(zip([*cells, *others], widths, strict=True))
                )
            )
    return lines


def _to_printable(line: str) -> str:
    """The line with control characters replaced: a file name must not control the terminal."""
    return "".join(character if character.isprintable() else "\ufffd" for character in line.replace(THIN_SPACE, " "))
