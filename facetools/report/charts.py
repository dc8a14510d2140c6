"""The charts of the figures: every function takes arrays and draws them as a Figure that belongs to no global state."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter, ScalarFormatter

from facetools.report.contents import Series
from facetools.report.style import BAR, INK, MARKERS, MUTED, NOISY, PAPER, PROMINENT, SERIES, styled


@styled
def frequencies(names: Sequence[str], shares: np.ndarray, reference: np.ndarray | None) -> Figure:
    """Figure 1: how often each attribute occurs; `shares` and `reference` (CelebA, NaN where unknown) float64 (a,)."""
    figure = Figure((7, 1 + 0.2 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    _bars(axes, names, shares, [BAR] * len(names), reference, INK)
    axes.set_xlabel("share of the faces")
    if reference is not None:
        _legend(axes, [Patch(color=BAR, label="these faces"), _tick_handle("all of CelebA")])
    return figure


@styled
def cluster(
    title: str,
    names: Sequence[str],
    shares: np.ndarray | None,
    overall: np.ndarray | None,
    marks: Sequence[str],
    faces: Sequence[np.ndarray],
    eigenface: np.ndarray | None,
) -> Figure:
    """Figure 5: faces of the cluster, its attribute occurrences, its eigenface, as far as there are any.

    `shares`, `overall` float64 (a,); `marks` `prominent`, `noisy` or nothing for each; pictures uint8 (h, w, 3).
    """
    columns = [(1.25, bool(faces)), (2.1, shares is not None), (1.0, eigenface is not None)]
    present = [width for width, there in columns if there] or [1.0]
    height = max(3.4, 1.2 + 0.19 * len(names)) if shares is not None else 3.4
    figure = Figure((2.5 * sum(present), height), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    panels = iter(figure.subplots(1, len(present), width_ratios=present, squeeze=False)[0])
    if faces:
        _picture(next(panels), _montage(faces))
    if shares is not None and overall is not None:
        colours = [{"prominent": PROMINENT, "noisy": NOISY}.get(mark, BAR) for mark in marks]
        axes = next(panels)
        _bars(axes, names, shares, colours, overall, INK)
        axes.set_xlabel("share of the cluster's faces")
        prominent, noisy = Patch(color=PROMINENT, label="prominent"), Patch(color=NOISY, label="noisy")
        axes.legend(
            handles=[prominent, noisy, _tick_handle("all faces")],
            loc="upper left", bbox_to_anchor=(0, 0), borderaxespad=4, ncols=3,
        )  # fmt: skip
    if eigenface is not None:
        _picture(next(panels), eigenface)
    if not faces and shares is None and eigenface is None:
        next(panels).set_axis_off()
    return figure


@styled
def glance(titles: Sequence[str], names: Sequence[str], shares: np.ndarray) -> Figure:
    """Every cluster's attribute occurrences as a map; `shares` float64 (clusters, a)."""
    figure = Figure((2 + 0.2 * len(names), 3 + 0.2 * len(titles)), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(False)
    scale = LinearSegmentedColormap.from_list("share", [PAPER, PROMINENT])
    mesh = axes.pcolormesh(shares, cmap=scale, vmin=0, vmax=1, edgecolor=PAPER, linewidth=1.2)
    axes.invert_yaxis()
    axes.xaxis.tick_top()
    axes.set_xticks(np.arange(len(names)) + 0.5, [_short(name) for name in names], rotation=90, color=INK)
    axes.set_yticks(np.arange(len(titles)) + 0.5, list(titles))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(mesh, ax=axes, orientation="horizontal", shrink=0.3, aspect=30, pad=0.02, anchor=(0, 0))
    bar.outline.set_visible(False)
    bar.ax.xaxis.set_major_formatter(PercentFormatter(1))
    bar.set_label("share of the cluster's faces")
    return figure


@styled
def accuracy(
    names: Sequence[str], ours: np.ndarray, published: Mapping[str, np.ndarray], majority: np.ndarray
) -> Figure:
    """Table 1 as dots: accuracy of each attribute, percent float64 (a,), NaN where a method gives none."""
    figure = Figure((4.6, 1.2 + 0.2 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    rows = np.arange(len(names))
    axes.hlines(rows, majority, ours, color=BAR, linewidth=1)
    axes.plot(majority, rows, "|", color=MUTED, markersize=7, markeredgewidth=1.4, label="always the majority")
    for (method, values), marker, colour in zip(published.items(), "DsP", SERIES[1:], strict=False):
        if not np.isnan(values).all():
            axes.plot(values, rows, marker, mfc="none", color=colour, markersize=4.5, markeredgewidth=1.2, label=method)
    axes.plot(ours, rows, "o", color=SERIES[0], markersize=5.5, label="these predictions")
    _rows(axes, names)
    axes.set_xlabel("accuracy (percent)")
    handles, _ = axes.get_legend_handles_labels()
    _legend(axes, handles[::-1], columns=2, above=True)
    return figure


@styled
def mispredictions(names: Sequence[str], missed: np.ndarray, false_alarms: np.ndarray) -> Figure:
    """Misprediction ratios of each attribute, 0 to 1 float64 (a,), among faces with it and faces without it."""
    figure = Figure((4.6, 1.2 + 0.2 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    rows = np.arange(len(names))
    axes.barh(rows - 0.19, missed, 0.36, color=SERIES[1], label="of faces with the attribute")
    axes.barh(rows + 0.19, false_alarms, 0.36, color=SERIES[0], label="of faces without it")
    _rows(axes, names)
    most = max(float(missed.max()), float(false_alarms.max()))
    axes.set_xlim(0, min(1, max(0.2, 1.05 * most)))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("predicted wrong")
    _legend(axes, axes.get_legend_handles_labels()[0], columns=1, above=True)
    return figure


@styled
def comparison(series: Sequence[Series], width: float = 6.6) -> Figure:
    """Figure 4: silhouette against the number of clusters, a line a method; `width` in inches."""
    # About as many letters as stand in a line of the legend.
    labels = [textwrap.fill(_short(one.label, 160), int(12 * width) - 6) for one in series]
    figure = Figure((width, 3.3 + 0.19 * sum(1 + label.count("\n") for label in labels)), layout="constrained")
    axes = figure.add_subplot()
    handles = []
    for number, (one, label) in enumerate(zip(series, labels, strict=True)):
        colour, marker = SERIES[number % len(SERIES)], MARKERS[number % len(MARKERS)]
        line: Any = (0, (5, 3)) if one.fixed else "-"
        if one.fixed:
            axes.axhline(one.silhouette.max(), color=colour, linestyle=line, linewidth=1.2)
        axes.plot(
            one.clusters, one.silhouette, marker, linestyle="none" if one.fixed else "-", color=colour, zorder=3,
            markeredgecolor=PAPER, markeredgewidth=0.8, markersize=8 if one.fixed else 6.5,
        )  # fmt: skip
        handles.append(Line2D([], [], color=colour, marker=marker, linestyle=line, linewidth=1.4, label=label))
    counts = np.concatenate([one.clusters for one in series])
    if counts.max() > 30 * counts.min() > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.minorticks_off()
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        axes.margins(x=0.06)
    axes.tick_params(axis="y", labelcolor=MUTED)
    axes.set_xlabel("number of clusters")
    axes.set_ylabel("silhouette")
    _legend(axes, handles, columns=1)
    return figure


@styled
def training(epochs: np.ndarray, panels: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Training curves: for each panel (`loss`, `accuracy`) its curves, float64 (epochs,) by name, NaN where missing."""
    figure = Figure((4.6 * len(panels), 3.3), layout="constrained")
    for axes, (title, curves) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for (name, values), colour, line in zip(curves.items(), SERIES, ("-", "--", ":"), strict=False):
            marker = "o" if len(epochs) <= 30 else ""
            axes.plot(epochs, values, line, marker=marker, markersize=4, color=colour, label=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        axes.tick_params(axis="y", labelcolor=MUTED)
        axes.set_xlabel("epoch")
        axes.set_ylabel(title)
        axes.legend(loc="best")
    return figure


# Parts of charts


def _bars(
    axes: Axes, names: Sequence[str], shares: np.ndarray, colours: Sequence[str], reference: np.ndarray | None, ink: str
) -> None:
    rows = np.arange(len(names))
    axes.barh(rows, shares, 0.62, color=list(colours))
    if reference is not None:
        axes.vlines(reference, rows - 0.44, rows + 0.44, color=ink, linewidth=1.4)
    _rows(axes, names)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1))


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(np.arange(len(names)), [_short(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _short(name: str, most: int = 26) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _tick_handle(label: str) -> Line2D:
    return Line2D([], [], color=INK, marker="|", markersize=9, markeredgewidth=1.4, linestyle="none", label=label)


def _legend(axes: Axes, handles: Sequence[Any], columns: int = 3, *, above: bool = False) -> None:
    """A legend below or above the axes; the layout makes room for it."""
    # matplotlib leaves labels with a leading underscore out of legends, so they are put in afterwards.
    labels = [str(handle.get_label()) for handle in handles]
    place: Any = f"outside {'upper' if above else 'lower'} left"
    numbers = [f"{number}" for number in range(len(handles))]
    legend = axes.figure.legend(list(handles), numbers, loc=place, ncols=columns)
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set_text(label)


def _picture(axes: Axes, pixels: np.ndarray) -> None:
    axes.imshow(pixels, interpolation="none")
    axes.set_axis_off()
    axes.set_anchor("N")


def _montage(pictures: Sequence[np.ndarray], columns: int = 4) -> np.ndarray:
    """Pictures uint8 (h, w, 3) of any size in a grid, uint8 RGBA (H, W, 4), transparent between them."""
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    columns = min(columns, len(pictures))
    gap = max(2, width // 20)
    rows = -(-len(pictures) // columns)
    sheet = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, 4), np.uint8)
    for number, picture in enumerate(pictures):
        top = number // columns * (height + gap) + (height - picture.shape[0]) // 2
        left = number % columns * (width + gap) + (width - picture.shape[1]) // 2
        cell = sheet[top : top + picture.shape[0], left : left + picture.shape[1]]
        cell[..., :3], cell[..., 3] = picture, 255
    return sheet
