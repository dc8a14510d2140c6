"""The report as text, for a terminal or a pipe."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import numpy as np

from facetools.report import words
from facetools.report.contents import TABLE1, Accuracy, Cluster, Report

#: The width of the text; of it, the columns of an attribute's name and of its bar.
COLUMNS, _NAME, _BAR = 100, 22, 50


def as_text(report: Report) -> str:
    """The report as lines of at most `COLUMNS` columns that leave the terminal as it is."""
    lines = [report.title, "=" * min(len(report.title), COLUMNS), ""]
    lines += _wrapped(", ".join(f"{value} {label}" for value, label in words.tiles(report)))
    lines += _wrapped(words.lede(report))
    if report.attributes:
        lines += _heading("Attribute frequencies")
        if report.reference is not None:
            lines += [f"{'':>{_NAME + _BAR + 2}} {'here':>5}  {'CelebA':>6}"]
        reference = report.reference if report.reference is not None else np.full(len(report.attributes), math.nan)
        for name, share, known in zip(report.attributes, report.overall, reference, strict=True):
            tail = "" if math.isnan(known) else f"  {words.share(known):>6}"
            lines.append(f"{_name(name)}  {_bar(share, known)} {words.share(share):>5}{tail}")
    if report.accuracy:
        lines += _accuracy(report.accuracy)
    if report.clustered:
        lines += _heading("Clusters")
        lines += _wrapped(words.hidden(report))
        if report.attributes:
            lines += _wrapped(
                f"Prominent attributes: at least {words.share(report.prominent)} of the cluster’s faces; noisy ones:"
                f" some, but at most {words.share(report.noisy)}. | is the share among all faces."
            )
        for cluster in report.shown:
            lines += _cluster(report, cluster)
    if report.comparison:
        lines += _heading("Comparison of clustering methods")
        rows = words.comparison_rows(report.comparison)
        lines += _aligned(["method", "parameters", "clusters", "noise", "inertia", "silhouette"], rows, left=2)
    if report.history:
        lines += _heading("Training")
        lines += _wrapped(words.history_summary(report))
        titles, rows = words.history_rows(report)
        lines += ["", *_aligned(titles, rows)]
    if report.provenance:
        lines += _heading("About this report")
        for name, value in report.provenance.items():
            lines += _wrapped(f"{name}: {value}", indent="    ")
    return "\n".join(_plain(line).rstrip() for line in lines) + "\n"


def _accuracy(accuracy: Accuracy) -> list[str]:
    lines = _heading("Accuracy by attribute, percent")
    titles = ["", "present", "majority", "correct", *TABLE1.values(), "balanced", "F1", "missed", "false"]
    rows = [[_name(row[0]).strip(), *row[1:]] for row in words.accuracy_rows(accuracy)]
    means = [[name, *values] for name, *values in words.accuracy_means(accuracy)]
    lines += _aligned(titles, rows + means)
    return [*lines, "", *_wrapped(words.MISPREDICTION_NOTE), *_wrapped(words.TABLE1_NOTE)]


def _cluster(report: Report, cluster: Cluster) -> list[str]:
    title = f"{cluster.title}: {words.count(cluster.faces)} faces ({words.share(cluster.faces / report.faces)})"
    lines = ["", title, "-" * len(title)]
    if cluster.shares is not None:
        outstanding = ", ".join(
            f"{words.readable(name)} {words.points(by)}" for name, by in report.outstanding(cluster)
        )
        if outstanding:
            lines += _wrapped(f"Unlike all faces, in points: {outstanding}")
        for name, share, all_faces, mark in zip(
            report.attributes, cluster.shares, report.overall, report.marks(cluster), strict=True
        ):
            lines.append(f"{_name(name)}  {_bar(share, all_faces)} {words.share(share):>5}  {mark}")
    if cluster.portrait:
        ratios = ", ".join(f"{ratio:.1%}" for ratio, _ in cluster.portrait.components)
        known = f"; variance explained by its components: {ratios}" if ratios else ""
        lines += _wrapped(f"Eigenface of {words.count(cluster.portrait.faces)} faces{known}")
    if cluster.sample:
        lines += ["Such as:", *(f"  {_shortened(path, COLUMNS - 2)}" for path in cluster.sample[:5])]
    return lines


# Lines


def _heading(title: str) -> list[str]:
    return ["", "", title, "=" * len(title)]


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, COLUMNS, subsequent_indent=indent)


def _name(name: str) -> str:
    shown = words.readable(name)
    return f"{shown if len(shown) <= _NAME else shown[: _NAME - 1] + '…':<{_NAME}}"


def _bar(share: float, tick: float) -> str:
    """A bar of `_BAR` columns with a tick where `tick` is; NaN is nowhere."""
    cells = list(f"{'█' * round(share * _BAR):·<{_BAR}}")
    if not math.isnan(tick):
        cells[min(_BAR - 1, int(tick * _BAR))] = "|"
    return "".join(cells)


def _aligned(titles: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """A table whose first `left` columns stand to the left, the others to the right."""
    room = COLUMNS // 3
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
    return "".join(one if one.isprintable() else "\ufffd" for one in line.replace(words.THIN_SPACE, " "))
